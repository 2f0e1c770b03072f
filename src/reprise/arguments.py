"""Check what a program passes to the Python API, by the signatures of its functions."""

import functools
import inspect
import re
import types
from collections.abc import Callable, Collection, Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

from reprise.config.load import field_of
from reprise.errors import RepriseError, UsageError
from reprise.views import Group, Run

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_NUMBERS: Mapping[type, type] = {int: Integral, float: Real}  # NumPy's are these, too
_SHOWN = (str, int, float, Path, type(None))  # kinds of values that an error shows as they are


def of_python(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Make a function of the Python API: arguments of a wrong type are refused by name, and errors
    name keywords instead of flags.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*values: _Arguments.args, **keywords: _Arguments.kwargs) -> _Result:
        given = signature.bind(*values, **keywords).arguments
        try:
            check_types(function, given)
            return function(*values, **keywords)
        except RepriseError as error:
            error.in_keywords = True
            _name_as_given(error, keywords)
            raise

    return checked


def _name_as_given(error: RepriseError, keywords: Mapping[str, Any]) -> None:
    """Name the setting of an error by the keyword that was used: steps, not max_steps."""
    option = error.values.get("option")
    for name in keywords:
        if name != option and field_of(name) == option:
            error.values["option"] = name


def check_types(function: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Raise UsageError for the first of the arguments that has another type than its annotation;
    names that the function does not declare are checked as its `**` parameter.
    """
    parameters = inspect.signature(function).parameters
    others = [one for one in parameters.values() if one.kind is one.VAR_KEYWORD]
    for name, value in given.items():
        declared = parameters.get(name, *others)
        if declared is None or (name in parameters and declared in others):
            continue
        wanted = declared.annotation
        if not _fits(value, wanted):
            if isinstance(value, Group) and Run in get_args(wanted):
                raise UsageError("group_is_several", name=value.name, count=len(value.runs))
            part = _first_misfit(value, wanted)
            shown = part if isinstance(part, _SHOWN) else type(part).__name__
            expected = _named(wanted)
            raise UsageError("bad_value", option=name, value=shown, expected=expected)


def _fits(value: Any, wanted: Any) -> bool:
    """Return whether a value is of a type, as far as its annotation is one that is used here."""
    origin, parts = get_origin(wanted), get_args(wanted)
    if wanted is Any or isinstance(wanted, str | TypeVar):
        return True
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return isinstance(value, str) and value in parts
    if isinstance(origin, type) and issubclass(origin, Iterable):
        if isinstance(value, str | bytes) or not isinstance(value, Iterable):
            return False
        # An iterator is not read here.
        return not isinstance(value, Collection) or all(_fits(one, parts[0]) for one in value)
    if wanted in _NUMBERS:
        return isinstance(value, _NUMBERS[wanted]) and not isinstance(value, bool)
    return wanted is None or isinstance(value, wanted) if value is not None else _is_none(wanted)


def _is_none(wanted: Any) -> bool:
    return wanted in (None, type(None))


def _first_misfit(value: Any, wanted: Any) -> Any:
    """Return the first element that no list of the wanted type may hold; else the value itself."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Collection):
        return value
    of_lists = [
        get_args(part)[0]
        for part in get_args(wanted)
        if isinstance(get_origin(part), type) and issubclass(get_origin(part), Iterable)
    ]
    misfits = [one for one in value if not any(_fits(one, part) for part in of_lists)]
    return misfits[0] if of_lists and misfits else value


def _named(annotation: Any) -> str:
    """Return an annotation as a program writes it, without modules, and the values of a Literal."""
    text = re.sub(r"[\w.]+\.(?=\w)", "", inspect.formatannotation(annotation))
    return re.sub(
        r"Literal\[([^]]*)\]", lambda found: found[1].replace("'", "").replace(", ", " | "), text
    )
