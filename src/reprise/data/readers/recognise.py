"""Recognise the format of a source, and read it into `Interactions`.

Rows of one file keep its order, as do those of parts named after splits, train first. Any other
parts are a set: the result does not depend on how many there are, on their names, or on which rows
are in which.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from reprise.data import TIES
from reprise.data.readers import FORMATS, foreign
from reprise.data.readers.aside import left_aside, useful
from reprise.data.readers.choice import Told, choose
from reprise.data.readers.columns import SOUGHT, Columns, refuse_one_for_two
from reprise.data.readers.dialect import dialect_of
from reprise.data.readers.format import (
    NOTHING_ASKED,
    NULLS,
    Asked,
    Format,
    Found,
    FoundSplit,
    OnProgress,
    ignore_progress,
    unknown_format,
)
from reprise.data.readers.given import Given, Source, given
from reprise.data.readers.interactions import Collected, Interactions, collect, unit_of
from reprise.data.store import Memory, Store
from reprise.errors import DataError, UsageError
from reprise.text.suggest import suggest

_NAMED_FILES = 20  # of a source, that meta.json names


def asked_of(
    format_name: str | None = None,
    behaviours: str | None = None,
    separator: str | None = None,
    quote: str | None = None,
    encoding: str | None = None,
    null_values: str | None = None,
    drop_invalid: bool = False,
    ties: str | None = None,
    events: str | Sequence[str] | None = None,
    target_events: str | Sequence[str] | None = None,
    min_rating: float | None = None,
    **columns: str | None,
) -> Asked:
    """Return what a command line asks: columns as <what>_col; behaviours, events and texts that are
    no values separated by commas ("none": every text is one).
    """
    known = {f"{what}_col": what for what in Columns._fields}
    for name in columns:
        if name not in known:
            others = [one for one in signature(asked_of).parameters if one != "columns"]
            suggestion = suggest([*known, *others], name)
            raise UsageError("unknown_key", option=name, suggestion=suggestion)
    named = Columns(**{known[name]: given for name, given in columns.items()})
    if (events or target_events) and named.event is None:
        named = named._replace(event=SOUGHT)
    if min_rating is not None and named.rating is None:
        named = named._replace(rating=SOUGHT)
    counted = None if behaviours is None else tuple(map(str.strip, behaviours.split(",")))
    nulls = NULLS
    if null_values is not None:
        nulls = () if null_values == "none" else tuple(map(str.strip, null_values.split(",")))
    dialect = dialect_of(separator, quote, encoding)
    taken, sought = (_events(one) for one in (events, target_events))
    return Asked(
        format_name,
        named,
        counted,
        dialect,
        nulls,
        drop_invalid,
        ties,
        taken,
        sought,
        min_rating,
    )


def _events(asked: str | Sequence[str] | None) -> tuple[str, ...] | None:
    if asked is None:
        return None
    named = asked.split(",") if isinstance(asked, str) else asked
    return tuple(filter(None, (str(event).strip() for event in named)))


def get_format(name: str) -> Format:
    """Return the format registered as `name`."""
    found: Format = import_module(FORMATS[name]).FORMAT
    return found


def recognise(source: Path) -> str | None:
    """Return the name of the first format that recognises a source, None where none does."""
    return next((name for name in FORMATS if get_format(name).recognises(source)), None)


def recognised(source: Source, asked: Asked) -> tuple[str, Given]:
    """Return the format of a source, and what of it is read: what a pattern found and is of none
    is left aside; DataError where there is no format, or several.
    """
    whole = given(source)
    if asked.format_name is not None:
        return asked.format_name, whole
    names = {path: recognise(path) for path in whole.paths}
    if any(names.values()):
        passed = [path for path in whole.matched if names[path] is None]
        kept = tuple(path for path in whole.paths if path not in passed)
        whole = whole._replace(paths=kept, passed=(*whole.passed, *passed))
    for path in whole.paths:
        if names[path] is None:
            foreign.refuse(path)
            raise unknown_format(path)
    first = whole.paths[0]
    for path in whole.paths:
        if names[path] != names[first]:
            facts = {"format": names[first], "other": path, "other_format": names[path]}
            raise DataError("formats_differ", path=first, **facts)
    return names[first] or "", whole


def read(
    source: Source,
    name: str,
    asked: Asked = NOTHING_ASKED,
    on_progress: OnProgress = ignore_progress,
    store: Store | None = None,
) -> Interactions:
    """Read a source of a format that is not split already; DataError names what is wrong with it,
    and where. store: what holds its rows; None: memory.
    """
    refuse_unused(name, asked)
    whole, own = given(source), get_format(name)
    if own.read_together is not None:
        found = own.read_together(whole, asked)
    else:
        assert own.read is not None
        found = own.read(only_one(whole, name), asked)
    if found.ordered and asked.ties is not None:
        raise UsageError("ties_of_order", path=whole.where)
    store = store or Memory()
    chosen = choose(found, asked)
    try:
        collected = collect(chosen.parts, asked, on_progress, store)
    except DataError:
        chosen.told()  # of an event that no row has, there are no rows
        raise
    told = chosen.told()
    unit, mixed = unit_of(collected) if found.clocked else (None, {})
    return Interactions(
        name,
        collected.frame,
        found.items,
        found.ordered,
        found.clocked,
        unit,
        ties="order" if found.ordered else asked.ties or TIES[0],
        taken=_taken(whole, found, collected, told),
        warnings=[
            *_split_anew(whole, found),
            *_in_some(whole, found),
            *_mixed(mixed, collected.zones),
        ],
        store=store,
    )


def only_one(source: Given, name: str) -> Path:
    """Return the path of a source of a format that is not read from several; DataError of these."""
    if len(source.paths) > 1:
        files = ", ".join(map(source.name_of, source.paths[:_NAMED_FILES]))
        raise DataError("one_source", format=name, files=files)
    return source.paths[0]


def _split_anew(source: Given, found: Found) -> list[dict[str, str]]:
    """Return the warning of files that are a split already, which is not kept."""
    if len(found.parts) == 1 or not found.ordered:
        return []
    files = ", ".join(source.name_of(part.path) for part in found.parts)
    return [{"warning": "split_anew", "files": files}]


def _in_some(source: Given, found: Found) -> list[dict[str, Any]]:
    """Return the warnings of columns that some parts have and others have not."""
    columns = [part.told.get("columns", {}) for part in found.parts]
    known = () if found.items is None else found.items.columns
    warnings = []
    for what in sorted(set().union(*columns).difference(known)):
        without = [
            part.path for part, own in zip(found.parts, columns, strict=True) if what not in own
        ]
        if without:
            facts = {"what": what, "without": len(without), "first": source.name_of(without[0])}
            warnings.append({"warning": "in_some", "files": len(columns), **facts})
    return warnings


def _mixed(units: Mapping[str, int], zones: tuple[int, int]) -> list[dict[str, Any]]:
    """Return the warnings of times of several units, and of dates with and without a zone."""
    warnings: list[dict[str, Any]] = []
    if units:
        shown = ", ".join(f"{count} {unit}" for unit, count in units.items())
        warnings.append({"warning": "mixed_times", "counts": shown})
    if all(zones):
        warnings.append({"warning": "mixed_zones", "zoned": zones[0], "unzoned": zones[1]})
    return warnings


def _taken(source: Given, found: Found, collected: Collected, chosen: Told) -> dict[str, Any]:
    """Return what was read, and how: `Part.told` of the first part, and whatever separators, quotes
    and encodings the parts have.
    """
    names = [source.name_of(part.path) for part in found.parts]
    told: dict[str, Any] = dict(found.parts[0].told)
    for what in ("separator", "quote", "encoding"):
        if what in told:
            told[what] = sorted({part.told[what] for part in found.parts})
    used = {part.path for part in found.parts}
    if found.about is not None:
        told["about"] = source.name_of(found.about)
        used.add(found.about)
    roles = {*told.get("columns", ()), *(() if found.items is None else found.items.columns)}
    return {
        "files": names[:_NAMED_FILES],
        "num_files": len(names),
        "aside": left_aside(source, used),
        **told,
        "useful": useful([*told.get("unused", ()), *found.about_unused], roles),
        "rows": len(collected.frame) + collected.left_out_rows + chosen.rows + chosen.missing,
        "left_out": dict(collected.left_out)
        | ({"rating": chosen.missing} if chosen.missing else {}),
        **chosen.taken,
    }


def taken_of_split(source: Given, found: FoundSplit) -> dict[str, Any]:
    """Return what was read of a source that is split already."""
    used = [*found.paths.values(), *found.about]
    return {
        "files": list(map(source.name_of, used)),
        "num_files": len(used),
        "aside": left_aside(source, used),
        "rows": sum(map(len, found.frames.values())),
        "left_out": {},
    }


def refuse_unused(name: str, asked: Asked) -> None:
    """Raise UsageError where something is asked that the format has no use for, or one column is
    named for two things.
    """
    own = get_format(name)
    _refuse_unused_choice(name, own, asked)
    if asked.columns.given and not own.named_columns:
        used = [get_format(other).named_columns for other in FORMATS]
        option = f"{next(iter(asked.columns.given))}-col"
        raise _unused(option, name, [named for named in used if named])
    told = asked.dialect.given
    if told and not (own.named_columns or own.behaviours):
        raise _unused(told[0], name, [one for one in FORMATS if get_format(one).named_columns])
    if own.read is None and (asked.drop_invalid or asked.null_values != NULLS):
        option = "drop-invalid" if asked.drop_invalid else "null-values"
        raise _unused(option, name, [one for one in FORMATS if get_format(one).read])
    if own.read is None and asked.ties is not None:
        raise _unused("ties", name, ["table"])
    if asked.behaviours is not None and not own.behaviours:
        raise _unused("behaviours", name, [one for one in FORMATS if get_format(one).behaviours])
    refuse_one_for_two(asked.columns)


def _refuse_unused_choice(name: str, own: Format, asked: Asked) -> None:
    """Raise UsageError where events or ratings are asked for that the format has not, or that are
    not said whole.
    """
    for option, events in (("events", asked.events), ("target-events", asked.target_events)):
        if events is not None and not (own.named_columns or own.behaviours):
            told = [one for one in FORMATS if get_format(one).named_columns]
            raise _unused(option, name, [*told, *(f for f in FORMATS if get_format(f).behaviours)])
        if events == ():
            raise UsageError("missing_value", option=option)
    if asked.events and asked.behaviours:
        raise UsageError("only_one", options="--events, --behaviours")
    if asked.min_rating is not None and not own.named_columns:
        used = [one for one in FORMATS if get_format(one).named_columns]
        raise _unused("min-rating", name, used)
    if "rating" in asked.columns.given and asked.min_rating is None:
        raise UsageError("missing_value", option="min-rating")


def _unused(option: str, name: str, used: list[str]) -> UsageError:
    return UsageError("option_unused", option=option, layout=name, used=", ".join(used))
