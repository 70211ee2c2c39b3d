"""Histograms of a network's gradients and parameters, for a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

_BINS = 64


def histograms(network: torch.nn.Module, what: str) -> dict[str, Any]:
    """Return a `wandb.Histogram` for each tensor, named as `wandb.watch` names them.

    It is not left to `wandb.watch`, whose hooks run inside the backward pass, where an error of theirs would end the
    training.

    Args:
        network: After a backward pass, and before its gradients are cleared.
        what: "gradients", "parameters" or "all".
    """
    found = {}
    for name, parameter in network.named_parameters():
        if what in ("gradients", "all") and parameter.grad is not None:
            found[f"gradients/{name}"] = _histogram(parameter.grad)
        if what in ("parameters", "all"):
            found[f"parameters/{name}"] = _histogram(parameter)
    return {name: made for name, made in found.items() if made is not None}


def _histogram(tensor: torch.Tensor) -> Any:
    """Return the histogram of the finite values; None where there are none."""
    import wandb

    # The gradient of an embedding may be sparse.
    whole = tensor.to_dense() if tensor.is_sparse else tensor
    values = whole.detach().float().flatten()
    values = values[torch.isfinite(values)]
    if len(values) == 0:
        return None
    low, high = values.min().item(), values.max().item()
    if low == high:
        return wandb.Histogram(np_histogram=(np.array([len(values)]), np.array([low, high])))
    counts = torch.histc(values, bins=_BINS, min=low, max=high).cpu().numpy()
    return wandb.Histogram(np_histogram=(counts, np.linspace(low, high, _BINS + 1)))
