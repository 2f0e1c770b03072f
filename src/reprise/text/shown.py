"""Escape control characters of text from files, so that a name cannot colour a terminal, move its
cursor, fake a line or reverse the reading direction.
"""

import re
from pathlib import Path
from typing import Any

# C0 and C1, line and paragraph separators, marks of direction, byte order mark, lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_LONGEST = 200  # characters of a value in a message
_LONGEST_NAME = 255  # bytes of a file's name, on all usual file systems
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how formulas of spreadsheets begin


def shown(text: str, keep: str = "") -> str:
    r"""Return a text with control characters escaped (\x1b, \u202e), except those of `keep`."""
    return _UNSAFE.sub(lambda found: found[0] if found[0] in keep else _escaped(found[0]), text)


def shown_json(text: str) -> str:
    """Return JSON with escapes for the control characters that JSON allows in strings."""
    parts = text.split("\n")
    return "\n".join(_UNSAFE.sub(lambda c: f"\\u{ord(c[0]):04x}", part) for part in parts)


def shown_in_csv(text: str) -> str:
    """Return a CSV field that a spreadsheet reads as text, never as a formula."""
    return shown(f"'{text}" if text.startswith(_FORMULA) else text)


def shortened(value: Any) -> Any:
    """Return a value to quote: a long text, and a path whose parts are too long to exist, with its
    middle left out; anything else as it is.
    """
    text = str(value)
    if isinstance(value, Path):
        longest = max((len(part.encode(errors="replace")) for part in value.parts), default=0)
        return value if longest <= _LONGEST_NAME else _ends_of(text)
    return _ends_of(text) if isinstance(value, str) and len(text) > _LONGEST else value


def _ends_of(text: str) -> str:
    return f"{text[: _LONGEST // 2]}…{text[-_LONGEST // 4 :]}"


def _escaped(character: str) -> str:
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
