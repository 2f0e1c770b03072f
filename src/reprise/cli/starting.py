"""Start runs from a shell: shared by `reprise train` and `reprise resume`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from reprise.api import run_request
from reprise.runs.manage.groups import statistics
from reprise.runs.naming import Named
from reprise.runs.results import Split
from reprise.runs.session import Request, run_session
from reprise.runs.where import folder_for
from reprise.show.commandline import command_to_resume
from reprise.show.run import RunConsole, Voice, statistics_line
from reprise.text.messages import Messages, choose_language


@dataclass(frozen=True)
class Watch:
    """Output and trackers of a run: the values of `options.watch_options`, language, preset."""

    quiet: bool
    track: tuple[str, ...]
    lang: str | None
    preset: str | None = None

    @property
    def words(self) -> list[str]:
        """The same options as arguments of the command that resumes the run."""
        tracked = [word for name in self.track for word in ("--track", name)]
        spoken = [] if self.lang is None else ["--lang", self.lang]
        return [*tracked, *(["--quiet"] if self.quiet else []), *spoken]


def start(named: Named, watch: Watch, data_dir: Path | None, **asked: Any) -> NoReturn:
    """Start or resume a run, and exit the process with its exit code.

    Args:
        named: The run.
        watch: Its output and trackers.
        data_dir: The folder of the data sets; None if not given.
        asked: The other fields of the `Request`.
    """
    voice = Voice(Messages(choose_language(watch.lang)), quiet=watch.quiet)
    if named.taken is not None:
        voice.say("named_anew", taken=named.taken, name=named.config.name)
    request = Request(
        named.config, folder_for(named, data_dir), named.folder, fit_of=named.fit_of, **asked
    )
    command = command_to_resume(named.folder, named.config.name, watch.words)
    sys.exit(run_request(request, _console(named, watch, voice), command))


def start_group(
    runs: Sequence[Named], watch: Watch, data_dir: Path | None, resume_from: Any, command: str
) -> NoReturn:
    """See runs through one after the other, show the mean and deviation of what they reach, and end
    the process; `command` goes on with all of them.
    """
    messages = Messages(choose_language(watch.lang))
    reached: dict[Split, list[dict[str, float]]] = {}
    for place, named in enumerate(runs, start=1):
        voice = Voice(messages, quiet=watch.quiet)
        voice.say("group_run", name=named.config.name, place=place, count=len(runs))
        request = Request(named.config, folder_for(named, data_dir), named.folder, resume_from)
        console = _console(named, watch, voice)
        try:
            outcome = run_session(request, console)
        finally:
            console.close()
        # What one run has reached needs no command to train it longer.
        console.ended(outcome, command if outcome.exit_code else None)
        if outcome.exit_code:
            sys.exit(outcome.exit_code)
        for split, metrics in (outcome.results or {}).items():
            reached.setdefault(split, []).append(metrics)
    voice = Voice(messages, quiet=watch.quiet)
    voice.say("group_reached", count=len(runs))
    for split, found in reached.items():
        voice.line(f"{split}  {statistics_line(statistics(found))}")
    sys.exit(0)


def _console(named: Named, watch: Watch, voice: Voice) -> RunConsole:
    return RunConsole(voice, named.config, watch.track, watch.preset, not watch.quiet)
