"""Match a model's parameters with variables that were named and shaped by other code.

A reading assigns variables to parameters such that one set of sizes explains all shapes. Among
several readings, the one with the most similar names wins; on a tie, the user must choose.
"""

import itertools
import math
import operator
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import jax

from reprise.errors import UsageError
from reprise.importers.tensorflow.object_graph import Variable
from reprise.models.registry import Model, ModelShape

Shape = tuple[int, ...]
Sizes = Mapping[str, int]

ROWS = "rows"
_TABLE_WORDS = ("item", "mid", "embedding")  # what an item table is called
_FREE = ("maxlen", "hidden_size", "num_interest")  # the table's width is embedding_dim
_MOST_READINGS = 2000  # with more, the match is ambiguous anyway


@dataclass(frozen=True)
class Reading:
    """A match: the model's sizes, and the variable of each parameter and of ROWS."""

    sizes: Sizes
    variables: Mapping[str, Variable]


def find_reading(
    model: Model,
    variables: tuple[Variable, ...],
    num_items: int,
    given: Sizes,
    chosen: Mapping[str, str],
    defaults: Sizes,
) -> Reading:
    """Match `variables` with the model's parameters and item table.

    Args:
        given: Sizes that the user requested.
        chosen: Names of variables by parameter (--map).
        defaults: Sizes that no shape depends on.

    Raises:
        UsageError: Nothing matches, or the match is ambiguous.
    """
    fixed = {name: _named(variables, wanted) for name, wanted in chosen.items()}
    readings: list[Reading] = []
    lacking: dict[str, None] = {}
    for table in _tables(variables, num_items, fixed.get(ROWS)):
        forms = _forms(model, table.shape[-1], given, defaults)
        if unknown := set(fixed) - {ROWS, *forms.parameters}:
            raise UsageError(
                "tf_unknown_parameter",
                name=min(unknown),
                known=", ".join([ROWS, *forms.parameters]),
            )
        others = tuple(variable for variable in variables if variable is not table)
        options = {
            parameter: list(
                _options(forms, parameter, (fixed[parameter],) if parameter in fixed else others)
            )
            for parameter in forms.parameters
        }
        lacking |= {parameter: None for parameter in options if not options[parameter]}
        readings += _readings(forms, table, options)
    if not readings:
        raise UsageError(
            "tf_no_reading", parameters=", ".join(lacking) or "-", variables=_listing(variables)
        )
    agreeing = [reading for reading in readings if given.items() <= reading.sizes.items()]
    if not agreeing:
        raise UsageError("tf_sizes_differ", differences=_differences(given, readings))
    return _clearest(agreeing)


def fits(variable: Shape, parameter: Shape) -> bool:
    """Return whether the variable's axes, ignoring size 1, merge adjacent axes of the parameter, so
    that a C-order reshape turns one into the other.
    """
    return math.prod(variable) == math.prod(parameter) and _prefixes(variable) <= _prefixes(
        parameter
    )


def _prefixes(shape: Shape) -> set[int]:
    return {1, *itertools.accumulate(shape, operator.mul)}


@dataclass(frozen=True)
class _Forms:
    """The parameters' shapes as functions of the unknown sizes.

    corners: the shapes by parameter with each unknown size at 1 or 2. Axes are multilinear in the
    sizes (K*d, 4*h, d+h), so the corners determine all other shapes.
    """

    fixed: Sizes
    unknown: tuple[str, ...]
    corners: Mapping[tuple[int, ...], Mapping[str, Shape]]

    @property
    def parameters(self) -> list[str]:
        return list(next(iter(self.corners.values())))

    def sizes_of(self, parameter: str) -> tuple[str, ...]:
        """Return the unknown sizes that the parameter's shape depends on."""
        return tuple(
            name
            for place, name in enumerate(self.unknown)
            if any(
                shapes[parameter] != self.corners[_flipped(corner, place)][parameter]
                for corner, shapes in self.corners.items()
            )
        )

    def shape(self, parameter: str, sizes: Sizes) -> Shape:
        """Return the parameter's shape; `sizes` must have all sizes it depends on."""
        total = [0] * len(next(iter(self.corners.values()))[parameter])
        for corner, shapes in self.corners.items():
            weight = 1
            for name, end in zip(self.unknown, corner, strict=True):
                size = sizes.get(name, 1)
                weight *= size - 1 if end == 2 else 2 - size
            axes = shapes[parameter]
            total = [before + weight * axis for before, axis in zip(total, axes, strict=True)]
        return tuple(total)


def _flipped(corner: tuple[int, ...], place: int) -> tuple[int, ...]:
    return (*corner[:place], 3 - corner[place], *corner[place + 1 :])


def _forms(model: Model, embedding_dim: int, given: Sizes, defaults: Sizes) -> _Forms:
    """Return the model's forms. If the model refuses some sizes (a hidden_size other than
    embedding_dim, a number of interests), try again with fewer unknown sizes.
    """
    width = {"embedding_dim": embedding_dim}
    tied = width | {"hidden_size": embedding_dim}
    kept = {**defaults, **given}
    single = {"num_interest": kept["num_interest"]}
    attempts = [width, tied, width | single, tied | single]
    for fixed in attempts:
        unknown = tuple(name for name in _FREE if name not in fixed)
        try:
            corners = {
                corner: _shapes(model, fixed | dict(zip(unknown, corner, strict=True)))
                for corner in itertools.product((1, 2), repeat=len(unknown))
            }
        except UsageError:
            if fixed is attempts[-1]:
                raise
            continue
        forms = _Forms(fixed, unknown, corners)
        silent = {
            name: kept[name]
            for name in unknown
            if all(name not in forms.sizes_of(parameter) for parameter in forms.parameters)
        }
        return _Forms({**fixed, **silent}, unknown, corners)
    raise AssertionError("the last attempt returns or raises")


def _shapes(model: Model, sizes: Sizes) -> dict[str, Shape]:
    shape = ModelShape(
        sizes["maxlen"], sizes["embedding_dim"], sizes["hidden_size"], sizes["num_interest"]
    )
    made = jax.eval_shape(lambda key: model.init(key, shape), jax.random.key(0))
    return {name: tuple(array.shape) for name, array in made.items()}


def _readings(
    forms: _Forms, table: Variable, options: Mapping[str, list[tuple[Variable, dict[str, int]]]]
) -> list[Reading]:
    """Return all consistent combinations of the parameters' options, with this table."""
    order = sorted(options, key=lambda parameter: len(options[parameter]))
    found: list[Reading] = []

    def join(place: int, sizes: dict[str, int], taken: dict[str, Variable]) -> None:
        if len(found) >= _MOST_READINGS:
            return
        if place == len(order):
            variables = {ROWS: table} | {name: taken[name] for name in options}
            found.append(Reading({**forms.fixed, **sizes}, variables))
            return
        for variable, needed in options[order[place]]:
            free = all(variable is not other for other in taken.values())
            if free and all(sizes.get(name, size) == size for name, size in needed.items()):
                join(place + 1, sizes | needed, taken | {order[place]: variable})

    join(0, {}, {})
    return found


def _options(
    forms: _Forms, parameter: str, variables: tuple[Variable, ...]
) -> Iterator[tuple[Variable, dict[str, int]]]:
    """Yield each variable that fits the parameter for some sizes, with these sizes."""
    names = forms.sizes_of(parameter)
    for variable in variables:
        possible = _possible_sizes(variable.shape, forms.fixed["embedding_dim"])
        for values in itertools.product(possible, repeat=len(names)):
            sizes = dict(zip(names, values, strict=True))
            if fits(variable.shape, forms.shape(parameter, sizes)):
                yield variable, sizes


def _possible_sizes(shape: Shape, embedding_dim: int) -> list[int]:
    """Return the possible sizes for axes of this shape: divisors of an axis, or of an axis minus
    embedding_dim (an RNN cell concatenates input and state).
    """
    axes = {axis for axis in shape if axis > 0} | {a - embedding_dim for a in shape}
    small = {(a, n) for a in axes if a > 0 for n in range(1, math.isqrt(a) + 1) if a % n == 0}
    return sorted({n for _, n in small} | {a // n for a, n in small})


def _tables(
    variables: tuple[Variable, ...], num_items: int, chosen: Variable | None
) -> list[Variable]:
    """Return the variables with one row per item plus the padding."""
    flat = [v for v in variables if len(v.shape) == 2]
    found = [v for v in flat if v.shape[0] == num_items + 1 and chosen in (None, v)]
    if not found:
        largest = chosen or max(flat, key=lambda v: v.shape[0], default=None)
        raise UsageError(
            "tf_table_differs",
            items=num_items,
            rows=num_items + 1,
            found="-" if largest is None else _line(largest),
        )
    return found


def _named(variables: tuple[Variable, ...], wanted: str) -> Variable:
    exact = [variable for variable in variables if variable.name == wanted]
    found = exact or [variable for variable in variables if wanted in variable.aliases]
    if len(found) != 1:
        raise UsageError("tf_unknown_variable", name=wanted, variables=_listing(variables))
    return found[0]


def _clearest(readings: list[Reading]) -> Reading:
    """Return the reading with the most similar names; raise UsageError on a tie."""
    scored = sorted(((_likeness(r), n) for n, r in enumerate(readings)), reverse=True)
    if len(readings) == 1 or scored[0][0] > scored[1][0]:
        return readings[scored[0][1]]
    tied = [readings[n] for score, n in scored if score == scored[0][0]]
    choices: dict[str, dict[str, None]] = {}
    for reading in tied:
        for parameter, variable in reading.variables.items():
            choices.setdefault(f"--map {parameter}=", {})[_line(variable)] = None
        for name, size in reading.sizes.items():
            choices.setdefault(f"--{name.replace('_', '-')} ", {})[str(size)] = None
    lines = [f"  {name}{' | '.join(found)}" for name, found in choices.items() if len(found) > 1]
    raise UsageError("tf_ambiguous", choices="\n".join(lines))


def _likeness(reading: Reading) -> float:
    """Return the number of words that the names of parameters and variables share; a word that is a
    prefix of the other counts half.
    """
    score = 0.0
    for parameter, variable in reading.variables.items():
        words = _TABLE_WORDS if parameter == ROWS else tuple(_words(parameter))
        theirs = [word for alias in variable.aliases for word in _words(alias)]
        for word in words:
            score += max((_alike(word, other) for other in theirs), default=0.0)
    return score


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^a-z]+", name.casefold()) if word]


def _alike(word: str, other: str) -> float:
    if word == other:
        return 1.0
    short, long = sorted((word, other), key=len)
    return 0.5 if len(short) >= 3 and long.startswith(short) else 0.0


def _differences(given: Sizes, readings: list[Reading]) -> str:
    found = {name: sorted({reading.sizes[name] for reading in readings}) for name in given}
    return "\n".join(
        f"  {name}: {' | '.join(map(str, found[name]))} -> {size}"
        for name, size in given.items()
        if found[name] != [size]
    )


def _listing(variables: tuple[Variable, ...]) -> str:
    return "\n".join(f"  {_line(variable)}" for variable in variables) or "  -"


def _line(variable: Variable) -> str:
    return f"{variable.name} {list(variable.shape)}"
