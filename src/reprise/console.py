"""What a run shows: ComiRec's lines or Reprise's, a live progress line, train.log, TensorBoard."""

import os
import shlex
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from reprise.config import TrainConfig
from reprise.messages import Messages
from reprise.runs.loop import Task
from reprise.runs.run import Resumption, RunFolder
from reprise.runs.session import Split
from reprise.runs.tf_import import Imported, train_options
from reprise.training.state import Progress as RunProgress
from reprise.training.state import TrainState

_REFRESH_SECONDS = 0.5  # reading the loss waits for the device, so not at every step

METRIC_NAMES = {
    "recall": "Recall",
    "ndcg": "NDCG",
    "ndcg_comirec": "NDCG(ComiRec)",
    "hitrate": "HR",
    "mrr": "MRR",
    "diversity": "Diversity",
    "interest_coverage": "Coverage",
}


class Voice:
    """Prints lines and, once it knows the run's folder, keeps them in train.log with times."""

    def __init__(self, messages: Messages, to_stderr: bool = False) -> None:
        self.messages = messages
        self._to_stderr = to_stderr
        self._log: Path | None = None
        self._unlogged: list[str] = []

    def say(self, key: str, **values: object) -> None:
        """Print a line of the catalogue."""
        self.line(self.messages.text(key, **values))

    def line(self, text: str) -> None:
        """Print `text`."""
        # Looked up anew each time: a live progress line puts its own in place of the streams.
        stream = sys.stderr if self._to_stderr else sys.stdout
        try:
            print(text, file=stream, flush=True)
        except OSError:  # whoever read our lines has gone, or their disk is full: train on
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())
        self._unlogged.append(f"{datetime.now().isoformat(timespec='seconds')} {text}\n")
        self._write_log()

    def keep_in(self, log: Path) -> None:
        """Keep what was said, and all that follows, in `log`."""
        self._log = log
        self._write_log()

    def _write_log(self) -> None:
        if self._log is None:
            return
        # A disk that is full is the checkpoint's to report, not a log line's.
        with suppress(OSError), self._log.open("a", encoding="utf-8") as file:
            file.writelines(self._unlogged)
        self._unlogged.clear()


class TensorBoardLog:
    """Scalars of each evaluation, a folder a branch; what a stopped start wrote ahead of its
    checkpoint is purged, so that no point is missing or doubled.
    """

    def __init__(self, folder: Path, progress: RunProgress) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        branch = folder / f"branch-{progress.branch}"
        branch.mkdir(parents=True, exist_ok=True)
        # Not SummaryWriter: a thread writes its queue, and a kill would lose what is in it.
        self._writer = EventsWriter(str(branch / "events"))
        session = SessionLog(status=SessionLog.START)
        self._writer.write_event(Event(step=progress.evaluated_step + 1, session_log=session))
        self._writer.flush()

    def evaluated(self, progress: RunProgress, line: dict[str, Any]) -> None:
        """Write the evaluation's numbers and the time spent so far; they outlive a kill."""
        self._add("train/loss", line["train_loss"], progress)
        for name, value in line.items():
            if name.startswith("valid_"):
                self._add(_tag(name.removeprefix("valid_")), value, progress)
        self._add("time/seconds", progress.seconds, progress)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()

    def _add(self, tag: str, value: float | None, progress: RunProgress) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        if value is not None:
            summary = scalar(tag, value)
            event = Event(wall_time=time.time(), step=progress.step, summary=summary)
            self._writer.write_event(event)


def _tag(metric: str) -> str:
    """Return TensorBoard's tag of a validation metric: interest health is a group of its own."""
    group, _, rest = metric.partition("_")
    return f"interest/{rest}" if group in ("interest", "interests") else f"valid/{metric}"


class RunConsole:
    """Tells of a run in Reprise's own lines (`session.Announcer`)."""

    def __init__(self, voice: Voice, config: TrainConfig) -> None:
        self.voice = voice
        self.config = config
        self._bar: _ProgressLine | None = None
        self._tensorboard: TensorBoardLog | None = None
        self._folder: RunFolder | None = None
        self._rewound = False

    def say(self, key: str, **values: object) -> None:
        """Show a line of the catalogue."""
        self.voice.say(key, **values)

    def began(self, task: Task, folder: RunFolder, resumption: Resumption | None) -> None:
        """Show the run's folder, the plan, and what it goes on from."""
        self._keep(folder)
        self.say("run_folder", path=folder.path)
        self.say(
            "plan",
            model=self.config.model,
            dataset=self.config.dataset,
            users=len(task.sampler.users),
            items=task.num_items,
            steps=self.config.max_steps,
            every=self.config.test_iter,
        )
        if self.config.max_steps < self.config.test_iter:
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
        if progress.best is not None:
            self.say("restored_best", metric=progress.best.metric)

    def training_begins(self, progress: RunProgress) -> None:
        """Start the progress line and the TensorBoard files."""
        assert self._folder is not None  # `began` comes first
        try:
            self._tensorboard = TensorBoardLog(self._folder.path / "tensorboard", progress)
        except OSError as error:
            self.say("tensorboard_off", reason=error)
        self._bar = _ProgressLine(self.config, progress)

    def stepped(self, state: TrainState) -> None:
        """Move the progress line."""
        if self._bar is not None:
            self._bar.stepped(state)

    def evaluated(self, progress: RunProgress, line: dict[str, Any]) -> None:
        """Show an evaluation's line."""
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
        """Tell of a new best model, now that it is durable."""
        if progress.is_best and progress.best is not None:
            self.say("saved_best", metric=progress.best.metric)

    def show_results(self, results: Mapping[Split, dict[str, float]]) -> None:
        """Show the best model's metrics at the end."""
        for split, metrics in results.items():
            self.voice.line(f"{split}  {metric_line(metrics)}")

    def close(self) -> None:
        """Take the progress line away, and close TensorBoard's file."""
        if self._bar is not None:
            self._bar.close()
        if self._tensorboard is not None:
            self._tensorboard.close()

    def _say_rewound(self, progress: RunProgress) -> None:
        rate = progress.learning_rate
        self.say("rewound", step=progress.step, branch=progress.branch, rate=rate)

    def _keep(self, folder: RunFolder) -> None:
        self._folder = folder
        self.voice.keep_in(folder.path / "train.log")

    def _record(self, progress: RunProgress, line: dict[str, Any]) -> None:
        if self._tensorboard is None:
            return
        try:
            self._tensorboard.evaluated(progress, line)
        except OSError as error:
            self._tensorboard = None
            self.say("tensorboard_off", reason=error)


class ComiRecConsole(RunConsole):
    """Tells of a run in the lines that ComiRec's users know."""

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
        """Say so, and start the progress line."""
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
        self.voice.line(f"time interval: {progress.seconds / 60:.4f} min")
        self._record(progress, line)

    def show_results(self, results: Mapping[Split, dict[str, float]]) -> None:
        """Show the best model's metrics as the original ends."""
        for split, metrics in results.items():
            self.voice.line(comirec_results(split, metrics, self.config.top_n))


class _ProgressLine:
    """One live line on a terminal; nothing elsewhere."""

    def __init__(self, config: TrainConfig, progress: RunProgress) -> None:
        console = Console(stderr=True)
        self._shown = Progress(
            TextColumn("[bold]step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[facts]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            redirect_stdout=sys.stdout.isatty(),  # lines meant for a file must reach it
            transient=True,
        )
        self._task = self._shown.add_task(
            "train", total=config.max_steps, completed=progress.step, facts=""
        )
        self._shown.start()
        self._config = config
        self._seen = (time.monotonic(), progress.step)

    def stepped(self, state: TrainState) -> None:
        """Show the step, the loss since the last evaluation, speed and best, now and then."""
        now, (then, step) = time.monotonic(), self._seen
        if self._shown.disable or now - then < _REFRESH_SECONDS:
            return
        progress = state.progress
        rated = max(1, progress.step - progress.evaluated_step)
        speed = (progress.step - step) / (now - then) * self._config.batch_size
        facts = f"loss {float(state.arrays.loss_sum) / rated:.4f}  {speed:,.0f} examples/s"
        if progress.best is not None:
            facts += f"  best Recall@{self._config.top_n} {progress.best.metric:.4f}"
        self._shown.update(self._task, completed=progress.step, facts=facts)
        self._seen = (now, progress.step)

    def close(self) -> None:
        """Take the line away."""
        self._shown.stop()


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


def _number(value: float | None, digits: int = 6) -> str:
    return "nan" if value is None else f"{value:.{digits}f}"


def metric_line(metrics: dict[str, float]) -> str:
    """Return the metrics of lists as "Recall@50 0.034411  ...", largest cutoff last."""
    shown = []
    for key, value in metrics.items():
        kind, _, n = key.partition("@")
        if kind in METRIC_NAMES:
            shown.append(f"{METRIC_NAMES[kind]}@{n} {_number(value)}")
    return "  ".join(shown)


def show_import(voice: Voice, source: Path, imported: Imported, folders: list[str]) -> None:
    """Show what an import made of which variable, and the command that goes on."""
    lines = []
    for parameter, variable in imported.reading.variables.items():
        moments = "value" if parameter in imported.without_moments else "value, m, v"
        lines.append(f"  {parameter:<12} {variable.name} {list(variable.shape)}: {moments}")
    voice.say("tf_imported", source=source, path=imported.folder.path, variables="\n".join(lines))
    if imported.unused:
        voice.say("tf_unused", names=", ".join(variable.name for variable in imported.unused))
    best = imported.progress.best
    command = shlex.join(["reprise", "train", *train_options(imported.config), *folders])
    voice.say(
        "tf_standing",
        step=imported.progress.step,
        metric="-" if best is None else f"{best.metric:.6f}",
        command=command,
    )
