"""Weights & Biases: one W&B run per branch, grouped by the run's name, in the project WANDB_PROJECT
("reprise" by default); WANDB_MODE=offline stores it in the run's folder.
"""

import os

import wandb

from reprise.tracking import Points, TrackedRun


class WandbLog:
    """An open W&B run."""

    def __init__(self, run: TrackedRun) -> None:
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "reprise"),
            id=run.key,
            name=run.shown_name,
            group=run.name,
            dir=str(run.folder),
            resume="allow",
            settings=wandb.Settings(console="off"),  # the progress line uses the terminal
        )
        self._run.config.update(dict(run.config), allow_val_change=True)
        for step, points in sorted(run.record[run.branch].items()):
            self.log(step, points)

    def log(self, step: int, points: Points) -> None:
        """Log an evaluation; W&B's steps only increase, and those it has are the same."""
        if step >= self._run.step:
            self._run.log(points, step=step, commit=True)

    def results(self, step: int, points: Points) -> None:
        """Log the final metrics to the summary, which W&B shows in its table of runs."""
        self._run.summary.update({**points, "result/step": step})

    def close(self, finished: bool) -> None:
        """End the W&B run; an unfinished one is resumed by its id."""
        self._run.finish(exit_code=0)


def open_log(run: TrackedRun) -> WandbLog:
    """Open or resume the branch's W&B run."""
    return WandbLog(run)
