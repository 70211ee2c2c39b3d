"""Batches without padding: a network's layers see the tokens of all rows one behind the other.

Embeddings and heads keep their padded batches, so that positions, pooling and labels stay as they are. Between the two,
where nearly all of the time goes, hooks take the padding out and put it back in. This needs layers that mix tokens by
plain attention only. Whether they do is not read from a list of architectures: each network has to show, on rows made
up for it, that it computes the same as for each row alone, and that no row has a part in another.
"""

from __future__ import annotations

import functools
import inspect
import logging
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from easytx.config.warn import warn_user
from easytx.training import varlen
from easytx.training.copies import modules_of
from easytx.training.hooking import LOCK, PREFIX, hooked, is_hooked
from easytx.training.precision import autocast, describe
from easytx.training.varlen import NotPackableError, Packing

__all__ = [
    "REFUSALS",
    "TOLERANCE",
    "asks_for_more",
    "hooks_of_others",
    "on_trial",
    "packed",
    "parameters_of",
    "parts_of",
]

logger = logging.getLogger(__name__)

# How far the states of rows that share a pack may be from those of rows alone, relative to their size: what bf16 leaves
# of two orders of summation. Gradients gather the rounding of both ways through the network.
TOLERANCE, GRADIENT_TOLERANCE = 2e-2, 5e-2

# Tokens of the rows that a network is tried with, where it takes as many.
_LENGTHS = (5, 33, 1, 18, 64)

# What a trial ends in where a network does not take what is tried: it goes on as it came.
REFUSALS = (RuntimeError, TypeError, ValueError, AttributeError, LookupError)

# Passed from a base model to what runs its layers: this call may be packed.
_MARK = f"{PREFIX}packs"

# What it is among the changes of a module.
_KIND = "packing"

_OWN_WAY = "its layers attend in a way of their own"


def packed(
    network: nn.Module,
    packing: bool | None,
    *,
    device: torch.device,
    dtype: torch.dtype | None,
    trains: bool = False,
) -> AbstractContextManager[None]:
    """Return a context in which a network's layers run without padding, where that gives the same results.

    Args:
        network: On `device`. Afterwards it is as it was.
        packing: False for never; None for prediction on CUDA and for training on a CPU, where it was measured to gain;
            True wherever it is possible, with a warning where it is not.
        device: Where the network is.
        dtype: What it is autocast to; None for its own precision.
        trains: Whether gradients are computed.
    """
    gains = device.type == ("cpu" if trains else "cuda")
    if not (gains if packing is None else packing):
        return nullcontext()
    return _all_hooked(_packable(network, device, dtype, trains=trains, warns=bool(packing)))


# base model -> (device, precision, whether gradients count) -> what its trial has shown against packing, or None
_VERDICTS: weakref.WeakKeyDictionary[nn.Module, dict[object, str | None]] = weakref.WeakKeyDictionary()

# network -> (reason, whether by a warning) of what has been said of it
_SAID: weakref.WeakKeyDictionary[nn.Module, set[tuple[str, bool]]] = weakref.WeakKeyDictionary()


def _packable(
    network: nn.Module, device: torch.device, dtype: torch.dtype | None, *, trains: bool, warns: bool
) -> list[tuple[PreTrainedModel, nn.Module]]:
    """Return the base models in a network that can be packed, each with what runs its layers; say which cannot."""
    parts, found = parts_of(network), []
    if not parts:
        _say(network, "its layers take padded batches only", warns=warns)
    with LOCK:
        for owner, layers in parts:
            # While it is in use, its settings are ours.
            in_use = is_hooked(owner, _KIND)
            reason = None if in_use else _setting_against(owner, layers, device, dtype or owner.dtype)
            if reason is None and not in_use:
                verdicts = _VERDICTS.setdefault(owner, {})
                key = (device, dtype, trains)
                if key not in verdicts:
                    verdicts[key] = _trial(owner, layers, device, dtype, trains=trains)
                reason = verdicts[key]
            if reason is None:
                found.append((owner, layers))
            else:
                _say(owner, reason, warns=warns)
    return found


def _say(network: nn.Module, reason: str, *, warns: bool) -> None:
    """Tell once why a network is not packed."""
    said = _SAID.setdefault(network, set())
    if (reason, warns) in said:
        return
    said.add((reason, warns))
    message = f"{type(network).__name__} runs with padding, because {reason}."
    if warns:
        warn_user(f"packing is True, but {message} Leave packing out to have it where it is possible.")
    else:
        logger.info(message)


def parts_of(network: nn.Module) -> list[tuple[PreTrainedModel, nn.Module]]:
    """Return the base models in a network whose layers are run by a part of their own, each with that part."""
    return [
        (owner, child)
        for owner in modules_of(network)
        if isinstance(owner, PreTrainedModel)
        and {"inputs_embeds", "attention_mask", "kwargs"} <= {*parameters_of(owner)}
        for child in owner.children()
        if not isinstance(child, PreTrainedModel)
        and {"hidden_states", "attention_mask", "kwargs"} <= {*parameters_of(child)}
        and any(isinstance(module, nn.ModuleList) for module in child.children())
    ]


def parameters_of(module: nn.Module) -> tuple[str, ...]:
    """Return the names of what a module's forward takes."""
    return _parameters(type(module).forward)


@functools.cache
def _parameters(forward: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(forward).parameters)[1:]


@contextmanager
def _all_hooked(parts: list[tuple[PreTrainedModel, nn.Module]]) -> Iterator[None]:
    with ExitStack() as hooks:
        for owner, layers in parts:
            hooks.enter_context(_hooked(owner, layers))
        yield


def _hooked(owner: PreTrainedModel, layers: nn.Module) -> AbstractContextManager[None]:
    return hooked(owner, _KIND, lambda: _hook(owner, layers))


def _hook(owner: PreTrainedModel, layers: nn.Module) -> Callable[[], None]:
    """Have the layers run without padding, and return what takes that back."""
    attention = owner.config._attn_implementation
    owner.set_attn_implementation(varlen.NAME)
    handles = [
        owner.register_forward_pre_hook(_mark, with_kwargs=True),
        layers.register_forward_pre_hook(_take_padding_out, with_kwargs=True),
        layers.register_forward_hook(_put_padding_in, with_kwargs=True),
    ]

    def end() -> None:
        for handle in handles:
            handle.remove()
        owner.set_attn_implementation(attention)

    return end


def _mark(owner: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
    """Let a call be packed, unless it asks for more."""
    return None if asks_for_more(owner, kwargs) else (args, {**kwargs, _MARK: True})


def asks_for_more(owner: nn.Module, kwargs: dict[str, Any]) -> bool:
    """Tell whether a call is to return what lies between the layers, or is compiled."""
    config: Any = owner.config
    between = ("output_hidden_states", "output_attentions")
    return torch.compiler.is_compiling() or any(kwargs.get(name, getattr(config, name, False)) for name in between)


def _take_padding_out(layers: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
    given = {**dict(zip(parameters_of(layers), args, strict=False)), **kwargs}
    if not given.pop(_MARK, False):
        return None
    states, mask = given["hidden_states"], given.get("attention_mask")
    # Old versions of transformers say where the tokens go in a cache, though there is none.
    if given.get("past_key_values") is None:
        given.pop("cache_position", None)
    more = [
        value
        for name, value in given.items()
        if name not in ("hidden_states", "attention_mask") and not name.startswith(PREFIX)
    ]
    # Layers that want more than states and mask get the batch as it is.
    if mask is None or mask.shape != states.shape[:2] or not all(value is None or value is False for value in more):
        return (), given
    packing = Packing.of(mask)
    return (), {**given, "hidden_states": packing.pack(states), "attention_mask": None, "packing": packing}


def _put_padding_in(_layers: nn.Module, _args: Any, kwargs: dict[str, Any], output: Any) -> Any:
    packing = kwargs.get("packing")
    if packing is None:
        return None
    if not packing.calls:
        raise NotPackableError(_OWN_WAY)
    output.last_hidden_state = packing.unpack(output.last_hidden_state)
    return output


def _setting_against(owner: PreTrainedModel, layers: nn.Module, device: torch.device, dtype: torch.dtype) -> str | None:
    """Return what speaks against packing before a trial, as the end of a sentence."""
    config: Any = owner.config
    if not varlen.computes(device, dtype):
        return f"there is no attention without padding for {describe(device, dtype)}"
    if not owner._can_set_attn_implementation():
        return _OWN_WAY
    if config._attn_implementation != "sdpa":
        return f"its attn_implementation is '{config._attn_implementation}'"
    if getattr(config, "is_decoder", False):
        return "it is a decoder"
    if getattr(config, "chunk_size_feed_forward", 0):
        return "its config has a chunk_size_feed_forward"
    if any(hooks_of_others(module) for module in layers.modules()):
        return "hooks are registered on its layers"
    return None


def hooks_of_others(module: nn.Module) -> bool:
    """Tell whether somebody looks at what passes by in a module, and expects padded batches there."""
    if not module._forward_hooks and not module._forward_pre_hooks:
        return False
    hooks = (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    # Those of transformers collect hidden states when they are asked for, and then nothing is packed.
    return not all(getattr(hook, "__module__", "").startswith(("transformers.", "easytx.")) for hook in hooks)


def _trial(
    owner: PreTrainedModel, layers: nn.Module, device: torch.device, dtype: torch.dtype | None, *, trains: bool
) -> str | None:
    """Return what rows made up for it show against packing a base model, as the end of a sentence."""
    try:
        with on_trial(owner, device, dtype, trains=trains):
            return _difference(owner, layers, device)
    except REFUSALS as error:
        return str(error) if isinstance(error, NotPackableError) else f"a trial failed ({error!r})"


@contextmanager
def on_trial(
    network: nn.Module, device: torch.device, dtype: torch.dtype | None, *, trains: bool = False
) -> Iterator[None]:
    """Have a network compute rows made up for it, without dropout, as it would in this precision."""
    trained = network.training
    network.eval()
    try:
        with torch.set_grad_enabled(trains), autocast(device, dtype):
            yield
    finally:
        network.train(trained)


def _difference(owner: PreTrainedModel, layers: nn.Module, device: torch.device) -> str | None:
    """Return how packed rows differ from rows alone, if they do."""
    embedding: Any = owner.get_input_embeddings()
    longest = max(1, min(_LENGTHS[-1], getattr(owner.config, "max_position_embeddings", _LENGTHS[-1]) // 2))
    lengths = [min(length, longest) for length in _LENGTHS]
    chance = torch.Generator().manual_seed(0)
    ids = torch.randint(embedding.num_embeddings, (2, len(lengths), longest), generator=chance)
    mask = (torch.arange(longest) < torch.tensor(lengths)[:, None]).to(device)
    rows, others = embedding(ids.to(device)).detach()
    # A second batch, in which the second row is another.
    others = torch.cat([rows[:1], others[1:2], rows[2:]])
    rows.requires_grad_(torch.is_grad_enabled())

    alone = [owner(inputs_embeds=row[None, :n]).last_hidden_state[0] for row, n in zip(rows, lengths, strict=True)]
    single = torch.cat(alone)
    packings: list[Packing | None] = []
    with _hooked(owner, layers):
        handle = layers.register_forward_hook(
            lambda _layers, _args, kwargs, _output: packings.append(kwargs.get("packing")), with_kwargs=True
        )
        try:
            together = owner(inputs_embeds=rows, attention_mask=mask).last_hidden_state
            disturbed = owner(inputs_embeds=others, attention_mask=mask).last_hidden_state
        finally:
            handle.remove()
    calls = packings[0].calls if packings and packings[0] is not None else 0
    if calls < getattr(owner.config, "num_hidden_layers", 1):
        return _OWN_WAY
    if not torch.equal(together[2:], disturbed[2:]) or not torch.equal(together[0], disturbed[0]):
        return "a row would have a part in another"
    found = {"states": (together[mask], single, TOLERANCE)}
    if single.requires_grad:
        weights = torch.randn(single.shape, generator=chance).to(single)
        ours, theirs = (torch.autograd.grad((part * weights).sum(), rows)[0] for part in (together[mask], single))
        found["gradients"] = (ours, theirs, GRADIENT_TOLERANCE)
    for what, (ours, theirs, tolerance) in found.items():
        distance = float((ours - theirs).detach().float().norm() / theirs.detach().float().norm())
        # NaN is not close to anything.
        if not distance <= tolerance:
            return f"its {what} without padding would differ by {distance:.1e}"
    return None
