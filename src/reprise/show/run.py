"""The output of a run: Reprise's lines or ComiRec's, and train.log."""

import dataclasses
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from reprise.checkpoints import store
from reprise.config.schema import TrainConfig
from reprise.evaluation.metrics import metric_of
from reprise.importers.tensorflow.run import Imported
from reprise.models.registry import UNTRAINED
from reprise.runs import results
from reprise.runs.folder import Resumption, RunFolder
from reprise.runs.loop import is_finished
from reprise.runs.results import Split
from reprise.runs.session import Outcome
from reprise.runtime.streams import give_up
from reprise.show.commandline import command_to_resume, longer
from reprise.show.progress import ProgressLine
from reprise.text.messages import Messages
from reprise.text.shown import shown
from reprise.tracking import TrackedRun, Trackers, points_of, points_of_results, record_of
from reprise.training.estimate import sizes_of
from reprise.training.setup import Task
from reprise.training.state import Progress as RunProgress
from reprise.training.state import TrainState
from reprise.training.stopping import out_of_patience

_WARNING = "⚠️"  # starts every warning of the catalogue
# Lines that `--quiet` writes to train.log only.
_CHATTER = (
    "run_folder",
    "plan_data",
    "plan_model",
    "plan_steps",
    "plan_final_fit",
    "fresh_start",
    "resumed",
    "restored_best",
    "saved_best",
    "stopping",
)


class Voice:
    """Prints lines and, once the run's folder is known, writes them to train.log with times."""

    def __init__(
        self,
        messages: Messages,
        to_stderr: bool = False,
        quiet: bool = False,
        silent: bool = False,
    ) -> None:
        """Create a voice.

        Args:
            messages: The messages of the user's language.
            to_stderr: Whether to print to stderr.
            quiet: Whether to leave out the lines of _CHATTER.
            silent: Whether to print warnings only.
        """
        self.messages = messages
        self.quiet = quiet
        self.silent = silent
        self.to_stderr = to_stderr
        self._log: Path | None = None
        self._unlogged: list[str] = []

    def say(self, key: str, **values: object) -> None:
        """Print a line of the catalogue."""
        self.line(self.messages.text(key, **values), shown=not (self.quiet and key in _CHATTER))

    def line(self, text: str, shown: bool = True) -> None:
        """Print `text`, or only log it."""
        if shown and (not self.silent or text.startswith(_WARNING)):
            self._print(text)
        self._unlogged.append(f"{datetime.now().isoformat(timespec='seconds')} {text}\n")
        self._write_log()

    def _print(self, text: str) -> None:
        # Looked up each time: a live progress line replaces the streams.
        stream = sys.stderr if self.to_stderr else sys.stdout
        if stream is None or stream.closed:  # of a daemon's Python
            return
        try:
            print(text, file=stream, flush=True)
        except OSError:  # the reader of our output has gone, or its disk is full: keep training
            give_up(stream)

    def keep_in(self, log: Path) -> None:
        """Write all lines, past and future, to `log`."""
        self._log = log
        self._write_log()

    def _write_log(self) -> None:
        if self._log is None:
            return
        # A full disk is reported when a checkpoint is written, not here.
        with suppress(OSError), self._log.open("a", encoding="utf-8") as file:
            file.writelines(self._unlogged)
        self._unlogged.clear()


class RunConsole:
    """Prints a run's progress in Reprise's lines (`session.Announcer`), and feeds its trackers.

    preset: name of the preset in use; live: whether to show progress between evaluations.
    """

    def __init__(
        self,
        voice: Voice,
        config: TrainConfig,
        trackers: tuple[str, ...] = (),
        preset: str | None = None,
        live: bool = True,
    ) -> None:
        self.voice = voice
        self.config = config
        self._asked, self._preset, self._live = trackers, preset, live
        self._progress: RunProgress | None = None  # the last that was seen
        self._line: ProgressLine | None = None
        self._trackers: Trackers | None = None
        self._folder: RunFolder | None = None
        self._rewound = False

    def say(self, key: str, **values: object) -> None:
        """Show a line of the catalogue."""
        self.voice.say(key, **values)

    def began(self, task: Task, folder: RunFolder, resumption: Resumption | None) -> None:
        """Show the run's folder, the plan, and the checkpoint it resumes from."""
        self._keep(folder)
        self.say("run_folder", path=folder.path)
        done = resumption is not None and is_finished(resumption.snapshot.progress, self.config)
        self._say_plan(task, trains=not done)
        if self.config.is_final_fit:
            self.say("final_fit_begins")
        elif self.config.max_steps < self.config.test_iter:
            steps, every = self.config.max_steps, self.config.test_iter
            self.say("no_evaluation", steps=steps, every=every)
        if resumption is None:
            self.say("fresh_start")
            return
        progress, path = resumption.snapshot.progress, resumption.checkpoint.path
        self.say("resumed", step=progress.step, branch=progress.branch, path=path)
        if resumption.rewound:
            self._say_rewound(progress)

    def restored(self, progress: RunProgress) -> None:
        """Show the best so far."""
        self._progress = progress
        if progress.best is not None:
            self.say("restored_best", metric=progress.best.metric)

    def training_begins(self, progress: RunProgress) -> None:
        """Open the trackers, and start the progress line."""
        self._open_trackers(progress)
        messages, say = self.voice.messages, self.voice.line
        self._line = ProgressLine(self.config, progress, messages, say, not self._live)

    def measured(self, step: int, metrics: Mapping[Split, dict[str, float]]) -> None:
        """Hand the results to the trackers; of a run that had ended before, to those asked for."""
        if self._trackers is None and self._asked and self._progress is not None:
            self._open_trackers(self._progress)
        if self._trackers is not None:
            self._trackers.results(step, points_of_results(metrics))

    def _open_trackers(self, progress: RunProgress) -> None:
        assert self._folder is not None  # `began` comes first
        run = TrackedRun(
            self._folder.path,
            self.config.run_name,
            progress.branch,
            dataclasses.asdict(self.config) | {"learning_rate": progress.learning_rate},
            record_of(self._folder.log.read(progress).lines, progress.branch),
        )
        self._trackers = Trackers(self._asked, run, self.say)

    def stepped(self, state: TrainState) -> None:
        """Update the progress line."""
        self._progress = state.progress
        if self._line is not None:
            self._line.stepped(state)

    def evaluated(self, progress: RunProgress, line: dict[str, Any]) -> None:
        """Show an evaluation's line."""
        if self.config.is_final_fit:
            loss = _number(line["train_loss"], 4)
            self.voice.line(f"step {progress.step}/{self.config.max_steps}  loss {loss}")
            self._record(progress, line)
            return
        n, best = self.config.top_n, progress.best
        self.voice.line(
            f"step {progress.step}/{self.config.max_steps}"
            f"  loss {_number(line['train_loss'], 4)}"
            f"  Recall@{n} {_number(line[f'valid_recall@{n}'])}"
            f"  NDCG@{n} {_number(line[f'valid_ndcg@{n}'])}"
            f"  HR@{n} {_number(line[f'valid_hitrate@{n}'])}"
            + (f"  best {best.metric:.6f} @ {best.step}" if best is not None else "")
            + f"  patience {progress.evaluations_without_improvement}/{self.config.patience}"
        )
        self._record(progress, line)

    def saved(self, progress: RunProgress, path: Path) -> None:
        """Announce a new best model once it is durable."""
        if progress.is_best and progress.best is not None:
            self.say("saved_best", metric=progress.best.metric)

    def stopping(self, progress: RunProgress) -> None:
        """Acknowledge a stop request, since saving can take a while."""
        self.say("stopping", step=progress.step)

    def ended(self, outcome: Outcome, command: str | None) -> None:
        """Show the result, and the command that continues. `command` continues after a stop; None
        for a call from Python, which is repeated to continue.
        """
        self._say_best(outcome)
        if outcome.exit_code:
            self._say_interrupted(outcome.progress.step, command)
            return
        for split, metrics in (outcome.results or {}).items():
            self.voice.line(f"{split}  {metric_line(metrics)}")
        if command is not None and self.config.model not in UNTRAINED:
            key = "trains_on_unmeasured" if self.config.is_final_fit else "trains_on"
            self.say(key, command=self._longer(command, outcome.progress))

    def _longer(self, command: str, progress: RunProgress) -> str:
        early = out_of_patience(progress, self.config.patience)
        limits = {"max_steps": self.config.max_steps, "patience": self.config.patience}
        state = "stopped early" if early else "finished"
        return longer(command, state, {"step": progress.step, **limits})

    def _say_interrupted(self, step: int, command: str | None) -> None:
        if command is None:
            self.say("interrupted_call", step=step, name=self.config.name)
        else:
            self.say("interrupted", step=step, command=command)

    def close(self) -> None:
        """Remove the progress line, and close the trackers."""
        if self._line is not None:
            self._line.close()
        progress, config = self._progress, self.config
        finished = progress is not None and (
            progress.step >= config.max_steps or out_of_patience(progress, config.patience)
        )
        if self._trackers is None and self._asked and progress is not None and finished:
            self._open_trackers(progress)  # of a final fit that had ended before
        if self._trackers is not None:
            self._trackers.close(finished)

    def _say_plan(self, task: Task, trains: bool) -> None:
        config = self.config
        self.say(
            "plan_data",
            dataset=config.dataset,
            users=len(task.sampler.users),
            items=task.num_items,
            interactions=len(task.sampler.split.items),
            valid=len(task.valid.lengths),
            test=len(task.test.lengths),
        )
        preset = "" if self._preset is None else f" (--preset {self._preset})"
        sizes = sizes_of(task, trains)
        self.say(
            "plan_model",
            model=f"{config.model}{preset}",
            parameters=sizes.item_parameters + sizes.network_parameters,
            network=sizes.network_parameters,
            state=_size(sizes.state),
            memory=_size(sizes.memory),
        )
        steps = {
            "steps": config.max_steps,
            "batch": config.batch_size,
            "every": config.test_iter,
        }
        if config.is_final_fit:  # without an evaluation, no patience is used
            self.say("plan_final_fit", **steps)
        else:
            self.say("plan_steps", **steps, patience=config.patience)

    def _say_best(self, outcome: Outcome) -> None:
        """Show the best metric and where its checkpoint is."""
        assert self._folder is not None
        if self.config.is_final_fit:
            return
        if outcome.best is None:
            rated = outcome.progress.evaluated_step or outcome.results
            self.say("no_best_of_any" if rated else "no_best")
            return
        best, stored = outcome.best, store.scan(self._folder.checkpoints)
        kept = results.best_of(stored, results.read(self._folder.path))
        about = {"n": self.config.top_n, "metric": best.metric, "step": best.step}
        if kept is not None and kept.order[:2] == (best.branch, best.step):
            self.say("best_so_far", **about, path=kept.path)
        else:
            self.say("best_without_weights", **about)

    def _say_rewound(self, progress: RunProgress) -> None:
        rate = progress.learning_rate
        self.say("rewound", step=progress.step, branch=progress.branch, rate=rate)

    def _keep(self, folder: RunFolder) -> None:
        self._folder = folder
        self.voice.keep_in(folder.path / "train.log")

    def _record(self, progress: RunProgress, line: dict[str, Any]) -> None:
        """Log an evaluation, and the timings up to it, to the trackers."""
        self._progress = progress
        if self._line is None or self._trackers is None:
            return
        times = {"time/seconds": progress.seconds, **self._line.evaluated(progress)}
        self._trackers.evaluated(progress.step, points_of(line) | times)


class ComiRecConsole(RunConsole):
    """Prints a run's progress in ComiRec's lines."""

    def began(self, task: Task, folder: RunFolder, resumption: Resumption | None) -> None:
        """Show the resume lines."""
        self._keep(folder)
        if resumption is not None:
            self._rewound = resumption.rewound
            self.say("found_checkpoint", path=resumption.checkpoint.path)
            self.say("continuing")

    def restored(self, progress: RunProgress) -> None:
        """Show the best so far; 0 before the first evaluation, as ComiRec starts."""
        self.say("restored_best", metric=0.0 if progress.best is None else progress.best.metric)
        if self._rewound:
            self._say_rewound(progress)

    def training_begins(self, progress: RunProgress) -> None:
        """Show that training begins, and start the progress line."""
        self.say("training_begin")
        super().training_begins(progress)

    def evaluated(self, progress: RunProgress, line: dict[str, Any]) -> None:
        """Show the experiment's name, the iteration's line and the time spent."""
        n = self.config.top_n
        self.voice.line(self.config.run_name)
        self.voice.line(
            f"iter: {progress.step}, train loss: {_number(line['train_loss'], 4)}, "
            f"valid recall: {_number(line[f'valid_recall@{n}'])}, "
            f"valid ndcg: {_number(line[f'valid_ndcg_comirec@{n}'])}, "
            f"valid hitrate: {_number(line[f'valid_hitrate@{n}'])}"
        )
        self.say("time_interval", minutes=progress.seconds / 60)
        self._record(progress, line)

    def ended(self, outcome: Outcome, command: str | None) -> None:
        """Show the best model's metrics like ComiRec, or the command that continues."""
        if outcome.exit_code:
            self._say_interrupted(outcome.progress.step, command)
        for split, metrics in (outcome.results or {}).items():
            self.voice.line(comirec_results(split, metrics, self.config.top_n))


def comirec_results(split: str, metrics: dict[str, float], top_n: int) -> str:
    """Return "test recall: 0.034411, test ndcg: ..." with ComiRec's definitions."""
    names = {
        "recall": "recall",
        "ndcg_comirec": "ndcg",
        "hitrate": "hitrate",
        "diversity": "diversity",
    }
    return ", ".join(
        f"{split} {name}: {_number(metrics[f'{key}@{top_n}'])}"
        for key, name in names.items()
        if f"{key}@{top_n}" in metrics
    )


def _size(count: float) -> str:
    """Format a number of bytes."""
    for unit in ("B", "kB", "MB"):
        if count < 999.5:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _number(value: float | None, digits: int = 6) -> str:
    return "nan" if value is None else f"{value:.{digits}f}"


def metric_line(metrics: dict[str, float]) -> str:
    """Format the metrics of lists as "Recall@50 0.034411  ...", largest cutoff last."""
    return _of_lists({key: _number(value) for key, value in metrics.items()})


def statistics_line(found: dict[str, dict[str, float | None]]) -> str:
    """Format the result of `groups.statistics` as "Recall@50 0.034411 ± 0.000212  ..."."""
    shown = {}
    for key, one in found.items():
        deviation = "" if one["deviation"] is None else f" ± {_number(one['deviation'])}"
        shown[key] = _number(one["mean"]) + deviation
    return _of_lists(shown)


def _of_lists(values: dict[str, str]) -> str:
    shown = []
    for key, value in values.items():
        metric = metric_of(key)
        if metric is not None and metric.per_user and metric.in_training:
            shown.append(f"{metric.label}@{key.partition('@')[2]} {value}")
    return "  ".join(shown)


def show_import(voice: Voice, source: Path, imported: Imported) -> None:
    """Show the imported variables, and the command that continues the run."""
    lines = []
    width = max(map(len, imported.reading.variables))
    for parameter, variable in imported.reading.variables.items():
        moments = "value" if parameter in imported.without_moments else "value, m, v"
        name = shown(variable.name)
        lines.append(f"  {parameter:<{width}} {name} {list(variable.shape)}: {moments}")
    voice.say("tf_imported", source=source, path=imported.folder.path, variables="\n".join(lines))
    if imported.unused:
        voice.say("tf_unused", names=", ".join(variable.name for variable in imported.unused))
    if imported.drawn:
        voice.say("tf_drawn", names=", ".join(imported.drawn))
    best = imported.progress.best
    command = command_to_resume(imported.folder, imported.config.name)
    voice.say(
        "tf_standing",
        step=imported.progress.step,
        metric=f"recall@{imported.config.top_n}",
        value="-" if best is None else f"{best.metric:.6f}",
        command=command,
    )
