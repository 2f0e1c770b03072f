"""The command line that resumes a run, as text."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reprise.runs.folder import RunFolder
from reprise.runs.naming import label_of


def without_options(words: list[str], flags: tuple[str, ...]) -> list[str]:
    """Return command line arguments without these options and their values."""
    kept: list[str] = []
    skipped = False
    for word in words:
        flag = word.split("=")[0].replace("_", "-")
        if flag not in flags and not skipped:
            kept.append(word)
        skipped = flag in flags and "=" not in word
    return kept


def command_to_resume(folder: RunFolder, name: str, options: Sequence[str] = ()) -> str:
    """Return the command line that resumes the run `name` in `folder`."""
    label, runs_dir = label_of(folder, name), folder.path.parent
    if label.startswith("-"):  # an option, it seems
        label, runs_dir = str(folder.path), Path("runs")
    moved = [] if runs_dir == Path("runs") else ["--runs-dir", str(runs_dir)]
    return shlex.join(["reprise", "resume", label, *moved, *options])


def longer(command: str, state: str, run: Mapping[str, Any]) -> str:
    """Return the command that continues a finished run with twice the steps or the patience,
    whichever ended it.

    Args:
        command: The command that resumes the run.
        state: See `survey.Survey.state`.
        run: The run's step, max_steps and patience.
    """
    if state == "stopped early":
        return f"{command} --patience {2 * run['patience'] or 1}"
    return f"{command} --steps {2 * max(run['max_steps'], run['step'])}"


def resume_command(program: str, arguments: list[str]) -> str:
    """Return the command line that resumes from the latest state: `arguments` without the options
    that choose another state.
    """
    kept = without_options(arguments, ("--resume-from",))
    return f"{program} {shlex.join(kept)}"
