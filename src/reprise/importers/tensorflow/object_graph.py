"""TF2's object graph: find the model's variables and their Adam moments.

`tf.train.Checkpoint` stores the graph of its objects: nodes with named children, a key for each
stored value, and Keras's and TensorFlow's optimizers as nodes.
"""

import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_VALUE = "VARIABLE_VALUE"
_SUFFIX = f"/.ATTRIBUTES/{_VALUE}"
# Keras 3 keeps the model's variables in its optimizer, too, in the order of the moments.
_ORDER = "_trainable_variables"
# Children that only an optimizer has: Keras 3 and 2.11+, Keras 2 before.
_MARKS = ({"_iterations"}, {"_momentums", "_velocities"}, {"iter", "learning_rate"})
_STEPS = ("_iterations", "iter", "iterations")
# What Adam is called, as a part of a variable's name. AdamW, Nadam, RMSprop and others keep moments
# of the same names and shapes that mean something else.
_ADAM = re.compile(r"(.*[^a-z])?(lazy_?)?adam(_?optimizer)?(_\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Stored:
    """A stored value's shape, and whether it is floating point."""

    shape: tuple[int, ...]
    floating: bool


@dataclass(frozen=True)
class Variable:
    """A variable of the model.

    Attributes:
        name: The name that is shown, and accepted by --map.
        key: The key it is stored under.
        shape: Its shape.
        aliases: All its names.
        moments: The keys of Adam's m and v; None if they are missing or ambiguous.
        trained: Whether an optimizer trains it.
        contested: Whether several optimizers keep state of it.
    """

    name: str
    key: str
    shape: tuple[int, ...]
    aliases: frozenset[str]
    moments: tuple[str, str] | None
    trained: bool = False
    contested: bool = False


@dataclass(frozen=True)
class Scalars:
    """The keys of a checkpoint's training state, where stored.

    several: Whether there are several optimizers, so that it is unclear whose state is the model's.
    """

    iterations: str | None = None
    beta2_power: str | None = None
    learning_rate: str | None = None
    best_metric: str | None = None
    several: bool = False


def is_adam(name: str) -> bool:
    """Return whether a part of this name between slashes is Adam's."""
    return any(_ADAM.fullmatch(part) for part in name.split("/"))


class Graph:
    """The object graph as plain values by node number; node 0 is the checkpoint itself."""

    def __init__(self, proto: Any) -> None:
        self.children: list[dict[str, int]] = [
            {child.local_name: child.node_id for child in node.children} for node in proto.nodes
        ]
        self.keys: dict[int, str] = {}
        self.full_names: dict[int, str] = {}
        self.slots: list[dict[int, dict[str, int]]] = []
        for number, node in enumerate(proto.nodes):
            for attribute in node.attributes:
                if attribute.name == _VALUE:
                    self.keys[number] = attribute.checkpoint_key
                    self.full_names[number] = attribute.full_name
            slots: dict[int, dict[str, int]] = {}
            for slot in node.slot_variables:
                named = slots.setdefault(slot.original_variable_node_id, {})
                named[slot.slot_name] = slot.slot_variable_node_id
            self.slots.append(slots)

    def is_optimizer(self, node: int) -> bool:
        """Return whether the node is an optimizer."""
        names = set(self.children[node])
        return bool(self.slots[node]) or any(mark <= names for mark in _MARKS)

    def child_key(self, node: int, *names: str) -> str | None:
        """Return the key of the first of the named children that is stored."""
        found = (self.children[node].get(name, -1) for name in names)
        return next((self.keys[child] for child in found if child in self.keys), None)

    def listed(self, node: int, name: str) -> dict[int, int]:
        """Return the nodes of a list that is a child of `node`, by index."""
        child = self.children[node].get(name)
        items = {} if child is None else self.children[child]
        return {int(index): item for index, item in items.items() if index.isdecimal()}

    def paths(self) -> dict[int, str]:
        """Return the shortest path to each node that is reached without entering an optimizer."""
        paths, queue = {0: ""}, deque([0])
        while queue:
            node = queue.popleft()
            for name, child in self.children[node].items():
                if child not in paths and not self.is_optimizer(child):
                    paths[child] = f"{paths[node]}/{name}".lstrip("/")
                    queue.append(child)
        return paths


def parse_graph(serialized: bytes) -> Graph:
    """Parse a checkpoint's object graph."""
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    proto = trackable_object_graph_pb2.TrackableObjectGraph()
    proto.ParseFromString(serialized)
    return Graph(proto)


def read_graph(graph: Graph, stored: Mapping[str, Stored]) -> tuple[tuple[Variable, ...], Scalars]:
    """Return the model's variables with their moments, and where the scalars are stored."""
    optimizers = [node for node in range(len(graph.children)) if graph.is_optimizer(node)]
    names = {node: path for node, path in graph.paths().items() if node in graph.keys}
    for optimizer in optimizers:
        for node in graph.listed(optimizer, _ORDER).values():
            names.setdefault(node, graph.keys.get(node, "").removesuffix(_SUFFIX))
    named = {
        node: name
        for node, name in names.items()
        if graph.keys.get(node) in stored and stored[graph.keys[node]].floating
    }
    trainers = {node: [one for one in optimizers if _trains(graph, one, node)] for node in named}
    kept = {
        node: name
        for node, name in named.items()
        if stored[graph.keys[node]].shape or trainers[node]
    }
    moments = _moments(graph, optimizers, kept, stored)
    variables = tuple(
        Variable(
            name=name,
            key=graph.keys[node],
            shape=stored[graph.keys[node]].shape,
            aliases=frozenset(
                {name, graph.keys[node].removesuffix(_SUFFIX), graph.full_names[node]}
            ),
            moments=moments.get(node) if len(trainers[node]) == 1 else None,
            trained=bool(trainers[node]),
            contested=len(trainers[node]) > 1,
        )
        for node, name in sorted(kept.items(), key=lambda pair: pair[1])
    )
    return variables, _scalars(graph, optimizers, stored)


def _scalars(graph: Graph, optimizers: list[int], stored: Mapping[str, Stored]) -> Scalars:
    def only(*names: str) -> str | None:
        return keys.pop() if len(keys := keys_of(*names)) == 1 else None

    def keys_of(*names: str) -> set[str]:
        found = (graph.child_key(node, *names) for node in optimizers)
        return {key for key in found if key is not None}

    def updates(node: int) -> str | None:
        return graph.child_key(node, *_STEPS, "beta2_power")

    several = len({updates(node) for node in optimizers if updates(node) is not None}) > 1
    adam = all(_is_adam(graph, node) for node in optimizers)
    best = [
        graph.keys[node]
        for name, node in graph.children[0].items()
        if "best" in name.casefold() and graph.keys.get(node) in stored
    ]
    best = [key for key in best if stored[key] == Stored((), True)]
    return Scalars(
        iterations=None if several else only(*_STEPS),
        beta2_power=None if several else only("beta2_power"),
        # Another optimizer's learning rate means nothing for Adam.
        learning_rate=only("_learning_rate", "learning_rate") if adam and not several else None,
        best_metric=best[0] if len(best) == 1 else None,
        several=several,
    )


def _is_adam(graph: Graph, optimizer: int) -> bool:
    """Return whether the names of an optimizer's own variables say that it is Adam."""
    own = {*graph.children[optimizer].values(), *_state(graph, optimizer)}
    own |= {slot for slots in graph.slots[optimizer].values() for slot in slots.values()}
    return any(is_adam(graph.full_names.get(node, "")) for node in own)


def _state(graph: Graph, optimizer: int) -> set[int]:
    """Return what an optimizer lists as its own: moments and the like."""
    names = ("_variables", "_momentums", "_velocities")
    return {node for name in names for node in graph.listed(optimizer, name).values()}


def _trains(graph: Graph, optimizer: int, variable: int) -> bool:
    """Return whether an optimizer lists a variable, or keeps state of it or of its name."""
    name = graph.full_names[variable]
    return (
        variable in graph.listed(optimizer, _ORDER).values()
        or variable in graph.slots[optimizer]
        or any(
            graph.full_names.get(node, "").endswith(f"/{name}")
            for node in _state(graph, optimizer) - {variable}
        )
    )


def _moments(
    graph: Graph, optimizers: list[int], variables: Iterable[int], stored: Mapping[str, Stored]
) -> dict[int, tuple[str, str]]:
    """Return the keys of each variable's m and v, found by, in this order: slots; lists in a
    recorded order; names of the moments. Shapes must agree, and the names must be Adam's. A
    variable of two optimizers is ambiguous and left out.
    """
    found: dict[int, set[tuple[str, str]]] = {}
    for optimizer in optimizers:
        for variable in variables:
            for pair in _pairs(graph, optimizer, variable):
                keys = tuple(graph.keys.get(node, "") for node in (variable, *pair))
                own = graph.full_names[variable]
                named = all(is_adam(graph.full_names.get(n, "").replace(own, "")) for n in pair)
                there = all(key in stored for key in keys)
                if named and there and len({stored[key].shape for key in keys}) == 1:
                    found.setdefault(variable, set()).add((keys[1], keys[2]))
                    break
    return {node: pairs.pop() for node, pairs in found.items() if len(pairs) == 1}


def _pairs(graph: Graph, optimizer: int, variable: int) -> Iterable[tuple[int, int]]:
    slots = graph.slots[optimizer].get(variable, {})
    if {"m", "v"} <= set(slots):
        yield slots["m"], slots["v"]
    first, second = (graph.listed(optimizer, name) for name in ("_momentums", "_velocities"))
    for index, node in graph.listed(optimizer, _ORDER).items():
        if node == variable and index in first and index in second:
            yield first[index], second[index]
    # Keras 2.11+ records no order, but names: Adam/m/<variable>, Adam/v/<variable>.
    pools = [
        [node for node in set(nodes) if _is_moment(graph, node, letter, variable)]
        for letter, nodes in (
            ("m", [*first.values(), *graph.listed(optimizer, "_variables").values()]),
            ("v", [*second.values(), *graph.listed(optimizer, "_variables").values()]),
        )
    ]
    namesakes = list(graph.full_names.values()).count(graph.full_names[variable])
    if namesakes == 1 and len(pools[0]) == len(pools[1]) == 1:
        yield pools[0][0], pools[1][0]


def _is_moment(graph: Graph, node: int, letter: str, variable: int) -> bool:
    name = graph.full_names.get(node, "")
    return f"/{name}".endswith(f"/{letter}/{graph.full_names[variable]}")
