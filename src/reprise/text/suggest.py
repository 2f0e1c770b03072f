"""Find known words close to misspelt ones, for "Did you mean ...?"."""

import difflib
from collections.abc import Collection

from reprise.text.messages import Phrase

_LEAST = 0.6  # of difflib's ratio; below it, words have nothing to do with each other


def suggest(known: Collection[str], *words: str) -> Phrase | str:
    """Return " Did you mean ...?" with the known word closest to each of `words`, ignoring case; ""
    if none is close to any.
    """
    by_folded = {one.casefold(): one for one in sorted(known)}
    close = [
        by_folded[match]
        for word in words
        for match in difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=_LEAST)
    ]
    return Phrase("did_you_mean", names=", ".join(map(repr, close))) if close else ""
