"""Whether a lower or a higher score is the better one."""

from __future__ import annotations

__all__ = ["lower_is_better"]

_LOWER = {"fn", "fp", "incorrect", "mae", "mse", "perplexity", "rmse"}


def lower_is_better(name: str) -> bool:
    """Tell whether a lower score is the better one, by the name of a score that easytx computes."""
    return name in _LOWER or name.endswith("loss")
