"""`reprise demo`: the demonstration."""

import sys
from pathlib import Path

import click

from reprise.cli.help import Command
from reprise.cli.options import PATH, common_options


@click.command(cls=Command)
@click.option("--folder", type=PATH, default="demo")
@common_options
def demo(folder: Path, lang: str | None) -> None:
    """Train on generated data, kill the training half-way, resume it, and compare."""
    from reprise.cli.demo import run_demo

    sys.exit(run_demo(folder, lang))
