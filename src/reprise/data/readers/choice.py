"""Select rows by event and by minimum rating; count the rows that are left out."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import reduce
from itertools import zip_longest
from operator import or_
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import polars as pl

from reprise.data.readers.columns import ON_REQUEST, ROLES, some
from reprise.data.readers.format import Asked, Found, Numbers, Part
from reprise.data.readers.interactions import as_text
from reprise.errors import DataError, UsageError
from reprise.text.suggest import suggest

_MOST_EVENTS = 1000  # a column with more distinct values is not one of events
_MOST_TEXTS = 10_000  # that are counted while they are read
_FEW_TEXTS = 8
_SHOWN = 20  # events that meta.json counts by name
_GOOD, _LOW, _MISSING, _NO_NUMBER = range(4)  # kinds of ratings


class Told(NamedTuple):
    """What meta.json stores about a choice (taken). rows: the number of rows that are not selected;
    missing: of those dropped as invalid because they have no rating.
    """

    taken: Mapping[str, Any] = MappingProxyType({})
    rows: int = 0
    missing: int = 0


class Chosen(NamedTuple):
    """The selected rows.

    parts: with these rows, without columns event and rating; with a Boolean column target if only
    some events are targets. told: returns what was chosen, once the parts are read; UsageError
    where an event is asked for that no row has.
    """

    parts: Sequence[Part]
    told: Callable[[], Told]


class _Counts(NamedTuple):
    """Counts of rows by event (None: missing) and kind of rating, and the highest rating."""

    rows: Counter[tuple[str | None, int]]
    highest: float | None

    @property
    def events(self) -> Counter[str | None]:
        """The number of rows by event."""
        events: Counter[str | None] = Counter()
        for (event, _), count in self.rows.items():
            events[event] += count
        return events

    def rated(self, kind: int, events: Sequence[str] | None) -> int:
        """Return the number of rows of these events (None: all) with this kind of rating."""
        return sum(
            count
            for (event, own), count in self.rows.items()
            if own == kind and (events is None or event in events)
        )


def choose(found: Found, asked: Asked) -> Chosen:
    """Select rows of a source by the events and the minimum rating that are asked for.

    Raises:
        UsageError: An event is asked for that no row has, where that is counted before reading.
        DataError: A rating is not a number, or no row is left.
    """
    names = [_Names(part) for part in found.parts]
    has_events, has_ratings = (what in names[0].columns for what in ON_REQUEST)
    if not (has_events or has_ratings):
        return Chosen(found.parts, Told)
    for what in ON_REQUEST:
        _refuse_several(names, what)
    events = asked.events or found.events
    if has_ratings or events is None or not all(part.numbers and part.size for part in found.parts):
        told = _told(names, asked, events, _counts(names, asked))
        return Chosen([name.chosen(asked, events) for name in names], lambda: told)
    counting = [_Counting(name, asked, events) for name in names]

    def counted() -> Told:
        rows = [own.rows() for own in counting]
        return _told(names, asked, events, _counts(names, asked, rows))

    return Chosen([own.part() for own in counting], counted)


def _told(
    names: Sequence["_Names"], asked: Asked, events: Sequence[str] | None, counts: _Counts
) -> Told:
    """Return what was chosen; UsageError or DataError where it cannot be."""
    has_events, has_ratings = (what in names[0].columns for what in ON_REQUEST)
    part = names[0].part
    taken: dict[str, Any] = {}
    if has_events:
        _refuse_unknown(part, names[0].event, counts.events, asked, events)
        taken["events"] = {"column": names[0].event} | _shares(counts.events, events)
        if asked.target_events:
            taken["events"]["targets"] = list(asked.target_events)
    missing = low = 0
    if has_ratings:
        missing = _refuse_bad_ratings(names, asked, counts, events)
        low = counts.rated(_LOW, events)
        taken["ratings"] = {
            "column": names[0].rating,
            "least": asked.min_rating,
            "below": low,
        }
        if not counts.rated(_GOOD, events):
            facts = {"least": asked.min_rating, "highest": counts.highest}
            raise DataError("no_rating_left", path=part.path, **facts)
    others = sum(
        n for event, n in counts.events.items() if events is not None and event not in events
    )
    return Told(taken, others + low, missing)


class _Names:
    """A part, with the names of its event and rating columns and how they are read."""

    def __init__(self, part: Part) -> None:
        self.part = part
        try:
            self.columns = part.rows.collect_schema()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise part.refuse(error) from error
        told = part.told.get("columns", {})
        self.event, self.rating = (told.get(what, {}).get("column", what) for what in ON_REQUEST)

    def read(self, asked: Asked) -> list[pl.Expr]:
        """Return the expressions event, rating (Float64) and kind (Int8, of rating)."""
        event, kind = pl.lit(None, pl.String), pl.lit(_GOOD)
        if "event" in self.columns:
            event = self._known("event", asked)
        rating = self.rating_of(asked)
        if "rating" in self.columns:
            missing = pl.col("rating").is_null()
            if self.columns["rating"] == pl.String:
                missing = self._known("rating", asked).is_null()
            elif self.columns["rating"].is_numeric():
                missing |= rating.is_nan()
            kind = (
                pl.when(missing)
                .then(_MISSING)
                .when(~rating.is_finite().fill_null(value=False))
                .then(_NO_NUMBER)
                .when(rating < asked.min_rating)
                .then(_LOW)
                .otherwise(_GOOD)
            )
        return [event.alias("event"), rating.alias("rating"), kind.cast(pl.Int8).alias("kind")]

    def rating_of(self, asked: Asked) -> pl.Expr:
        """Return the rating as Float64; null if it is not a number."""
        dtype = self.columns.get("rating")
        if dtype is None or not (dtype == pl.String or dtype.is_numeric()):
            return pl.lit(None, pl.Float64)
        own = self._known("rating", asked) if dtype == pl.String else pl.col("rating")
        return own.cast(pl.Float64, strict=False)

    def _known(self, what: str, asked: Asked) -> pl.Expr:
        """Return a column as text; null if it is empty or one of the null values."""
        text = as_text(pl.col(what), self.columns[what])
        known = text != ""
        if self.columns[what] == pl.String:
            known &= ~text.is_in(list(asked.null_values))
        return pl.when(known).then(text)

    def rows(self) -> pl.LazyFrame:
        """Return the rows without lines of a wrong number of fields, which reading reports."""
        return self.part.rows.filter(~self._odd())

    def grouped(self) -> pl.LazyFrame:
        """Return the rows with how many they stand for, which are alike."""
        if "rating" in self.columns:  # too many different ones to group by
            return self.rows().with_columns(rows=pl.lit(1, pl.UInt32))
        return self.rows().group_by("event").agg(rows=pl.len())  # parsing texts takes longer

    def chosen(self, asked: Asked, events: Sequence[str] | None) -> Part:
        """Return the part with the selected rows."""
        event, rating = self.read(asked)[0], self.rating_of(asked)
        wanted = pl.lit(True)
        if "rating" in self.columns:  # checked before: all are numbers or missing
            wanted = (rating.is_finite() & (rating >= asked.min_rating)).fill_null(value=False)
        if events is not None:
            wanted &= event.is_in(list(events)).fill_null(value=False)

        def change(rows: pl.LazyFrame) -> pl.LazyFrame:
            return self.with_target(rows.filter(wanted | self._odd()), asked)

        return self.part.changed(change)

    def with_target(self, rows: pl.LazyFrame, asked: Asked) -> pl.LazyFrame:
        """Return selected rows with a column target if only some events are targets, and without
        event and rating.
        """
        if asked.target_events is not None:
            event = self.read(asked)[0]
            target = event.is_in(list(asked.target_events)).fill_null(value=False)
            rows = rows.with_columns(target=target)
        return rows.drop(*ON_REQUEST, strict=False)

    def _odd(self) -> pl.Expr:
        return pl.col("odd").is_not_null() if "odd" in self.columns else pl.lit(False)


class _Counting:
    """A part whose rows are selected by their event, and counted, while they are read as numbers:
    texts are looked at once, however many rows have them.
    """

    def __init__(self, name: _Names, asked: Asked, events: Sequence[str]) -> None:
        self._name, self._asked, self._events = name, asked, events
        self._begin()

    def _begin(self) -> None:
        # Several threads read: what they append is put together in the end.
        self._counts: list[pl.DataFrame] = []
        self._wanted: dict[str | None, bool] = {}

    def part(self) -> Part:
        """Return the part with the selected rows."""
        numbers = self._name.part.numbers
        assert numbers is not None

        def changed(names: Collection[str]) -> Numbers:
            made = numbers(names)
            self._begin()
            rows = made.rows.map_batches(
                self._select, predicate_pushdown=False, slice_pushdown=False, streamable=True
            )
            return made._replace(rows=self._name.with_target(rows, self._asked))

        return self._name.chosen(self._asked, self._events)._replace(numbers=changed)

    def _select(self, rows: pl.DataFrame) -> pl.DataFrame:
        known, events = self._wanted, rows["event"]
        if 0 < len(known) <= _FEW_TEXTS:
            # To compare with each of a few is several times as quick as to group.
            of = {event: events.eq_missing(event) for event in known}
            sums = [(event, int(mask.sum())) for event, mask in of.items()]
            if sum(count for _, count in sums) == len(rows):
                schema = pl.Schema({"event": events.dtype, "rows": pl.UInt32()})
                self._counts.append(pl.DataFrame(sums, schema, orient="row"))
                taken = [mask for event, mask in of.items() if known[event]]
                return rows.filter(reduce(or_, taken)) if taken else rows.clear()
        counts = events.value_counts(name="rows")
        unseen = counts.filter([event not in known for event in counts["event"]])
        if len(unseen):
            event = self._name.read(self._asked)[0]
            found = unseen.select("event", wanted=event.is_in(list(self._events)))
            known = known | {event: bool(wanted) for event, wanted in found.rows()}
        if len(known) <= _MOST_TEXTS:  # else these are no events
            self._wanted = known
            self._counts.append(counts)
        wanted = [event for event in counts["event"] if known[event]]
        return rows.filter(pl.col("event").is_in(wanted).fill_null(value=False))

    def rows(self) -> pl.LazyFrame | None:
        """Return how many rows have which event; None where not all have been counted."""
        if sum(int(own["rows"].sum()) for own in self._counts) != self._name.part.size:
            return None
        return pl.concat(self._counts).lazy()


def _counts(
    names: Sequence[_Names], asked: Asked, counted: Sequence[pl.LazyFrame | None] = ()
) -> _Counts:
    """Count the rows. counted: of each part, the rows by event where they are known."""
    rows: Counter[tuple[str | None, int]] = Counter()
    highest: list[float] = []
    for name, known in zip_longest(names, counted):
        of_kind = (
            (name.grouped() if known is None else known)
            .select(*name.read(asked), "rows")
            .group_by("event", "kind")
            .agg(pl.col("rows").sum(), pl.col("rating").max())
        )
        try:
            found = of_kind.collect(engine="streaming")
        except (pl.exceptions.PolarsError, OSError) as error:
            raise name.part.refuse(error) from error
        for event, kind, count, most in found.rows():
            rows[event, kind] += count
            highest += [most] if kind in (_GOOD, _LOW) and most is not None else []
    return _Counts(rows, max(highest, default=None))


def _refuse_several(names: Sequence[_Names], what: str) -> None:
    """Raise DataError if parts name a column differently: the meanings could differ."""
    found: dict[str, Path] = {}
    for name in names:
        found.setdefault(getattr(name, what), name.part.path)
    if len(found) > 1:
        (first, here), (second, there) = list(found.items())[:2]
        parts = {"first": here, "column": first, "second": there, "other": second}
        raise DataError("other_columns", role=ROLES[what], what=what, **parts)


def _refuse_unknown(
    part: Part,
    column: str,
    known: Mapping[str | None, int],
    asked: Asked,
    events: Sequence[str] | None,
) -> None:
    """Raise UsageError for an event that no row has, or for a target that is not selected."""
    values = _by_count(known)
    if len(values) > _MOST_EVENTS:
        facts = {"column": column, "count": len(values), "example": values[0]}
        raise UsageError("not_events", path=part.path, **facts)
    taken = "behaviours" if asked.behaviours is not None else "events"
    for option, named in ((taken, events), ("target-events", asked.target_events)):
        for event in named or ():
            if event not in values:
                raise UsageError(
                    "event_missing",
                    option=option,
                    event=event,
                    path=part.path,
                    column=column,
                    events=some(values) or "-",
                    suggestion=suggest(values, event),
                )
    for event in asked.target_events or ():
        if events is not None and event not in events:
            raise UsageError("target_not_taken", event=event, events=", ".join(events))


def _shares(known: Mapping[str | None, int], events: Sequence[str] | None) -> dict[str, Any]:
    """Return the counts of rows by event, of those selected and those left out. The most frequent
    events are named; the others, and rows without an event, are summed under null.
    """
    told: dict[str, Any] = {}
    for what, taken in (("taken", True), ("left", False)):
        own = {
            event: count
            for event, count in known.items()
            if (events is None or event in events) == taken
        }
        shown = {event: own[event] for event in _by_count(own)[:_SHOWN]}
        rest = sum(own.values()) - sum(shown.values())
        told[what] = [*map(list, shown.items()), *([[None, rest]] if rest else [])]
    return told


def _by_count(known: Mapping[str | None, int]) -> list[str]:
    """Return the events by falling count."""
    named = (event for event in known if event is not None)
    return sorted(named, key=lambda event: (-known[event], event))


def _refuse_bad_ratings(
    names: Sequence[_Names], asked: Asked, counts: _Counts, events: Sequence[str] | None
) -> int:
    """Return the number of rows without a rating.

    Raises:
        DataError: A rating is not a number, or one is missing without --drop-invalid; it names the
            first such row.
    """
    bad, missing = counts.rated(_NO_NUMBER, events), counts.rated(_MISSING, events)
    rows = sum(counts.rated(kind, events) for kind in (_GOOD, _LOW, _MISSING, _NO_NUMBER))
    for kind, count, key in (
        (_NO_NUMBER, bad, "bad_rating"),
        (_MISSING, 0 if asked.drop_invalid else missing, "missing_rating"),
    ):
        if not count:
            continue
        for name in names:
            read = name.rows().with_columns(name.read(asked)[2]).filter(pl.col("kind") == kind)
            if events is not None:
                read = read.filter(name.read(asked)[0].is_in(list(events)))
            first = read.select("line", "rating").head(1).collect(engine="streaming")
            for line, value in first.rows():
                facts = {"line": line, "column": name.rating, "value": str(value)[:80]}
                raise DataError(key, path=name.part.path, count=count, rows=rows, **facts)
    return missing
