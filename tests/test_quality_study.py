"""The study's variants are runs with other settings, compared seed by seed."""

from typing import Any

import pytest

from quality_study import STUDIED, VARIANTS, difference, study_rows
from quality_table import Result, summarise
from reprise.cli.options import run_values
from reprise.config.load import make_config
from reprise.config.schema import SETTINGS

GIVEN: dict[str, Any] = {"dataset": "d", "name": "t"}


def result(seed: int, recall: float, variant: str = "", seconds: float = 10.0) -> Result:
    metrics = {"recall@50": recall}
    return Result("grocery", STUDIED, variant, seed, metrics, metrics, 900, 1000, seconds)


@pytest.mark.parametrize("variant", VARIANTS[1:], ids=str)
def test_study_variants_differ_from_the_preset(variant: dict[str, str]) -> None:
    named = {key.replace("-", "_"): text for key, text in variant.items()}
    changed = {name: SETTINGS[name].parse(text) for name, text in named.items()}
    preset, other = (
        make_config(run_values(STUDIED, None, None, None, GIVEN | more)) for more in ({}, changed)
    )
    assert other.identity("f") != preset.identity("f")


def test_study_table_compares_each_variant_with_the_preset_by_seed() -> None:
    results = [
        *(result(seed, recall) for seed, recall in ((19, 0.10), (20, 0.12), (21, 0.11))),
        *(result(seed, recall, "x=1", 20) for seed, recall in ((19, 0.09), (20, 0.10), (21, 0.10))),
        result(20, 0.13, "y=2"),
    ]
    preset, less, single = study_rows(summarise(results))
    assert preset == {
        "variant": "the preset",
        "grocery": "0.1100",
        "grocery: change": "-",
        "grocery: ms": "10",
    }
    # Changes -0.01, -0.02, -0.01: mean -0.0133, standard error 0.00333, times 4.303.
    assert less["grocery: change"] == "-0.0133 ± 0.0143"
    assert less["grocery: ms"] == "20"
    assert single["grocery: change"] == "+0.0100"


def test_study_does_not_compare_runs_without_a_common_seed() -> None:
    assert difference([result(19, 0.1)], [result(20, 0.1)]) == "-"
