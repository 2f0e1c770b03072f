"""The progress line and its timings; a log file stays plain in any environment."""

import re
from pathlib import Path

import pytest

from helpers.commands import small_config
from reprise.api import run_request
from reprise.runs.folder import RunFolder
from reprise.runs.session import Request
from reprise.show.progress import Pace, ProgressLine
from reprise.show.run import RunConsole, Voice
from reprise.show.terminal import shown_stages
from reprise.text.messages import Messages
from reprise.training.state import Best, Progress

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")  # all but tabs and ends of lines


def test_pace_measures_speed_share_and_time_left_by_its_clock() -> None:
    now = [0.0]
    config = small_config(max_steps=20, test_iter=4, batch_size=16)
    pace = Pace(Progress(0.01), config, lambda: now[0])
    assert (pace.examples_per_second, pace.seconds_left, pace.evaluation_share) == (None, None, 0)
    now[0] = 10.0  # it compiles
    for step in range(1, 5):
        pace.stepped(step)
        now[0] += 0.5
    assert pace.examples_per_second == 16 / 0.5
    assert pace.seconds_left == 16 * 0.5
    now[0] = 11.5 + 3.0
    assert pace.evaluated() == {"time/evaluation_seconds": 3.0, "time/examples_per_second": 32.0}
    assert pace.evaluation_share == pytest.approx(3.0 / 14.5)
    assert pace.seconds_left == 16 * 0.5 + 4 * 3.0
    now[0] = 15.0
    pace.stepped(5)
    assert pace.examples_per_second == 16 / 0.5
    assert pace.seconds_left == 15 * 0.5 + 4 * 3.0


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_progress_line_drops_the_least_important_parts_first(
    lang: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = Messages("zh" if lang == "zh" else "en")
    line = ProgressLine(small_config(), Progress(0.01), messages, print)
    progress = Progress(
        0.01, step=6, evaluated_step=4, metric=0.25, best=Best(0.5, 4, 0),
        evaluations_without_improvement=3,
    )  # fmt: skip
    whole = line._line(progress, 1.5, False, width=None)
    for part in ("6/20", "30%", "loss 1.5000", "Recall@10 0.2500", "0.5000 @ 4", "patience 3/50"):
        assert part in whole
    for width in range(20, 120, 7):
        assert len(line._line(progress, 1.5, False, width)) < width
    assert "6/20" in line._line(progress, 1.5, False, 30)
    assert "patience" not in line._line(progress, 1.5, False, 60)


def test_progress_line_shows_no_patience_of_a_final_fit() -> None:
    config = small_config(train_users="all")
    line = ProgressLine(config, Progress(0.01), Messages("en"), print)
    assert "patience" not in line._line(Progress(0.01, step=6), 1.5, False, None)


def test_progress_line_shows_no_unbounded_time_left() -> None:
    """And it ends no training."""
    now = [0.0]
    config = small_config(max_steps=2_000_000_000)
    pace = Pace(Progress(0.01), config, lambda: now[0])
    line = ProgressLine(config, Progress(0.01), Messages("en"), print)
    line.pace = pace
    for step, seconds in ((1, 0.0), (2, 5e5), (3, 1e6)):
        now[0] = seconds
        pace.stepped(step)
    assert pace.seconds_left is not None
    assert pace.seconds_left > 1e14
    assert "left" not in line._line(Progress(0.01, step=3), 1.5, False, width=None)


def run_quietly(data: Path, runs: Path, quiet: bool, steps: int = 8) -> None:
    config = small_config(max_steps=steps)
    request = Request(config, data / "small", RunFolder(runs / config.folder_name))
    console = RunConsole(Voice(Messages("en"), quiet=quiet), config, live=not quiet)
    command = "reprise resume t"
    assert run_request(request, console, command) == 0


def test_log_file_stays_plain_if_the_environment_asks_for_colours(
    small_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setattr("reprise.show.progress.PLAIN_SECONDS", 0.0)
    run_quietly(small_data, tmp_path, quiet=False)
    shown = capsys.readouterr()
    assert not CONTROL.search(shown.out + shown.err)
    # A line for each step that no evaluation follows, then the end.
    assert re.findall(r"^step (\d+)/8 \d+%  loss \d", shown.out, re.M) == list("123567")
    (folder,) = tmp_path.iterdir()
    assert not CONTROL.search((folder / "train.log").read_text())


def test_quiet_shows_evaluations_and_the_end_and_logs_the_rest(
    small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_quietly(small_data, tmp_path, quiet=True)
    lines = capsys.readouterr().out.splitlines()
    starts = ("step 4/8  loss", "step 8/8  loss", "Best Recall@10 0.", "valid  ", "test  ")
    for line, start in zip(lines, starts, strict=False):
        assert line.startswith(start)
    assert lines[5:] == ["To continue training:", "  reprise resume t --steps 16"]
    (folder,) = tmp_path.iterdir()
    best = re.search(r"at step (\d): (.*)", lines[2])
    assert best is not None
    assert Path(best[2]) == folder / "checkpoints" / f"ckpt-{best[1]}"
    log = (folder / "train.log").read_text()
    for line in (f"Run: {folder}", "Data: small: 60 training users, 40 items", "Model: ComiRec-SA"):
        assert line in log
    assert "Plan: 8 steps of 16 examples, evaluation every 4, patience 50" in log


def test_stages_of_prepare_tell_how_much_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where there is no terminal, a line a minute."""
    clock = iter([0.0, 0.0, 61.0, 62.0, 140.0])
    monkeypatch.setattr("reprise.show.terminal.time.monotonic", lambda: next(clock))
    with shown_stages(Messages("en")) as tell:
        tell("read", 1_000, 4_000)
        tell("read", 2_000, 4_000)
        tell("filter", 0, 4_000)
        tell("order", 4_000, 4_000)
    assert capsys.readouterr().err.splitlines() == [
        "Reading: 2,000 of 4,000 rows  50%  0:01:01 left",
        "Ordering 4,000 of 4,000 rows  100%",
    ]
