"""Copies of a network to predict with: kept as long as its weights stay as they are."""

from __future__ import annotations

import copy
import functools
import weakref
from collections.abc import Callable

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from transformers.pytorch_utils import Conv1D

__all__ = ["cast_copy", "forget_copies", "kept_copy"]

# network -> kind of copy -> (state of the weights, copy)
_COPIES: weakref.WeakKeyDictionary[nn.Module, dict[object, tuple[int, nn.Module]]] = weakref.WeakKeyDictionary()

# Steps that optimisers of this process have taken since the first copy was made.
_STEPS = [0]

# Layers whose weights autocast casts anew at each call.
_MATRICES = (nn.Linear, Conv1D)


def kept_copy(network: nn.Module, kind: object, make: Callable[[], nn.Module]) -> nn.Module:
    """Return the copy of this kind, made anew if the weights have changed since."""
    # Every in-place change of a tensor raises its version, but for those of fused optimisers.
    _count_optimizer_steps()
    state = hash((_STEPS[0], *((parameter.data_ptr(), parameter._version) for parameter in network.parameters())))
    copies = _COPIES.setdefault(network, {})
    known = copies.get(kind)
    if known is None or known[0] != state:
        known = copies[kind] = (state, make())
    return known[1]


def forget_copies(network: nn.Module) -> None:
    """Free the memory of a network's copies."""
    _COPIES.pop(network, None)


def cast_copy(network: nn.Module, device: torch.device, dtype: torch.dtype | None) -> nn.Module:
    """Return what computes the same as the network under autocast, without casting the weights at each call.

    On a CPU the casts take longer than the model itself takes for a short text. The copy shares with the network all
    but the weights of its matrix products, which it has in `dtype`. The network itself is returned where that does not
    pay, or where others have wrapped its forward or hooked themselves into it.
    """
    if dtype is None or device.type != "cpu" or not _is_plain(network):
        return network
    return kept_copy(network, dtype, lambda: _cast(network, dtype))


def _cast(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    matrices = [module for module in network.modules() if isinstance(module, _MATRICES)]
    others = [module for module in network.modules() if not isinstance(module, _MATRICES)]
    # What is no floating point number stands for others, as weights of 4 bits do.
    casts = {id(p): p for module in matrices for p in module.parameters(recurse=False) if p.is_floating_point()}
    # A matrix that is an embedding too, as in language models, stays: embeddings are not cast.
    for module in others:
        for parameter in module.parameters(recurse=False):
            casts.pop(id(parameter), None)
    shared = [*network.parameters(), *network.buffers(), getattr(network, "config", None)]
    memo: dict[int, object] = {id(item): item for item in shared if item is not None}
    memo |= {key: nn.Parameter(p.detach().to(dtype), requires_grad=False) for key, p in casts.items()}
    return copy.deepcopy(network, memo)


@functools.cache
def _count_optimizer_steps() -> None:
    def count(*_given: object) -> None:
        _STEPS[0] += 1

    register_optimizer_step_post_hook(count)


def _is_plain(network: nn.Module) -> bool:
    return not any(
        "forward" in vars(module) or module._forward_hooks or module._forward_pre_hooks for module in network.modules()
    )
