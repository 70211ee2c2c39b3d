"""What scripts that run hyperparameter sweeps import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def sweep_config_to_sweep_values(sweep_config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that a sweep has chosen, such as `wandb.config`, as a dict."""
    return {name: sweep_config[name] for name in sweep_config.keys()}  # noqa: SIM118 (not every one iterates)
