"""`reprise sweep`: search over a few settings of a configuration, one run per trial."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reprise.cli.help import Group
from reprise.cli.options import (
    PATH,
    common_options,
    print_json,
    run_options,
    run_values,
    watch_options,
)
from reprise.config.schema import SETTINGS, check_value
from reprise.config.setting import LARGEST
from reprise.errors import UsageError
from reprise.runs.signals import end_at_once_on_interrupt
from reprise.sweeps.space import Search, parse_searches
from reprise.text.messages import Messages, Phrase, choose_language
from reprise.text.shown import shown

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from reprise.config.schema import TrainConfig
    from reprise.show.run import RunConsole


_sweeps_dir = click.option("--sweeps-dir", type=PATH, default="sweeps")


@click.group(cls=Group, invoke_without_command=True)
@run_options
@click.option("--search", "searched", multiple=True, metavar="FIELD=VALUES")
@click.option("--trials", type=int, default=20)
@_sweeps_dir
@click.option("--json", "as_json", is_flag=True)
@watch_options
@common_options
@click.pass_context
def sweep(
    context: click.Context,
    /,
    preset: str | None,
    config_file: Path | None,
    max_iter: float | None,
    max_steps: int | None,
    searched: tuple[str, ...],
    trials: int,
    sweeps_dir: Path,
    as_json: bool,
    quiet: bool,
    track: tuple[str, ...],
    runs_dir: Path,
    data_dir: Path | None,
    lang: str | None,
    **values: Any,
) -> None:
    """Search for settings: each trial trains a run, compared by its best validation recall.

    The same command resumes a stopped sweep; a larger --trials extends it.
    """
    if context.invoked_subcommand is not None:
        return
    end_at_once_on_interrupt()  # between trials; each trial installs its own signal handlers
    given = run_values(preset, config_file, max_iter, max_steps, values)
    searches = parse_searches(searched)
    check_request(given, values | {"max_steps": max_steps or max_iter}, searches, trials)
    require_optuna()
    from reprise.runs.where import data_for_new
    from reprise.sweeps.study import Sweep, run_sweep
    from reprise.tracking import require

    require(track)
    asked = Sweep(
        sweeps_dir / given["name"],
        given["name"],
        searches,
        given,
        data_for_new(given["dataset"], data_dir, runs_dir),
        runs_dir,
    )
    messages = Messages(choose_language(lang))
    watcher = TrialsConsole(messages, trials, to_stderr=as_json, quiet=quiet, track=track)
    code = run_sweep(asked, trials, watcher)
    if code:
        from reprise.show.commandline import resume_command

        command = resume_command("reprise", sys.argv[1:])
        watcher.voice.say("sweep_interrupted", command=command)
    elif not show_results(asked.folder, messages, as_json):
        raise UsageError("sweep_unrated", path=asked.folder)
    sys.exit(code)


@sweep.command()
@click.argument("name")
@_sweeps_dir
@click.option("--json", "as_json", is_flag=True)
@common_options
def show(name: str, sweeps_dir: Path, as_json: bool, lang: str | None) -> None:
    """Show the trials of the sweep NAME, best first, and draw its plot again."""
    require_optuna()
    show_results(sweeps_dir / name, Messages(choose_language(lang)), as_json)


def check_request(
    given: dict[str, Any], flags: dict[str, Any], searches: tuple[Search, ...], trials: int
) -> None:
    """Raise UsageError for missing options, and for a field that is both set and searched."""
    for required in ("dataset", "name"):
        if given.get(required) is None:
            raise UsageError("missing_value", option=required)
        check_value(required, given[required])
    if not searches:
        raise UsageError("missing_value", option="search")
    if not 1 <= trials <= LARGEST:
        expected = Phrase("good_whole_within", low=1, high=LARGEST)
        raise UsageError("bad_value", option="trials", value=trials, expected=expected)
    for search in searches:
        if flags.get(search.field) is not None:
            flag = SETTINGS[search.field].flags[0]
            raise UsageError("only_one", options=f"{flag}, --search {search.field}=...")


def require_optuna() -> None:
    """Raise UsageError with the extra to install if Optuna is missing."""
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        values = {"what": "reprise sweep", "extra": "sweep", "reason": error}
        raise UsageError("extra_missing", **values) from error


class TrialsConsole:
    """Print the progress of a sweep's trials (a `sweeps.study.Watcher`)."""

    def __init__(
        self,
        messages: Messages,
        trials: int,
        to_stderr: bool,
        quiet: bool,
        track: tuple[str, ...],
    ) -> None:
        from reprise.show.run import Voice

        self.voice = Voice(messages, to_stderr)
        self._trials, self._quiet, self._track = trials, quiet, track
        self._console: RunConsole | None = None

    def began(self, number: int, params: Mapping[str, Any], config: "TrainConfig") -> "RunConsole":
        """Print the trial's settings, and return the console of its run."""
        from reprise.show.run import RunConsole, Voice

        shown = ", ".join(f"{name}={value}" for name, value in params.items())
        self.voice.say("trial_began", number=number, trials=self._trials, params=shown)
        voice = Voice(self.voice.messages, self.voice.to_stderr, quiet=True)
        self._console = RunConsole(voice, config, self._track, live=not self._quiet)
        return self._console

    def ended(self, number: int, trial: "FrozenTrial") -> None:
        """Print the trial's result."""
        from reprise.sweeps.study import reason_of

        about = trial.user_attrs
        if trial.value is None:
            reason = reason_of(trial, self.voice.messages.language) or "NaN"
            self.voice.say("trial_failed", number=number, reason=reason)
        else:
            values = {"metric": trial.value, "step": about["best_step"], "run": about["run"]}
            self.voice.say("trial_ended", number=number, **values)

    def covered(self, number: int) -> None:
        """Say that no values are left to be tried."""
        self.voice.say("sweep_covered", count=number)

    def close(self) -> None:
        """Close the console of the trial's run."""
        if self._console is not None:
            self._console.close()
            self._console = None


def show_results(folder: Path, messages: Messages, as_json: bool) -> bool:
    """Print a sweep's trials, best first, and draw its plot; return whether any has a value."""
    from reprise.sweeps.plot import draw
    from reprise.sweeps.study import results

    facts = results(folder, "en" if as_json else messages.language)
    picture = draw(folder, facts, messages)
    if as_json:
        print_json(facts)
        return facts["best"] is not None
    print_table(facts, messages)
    if facts["best"] is not None:
        best = facts["trials"][facts["best"]]
        values = {"number": best["number"], "metric": best["value"], "run": best["run"]}
        click.echo(messages.text("sweep_best", name=facts["metric"].capitalize(), **values))
    if picture is not None:
        click.echo(messages.text("sweep_picture", path=picture))
    return facts["best"] is not None


def print_table(facts: dict[str, Any], messages: Messages) -> None:
    """Print the trials, best first."""
    from rich.table import Table

    from reprise.show.terminal import make_console

    text = messages.text
    title = text("sweep_title", name=facts["sweep"], dataset=facts["dataset"])
    table = Table(title=title, title_justify="left")
    params = list(dict.fromkeys(name for trial in facts["trials"] for name in trial["params"]))
    for head in (text("trial"), facts["metric"].capitalize(), text("best_step"), *params):
        table.add_column(head, justify="right")
    table.add_column(text("run"), overflow="fold")
    rated = [trial for trial in facts["trials"] if trial["value"] is not None]
    failed = [trial for trial in facts["trials"] if trial["value"] is None]
    for trial in [*sorted(rated, key=lambda trial: -trial["value"]), *failed]:
        value = "-" if trial["value"] is None else f"{trial['value']:.6f}"
        numbers = [trial["number"], value, trial["best_step"] or "-"]
        tried = [trial["params"][name] for name in params]
        cells = [*numbers, *tried, trial["run"] or trial["reason"] or "-"]
        table.add_row(*(shown(str(cell)) for cell in cells))
    make_console().print(table)
