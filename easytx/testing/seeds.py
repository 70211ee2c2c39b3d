"""Random weights that do not depend on what was drawn before, and change nothing about what is drawn after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded_on_cpu(seed: int) -> Iterator[None]:
    """Have what is drawn in the block, on the CPU, depend on the seed only; the caller's random state stays."""
    # The CPU's own generator: torch.manual_seed would also reseed every GPU, which the fork does not undo.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        yield
