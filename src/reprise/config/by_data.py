"""Settings that follow from the data: what AUTO stands for, by a stated rule."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from reprise.config.schema import NONE, SETTINGS, TrainConfig
from reprise.config.setting import AUTO, Auto
from reprise.data.dataset import LAST, SHARE

_DENSE = 50  # interactions of an item, on average
_LONG = 50  # interactions of a user, on average
_MOST_ITEMS = 1_000_000
_MOST_COUNTED = 10_000_000  # interactions, as pairs all at once

# A run, or a data set, may have this name, too.
_MAY_FOLLOW = [name for name, one in SETTINGS.items() if one.by_data or AUTO in one.choices]

T = TypeVar("T")


@dataclass(frozen=True)
class Facts:
    """What settings may follow from: training interactions, users and items, and what an evaluation
    hides of a user's, one of `EVALUATIONS`.
    """

    interactions: int
    users: int
    items: int
    evaluation: str = SHARE

    @property
    def is_dense(self) -> bool:
        """Whether items occur _DENSE times or more on average."""
        return self.interactions >= _DENSE * self.items

    @property
    def is_long(self) -> bool:
        """Whether users have _LONG items or more on average."""
        return self.interactions >= _LONG * self.users


def by_data(config: TrainConfig, facts: Facts) -> TrainConfig:
    """Return the configuration with a value in the place of each AUTO.

    memory: of at most _MOST_ITEMS items, a ridge regression where it can be solved and the data are
    dense, else rules, which find as much of rare items in less time; of more none, as it is
    evaluated with all items' rows in each process. item_init: by counts of at most as many items
    and _MOST_COUNTED interactions, which take some minutes and 4 GB of memory, else at random.
    temperature: lower where the data are dense. item_dropout: none where sequences are long.
    next_share: 0 where the very next item is all that is to be found.
    """
    if not (asked := open_in(config)):
        return config
    from reprise.memory.ridge import MOST_SOLVED  # scipy takes time to import

    solved = facts.items <= MOST_SOLVED and facts.is_dense
    few = facts.items <= _MOST_ITEMS
    counted = few and facts.interactions <= _MOST_COUNTED
    values: dict[str, Any] = {
        "memory": "ridge" if solved else "rules" if few else NONE,
        "item_init": "counts" if counted else "random",
        "temperature": 0.1 if facts.is_dense else 0.15,
        "item_dropout": 0.0 if facts.is_long else 0.2,
        "next_share": 0.0 if facts.evaluation == LAST else 0.1,
    }
    return replace(config, **{name: values[name] for name in asked})


def open_in(config: TrainConfig) -> list[str]:
    """Return the settings of a configuration that are to follow from the data."""
    return [name for name in _MAY_FOLLOW if getattr(config, name) == AUTO]


def facts_of(meta: Mapping[str, Any]) -> Facts:
    """Return the facts that a dataset folder's meta.json tells, for a run on its training users."""
    interactions, users = (meta[count]["train"] for count in ("interactions", "users"))
    return Facts(interactions, users, meta["num_items"], meta.get("evaluation", SHARE))


def settled(value: T | Auto) -> T:
    """Return a value that follows from the data no longer."""
    assert value != AUTO
    return value
