"""Measure whole-catalogue evaluation against other programs and the machine: users a second, by
python benchmarks/evaluate.py

    books     V = 367,982 items, d = 64, K = 4 interests, top 50, ComiRec-SA over L = 20 items
    taobao    V = 1,708,530, the same but for L = 50

reprise       `evaluate`, the whole call: interests, search, metrics
search        its search alone, over ready interests
faiss         each interest's top 50 by faiss (IndexFlatIP's knn on all cores, one call), merged
NumPy         the scores of 64 users at a time by BLAS on all cores, their maximum over interests,
              argpartition, and a sort of what it leaves

"of peak" is the time that the scores' matrix product alone, 2 U K V d FLOPs, would take at the
sgemm peak, over the time taken. All take turns, and the peak is measured in each round; a row is
the median over rounds. Item vectors are random; in a trained catalogue popular items, which come
first, score more, which can only leave the search less to do. The lists of all are compared.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import faiss
import numpy as np
from numpy.typing import NDArray

from common import (
    Peaks,
    machine,
    make_parser,
    print_facts,
    print_table,
    seconds_of,
    synthetic_split,
    write_json,
)
from reprise.data.dataset import SPLITS, Dataset
from reprise.data.sequences import EvaluationUsers
from reprise.evaluation.evaluate import evaluate
from reprise.models.registry import ModelShape, get_model
from reprise.models.scoring import COMIREC
from reprise.retrieval.ranking import merge
from reprise.retrieval.search import Chunk, search, worker_threads
from reprise.retrieval.vectors import retriever_of, user_vectors
from reprise.training.step import initial_arrays

Lists = NDArray[np.int64]
Floats = NDArray[np.float32]

TOP_N, CHUNK = 50, 256
SHAPES = {
    "books": (367_982, ModelShape(20, 64, 64, 4)),
    "taobao": (1_708_530, ModelShape(50, 64, 64, 4)),
}
MODEL = "ComiRec-SA"
PROMISED = 0.55  # of the peak, at Books' shape


@dataclass
class Subject:
    """A program that lists items for all users; seconds a call."""

    name: str
    call: Callable[[], Lists]
    times: list[float] = field(default_factory=list)
    lists: Lists | None = None

    def take_turn(self) -> None:
        """Make the lists once, and keep the time and the lists."""

        def work() -> None:
            self.lists = self.call()

        self.times.append(seconds_of(work))


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=["books"])
    parser.add_argument("--users", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-peers", action="store_true", help="Only ours and the peak.")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    peaks = Peaks()
    rows = [row for name in options.shapes for row in _measure(name, options, peaks)]
    facts = machine() | {"faiss": faiss.__version__} | peaks.as_dict()
    print_facts(facts | {"rounds": options.rounds})
    print()
    print_table(rows)
    whole = [row for row in rows if (row["shape"], row["by"]) == ("books", "reprise")]
    for row in whole:
        verdict = "kept" if float(row["of peak"]) >= PROMISED else "BROKEN"
        print(f"\npromise: books evaluated at {PROMISED:g} of the sgemm peak: {verdict}")
    write_json(options.json, facts, rows)


def _measure(
    shape_name: str, options: argparse.Namespace, peaks: Peaks
) -> list[dict[str, str | int | float]]:
    num_items, shape = SHAPES[shape_name]
    model = get_model(MODEL)
    arrays = initial_arrays(model, shape, num_items, options.seed, embedding_scale=1.0)
    retriever = retriever_of(model, COMIREC, arrays)
    users = make_users(num_items, shape.history_length, options.users, options.seed)
    items = np.ascontiguousarray(retriever.item_vectors()[1:])
    ready = np.concatenate(list(user_vectors(retriever, users)))[: options.users]

    def whole() -> Lists:
        return evaluate(retriever, users, (20, TOP_N)).ids

    def search_alone() -> Lists:
        chunks = (Chunk(ready[start:][:CHUNK], TOP_N) for start in range(0, len(ready), CHUNK))
        return np.concatenate([ranking.ids for ranking in search(chunks, items)])

    subjects = [Subject("reprise", whole), Subject("search", search_alone)]
    if not options.no_peers:
        subjects.append(Subject("faiss", lambda: _by_faiss(ready, items)))
        subjects.append(Subject("NumPy", lambda: _by_numpy(ready, items)))
    for _ in range(options.rounds + 1):  # the first of them warms up
        peaks.measure()
        for subject in subjects:
            subject.take_turn()
    flops = 2 * ready.size * num_items
    return [
        _row(shape_name, subject, subjects[0], options.users, flops, peaks) for subject in subjects
    ]


def _row(
    shape_name: str, subject: Subject, ours: Subject, users: int, flops: float, peaks: Peaks
) -> dict[str, str | int | float]:
    assert subject.lists is not None
    assert ours.lists is not None
    took = median(subject.times[1:])
    ratios = [time / base for time, base in zip(subject.times[1:], ours.times[1:], strict=True)]
    return {
        "shape": shape_name,
        "by": subject.name,
        "users/s": users / took,
        "of peak": flops / peaks.gflops / 1e9 / took,
        "time over reprise's": median(ratios),
        "lists as reprise's": float((subject.lists == ours.lists).all(axis=1).mean()),
    }


def make_users(num_items: int, length: int, count: int, seed: int) -> EvaluationUsers:
    """Return synthetic users to evaluate."""
    split = synthetic_split(num_items, count, seed)
    category = np.full(num_items + 1, -1, np.int32)
    dataset = Dataset("b", Path("b"), num_items, "", dict.fromkeys(SPLITS, split), category, {})
    return dataset.evaluation_users("test", length)


def _by_faiss(interests: Floats, items: Floats) -> Lists:
    users, count, dim = interests.shape
    faiss.omp_set_num_threads(worker_threads())
    scores, index = faiss.knn(
        interests.reshape(-1, dim), items, TOP_N, metric=faiss.METRIC_INNER_PRODUCT
    )
    shape = (users, count, TOP_N)
    return merge(index.reshape(shape) + 1, scores.reshape(shape)).ids[:, :TOP_N]


def _by_numpy(interests: Floats, items: Floats) -> Lists:
    lists = []
    for start in range(0, len(interests), 64):
        some = interests[start:][:64]
        scores = (
            (some.reshape(-1, some.shape[2]) @ items.T).reshape(*some.shape[:2], -1).max(axis=1)
        )
        best = np.argpartition(scores, -TOP_N, axis=1)[:, -TOP_N:]
        order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable")
        lists.append(np.take_along_axis(best, order, 1) + 1)
    return np.concatenate(lists)


if __name__ == "__main__":
    main()
