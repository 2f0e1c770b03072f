"""The C library's allocator, told to keep the memory of a step for the next one.

Left alone, glibc takes an array of more than 32 MB from the kernel and gives it back when it is
freed: a step of many scores then spends much of its time on fresh pages, zeroed each time.
"""

import ctypes

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8


def share_one_heap() -> bool:
    """Give all threads one heap, as XLA frees in other threads than it allocates in; to be called
    before they start, as NumPy's do when it is imported. Whether the C library can (glibc does).
    """
    return _set(_ARENA_MAX, 1)


def keep_freed_memory() -> bool:
    """From now on take arrays from the heap, whatever their size, and keep up to 2 GB of it when
    they are freed. Whether the C library can.

    To be called when the tables of a catalogue are made: a heap that they came and went in is left
    with holes of their size.
    """
    return _set(_MMAP_MAX, 0) and _set(_TRIM_THRESHOLD, 2**31 - 1) and _set(_TOP_PAD, 2**26)


def _set(parameter: int, value: int) -> bool:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(parameter, value) == 1
