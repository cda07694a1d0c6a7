"""Memory that a training takes and gives back in every step."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

#: the C library's numbers of two settings (malloc.h), and their values in bytes: blocks up to the first, the most that
#: it takes, are parts of the heap; of that so much may be free before it goes back to the system
_MMAP_THRESHOLD, _TRIM_THRESHOLD = (-3, 2**25), (-1, 2**28)


@cache
def keep_freed_memory() -> bool:
    """Have this process keep freed memory for its next step, at most 256 MiB; whether the C library can, as GNU's does.

    Otherwise a step of a large model may give arrays of 20 MB back to the system and ask for them again, and each page
    of 4 KiB is cleared anew.
    """
    library = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    set_option = getattr(library, "mallopt", None)
    return set_option is not None and all(set_option(*option) for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD))
