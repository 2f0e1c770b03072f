"""The command line that resumes a run, as text."""

import shlex


def without_options(words: list[str], flags: tuple[str, ...]) -> list[str]:
    """Return a command line's words without these options and their values."""
    kept: list[str] = []
    skipped = False
    for word in words:
        flag = word.split("=")[0].replace("_", "-")
        if flag not in flags and not skipped:
            kept.append(word)
        skipped = flag in flags and "=" not in word
    return kept


def resume_command(program: str, arguments: list[str]) -> str:
    """Return the command line that resumes from the latest state: `arguments` without the options
    on resuming.
    """
    kept = without_options(arguments, ("--resume-from",))
    return f"{program} {shlex.join(kept)}"
