"""How the C library keeps the memory of a server whose messages are a third of a megabyte each."""

import ctypes

# <malloc.h>: the parameters of mallopt.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
# A raw frame of 1920x1080 is 6 MB. What is larger is mapped alone and given back, so that it leaves no holes.
_MMAP_THRESHOLD = 8 * 2**20
_TRIM_THRESHOLD = 32 * 2**20


def keep_freed_memory() -> None:
    """Tell glibc to use freed memory again, where by default it gives each message's back to the system.

    Every page of the next message would then be a page fault: a tenth of what a raw frame costs the server. One arena
    for all threads, since what one arena keeps the others cannot use; few of our threads allocate at a time. To be
    called before threads are started. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD)
