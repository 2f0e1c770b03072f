"""Settings that follow from the data: what "auto" stands for, by a stated rule."""

from dataclasses import replace

from reprise.config.schema import NONE, TrainConfig

_AUTO = "auto"
_DENSE = 50  # interactions of an item, on average
_MOST_ITEMS = 1_000_000
_MOST_COUNTED = 10_000_000  # interactions, as pairs all at once


def by_data(config: TrainConfig, interactions: int, num_items: int) -> TrainConfig:
    """Return the configuration for so many training interactions and items, with a kind in the
    place of each "auto".

    memory: of at most _MOST_ITEMS items, a ridge regression where it can be solved and items occur
    _DENSE times or more on average, else rules, which find as much of rare items in less time; of
    more none, as it is evaluated with all items' rows in each process. item_init: by counts of at
    most as many items and _MOST_COUNTED interactions, which take some minutes and 4 GB of memory,
    else at random.
    """
    if config.memory == _AUTO:
        from reprise.memory.ridge import MOST_SOLVED  # scipy takes time to import

        solved = num_items <= MOST_SOLVED and interactions >= _DENSE * num_items
        few = "rules" if num_items <= _MOST_ITEMS else NONE
        config = replace(config, memory="ridge" if solved else few)
    if config.item_init == _AUTO:
        counted = num_items <= _MOST_ITEMS and interactions <= _MOST_COUNTED
        config = replace(config, item_init="counts" if counted else "random")
    return config
