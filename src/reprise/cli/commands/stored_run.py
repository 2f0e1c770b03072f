"""Which run an argument means: by its folder, or by its name."""

from pathlib import Path

_RUNS = Path("runs")  # where the runs are that were started without --runs-dir


def stored_run(asked: Path) -> Path:
    """Return a path of a run or a checkpoint as it is; else, of a bare word that is no path, the
    run that `reprise runs show` finds by it. CheckpointError or UsageError where none, or several,
    have that name.
    """
    if len(asked.parts) != 1 or asked.exists():
        return asked
    from reprise.runs.manage import survey

    return survey.find(_RUNS, asked.name).path
