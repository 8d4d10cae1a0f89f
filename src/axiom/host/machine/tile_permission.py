"""Asking Linux for the matrix tiles, whose state is 8 KiB a thread and so not given unasked.

Source: Linux, Documentation/arch/x86/xstate.rst, "Dynamic features for virtual machines" and
arch_prctl(2): ARCH_REQ_XCOMP_PERM for XFEATURE_XTILEDATA. The permission is the whole process's.
"""

import ctypes
import os

_SYS_ARCH_PRCTL = 158
_REQUEST_PERMISSION = 0x1023
_TILE_DATA = 18


def ask_for_tiles() -> bool:
    """Ask for the tiles; True when this process may use them from now on."""
    if os.uname().machine != "x86_64":
        return False
    library = ctypes.CDLL(None, use_errno=True)
    return library.syscall(_SYS_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA) == 0
