"""Find the known word closest to a misspelt one, for "Did you mean ...?"."""

import difflib
from collections.abc import Iterable


def suggest(word: str, known: Iterable[str]) -> str:
    """Return the word of `known` closest to `word`, ignoring case; "" if `known` is empty."""
    by_folded = {one.casefold(): one for one in sorted(known)}
    close = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.0)
    return by_folded[close[0]] if close else ""
