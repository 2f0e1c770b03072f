"""The memory that a configuration asks for: which edges, of which data."""

from typing import Any

from reprise.config.schema import TrainConfig
from reprise.data.sequences import Sequences
from reprise.errors import UsageError
from reprise.memory.edges import Edges

EDGES_KEY = "edges"  # of a run's identity: their digest


def edges_of(config: TrainConfig, train: Sequences, num_items: int) -> Edges | None:
    """Return the edges that a configuration asks for, from training sequences; None: no memory.

    Raises:
        UsageError: There are too many items for a ridge regression.
    """
    if config.memory == "none":
        return None
    if config.memory == "rules":
        from reprise.memory.rules import counted_edges  # scipy takes time to import

        return counted_edges(train, num_items, config.memory_edges)
    from reprise.memory.ridge import MOST_SOLVED, ridge_edges

    if num_items > MOST_SOLVED:
        raise UsageError("memory_too_large", items=num_items, most=MOST_SOLVED)
    return ridge_edges(train, num_items, config.memory_edges)


def digest(edges: Edges | None) -> dict[str, Any]:
    """Return what of a run's identity binds it to these edges; nothing where there are none."""
    return {} if edges is None else {EDGES_KEY: edges.digest}
