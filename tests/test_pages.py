"""The documents do what they say: followed literally, and the same in both languages."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from commands import ENVIRONMENT, ROOT
from pages import DOCS, commands, fenced

IGNORED = shutil.ignore_patterns("__pycache__", "samples", "torture")


def test_add_a_model_followed_literally(demo_data: Path, tmp_path: Path) -> None:
    """In a copy of the source tree: the module, its line in the registry, and every command."""
    page = DOCS / "add-a-model.md"
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=IGNORED)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "data").symlink_to(demo_data)

    text = page.read_text(encoding="utf-8")
    module, line = fenced(page, "python")
    written = re.findall(r"^Write `(\S+)`:$", text, re.MULTILINE)
    changed = re.findall(r"^In `(\S+)`, add a line to `(\w+)`:$", text, re.MULTILINE)
    ((path,), ((registry, table),)) = written, changed
    (tmp_path / path).write_text(module)
    before = (tmp_path / registry).read_text()
    head = f"{table} = {{\n"
    assert before.count(head) == 1
    (tmp_path / registry).write_text(before.replace(head, head + line))

    printed = [run(command, tmp_path) for command in commands(page)]
    trained, measured, tested = printed
    assert "step 40/40" in trained
    assert "Recall" in measured
    assert re.search(r"\d+ passed", tested) or "100%" in tested
    assert "Memory" not in before


def run(command: str, where: Path) -> str:
    """Run a command of a page in the tree at `where`, and return what it printed."""
    program, *arguments = shlex.split(command)
    environment = ENVIRONMENT | {"PYTHONPATH": f"{where}/src{os.pathsep}{where}/tests"}
    done = subprocess.run(
        [sys.executable, "-m", program, *arguments],
        cwd=where,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
