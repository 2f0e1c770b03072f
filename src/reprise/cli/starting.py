"""Start runs from a shell: shared by `reprise train` and `reprise resume`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from reprise.api import run_group, run_request
from reprise.config.schema import TrainConfig
from reprise.runs.naming import Named
from reprise.runs.session import Request
from reprise.runs.where import folder_for
from reprise.show.commandline import command_to_resume
from reprise.show.run import RunConsole, Voice
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
    words = [*watch.words, *_words_of(request)]
    command = command_to_resume(named.folder, named.config.name, words)
    sys.exit(run_request(request, _console(watch, voice, named.config), command))


def _words_of(request: Request) -> list[str]:
    """Return the options of a request's devices and processes as arguments."""
    words = [] if request.devices == 1 else ["--devices", str(request.devices)]
    if request.place is None:
        return words
    place = request.place
    words += ["--coordinator", place.coordinator]
    words += [] if place.count is None else ["--num-processes", str(place.count)]
    return words + ([] if place.index is None else ["--process-id", str(place.index)])


def start_group(
    runs: Sequence[Named], watch: Watch, data_dir: Path | None, command: str, **asked: Any
) -> NoReturn:
    """See the runs of a group through, and end the process; `command` goes on with all of them."""
    requests = [
        Request(named.config, folder_for(named, data_dir), named.folder, **asked) for named in runs
    ]
    voice = partial(Voice, Messages(choose_language(watch.lang)), quiet=watch.quiet)
    sys.exit(run_group(requests, voice, partial(_console, watch), command))


def _console(watch: Watch, voice: Voice, config: TrainConfig) -> RunConsole:
    return RunConsole(voice, config, watch.track, watch.preset, not watch.quiet)
