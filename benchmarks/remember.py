"""What a memory adds to stored models: python benchmarks/remember.py RUN... --data-dir DATA

Each RUN, whose own memory is left out, is given one by every --memory KIND:EDGES, whose numbers are
fitted to it on the valid users, as training does at an evaluation. Seen items are left out. A line
each: recall@50 of the model alone (on valid and test) and of the memory alone (on test), what both
together give on valid and test, that over the better of the two, the seconds of the edges and of
the fit, and the time of an evaluation with the memory over one without.
"""

import time
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from common import machine, make_parser, print_facts, print_table, write_json
from reprise.config.by_data import settled
from reprise.config.memory import edges_of
from reprise.data.sequences import EvaluationUsers
from reprise.evaluation.evaluate import evaluate
from reprise.evaluation.memory_fit import fitted
from reprise.memory.memory import AGES, Memory
from reprise.retrieval.vectors import Retriever
from reprise.runs.stored import StoredModel, load

Row = dict[str, str | int | float]
KINDS = ("rules:64", "rules:256")
_ALONE = 1e3  # the weight of a memory beside which a model only breaks ties
_PLAIN = (1.0, 8.0, *(0.8**bucket for bucket in range(len(AGES))))  # of a memory that adds nothing


def main() -> None:
    """Measure, and print a table."""
    arguments = parser().parse_args()
    rows = [
        row for run in arguments.runs for row in _rows(run, arguments.data_dir, arguments.memory)
    ]
    facts = machine()
    print_facts(facts)
    print_table(rows)
    write_json(arguments.json, facts, rows)


def parser() -> ArgumentParser:
    """Return the parser of the arguments."""
    made = make_parser(__doc__)
    made.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    made.add_argument("--data-dir", type=Path, default=Path("data"))
    made.add_argument("--memory", nargs="+", default=KINDS, metavar="KIND:EDGES")
    return made


def _rows(run: Path, data: Path, kinds: Sequence[str]) -> Iterator[Row]:
    stored = load(run, "best", lambda key, **values: print(key, values), lambda name: data / name)
    users = {
        split: stored.dataset.evaluation_users(split, stored.config.maxlen)
        for split in ("valid", "test")
    }
    model = replace(stored.retriever, memory=None)
    of_valid, _ = _recall(model, users["valid"])
    of_test, plain_seconds = _recall(model, users["test"])
    for kind in kinds:
        yield _row(stored, model, users, kind, (of_valid, of_test), plain_seconds)


def _row(
    stored: StoredModel,
    model: Retriever,
    users: dict[str, EvaluationUsers],
    kind: str,
    alone: tuple[float, float],
    plain_seconds: float,
) -> Row:
    name, _, keep = kind.partition(":")
    config = replace(stored.config, memory=name, memory_edges=int(keep))
    start = time.perf_counter()
    edges = edges_of(config, stored.dataset.splits["train"], stored.num_items)
    assert edges is not None
    made = time.perf_counter()
    numbers = fitted(model, edges, users["valid"], settled(config.temperature) or 1.0)
    fit = time.perf_counter()
    own = np.where(numbers.any(), numbers, np.array(_PLAIN, np.float32))
    only = replace(model, memory=Memory(edges, np.array([_ALONE, *own[1:]], np.float32)))
    both = replace(model, memory=Memory(edges, numbers))
    memory, _ = _recall(only, users["test"])
    found, seconds = _recall(both, users["test"])
    return {
        "run": stored.checkpoint.path.resolve().parent.parent.name,
        "memory": kind,
        "edges": len(edges.to),
        "model, valid": f"{alone[0]:.4f}",
        "model, test": f"{alone[1]:.4f}",
        "memory alone": f"{memory:.4f}",
        "valid": f"{_recall(both, users['valid'])[0]:.4f}",
        "test": f"{found:.4f}",
        "gain": f"{found / max(alone[1], memory):.3f}",
        "weight": f"{numbers[0]:.3f}",
        "edges s": made - start,
        "fit s": fit - made,
        "evaluation": f"{seconds / plain_seconds:.2f}",
    }


def _recall(model: Retriever, users: EvaluationUsers) -> tuple[float, float]:
    """Return recall@50 without seen items, and the seconds of a second evaluation."""
    metrics = evaluate(model, users, (50,), filter_seen=True).metrics
    start = time.perf_counter()
    evaluate(model, users, (50,), filter_seen=True)
    return metrics["recall@50"], time.perf_counter() - start


if __name__ == "__main__":
    main()
