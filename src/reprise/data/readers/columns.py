"""Find a table's columns: those named by the user, or those with usual names."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from reprise.errors import DataError, UsageError
from reprise.text.messages import Phrase, Phrases
from reprise.text.suggest import suggest

ROW = "\0row"  # the number of a table's row, a name that no column has
NEEDED = ("user", "item", "time")
# By what the field calls them, the likeliest first; compared without case and punctuation.
USUAL = {
    "user": "user userid uid reviewerid visitorid customerid memberid",
    "item": "item itemid iid movieid productid parentasin asin articleid bookid trackid songid "
    "items",
    "time": "timestamp time ts unixreviewtime datetime eventtime date timestamps times",
    "category": "category categoryid cate cateid icategory genre genres class categories",
    "title": "title itemtitle movietitle",
    "event": "event eventtype eventname action actiontype behavior behaviortype behaviour "
    "behaviourtype interactiontype type",
    "rating": "rating ratings overall stars score rate",
}
# What each is called where a sentence names it.
ROLES = {
    "user": Phrase("role_user"),
    "item": Phrase("role_item"),
    "time": Phrase("role_time"),
    "category": Phrase("role_category"),
    "title": Phrase("role_title"),
    "event": Phrase("role_event"),
    "rating": Phrase("role_rating"),
}
# Of these, no column is looked for but where the user asks for what it tells.
ON_REQUEST = ("event", "rating")
SOUGHT = "\0sought"  # of a column that is looked for by its usual names, and must be there
_SHOWN = 20  # columns that an error lists


class Columns(NamedTuple):
    """The names of a table's columns, or None: to be found."""

    user: str | None = None
    item: str | None = None
    time: str | None = None
    category: str | None = None
    title: str | None = None
    event: str | None = None
    rating: str | None = None

    @property
    def given(self) -> dict[str, str]:
        """Those that are named."""
        named = self._asdict().items()
        return {what: name for what, name in named if name is not None and name != SOUGHT}

    @property
    def sought(self) -> list[str]:
        """Those of ON_REQUEST that are asked for without a name."""
        return [what for what in ON_REQUEST if getattr(self, what) == SOUGHT]

    @property
    def by_place(self) -> bool:
        """Whether columns are named by their place: the table has no header."""
        return bool(self.given) and all(name.isdigit() for name in self.given.values())


UNNAMED = Columns()


# Of the columns of a table that lacks the usual ones, those that are likely meant.
_GUESSES = {
    "user": r"user|customer|visitor|member|session|client|uid|buyer|reader",
    "item": r"item|product|article|movie|book|track|song|video|sku|content|asin|iid",
    "time": r"time|date|stamp|(^|_)(ts|day|dt)($|_)|created|_at$",
    "event": r"event|action|behavio|type|kind",
    "rating": r"rat|star|score|overall|grade",
}
# A time's unit, behind one of its usual names.
_UNIT = re.compile(r"(?:s|sec|seconds|ms|millis|us|micros|ns|nanos)")


def find(
    path: Path, names: Sequence[str], columns: Columns, usual: Mapping[str, str] = USUAL
) -> dict[str, str]:
    """Return which of a table's columns is of the user, of the item and so on, of those that it
    has; UsageError where one that is named is not there. RecBole's have their type behind the name.
    Of several that could be the time (`could_be_time`), the likeliest.
    """
    untyped = {name.split(":")[0]: name for name in names[::-1]}
    absent = {
        what: name
        for what, name in columns.given.items()
        if name not in names and name not in untyped
    }
    if absent:
        raise _no_such_columns(path, names, absent)
    given = {what: name if name in names else untyped[name] for what, name in columns.given.items()}
    free = _free(names, [name for what, name in given.items() if what in NEEDED])
    found: dict[str, str] = {}
    for what in columns._fields:
        if what in ON_REQUEST and what not in (*columns.given, *columns.sought):
            continue
        fitting = _fitting(usual.get(what, "").split(), free, what)
        if what in columns.sought and len(fitting) > 1:
            shown = {"role": ROLES[what], "what": what, "columns": ", ".join(fitting)}
            raise UsageError("several_columns", path=path, **shown)
        if what in given or fitting:
            found[what] = given[what] if what in given else fitting[0]
    return found


def could_be_time(
    names: Sequence[str], columns: Columns, usual: Mapping[str, str] = USUAL
) -> list[str]:
    """Return the columns of a table that could be the time by their names, the likeliest first;
    none where it is named.
    """
    if columns.time is not None:
        return []
    given = [name for what, name in columns.given.items() if what in NEEDED]
    taken = [name for name in names if name in given or name.split(":")[0] in given]
    return _fitting(usual["time"].split(), _free(names, taken), "time")


def _free(names: Sequence[str], taken: Sequence[str]) -> dict[str, str]:
    """Return the columns by their plain names, without those taken: what the user says is of one is
    not of another as well.
    """
    return {plain(name.split(":")[0]): name for name in names[::-1] if name not in taken}


def _fitting(likely: Sequence[str], names: Mapping[str, str], what: str) -> list[str]:
    """Return the columns of likely names; of the time's, those that name its unit as well."""
    likely = [plain(name) for name in likely]
    fitting = [names[name] for name in likely if name in names]
    if what == "time":
        words = sorted(likely, key=len, reverse=True)
        for name, column in names.items():
            word = next((word for word in words if name.startswith(word)), None)
            if word and column not in fitting and _UNIT.fullmatch(name[len(word) :]):
                fitting.append(column)
    return fitting


def no_column(
    path: Path, missing: Sequence[str], names: Sequence[str], taken: Sequence[str]
) -> DataError:
    """Return the error for a table that lacks columns, all of them, with those likely meant of
    those that are not `taken`.
    """
    options: list[str] = []
    for what in missing:
        free = (name for name in names if name not in taken)
        likely = (name for name in free if re.search(_GUESSES[what], name.lower()))
        options += [f"--{what}-col", next(likely, "NAME").split(":")[0]]
    return DataError(
        "no_column",
        path=path,
        roles=Phrases(ROLES[what] for what in missing),
        columns=some(names),
        options=shlex.join(options),
    )


def plain(name: str) -> str:
    """Return a name without case and punctuation."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def refuse_one_for_two(columns: Columns) -> None:
    """Raise UsageError where one column is named as two of user, item and time."""
    options: dict[str, str] = {}
    for what, name in columns.given.items():
        if what in NEEDED and options.setdefault(name, what) != what:
            first = f"{options[name]}-col"
            raise UsageError("one_column_for_two", first=first, second=f"{what}-col", column=name)


def some(names: Sequence[str]) -> str:
    """Return the names as an error lists them: a file that is no table may have thousands."""
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _no_such_columns(path: Path, names: Sequence[str], absent: Mapping[str, str]) -> UsageError:
    return UsageError(
        "column_missing",
        options=shlex.join(
            word for what, name in absent.items() for word in (f"--{what}-col", name)
        ),
        path=path,
        columns=some(names),
        suggestion=suggest(names, *absent.values()),
    )
