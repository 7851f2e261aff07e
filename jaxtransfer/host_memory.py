"""Makes the C library keep memory that is freed, so that steps on a CPU do not fetch it anew.

XLA's CPU backend allocates the temporaries of an executable at each call, hundreds of MiB in one
block. glibc maps such a block anew every time, and the kernel zeroes each page at its first touch:
a quarter of a fine-tuning step.
"""

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # malloc.h


def keep_freed_memory() -> bool:
    """Has glibc serve all blocks from one heap that it never gives back; call it before JAX computes.

    Blocks freed are used again, pages and all. The process stays as large as it has once been;
    small blocks that settle in a large one's place can make it hold the largest block twice.
    Threads that have allocated before the call keep their old ways, so once JAX has a backend it
    is too late. On accelerators it changes nothing but the host's own blocks.

    Returns:
      Whether it did; False where the C library is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_ARENA_MAX, 1))
    done = [mallopt(name, value) == 1 for name, value in settings]
    return all(done)
