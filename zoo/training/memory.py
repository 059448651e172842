"""The C library's allocator, told to keep its pages while a process trains."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_LARGE = 1 << 30


def keep_pages() -> bool:
    """Keep freed memory for the next step; returns False where the C library has no such setting.

    By default glibc maps every large array anew and gives it back when freed: the kernel then zeroes the
    same pages again in every step (docs/training.md has the figures). Only training processes call this:
    memory stays at its peak until the process ends.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library, musl for one
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGE)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))
