"""`reprise demo`: the demonstration."""

import sys
from pathlib import Path

import click

from reprise.cli.options import common_options


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default="demo",
    show_default=True,
    help="Where the demonstration keeps its data and runs.",
)
@common_options
def demo(folder: Path, lang: str | None) -> None:
    """Train on generated data, kill the training half-way, resume it, and compare."""
    from reprise.cli.demo import run_demo

    sys.exit(run_demo(folder, lang))
