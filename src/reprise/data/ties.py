"""Order a user's items with equal timestamps.

order        the order of the rows, if it means something: one file, or parts named after splits
hash         by a hash of user, item and time, if it does not; independent of popularity
popularity   the more popular item first, as older versions did instead of the hash. It favours
             models that rank by popularity when items of equal timestamps are held out
"""

from typing import Any, Literal, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

Hashes: TypeAlias = NDArray[np.uint64]
TieRule: TypeAlias = Literal["order", "hash", "popularity"]
_OFFSET, _PRIME = 0xCBF29CE484222325, 0x100000001B3  # of FNV-1a, 64 bits
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))  # of SplitMix64
_BLOCK = 1 << 18  # ids that are hashed together


def hashes_of(ids: pl.Series) -> Hashes:
    """Return the 64-bit FNV-1a hash of each id's UTF-8 bytes, [N]."""
    found = np.empty(len(ids), np.uint64)
    for start in range(0, len(ids), _BLOCK):
        found[start : start + _BLOCK] = _fnv(ids[start : start + _BLOCK])
    return found


def _fnv(ids: pl.Series) -> Hashes:
    """Hash all ids together: their first bytes, then the second of those that have one, ..."""
    lengths = ids.str.len_bytes().to_numpy()
    content = np.frombuffer(ids.str.join("").item().encode(), np.uint8)
    longest_first = np.argsort(-lengths.astype(np.int64), kind="stable")
    starts = (np.cumsum(lengths) - lengths)[longest_first]
    left = np.cumsum(np.bincount(lengths)[::-1])[::-1]  # [n]: the number of ids of at least n bytes
    hashes = np.full(len(ids), _OFFSET, np.uint64)
    for place, count in enumerate(left[1:]):
        hashes[:count] ^= content[starts[:count] + place]
        hashes[:count] *= np.uint64(_PRIME)
    found = np.empty_like(hashes)
    found[longest_first] = hashes
    return found


def tie_hashes(users: Hashes, items: Hashes, times: NDArray[Any]) -> Hashes:
    """Return the hash of each interaction, [N]: mix(mix(mix(user) ^ item) ^ time), with the mixing
    function of SplitMix64.

    users, items: the `hashes_of` the ids, [N]; times: [N], integers, or doubles. A double counts as
    an integer if it is one, else by its bits.
    """
    return _mix(_mix(_mix(users) ^ items) ^ _bits(times))


def _bits(times: NDArray[Any]) -> Hashes:
    if np.issubdtype(times.dtype, np.integer):
        return times.astype(np.int64).view(np.uint64)
    whole = (times == np.floor(times)) & (times < 2.0**63)
    numbers = np.where(whole, times, 0).astype(np.int64).view(np.uint64)
    return np.where(whole, numbers, times.astype(np.float64).view(np.uint64))


def uniform_of(ids: pl.Series) -> NDArray[np.float64]:
    """Return a number from 0 to below 1 for each id, [N], that depends on nothing else."""
    return (_mix(hashes_of(ids)) >> np.uint64(11)) / 2.0**53


def _mix(numbers: Hashes) -> Hashes:
    for shift, factor in _MIX:
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * np.uint64(factor)
    return numbers
