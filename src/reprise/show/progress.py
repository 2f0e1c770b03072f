"""Training speed, and the progress line: live on a terminal, once a minute elsewhere."""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.text import Text

from reprise.config.schema import TrainConfig
from reprise.runtime.streams import is_terminal
from reprise.text.messages import Messages
from reprise.training.state import Progress, TrainState

_CENTURY = 100 * 365 * 86_400  # seconds; a longer estimate is not shown
_LIVE_SECONDS = 0.5  # reading the loss waits for the device, so not at every step
PLAIN_SECONDS = 60.0  # between plain lines without an evaluation


class Pace:
    """Timing of this start's steps, from the first on (before it, the step compiles), and of its
    evaluations. The caller reports the end of each step and evaluation.
    """

    def __init__(
        self, progress: Progress, config: TrainConfig, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock, self._config = clock, config
        self._began = clock()
        self._first: tuple[float, int] | None = None
        self._since: tuple[float, int] | None = None  # the last evaluation's end, or the first step
        self._step, self._stepped_at = progress.step, self._began
        self._evaluating, self._evaluations = 0.0, 0

    def stepped(self, step: int) -> None:
        """Record the end of update `step`."""
        self._step, self._stepped_at = step, self._clock()
        if self._first is None:
            self._first = self._since = self._stepped_at, step

    def evaluated(self) -> dict[str, float]:
        """Record the end of an evaluation after the last step, and return the timings for trackers:
        its seconds, and the examples per second of the steps before it.
        """
        now, numbers = self._clock(), {}
        seconds = now - self._stepped_at
        self._evaluating += seconds
        self._evaluations += 1
        numbers["time/evaluation_seconds"] = seconds
        speed = self._speed(self._since)
        if speed is not None:
            numbers["time/examples_per_second"] = speed * self._config.batch_size
        self._since = now, self._step
        self._stepped_at = now
        return numbers

    @property
    def examples_per_second(self) -> float | None:
        """Return the speed since the last evaluation or first step; None before a second step."""
        speed = self._speed(self._since) or self._speed(self._first, self._evaluating)
        return None if speed is None else speed * self._config.batch_size

    @property
    def evaluation_share(self) -> float:
        """Return the fraction of this start's time spent in evaluations, 0 to 1."""
        return self._evaluating / max(self._clock() - self._began, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """Return the estimated time to the last step with evaluations; None before two steps."""
        speed = self._speed(self._first, self._evaluating)
        if speed is None:
            return None
        steps, every = self._config.max_steps - self._step, self._config.test_iter
        evaluations = self._config.max_steps // every - self._step // every
        each = self._evaluating / self._evaluations if self._evaluations else 0.0
        return steps / speed + evaluations * each

    def _speed(self, start: tuple[float, int] | None, apart: float = 0.0) -> float | None:
        """Return the steps per second since `start`, not counting `apart` seconds."""
        if start is None or self._step == start[1] or self._stepped_at - start[0] <= apart:
            return None
        return (self._step - start[1]) / (self._stepped_at - start[0] - apart)


class ProgressLine:
    """The progress line: live on a terminal; elsewhere passed to `say` once a minute. If `quiet`,
    it is not shown, but timings are recorded.
    """

    def __init__(
        self,
        config: TrainConfig,
        progress: Progress,
        messages: Messages,
        say: Callable[[str], None],
        quiet: bool = False,
    ) -> None:
        self.pace = Pace(progress, config)
        self._config, self._messages, self._say, self._quiet = config, messages, say, quiet
        self._console = Console(stderr=True)
        # Not the console's own detection, which the environment can change: log files stay plain.
        live = is_terminal(sys.stderr) and not self._console.is_dumb_terminal and not quiet
        self._live = Live(
            self._text(progress, None),
            console=self._console,
            redirect_stdout=is_terminal(sys.stdout),  # lines meant for a file must reach it
            transient=True,
        )
        self._shown = time.monotonic()
        if live:
            self._live.start()

    def stepped(self, state: TrainState) -> None:
        """Record a step, and refresh the line from time to time."""
        progress, live = state.progress, self._live.is_started
        due = progress.step % self._config.test_iter == 0
        every = _LIVE_SECONDS if live else PLAIN_SECONDS
        show = not self._quiet and (time.monotonic() - self._shown >= every or (live and due))
        if show or due:  # steps run behind their dispatch, and an evaluation waits for them anyway
            state.arrays.loss_sum.block_until_ready()
        self.pace.stepped(progress.step)
        if show:
            loss = float(state.arrays.loss_sum) / max(1, progress.step - progress.evaluated_step)
            if live:
                with suppress(OSError):  # the terminal is gone
                    self._live.update(self._text(progress, loss, evaluating=due), refresh=due)
            elif not due:
                self._say(self._line(progress, loss, evaluating=False, width=None))
            self._shown = time.monotonic()

    def evaluated(self, progress: Progress) -> dict[str, float]:
        """Like `Pace.evaluated`; the evaluation is printed separately."""
        numbers = self.pace.evaluated()
        if self._live.is_started:
            self._live.update(self._text(progress, None))
        self._shown = time.monotonic()
        return numbers

    def close(self) -> None:
        """Remove the line."""
        with suppress(OSError):
            self._live.stop()

    def _text(self, progress: Progress, loss: float | None, evaluating: bool = False) -> Text:
        line = self._line(progress, loss, evaluating, self._console.width)
        return Text(line, no_wrap=True, overflow="crop")

    def _line(
        self, progress: Progress, loss: float | None, evaluating: bool, width: int | None
    ) -> str:
        """Return the line in at most `width` cells; the least important parts are dropped first."""
        parts = self._parts(progress, loss, evaluating)
        shown = [part for _, part in parts]
        for _, part in sorted(parts, reverse=True):
            if width is None or cell_len("  ".join(shown)) < width:
                break
            shown.remove(part)
        return "  ".join(shown)

    def _parts(
        self, progress: Progress, loss: float | None, evaluating: bool
    ) -> list[tuple[int, str]]:
        """Return the line's parts in order, each with its rank; 0 is the most important."""
        config, pace, text = self._config, self.pace, self._messages.text
        step, total, best = progress.step, config.max_steps, progress.best
        parts = [(0, text("live_step", step=step, total=total, percent=100 * step // total))]
        if evaluating:
            parts.append((1, text("live_evaluating")))
        if loss is not None:
            parts.append((2, text("live_loss", loss=loss)))
        if (speed := pace.examples_per_second) is not None:
            parts.append((5, text("live_speed", speed=speed)))
        if best is not None:
            now = "nan" if progress.metric is None else f"{progress.metric:.4f}"
            values = {"metric": now, "best": best.metric, "step": best.step}
            parts.append((3, text("live_recall", n=config.top_n, **values)))
        if not config.is_final_fit:  # nothing is evaluated that could use it up
            used = progress.evaluations_without_improvement
            parts.append((6, text("live_patience", used=used, patience=config.patience)))
        if pace.evaluation_share:
            parts.append((7, text("live_evaluation", percent=100 * pace.evaluation_share)))
        if (left := pace.seconds_left) is not None and left < _CENTURY:
            parts.append((4, text("live_left", time=timedelta(seconds=round(left)))))
        return parts
