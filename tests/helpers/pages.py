"""Extract the code blocks of the documents, to run them as printed."""

import re
from pathlib import Path
from typing import Any

import pytest

from helpers.commands import ROOT

DOCS = ROOT / "docs"


def fenced(path: Path, language: str) -> list[str]:
    """Return the blocks between ```language and ```."""
    text = path.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def readme_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the lines of Python in an exported folder's README.md there, and return their names."""
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    (block,) = fenced(folder / "README.md", "python")
    exec(compile(block, "README.md", "exec"), names)
    return names


def indented(path: Path) -> list[str]:
    """Return the lines of the blocks that four spaces set off, without these."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.removeprefix("    ") for line in lines if line.startswith("    ")]


def commands(path: Path) -> list[str]:
    """Return the command lines that a page shows, those of several lines joined, without comments
    and where output goes.
    """
    text = "\n".join(indented(path)).replace("\\\n", " ")
    first = r"(?:reprise|make|python|pytest|git|pip|cd|\.) "
    found = [re.split(" #| > ", line)[0].rstrip() for line in text.splitlines()]
    return [" ".join(line.split()) for line in found if re.match(first, f"{line} ")]


def session(path: Path) -> list[tuple[str, str | None]]:
    """Return a page's blocks of Python in order, each with the block of text behind it, which is
    what it shows; None where there is none.
    """
    found = re.findall(
        r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)\n```$)?",
        path.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    return [(code, shown or None) for code, shown in found]


def samples(path: Path, command: str) -> list[list[str]]:
    """Return what a page shows of the output of the commands that begin so: the lines of the block
    behind each, without "...", which stands for others.
    """
    text = path.read_text(encoding="utf-8")
    found = re.findall(rf"^    {command}.*\n\n((?:    .*\n)+)", text, re.MULTILINE)
    return [[line[4:] for line in block.splitlines() if line.strip() != "..."] for block in found]
