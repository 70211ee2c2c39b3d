"""Int8 weights for prediction on a CPU."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from easytx.training.copies import kept_copy


def dynamically_quantised(network: nn.Module) -> nn.Module:
    """Return a copy of a network on the CPU whose linear layers hold int8 weights.

    Activations are quantised as they come (torch dynamic quantisation). The copy is made once, and anew after the
    weights have changed.
    """
    return kept_copy(network, torch.qint8, lambda: _quantised(network))


def _quantised(network: nn.Module) -> nn.Module:
    quantise: Any = torch.ao.quantization.quantize_dynamic
    with warnings.catch_warnings():
        # torch announces that this function will move to another package.
        warnings.simplefilter("ignore")
        copy: nn.Module = quantise(network, {nn.Linear}, dtype=torch.qint8)
    return copy
