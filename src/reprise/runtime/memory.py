"""Configure the C library's allocator to reuse memory from one step to the next.

By default, glibc gets arrays above 32 MB from the kernel and returns them when they are freed, so a
step with large score arrays spends much of its time on new pages, zeroed each time.
"""

import ctypes
from pathlib import Path

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8


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


def available_memory() -> int | None:
    """Return the bytes that programs may still allocate; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next(
        (int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None
    )


def _set(parameter: int, value: int) -> bool:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(parameter, value) == 1
