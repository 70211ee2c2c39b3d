"""The last layer of networks whose head reads the first token only: computed for that token alone.

What classifies whole texts mostly reads the state of their first token. The last layer then needs keys and values of
all tokens, and the rest of it, most of its work, for one token of each row. Whether that is so is not read from a list
of architectures: each network has to show that its answers do not depend on the other states, whatever they are, and
that they are the same without them.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import AttentionInterface, PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from easytx.training import dropout, varlen
from easytx.training.copies import modules_of
from easytx.training.hooking import LOCK, PREFIX, hooked, is_hooked
from easytx.training.packing import (
    REFUSALS,
    TOLERANCE,
    asks_for_more,
    hooks_of_others,
    on_trial,
    parameters_of,
    parts_of,
)

__all__ = ["first_token_only"]

logger = logging.getLogger(__name__)

# Under this name transformers knows the attention below.
NAME = "easytx_first_token"

# Names that the layers for keys and values have.
_KEYS_AND_VALUES = (("key", "value"), ("k_lin", "v_lin"), ("k_proj", "v_proj"))

# Ways to attend that the last layer's can be put before.
_ATTENTIONS = ("sdpa", varlen.NAME, dropout.NAME)

# Passed from a base model to its layers: the reading of this call.
_MARK = f"{PREFIX}reading"

_KIND = "first token"

# Tokens of the rows that a network is tried with, where it takes as many.
_LENGTHS = (12, 5, 9)

# network -> (device, precision, attention of the other layers) -> whether it reads the first token only
_VERDICTS: weakref.WeakKeyDictionary[nn.Module, dict[object, bool]] = weakref.WeakKeyDictionary()


@dataclass
class _Part:
    """What is changed of a network: a base model, what runs its layers, the last of them, and its attention."""

    owner: PreTrainedModel
    layers: nn.Module
    last: nn.Module
    attention: nn.Module


@dataclass
class _Reading:
    """One call of a base model.

    Attributes:
        states: What the last layer gets, while it runs.
        calls: How often its attention has used them.
    """

    states: torch.Tensor | None = None
    calls: int = 0


def first_token_only(
    network: nn.Module, *, device: torch.device, dtype: torch.dtype | None, like: nn.Module | None = None
) -> AbstractContextManager[None]:
    """Return a context in which the last layer computes what a network reads of it, if that is the first token only.

    Args:
        network: On `device`. Afterwards it is as it was.
        device: Where the network is.
        dtype: What it is autocast to; None for its own precision.
        like: What the network is a short-lived copy of: what has been found out is kept for it.
    """
    part = _part(network)
    if part is None:
        return nullcontext()
    with LOCK:
        if not is_hooked(part.owner, _KIND):
            if _setting_against(network, part):
                return nullcontext()
            verdicts = _VERDICTS.setdefault(network if like is None else like, {})
            key = (device, dtype, part.owner.config._attn_implementation)
            if key not in verdicts:
                verdicts[key] = _trial(network, part, device, dtype)
                logger.info("%s reads the first token only: %s.", type(network).__name__, verdicts[key])
            if not verdicts[key]:
                return nullcontext()
    return hooked(part.owner, _KIND, lambda: _hook(part))


def _part(network: nn.Module) -> _Part | None:
    parts = parts_of(network)
    if len(parts) != 1 or parts[0][0] is network:
        return None
    owner, layers = parts[0]
    last = next((stack[-1] for stack in layers.children() if isinstance(stack, nn.ModuleList) and len(stack)), None)
    if last is None or "kwargs" not in parameters_of(last):
        return None
    attentions = [module for module in modules_of(last) if _names(module) and hasattr(module, "config")]
    return _Part(owner, layers, last, attentions[0]) if len(attentions) == 1 else None


def _names(attention: nn.Module) -> tuple[str, str] | None:
    """Return the names of a module's layers for keys and values, if it has them."""
    return next((names for names in _KEYS_AND_VALUES if {*names} <= attention._modules.keys()), None)


def _setting_against(network: nn.Module, part: _Part) -> bool:
    """Tell whether something speaks against it before a trial: among others, somebody who looks at what passes by."""
    config: Any = part.owner.config
    return (
        config._attn_implementation not in _ATTENTIONS
        or not part.owner._can_set_attn_implementation()
        or getattr(config, "is_decoder", False)
        or any(hooks_of_others(module) for module in modules_of(network))
    )


def _hook(part: _Part) -> Callable[[], None]:
    """Have the last layer compute the first token, and return what takes that back."""
    config: Any = part.attention.config
    own = copy.copy(config)
    own._attn_implementation_internal = NAME
    own._easytx_owner = part.owner.config
    part.attention.config = own
    handles = [
        part.owner.register_forward_pre_hook(_mark, with_kwargs=True),
        part.last.register_forward_pre_hook(_shorten, with_kwargs=True),
        part.last.register_forward_hook(_lengthen, with_kwargs=True),
    ]

    def end() -> None:
        for handle in handles:
            handle.remove()
        part.attention.config = config

    return end


def _mark(owner: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
    return None if asks_for_more(owner, kwargs) else (args, {**kwargs, _MARK: _Reading()})


def _shorten(last: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
    reading: _Reading | None = kwargs.get(_MARK)
    if reading is None:
        return None
    given = {**dict(zip(parameters_of(last), args, strict=False)), **kwargs}
    reading.states = states = given.pop("hidden_states")
    packing = given.get("packing")
    first = states[:, :1] if packing is None else states.index_select(1, packing.offsets[:-1])
    return (first,), given


def _lengthen(_last: nn.Module, _args: Any, kwargs: dict[str, Any], output: torch.Tensor) -> torch.Tensor | None:
    reading: _Reading | None = kwargs.get(_MARK)
    if reading is None or reading.states is None:
        return None
    states, reading.states = reading.states, None
    packing = kwargs.get("packing")
    if packing is None:
        return functional.pad(output, (0, 0, 0, states.shape[1] - 1))
    empty = output.new_zeros(1, states.shape[1], output.shape[2])
    return empty.index_copy(1, packing.offsets[:-1].long(), output)


def _attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **others: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Attend as an attention function of transformers, from the first tokens to all of their rows.

    Args:
        module: The attention of the last layer.
        query: Of shape (rows, heads, 1, head size), or (1, heads, rows, head size) if rows are packed.
        key: Of the first tokens too; those of all tokens are computed here.
        value: Like the keys.
        attention_mask: As for the attention of the other layers.
        **others: As for the attention of the other layers.
    """
    reading: _Reading | None = others.pop(_MARK, None)
    attend = ALL_ATTENTION_FUNCTIONS[_implementation(module)]
    states = None if reading is None else reading.states
    if reading is not None and states is not None:
        reading.calls += 1
        key, value = (
            getattr(module, name)(states).view(*states.shape[:2], -1, query.shape[-1]).transpose(1, 2)
            for name in _names(module) or ()
        )
        if attention_mask is not None and attention_mask.dim() == 4:
            attention_mask = attention_mask[:, :, :1]
        packing = others.get("packing")
        if packing is not None:
            # The layer counts for the batch, whose packing the other layers have.
            packing.calls += 1
            others["packing"] = dataclasses.replace(packing, first_only=True)
    attended: tuple[torch.Tensor, torch.Tensor | None] = attend(module, query, key, value, attention_mask, **others)
    return attended


def _implementation(module: nn.Module) -> str:
    """Return the name of the attention of the other layers, now."""
    config: Any = module.config
    name: str = config._easytx_owner._attn_implementation
    return name


def _trial(network: nn.Module, part: _Part, device: torch.device, dtype: torch.dtype | None) -> bool:
    """Tell whether a network answers the same from the first token only, for rows made up for it."""
    try:
        with on_trial(network, device, dtype):
            return _answers_the_same(network, part, device)
    except REFUSALS as error:
        logger.info("%s was tried in vain: %r", type(network).__name__, error)
        return False


def _answers_the_same(network: nn.Module, part: _Part, device: torch.device) -> bool:
    embedding: Any = part.owner.get_input_embeddings()
    longest = max(1, min(_LENGTHS[0], getattr(part.owner.config, "max_position_embeddings", _LENGTHS[0]) // 2))
    chance = torch.Generator().manual_seed(0)
    ids = torch.randint(embedding.num_embeddings, (len(_LENGTHS), longest), generator=chance).to(device)
    mask = (torch.arange(longest) < torch.tensor(_LENGTHS)[:, None]).long().to(device)

    def answers() -> torch.Tensor:
        outputs = network(input_ids=ids, attention_mask=mask).to_tuple()
        return torch.cat([output.float().flatten() for output in outputs])

    def spoil(_layers: nn.Module, _args: Any, output: Any) -> Any:
        others = torch.arange(longest, device=device)[:, None] > 0
        output.last_hidden_state = output.last_hidden_state.masked_fill(others, torch.nan)
        return output

    wanted = answers()
    handle = part.layers.register_forward_hook(spoil)
    try:
        spoilt = answers()
    finally:
        handle.remove()
    if not torch.equal(spoilt, wanted):
        return False
    readings: list[_Reading | None] = []
    with hooked(part.owner, _KIND, lambda: _hook(part)):
        handle = part.layers.register_forward_pre_hook(
            lambda _layers, _args, kwargs: readings.append(kwargs.get(_MARK)), with_kwargs=True
        )
        try:
            found = answers()
        finally:
            handle.remove()
    distance = float((found - wanted).norm() / wanted.norm())
    return len(readings) == 1 and readings[0] is not None and readings[0].calls == 1 and distance <= TOLERANCE


AttentionInterface.register(NAME, _attention)
