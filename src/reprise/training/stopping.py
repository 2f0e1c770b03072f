"""ComiRec's early stopping, as pure functions of `Progress`.

The best model needs a strict improvement of the validation metric; training stops after more than
`patience` evaluations in a row without one.
"""

import math
from dataclasses import replace

from reprise.training.state import Best, Progress


def record_evaluation(progress: Progress, metric: float) -> Progress:
    """Return `progress` after an evaluation at its step.

    The first finite metric is the best until a higher one follows. On a tie the earlier one stays;
    a metric that is not finite counts as no improvement.
    """
    finite = math.isfinite(metric)
    improved = finite and (progress.best is None or metric > progress.best.metric)
    return replace(
        progress,
        evaluated_step=progress.step,
        metric=metric if finite else None,
        best=Best(metric, progress.step, progress.branch) if improved else progress.best,
        evaluations_without_improvement=(
            0 if improved else progress.evaluations_without_improvement + 1
        ),
    )


def pass_evaluation(progress: Progress) -> Progress:
    """Return `progress` where an evaluation would have been, of a run that has none."""
    return replace(progress, evaluated_step=progress.step, metric=None)


def out_of_patience(progress: Progress, patience: int) -> bool:
    """Return whether training stops early: `trials > patience` in ComiRec."""
    return progress.evaluations_without_improvement > patience
