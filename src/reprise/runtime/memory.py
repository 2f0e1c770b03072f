"""The C library's allocator, which is to reuse memory from one step to the next; and a limit of
memory that is too low to load what computes.

By default, glibc gets arrays above 32 MB from the kernel and returns them when they are freed, so a
step with large score arrays spends much of its time on new pages, zeroed each time.
"""

import ctypes
import mmap
import re
import resource
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reprise.errors import MemoryLimitError

if TYPE_CHECKING:  # NumPy is loaded after `refuse_what_cannot_load`
    from numpy.typing import NDArray

_MB = 10**6
_UNITS = {"": 1, "K": 10**3, "M": _MB, "G": 10**9, "T": 10**12}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT]?)B?", re.ASCII | re.IGNORECASE)
# Of a container: the files of its limit and of what it uses, and what in memory.stat are files that
# were not used lately; of control groups version 2, and of version 1.
_GROUP = Path("/sys/fs/cgroup")
_LIMITS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
)
# Of address space, on two cores; more cores take more.
_TO_LOAD = {"numpy": 160 * _MB, "jax": 640 * _MB}
# Of glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
_TRIM_THRESHOLD_OF_GLIBC, _MMAP_MAX_OF_GLIBC = 2**17, 2**16


def share_one_heap() -> bool:
    """Use one heap for all threads, since XLA frees in other threads than it allocates in.

    Call it before threads start (importing NumPy starts some). Return whether the C library
    supports it; glibc does.
    """
    return _set(_ARENA_MAX, 1)


def keep_freed_memory() -> bool:
    """Allocate arrays of any size on the heap, and keep up to 2 GB of freed memory.

    Call it after the item table is created: allocating and freeing tables would leave holes of
    their size in the heap. Return whether the C library supports it.
    """
    return _set(_MMAP_MAX, 0) and _set(_TRIM_THRESHOLD, 2**31 - 1) and _set(_TOP_PAD, 2**26)


def return_freed_memory() -> bool:
    """Return what is freed to the system, now and from now on: after the last step, tables are read
    into memory that the holes of the heap may not have room for. Return whether the C library
    supports it.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return False
    trim(0)
    return _set(_MMAP_MAX, _MMAP_MAX_OF_GLIBC) and _set(_TRIM_THRESHOLD, _TRIM_THRESHOLD_OF_GLIBC)


def forget(array: "NDArray[Any] | None") -> None:
    """Give the system back the memory of what was read of a mapped array, which is read from the
    file again where it is needed; nothing of others.
    """
    mapped = None if array is None else array.base
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def available_memory() -> int | None:
    """Return the bytes that programs may still allocate, of this machine or of the container that
    they are in; None where the system does not say.
    """
    told = [left for left in (_of_machine(), _of_container()) if left is not None]
    return min(told, default=None)


def _of_machine() -> int | None:
    return _told(Path("/proc/meminfo"), "MemAvailable:", 1024)


def _of_container() -> int | None:
    """Return what the limit of a container leaves; what it has of files can be dropped."""
    for limit, used, inactive in _LIMITS:
        found = [_GROUP / name for name in (limit, used)]
        try:
            most, now = (int(path.read_text()) for path in found)
        except (OSError, ValueError):  # there is none, or its limit is "max"
            continue
        return most - now + (_told(found[1].with_name("memory.stat"), inactive) or 0)
    return None


def _told(path: Path, name: str, unit: int = 1) -> int | None:
    """Return the number behind a name in a file of the system; None where it is not there."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * unit for line in lines if line.split()[:1] == [name]), None)


def bytes_of(text: str) -> int | None:
    """Return the bytes that a size such as 8GB means; None where it is none."""
    found = _SIZE.fullmatch(text.strip())
    return int(float(found[1]) * _UNITS[found[2].upper()]) if found else None


class _Loading(MetaPathFinder):
    """Refuses a library before it is loaded into less memory than it needs: it would end the
    process itself, without a word or with a dump.
    """

    def find_spec(self, name: str, *_: Any) -> None:
        """Raise MemoryLimitError for a library that does not fit; find nothing else."""
        needed = _TO_LOAD.get(name, 0)
        limit, _hard = resource.getrlimit(resource.RLIMIT_AS)
        if resource.RLIM_INFINITY != limit < needed:
            sizes = {"limit": limit // _MB, "needed": needed // _MB}
            raise MemoryLimitError("memory_to_load", library=name, **sizes)


def refuse_what_cannot_load() -> None:
    """Refuse libraries, from now on, that need more memory than the process may have."""
    sys.meta_path.insert(0, _Loading())


def _set(parameter: int, value: int) -> bool:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(parameter, value) == 1
