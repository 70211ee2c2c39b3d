"""Copies of a network to predict with: kept as long as its weights stay as they are."""

from __future__ import annotations

import copy
import functools
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.optimizer import register_optimizer_step_post_hook

from easytx.training.prepacked import LINEAR, PrepackedLinear, can_prepack

__all__ = ["cast_copy", "copied_with", "forget_copies", "kept_copy", "modules_of", "with_layers"]

# network -> kind of copy -> (state of the weights, copy)
_COPIES: weakref.WeakKeyDictionary[nn.Module, dict[object, tuple[int, nn.Module]]] = weakref.WeakKeyDictionary()

# Where accelerate keeps the forward of a network whose precision it has wrapped.
_WRAPPED = "_original_forward"

# Steps that optimisers of this process have taken since the first copy was made.
_STEPS = [0]


def modules_of(network: nn.Module) -> list[nn.Module]:
    """Return a network and all that is in it; `network.modules()` takes a noticeable part of a short text's time."""
    found = {network: None}
    waiting = [network]
    while waiting:
        for child in waiting.pop()._modules.values():
            if child is not None and child not in found:
                found[child] = None
                waiting.append(child)
    return [*found]


def kept_copy(network: nn.Module, kind: object, make: Callable[[], nn.Module]) -> nn.Module:
    """Return the copy of this kind, made anew if the weights have changed since."""
    # Every in-place change of a tensor raises its version, but for those of fused optimisers.
    _count_optimizer_steps()
    weights = [weight for module in modules_of(network) for weight in module._parameters.values() if weight is not None]
    state = hash((_STEPS[0], *((weight.data_ptr(), weight._version) for weight in weights)))
    copies = _COPIES.setdefault(network, {})
    known = copies.get(kind)
    if known is None or known[0] != state:
        known = copies[kind] = (state, make())
    return known[1]


def forget_copies(network: nn.Module) -> None:
    """Free the memory of a network's copies."""
    _COPIES.pop(network, None)


def cast_copy(
    network: nn.Module, device: torch.device, dtype: torch.dtype | None, *, prepacks: bool = True
) -> nn.Module:
    """Return a copy whose weights are cast once, in place of autocast that casts them and all states at each call.

    On a CPU the casts take longer than the model itself takes for a short text. The answers are as far from those of
    float32 as autocast's are. The network itself is returned where that does not pay, or where others have wrapped its
    forward or hooked themselves into it.

    Args:
        network: It keeps its weights.
        device: Where it is.
        dtype: To cast to, or None.
        prepacks: Whether weights are arranged for the CPU too, where that is possible; compiled code does so itself.
    """
    if dtype is None or device.type != "cpu" or not _is_plain(network):
        return network
    prepacks = prepacks and dtype is torch.bfloat16 and can_prepack()
    return kept_copy(network, (dtype, prepacks), lambda: _cast(network, dtype, prepacks=prepacks))


def copied_with(network: nn.Module, weight: Callable[[nn.Parameter], nn.Parameter]) -> nn.Module:
    """Return a copy of a network that has other weights and shares its buffers and its configuration.

    Args:
        network: As it is, or wrapped for mixed precision by a training.
        weight: Returns what the copy has in place of a parameter.
    """
    shared = [*network.buffers(), getattr(network, "config", None)]
    memo: dict[int, object] = {id(item): item for item in shared if item is not None}
    copied = copy.deepcopy(network, memo | {id(parameter): weight(parameter) for parameter in network.parameters()})
    # While training, mixed precision has wrapped the forward, and the wrapper calls the network itself.
    if _WRAPPED in vars(copied):
        vars(copied).pop(_WRAPPED)
        vars(copied).pop("forward")
    return copied


def with_layers(network: nn.Module, layer_for: Callable[[nn.Module], nn.Module | None]) -> nn.Module:
    """Put other layers in the place of those for which there are any, and return the network."""
    if (whole := layer_for(network)) is not None:
        return whole
    for parent in modules_of(network):
        for name, child in parent.named_children():
            if (layer := layer_for(child)) is not None:
                setattr(parent, name, layer)
    return network


def _cast(network: nn.Module, dtype: torch.dtype, *, prepacks: bool) -> nn.Module:
    # Buffers stay, as where transformers loads weights in `dtype`: the frequencies of rotary positions are among them.
    kept = {*_in_float32(network)}
    shared = kept | {*_matrices(network)} if prepacks else kept

    def weight(parameter: nn.Parameter) -> nn.Parameter:
        # What is no floating point number stands for others, as weights of 4 bits do.
        if parameter in shared or not parameter.is_floating_point():
            return parameter
        return nn.Parameter(parameter.detach().to(dtype), requires_grad=False)

    def layer_for(layer: Any) -> PrepackedLinear | None:
        packs = type(layer) in LINEAR and layer.weight.is_floating_point() and layer.weight not in kept
        return PrepackedLinear(layer) if packs else None

    copied = copied_with(network, weight).eval()
    return with_layers(copied, layer_for) if prepacks else copied


def _matrices(network: nn.Module) -> Iterator[nn.Parameter]:
    """Yield the weights of linear layers that nothing else has, such as an embedding."""
    modules = modules_of(network)
    others = {p for module in modules if type(module) not in LINEAR for p in module._parameters.values()}
    weights = (module.weight for module in modules if type(module) in LINEAR)
    yield from (weight for weight in weights if isinstance(weight, nn.Parameter) and weight not in others)


def _in_float32(network: nn.Module) -> Iterator[nn.Parameter]:
    """Yield the parameters that are in float32 whatever the others are in."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            # Its means and variances are buffers.
            yield from module.parameters(recurse=False)
        names = getattr(module, "_keep_in_fp32_modules_strict", None) or ()
        for name, parameter in module.named_parameters() if names else ():
            if any(f".{kept}." in f".{name}." for kept in names):
                yield parameter


@functools.cache
def _count_optimizer_steps() -> None:
    def count(*_given: object) -> None:
        _STEPS[0] += 1

    register_optimizer_step_post_hook(count)


def _is_plain(network: nn.Module) -> bool:
    return not any(
        ("forward" in vars(module) and _WRAPPED not in vars(module))
        or module._forward_hooks
        or module._forward_pre_hooks
        for module in modules_of(network)
    )
