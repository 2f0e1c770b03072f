"""Which columns of a table are meant: those the user names, or those of the field's usual names."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from reprise.errors import UsageError
from reprise.text.suggest import suggest

ROW = "\0row"  # the number of a table's row, a name that no column has
NEEDED = ("user", "item", "time")
# By what the field calls them, the likeliest first; compared without case and punctuation.
_USUAL = {
    "user": "user userid uid reviewerid visitorid customerid memberid",
    "item": "item itemid iid movieid productid parentasin asin articleid bookid trackid songid "
    "items",
    "time": "timestamp time ts unixreviewtime datetime eventtime date timestamps times",
    "category": "category categoryid cate cateid icategory genre genres class categories",
    "title": "title itemtitle movietitle",
    "behaviour": "",  # told by its place alone
}
_SHOWN = 20  # columns that an error lists


class Columns(NamedTuple):
    """The names of a table's columns, or None: to be found."""

    user: str | None = None
    item: str | None = None
    time: str | None = None
    category: str | None = None
    title: str | None = None
    behaviour: str | None = None

    @property
    def given(self) -> dict[str, str]:
        """Those that are named."""
        return {what: name for what, name in self._asdict().items() if name is not None}

    @property
    def by_place(self) -> bool:
        """Whether columns are named by their place: the table has no header."""
        return bool(self.given) and all(name.isdigit() for name in self.given.values())


UNNAMED = Columns()


def find(
    path: Path, names: Sequence[str], columns: Columns, usual: Mapping[str, str] = _USUAL
) -> dict[str, str]:
    """Return which of a table's columns is of the user, of the item and so on, of those that it
    has; UsageError where one that is named is not there. RecBole's have their type behind the name.
    """
    untyped = {name.split(":")[0]: name for name in names[::-1]}
    given: dict[str, str] = {}
    for what, name in columns.given.items():
        if name not in names and name not in untyped:
            raise _no_such_column(path, names, what, name)
        given[what] = name if name in names else untyped[name]
    # What the user says is of one is not of another as well.
    taken = [name for what, name in given.items() if what in NEEDED]
    free = [name for name in names if name not in taken]
    by_plain = {plain(name.split(":")[0]): name for name in free[::-1]}
    found: dict[str, str] = {}
    for what in columns._fields:
        likely = [plain(name) for name in usual.get(what, "").split()]
        fitting = [by_plain[name] for name in likely if name in by_plain]
        if what in given or fitting:
            found[what] = given[what] if what in given else fitting[0]
    return found


def plain(name: str) -> str:
    """Return a column's name as it is compared: without case and punctuation."""
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


def _no_such_column(path: Path, names: Sequence[str], what: str, name: str) -> UsageError:
    return UsageError(
        "column_missing",
        option=f"{what}-col",
        column=name,
        path=path,
        columns=some(names),
        suggestion=suggest(name, names),
    )
