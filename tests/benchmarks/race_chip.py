"""What the chip could do at most, and how much of that a run used."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch

# Square, and of the shape of a small encoder's feed-forward layer.
_SIZES = ((2048, 2048, 2048), (4096, 4096, 4096), (4096, 384, 1536))


def matrix_peak(device: torch.device, dtype: torch.dtype = torch.bfloat16, seconds: float = 2.0) -> dict[str, float]:
    """Return the best GFLOP/s of matrix products of each size."""
    found = {}
    for rows, inner, columns in _SIZES:
        left = torch.randn(rows, inner, device=device, dtype=dtype)
        right = torch.randn(columns, inner, device=device, dtype=dtype)
        best, until = float("inf"), time.perf_counter() + seconds
        while time.perf_counter() < until:
            started = time.perf_counter()
            torch.nn.functional.linear(left, right)
            if device.type == "cuda":
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - started)
        found[f"{rows}x{inner}x{columns}"] = 2 * rows * inner * columns / best / 1e9
    return found


def flops(config: Any, lengths: Sequence[int], *, first_only: bool = False, width: int | None = None) -> float:
    """Return the floating point operations of an encoder's forward pass over rows.

    Per token: two for each weight of the layers' matrices; per pair of tokens of a row: two products over the hidden
    size. A training step takes about three times as many.

    Args:
        config: A configuration of the BERT family.
        lengths: Tokens of each row.
        first_only: Whether the last layer computes keys and values of all tokens, and all else for the first of a row.
        width: Count rows as padded to so many tokens.
    """
    hidden, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    sizes = [width or length for length in lengths]
    read = 2 * hidden * hidden
    rest = 2 * hidden * hidden + 2 * hidden * inner

    def layer(tokens: int, answers: int) -> int:
        return 2 * (read * tokens + rest * answers) + 4 * hidden * tokens * answers

    return float(sum((layers - 1) * layer(n, n) + layer(n, 1 if first_only else n) for n in sizes))
