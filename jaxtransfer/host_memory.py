"""Makes the C library keep the memory that is freed, so that a step on a CPU does not fetch it page by page again.

XLA's CPU backend allocates the temporaries of an executable at each call, hundreds of MiB in one block. glibc maps such a
block anew every time, and the kernel zeroes each of its pages as it is first touched: a quarter of a fine-tuning step.
"""

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # malloc.h


def keep_freed_memory() -> bool:
    """Has glibc's malloc serve all blocks from one heap that is never given back; call it before JAX computes.

    Blocks freed are used again, pages and all. The process stays as large as it has once been, which for repeated steps is the
    size it would return to. Threads that have allocated before the call keep their old ways, so once JAX has a backend it is too
    late. It changes nothing on accelerators but for the host's own blocks.

    Returns:
      Whether it did; False where the C library is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_ARENA_MAX, 1))
    done = [mallopt(name, value) == 1 for name, value in settings]
    return all(done)
