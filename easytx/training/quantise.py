"""Int8 weights for prediction on a CPU."""

from __future__ import annotations

import warnings
import weakref
from typing import Any

import torch
from torch import nn

# network -> (state of its weights, its int8 copy)
_COPIES: weakref.WeakKeyDictionary[nn.Module, tuple[int, nn.Module]] = weakref.WeakKeyDictionary()


def dynamically_quantised(network: nn.Module) -> nn.Module:
    """Return a copy of a network on the CPU whose linear layers hold int8 weights.

    Activations are quantised as they come (torch dynamic quantisation). The copy is made once, and anew after the
    weights have changed.
    """
    # Every in-place change of a tensor raises its version.
    state = sum(parameter._version for parameter in network.parameters())
    known = _COPIES.get(network)
    if known is not None and known[0] == state:
        return known[1]
    quantise: Any = torch.ao.quantization.quantize_dynamic
    with warnings.catch_warnings():
        # torch announces that this function will move to another package.
        warnings.simplefilter("ignore")
        copy: nn.Module = quantise(network, {nn.Linear}, dtype=torch.qint8)
    _COPIES[network] = (state, copy)
    return copy
