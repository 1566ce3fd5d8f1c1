"""Keep a thread's alternate signal stack its own while a library starts.

OpenVINO's CPU plugin gives the thread that loads it a stack of its own for signal handlers, and frees that memory with
the plugin, in whatever thread lets go of it last. The next signal (a child's end is one, where torch's data loader
listens) then kills the process. Linux alone is handled; elsewhere nothing is done.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_DISABLE = 2  # SS_DISABLE of sigaltstack(2)


class Stack(ctypes.Structure):
    """stack_t of sigaltstack(2)."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def current() -> Stack:
    """Read this thread's alternate signal stack."""
    found = Stack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found))
    return found


@contextmanager
def kept() -> Iterator[None]:
    """Put this thread's alternate signal stack back when the block ends; have none where the kernel refuses that."""
    if not sys.platform.startswith("linux"):
        yield
        return
    before = current()
    try:
        yield
    finally:
        library = ctypes.CDLL(None)
        if library.sigaltstack(ctypes.byref(before), None):  # too small for registers that are in use by now (AMX)
            library.sigaltstack(ctypes.byref(Stack(None, _DISABLE, 0)), None)
