"""Match a model's parameters with variables that were named and shaped by other code.

A reading assigns variables to parameters such that one set of sizes explains all shapes, and no
trained variable is left over. Among several readings, the one with the most similar names wins; on
a tie, the user must choose.
"""

import itertools
import math
import operator
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from reprise.errors import UsageError
from reprise.importers.tensorflow.forms import Forms, Shape, Sizes, forms_of
from reprise.importers.tensorflow.names import (
    ORIGINAL,
    ROWS,
    TABLE,
    UNTRAINED,
    is_original,
    named_of,
)
from reprise.importers.tensorflow.object_graph import Variable
from reprise.models import registry

_TABLE_WORDS = ("item", "mid", "embedding")  # words in names of item tables
_SIZES = ("maxlen", "embedding_dim", "hidden_size", "num_interest")
_MOST_READINGS = 20_000  # with more, the match is ambiguous anyway
_SAME_NAME = 4.0  # a name of the original, against words in common


@dataclass(frozen=True)
class Reading:
    """A match: the model, its sizes, and the variable of each parameter and of ROWS."""

    model: str
    sizes: Sizes
    variables: Mapping[str, Variable]


@dataclass(frozen=True)
class Wanted:
    """What a reading is asked for.

    Attributes:
        num_items: The dataset's items.
        given: Sizes that the user requested.
        chosen: Names of variables by parameter (--map).
        ignored: Names of trained variables that are no part of the model (--ignore).
        defaults: Sizes that the model does not depend on.
    """

    num_items: int
    given: Sizes
    chosen: Mapping[str, str]
    ignored: frozenset[str]
    defaults: Sizes


def find_reading(name: str, variables: tuple[Variable, ...], wanted: Wanted) -> Reading:
    """Match `variables` with the parameters and the item table of a model.

    Raises:
        UsageError: Nothing matches, the match is ambiguous, a trained variable would be left over,
            the variables are another model's by their names, or a size is told by no shape.
    """
    if name in registry.UNTRAINED:
        raise UsageError("tf_untrained_model", model=name)
    fixed = {parameter: named(variables, one) for parameter, one in wanted.chosen.items()}
    suspects = _left_over(variables, wanted.ignored)
    _refuse_other(name, variables, suspects - {variable.key for variable in fixed.values()})
    found, lacking, untold = _search(name, variables, wanted, fixed, suspects)
    if not found.whole and not found.partial:
        parameters = ", ".join(lacking) or "-"
        values = {"model": name, "parameters": parameters, "variables": listing(variables)}
        raise UsageError("tf_no_reading", **values)
    if not found.whole:
        raise _unused(found.partial, found.suspects, variables)
    given = {size: value for size, value in wanted.given.items() if size in _SIZES}
    agreeing = [reading for reading in found.whole if given.items() <= reading.sizes.items()]
    if not agreeing:
        differences = _differences(given, found.whole)
        raise UsageError("tf_sizes_differ", model=name, differences=differences)
    reading = _clearest(agreeing)
    if missing := [size for size in untold if size not in given]:
        options_missing = " ".join(f"--{size.replace('_', '-')} N" for size in missing)
        raise UsageError("tf_sizes_untold", model=name, options=options_missing)
    return reading


def _search(
    name: str,
    variables: tuple[Variable, ...],
    wanted: Wanted,
    fixed: Mapping[str, Variable],
    suspects: frozenset[str],
) -> tuple["_Found", Collection[str], tuple[str, ...]]:
    """Return all readings, the parameters that no variable fits, and the sizes that none tells."""
    found = _Found([], [], suspects)
    lacking: list[str] = []
    untold: tuple[str, ...] = ()
    kept = {**wanted.defaults, **wanted.given}
    for table in _tables(variables, wanted.num_items, fixed.get(ROWS)):
        forms = forms_of(name, table.shape[-1], kept, wanted.chosen)
        untold = forms.untold
        if unknown := set(fixed) - {ROWS, *forms.all_parameters}:
            known = ", ".join([ROWS, *forms.all_parameters])
            raise UsageError("tf_unknown_parameter", name=min(unknown), known=known)
        others = tuple(variable for variable in variables if variable is not table)
        options = {
            parameter: list(
                _options(forms, parameter, (fixed[parameter],) if parameter in fixed else others)
            )
            for parameter in forms.parameters
        }
        lacking = _lacking(name, options)
        _collect(forms, table, options, found)
    return found, lacking, untold


def _lacking(name: str, options: Mapping[str, list[tuple[Variable, dict[str, int]]]]) -> list[str]:
    """Return the parameters left without a variable where those named as in the original, and then
    the others, take one that fits.
    """
    original = ORIGINAL.get(name, {})
    taken: dict[str, str] = {}
    for by_name in (True, False):
        for parameter in options:
            for variable, _ in options[parameter]:
                if by_name and not is_original(variable.name, original.get(parameter, "?")):
                    continue
                if parameter not in taken.values() and variable.key not in taken:
                    taken[variable.key] = parameter
    return [parameter for parameter in options if parameter not in taken.values()]


def _refuse_other(name: str, variables: tuple[Variable, ...], suspects: frozenset[str]) -> None:
    """Raise UsageError where the suspects' names are those of another model alone."""
    claims = {
        variable.name: model
        for variable in variables
        if variable.key in suspects and (model := named_of(variable.aliases)) is not None
    }
    if claims and name not in claims.values():
        others = " | ".join(sorted(set(claims.values())))
        raise UsageError("tf_named_otherwise", model=name, others=others, names=", ".join(claims))


def _left_over(variables: tuple[Variable, ...], ignored: frozenset[str]) -> frozenset[str]:
    """Return the keys of the variables that a reading must use: those that are trained, or where
    no optimizer tells, all but those that the original does not train.
    """
    told = any(variable.trained for variable in variables)
    set_aside = {named(variables, name).key for name in ignored}
    return frozenset(
        variable.key
        for variable in variables
        if (variable.trained if told else not _is_untrained(variable))
        and variable.key not in set_aside
    )


def _is_untrained(variable: Variable) -> bool:
    return any(is_original(alias, name) for alias in variable.aliases for name in UNTRAINED)


def _unused(
    partial: list[Reading], suspects: frozenset[str], variables: tuple[Variable, ...]
) -> UsageError:
    """Return the refusal of readings that leave variables over, for the clearest of those that
    leave the fewest.
    """

    def left(reading: Reading) -> frozenset[str]:
        return suspects - {variable.key for variable in reading.variables.values()}

    fewest = min(len(left(reading)) for reading in partial)
    best = _clearest([reading for reading in partial if len(left(reading)) == fewest])
    over = sorted(variable.name for variable in variables if variable.key in left(best))
    told = any(variable.trained for variable in variables)
    return UsageError(
        "tf_unused_trained" if told else "tf_unused_perhaps",
        model=best.model,
        names=", ".join(over),
        count=len(over),
        options=" ".join(f"--ignore {name}" for name in over),
    )


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
class _Found:
    """Readings found so far: `whole` use all `suspects`, `partial` leave some of them over."""

    whole: list[Reading]
    partial: list[Reading]
    suspects: frozenset[str]


def _collect(
    forms: Forms,
    table: Variable,
    options: Mapping[str, list[tuple[Variable, dict[str, int]]]],
    found: _Found,
) -> None:
    """Add all consistent combinations of the parameters' options, with this table."""
    order = sorted(options, key=lambda parameter: len(options[parameter]))

    def join(place: int, sizes: dict[str, int], taken: dict[str, Variable]) -> None:
        if len(found.whole) + len(found.partial) >= _MOST_READINGS:
            return
        if place == len(order):
            variables = {ROWS: table} | {name: taken[name] for name in options}
            used = {variable.key for variable in variables.values()}
            readings = found.whole if found.suspects <= used else found.partial
            readings.append(Reading(forms.model, {**forms.fixed, **sizes}, variables))
            return
        for variable, needed in options[order[place]]:
            free = all(variable is not other for other in taken.values())
            if free and all(sizes.get(name, size) == size for name, size in needed.items()):
                join(place + 1, sizes | needed, taken | {order[place]: variable})

    join(0, {}, {})


def _options(
    forms: Forms, parameter: str, variables: tuple[Variable, ...]
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


def named(variables: tuple[Variable, ...], wanted: str) -> Variable:
    """Return the variable of a name; UsageError where there is none, or several."""
    exact = [variable for variable in variables if variable.name == wanted]
    found = exact or [variable for variable in variables if wanted in variable.aliases]
    if len(found) != 1:
        raise UsageError("tf_unknown_variable", name=wanted, variables=listing(variables))
    return found[0]


def _clearest(readings: list[Reading]) -> Reading:
    """Return the reading with the most similar names; raise UsageError on a tie."""
    scored = sorted(((likeness(r), n) for n, r in enumerate(readings)), reverse=True)
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


def likeness(reading: Reading) -> float:
    """Return the number of words that the names of parameters and variables share; a word that is a
    prefix of the other counts half, a name of the original more.
    """
    score = 0.0
    original = {ROWS: TABLE, **ORIGINAL.get(reading.model, {})}
    for parameter, variable in reading.variables.items():
        if any(is_original(alias, original.get(parameter, "")) for alias in variable.aliases):
            score += _SAME_NAME
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


def listing(variables: tuple[Variable, ...]) -> str:
    """Return variables with their shapes, a line each."""
    return "\n".join(f"  {_line(variable)}" for variable in variables) or "  -"


def _line(variable: Variable) -> str:
    return f"{variable.name} {list(variable.shape)}"
