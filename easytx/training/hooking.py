"""Changes that a module has while it is in use, by however many calls, and no longer."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn

__all__ = ["LOCK", "PREFIX", "hooked", "is_hooked", "unhooked"]

# Makes a change, and returns what takes it back.
Change = Callable[[], Callable[[], None]]

# Begins the names of what changed modules pass through a network's layers.
PREFIX = "easytx_"

# Calls may be nested, an evaluation in a training, and come from several threads.
LOCK = threading.RLock()


@dataclass
class _Use:
    begin: Change
    end: Callable[[], None]
    users: int = 0


# module -> kind of change -> its use
_USES: weakref.WeakKeyDictionary[nn.Module, dict[str, _Use]] = weakref.WeakKeyDictionary()


def is_hooked(module: nn.Module, kind: str) -> bool:
    """Tell whether a module has this kind of change now."""
    return kind in _USES.get(module, {})


@contextmanager
def hooked(module: nn.Module, kind: str, begin: Change) -> Iterator[None]:
    """Have a module changed while the block runs; of calls at the same time, the first changes it, for all of them."""
    with LOCK:
        uses = _USES.setdefault(module, {})
        if kind not in uses:
            uses[kind] = _Use(begin, begin())
        use = uses[kind]
        use.users += 1
    try:
        yield
    finally:
        with LOCK:
            use.users -= 1
            if not use.users:
                use.end()
                del uses[kind]


@contextmanager
def unhooked(network: nn.Module) -> Iterator[None]:
    """Have a network as it is without these changes while the block runs, as an evaluation after a training would."""
    with LOCK:
        lifted = [(module, _USES.pop(module)) for module in network.modules() if module in _USES]
        for _, uses in lifted:
            for use in reversed(uses.values()):
                use.end()
    try:
        yield
    finally:
        with LOCK:
            for module, uses in lifted:
                for use in uses.values():
                    use.end = use.begin()
                _USES[module] = uses
