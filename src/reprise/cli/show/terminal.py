"""Where lines and tables are printed: as wide as the terminal, or as no terminal limits them."""

import sys

from rich.console import Console

_PLAIN_WIDTH = 200  # columns, where the output is piped


def make_console() -> Console:
    """Return a console for plain words: nothing in a name is taken for markup, or coloured."""
    width = None if sys.stdout.isatty() else _PLAIN_WIDTH
    return Console(width=width, highlight=False, markup=False)
