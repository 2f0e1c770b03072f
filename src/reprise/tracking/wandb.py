"""Weights & Biases: one W&B run per branch, grouped by the run's name, in the project WANDB_PROJECT
("reprise" by default); WANDB_MODE=offline stores it in the run's folder.

W&B's steps only increase, and offline it cannot be asked what it holds. So the run keeps what it
has sent (`runs.tracked`). Where that is not what the run holds now, since a state was thrown away,
the branch gets another W&B run, "(2)", with all its points.
"""

import json
import os
from dataclasses import replace
from hashlib import sha256
from typing import Any

import wandb

from reprise.runs import tracked
from reprise.tracking import Points, TrackedRun

_NAME = "wandb"


class WandbLog:
    """The open W&B run of a branch."""

    def __init__(self, run: TrackedRun) -> None:
        self._of, self._sent = run, _sent(run)
        own = sorted(run.record[run.branch].items())
        self._logged: dict[int, Points] = {}
        self._chain = [""]  # the digest after each number of evaluations
        for step, points in own:
            self._add(step, points)
        if not self._is_of_now():
            self._sent = {"attempt": self._sent["attempt"] + 1, "count": 0, "digest": ""}
        self._open()
        self._note()
        for step, points in own:
            self._put(step, points)

    def log(self, step: int, points: Points) -> None:
        """Log an evaluation; one that was sent before is the same."""
        if step in self._logged:
            return
        self._add(step, points)
        if self._is_of_now():
            self._note()
            self._put(step, points)
        else:
            self._begin_anew()

    def results(self, step: int, points: Points) -> None:
        """Log the final metrics to the summary, which W&B shows in its table of runs."""
        self._run.summary.update({**points, "result/step": step})

    def close(self, finished: bool) -> None:
        """End the W&B run; an unfinished one is resumed by its id."""
        if finished and self._sent["count"] > len(self._logged):
            self._begin_anew()  # what lies ahead was thrown away
        self._run.finish(exit_code=0)

    def _add(self, step: int, points: Points) -> None:
        self._logged[step] = points
        fixed = {tag: value for tag, value in points.items() if not tag.startswith("time/")}
        text = f"{self._chain[-1]} {step} {json.dumps(fixed, sort_keys=True)}"
        self._chain.append(sha256(text.encode()).hexdigest())

    def _is_of_now(self) -> bool:
        """Return whether what was sent is the beginning of what there is, or may become so."""
        count, digest = int(self._sent["count"]), str(self._sent["digest"])
        return count >= len(self._chain) or self._chain[count] == digest

    def _put(self, step: int, points: Points) -> None:
        if step >= self._run.step:
            self._run.log(points, step=step, commit=True)

    def _note(self) -> None:
        """Keep what is sent next, before it is."""
        if len(self._logged) >= self._sent["count"]:
            self._sent |= {"count": len(self._logged), "digest": self._chain[-1]}
        kept = tracked.read(self._of.folder)
        of_all = {**kept.sent, _NAME: {**kept.sent.get(_NAME, {}), self._of.key: self._sent}}
        tracked.write(self._of.folder, replace(kept, sent=of_all))

    def _begin_anew(self) -> None:
        """Leave the W&B run, and log everything to another one."""
        self._run.finish(exit_code=0)
        self._sent = {"attempt": self._sent["attempt"] + 1, "count": 0, "digest": ""}
        self._open()
        self._note()
        for step, points in self._logged.items():
            self._put(step, points)

    def _open(self) -> None:
        run, attempt = self._of, self._sent["attempt"]
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "reprise"),
            id=run.key + (f"-{attempt}" if attempt > 1 else ""),
            name=run.shown_name + (f" ({attempt})" if attempt > 1 else ""),
            group=run.name,
            dir=str(run.folder),
            resume="allow",
            settings=wandb.Settings(console="off"),  # the progress line uses the terminal
        )
        self._run.config.update(dict(run.settings), allow_val_change=True)


def open_log(run: TrackedRun) -> WandbLog:
    """Open or resume the branch's W&B run; earlier branches that lack evaluations are completed."""
    for branch, evaluations in sorted(run.record.items()):
        other = replace(run, branch=branch)
        if branch != run.branch and _sent(other)["count"] < len(evaluations):
            WandbLog(other).close(finished=False)
    return WandbLog(run)


def _sent(run: TrackedRun) -> dict[str, Any]:
    """Return what was sent of a branch: attempt, count and digest of the evaluations."""
    found = tracked.read(run.folder).sent.get(_NAME, {}).get(run.key, {})
    try:
        return {
            "attempt": int(found["attempt"]),
            "count": int(found["count"]),
            "digest": str(found["digest"]),
        }
    except (KeyError, TypeError, ValueError):
        return {"attempt": 1, "count": 0, "digest": ""}
