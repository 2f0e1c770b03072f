"""Measure HNSW over a Books-sized catalogue: recall@50 and users a second, by
python benchmarks/index.py

V = 367,982 items, d = 64, K = 4 interests a user. Trained vectors lie in clusters, and their norms
differ: items are drawn around V / 200 centres, interests near the centres of the user's items.
`--random` draws items without any structure, the worst case for a graph, and interests as weighted
means of 20 of them.

A row is links (by the items' directions, or by the vectors themselves), an m, an ef_construction
and an ef_search, built as `reprise export --index faiss:hnsw` does and searched as `reprise serve`
searches: the candidates of all interests, scored exactly.
"exact" is the search without an index.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from common import machine, make_parser, print_facts, print_table, seconds_of, write_json
from reprise.serving import index

ITEMS, DIM, INTERESTS, TOP_N = 367_982, 64, 4, 50
Floats = NDArray[np.float32]


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--m", nargs="+", type=int, default=[32])
    parser.add_argument("--ef-construction", nargs="+", type=int, default=[200])
    parser.add_argument("--ef-search", nargs="+", type=int, default=[64, 128, 256, 512])
    parser.add_argument("--links", nargs="+", choices=index.LINKS, default=list(index.LINKS))
    parser.add_argument("--random", action="store_true", help="Items without structure.")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    rng = np.random.default_rng(options.seed)
    make = unstructured if options.random else clustered
    items, interests = make(rng, options.items, options.users)
    facts = machine() | {"faiss": index.version()}
    print_facts(facts)
    rows = [
        row
        for m in options.m
        for ef_construction in options.ef_construction
        for links in options.links
        for row in _measured(
            items, interests, index.Kind("hnsw", m, ef_construction, links=links), options.ef_search
        )
    ]
    print()
    print_table(rows)
    write_json(options.json, facts, rows)


def _measured(
    items: Floats, interests: Floats, kind: index.Kind, widths: list[int]
) -> list[dict[str, str | int | float]]:
    built: list[index.ItemIndex] = []
    seconds = seconds_of(lambda: built.append(index.build(items, kind)))
    rows: list[dict[str, str | int | float]] = []
    for ef_search in widths:
        own = replace(kind, ef_search=ef_search)
        found = index.measure(built[0], own, interests, TOP_N, "random")
        rows.append(
            {
                "links": kind.links,
                "m": kind.m,
                "ef_construction": kind.ef_construction,
                "ef_search": ef_search,
                "built in s": round(seconds),
                "recall@50": f"{found.recall:.4f}",
                "users/s": found.users_per_second,
                "exact users/s": found.exact_per_second,
            }
        )
        print_facts(rows[-1])
    return rows


def clustered(rng: np.random.Generator, count: int, users: int) -> tuple[Floats, Floats]:
    """Return items [V, d] in clusters, of norms that differ, and interests [U, K, d] near some."""
    centres = rng.normal(size=(max(20, count // 200), DIM)).astype(np.float32)
    cluster = rng.integers(0, len(centres), count)
    items = centres[cluster] + rng.normal(size=(count, DIM)).astype(np.float32)
    items *= np.exp(rng.normal(0, 0.25, (count, 1))).astype(np.float32)
    near = centres[cluster[rng.integers(0, count, (users, INTERESTS))]]
    noise = rng.normal(0, 0.5, near.shape)
    return items, (0.7 * near + noise).astype(np.float32)


def unstructured(rng: np.random.Generator, count: int, users: int) -> tuple[Floats, Floats]:
    """Return uniform items [V, d], and interests [U, K, d]: weighted means of 20 of them."""
    items = rng.uniform(-1, 1, (count, DIM)).astype(np.float32)
    weights = rng.dirichlet(np.full(20, 0.5), (users, INTERESTS)).astype(np.float32)
    history = items[rng.integers(0, count, (users, 20))]
    return items, np.einsum("ukl,uld->ukd", weights, history).astype(np.float32)


if __name__ == "__main__":
    main()
