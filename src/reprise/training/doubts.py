"""What of a run's settings does not fit its data, though it can be trained: as warnings."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from reprise.models.registry import UNTRAINED
from reprise.training.setup import Task

Doubt = tuple[str, dict[str, Any]]  # a message's key and its values


def doubts(task: Task) -> Iterator[Doubt]:
    """Yield the warnings of a run, each naming the option that helps."""
    config, sampler = task.config, task.sampler
    trained, every = len(sampler.users), int(np.count_nonzero(sampler.split.lengths))
    learns = config.model not in UNTRAINED
    if learns and 2 * trained < every:
        facts = {"users": trained, "every": every, "least": config.min_history}
        yield "few_trained", facts
    longest = longest_history(task)
    if learns and config.maxlen > longest:
        yield "maxlen_unused", {"maxlen": config.maxlen, "longest": longest}
    if not config.is_final_fit and config.top_n >= task.num_items:
        yield "top_n_of_all", {"n": config.top_n, "items": task.num_items}


def longest_history(task: Task) -> int:
    """Return the items of the longest history that is trained on or evaluated."""
    trained = int(task.sampler.split.lengths.max()) - 1
    return max(trained, *(int(users.past.lengths.max()) for users in (task.valid, task.test)))
