"""Compile the Chinese translations of Click's own words into a gettext .mo file.

`make docs` writes `FILE` (`python -m reprise.text.compiled`); a test checks that it is up to date.
"""

import struct
from collections.abc import Mapping
from pathlib import Path

from reprise.text.messages import catalogue

DOMAIN = "click"
FOLDER = Path(__file__).with_name("locale")
FILE = FOLDER / "zh" / "LC_MESSAGES" / f"{DOMAIN}.mo"
_HEADER = "Content-Type: text/plain; charset=UTF-8\nPlural-Forms: nplurals=2; plural=n!=1;\n"
_MAGIC = 0x950412DE


def compiled(words: Mapping[str, str | list[str]]) -> bytes:
    """Return the bytes of a .mo file; a list value holds the singular and plural forms."""
    entries = {b"": _HEADER.encode()}
    for english, chinese in words.items():
        one, several = (chinese, chinese) if isinstance(chinese, str) else chinese
        # Always store both forms: gettext reads the first one, ngettext both.
        entries[f"{english}\0".encode()] = f"{one}\0{several}".encode()
    keys = sorted(entries)
    strings = [*keys, *(entries[key] for key in keys)]
    start = 28 + 8 * len(strings)  # after the header and the tables of lengths and offsets
    table = bytearray()
    for string in strings:
        table += struct.pack("<2I", len(string), start)
        start += len(string) + 1
    head = struct.pack("<7I", _MAGIC, 0, len(keys), 28, 28 + 8 * len(keys), 0, 0)
    return head + bytes(table) + b"".join(string + b"\0" for string in strings)


if __name__ == "__main__":
    FILE.write_bytes(compiled(catalogue("zh")["click"]))
