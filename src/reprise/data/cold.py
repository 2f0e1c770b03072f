"""Hold items out of training (`--cold-items`), so that what is new can be evaluated."""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from reprise.data.ordering import Mask
from reprise.data.sequences import Sequences
from reprise.data.splits import Users
from reprise.data.ties import uniform_of


def drawn(raw_ids: pl.Series, share: float) -> Mask:
    """Return which items are held out, [V]: each by chance `share`, by a hash of its own id, so
    that it does not depend on the others.
    """
    return uniform_of(raw_ids) < share


def without(users: Users, cold: Mask) -> Users:
    """Return users of a training split without their interactions with cold items, [V+1], and
    without the users who have no others.
    """
    own = users.sequences
    kept = ~cold[own.items]
    ends = np.concatenate([[0], np.cumsum(kept)])[own.offsets]
    having = np.flatnonzero(np.diff(ends))
    offsets = np.concatenate([[0], ends[1:][having]]).astype(np.int64)
    left = Sequences(offsets, own.items[kept], _of(own.targets, kept), _of(own.times, kept))
    return Users(users.raw_ids.gather(having), left, users.known)


def _of(array: NDArray[Any] | None, kept: Mask) -> NDArray[Any] | None:
    return None if array is None else array[kept]
