"""Memory that a step has freed, kept for the next one."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["keep_freed_memory"]

# Parameters of glibc's mallopt, from its malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4

# What glibc has by default, or comes to by itself after the first large tensors.
_USUAL = {_TRIM_THRESHOLD: 64 << 20, _MMAP_THRESHOLD: 32 << 20, _MMAP_MAX: 1 << 16}
_KEEPING = {_TRIM_THRESHOLD: (1 << 31) - 1, _MMAP_THRESHOLD: 1 << 30, _MMAP_MAX: 0}

_LOCK = threading.Lock()
_USERS = 0


@contextmanager
def keep_freed_memory(device: torch.device) -> Iterator[None]:
    """Have the C library keep freed memory while the block runs, and hand it back to the system at the end.

    A training step frees all its activations and gradients. Given back, they are taken again by the next step page by
    page, which costs a tenth of a step on a CPU. Does nothing on other devices, with other C libraries, and where the
    environment has settings for malloc.
    """
    libc = _glibc() if device.type == "cpu" else None
    if libc is None:
        yield
        return
    _count(libc, 1)
    try:
        yield
    finally:
        _count(libc, -1)


def _count(libc: Any, change: int) -> None:
    global _USERS
    with _LOCK:
        before, _USERS = _USERS, _USERS + change
        if before and _USERS:
            return
        for parameter, value in (_KEEPING if _USERS else _USUAL).items():
            libc.mallopt(parameter, value)
        if not _USERS:
            libc.malloc_trim(0)


@functools.cache
def _glibc() -> Any:
    chosen = any(name.startswith("MALLOC_") for name in os.environ) or "malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if not sys.platform.startswith("linux") or chosen:
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
