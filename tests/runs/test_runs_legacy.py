"""Checkpoints of older schemas, lifted to today's."""

from reprise.runs import legacy


def test_schema_1_gains_the_fields_of_2() -> None:
    lifted = legacy.migrate({"schema": 1, "progress": {"step": 7}, "identity": {}})
    assert lifted["schema"] == 2
    assert lifted["progress"] == {
        "step": 7,
        "evaluated_step": 0,
        "metric": None,
        "best": None,
        "evaluations_without_improvement": 0,
    }
