"""Dropout while training on a CPU, where drawing its random numbers takes longer than much of the network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeGuard

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from typing_extensions import override

__all__ = ["attend_with_dropout", "quick_dropout"]

# Under this name transformers knows the attention below.
NAME = "easytx_quick_dropout"

# Values of the 16 random bits that decide about an element. A probability is rounded to a multiple of one in so many:
# 0.1 becomes 0.100006.
_VALUES = 2**16

# Numbers in bf16 that a CPU computes at once: of fewer, torch makes the softmax one by one.
_IN_A_REGISTER = 32

# What the attention of "sdpa" reads besides.
_MORE = ("cache", "output_attentions", "position_bias", "softcap")


@contextmanager
def quick_dropout(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Have a network on the CPU draw its dropout from fewer random numbers while the block runs.

    torch draws two words of its generator for each element, one element after the other. Here a word decides about two
    elements. The numbers come from the same generator, so that seeds and resumed trainings hold, but they are others
    than without this. The attention of transformers' "sdpa", whose dropout is out of reach, is computed in plain
    operations instead, as it is by torch where there is dropout. Does nothing on other devices.

    Args:
        network: Afterwards it is as it was.
        device: Where it is.
    """
    if device.type != "cpu":
        yield
        return
    layers = [module for module in network.modules() if type(module) is nn.Dropout]
    models = [module for module in network.modules() if _attends_by_sdpa(module)]
    try:
        for layer in layers:
            layer.__class__ = QuickDropout
        for model in models:
            model.set_attn_implementation(NAME)
        yield
    finally:
        for layer in layers:
            layer.__class__ = nn.Dropout
        for model in models:
            model.set_attn_implementation("sdpa")


def _attends_by_sdpa(module: nn.Module) -> TypeGuard[PreTrainedModel]:
    if not isinstance(module, PreTrainedModel) or getattr(module.config, "_attn_implementation", None) != "sdpa":
        return False
    # One that is made of others leaves it to them.
    parts = [part for part in module.modules() if isinstance(part, PreTrainedModel)]
    has_others = any(part.config is not module.config for part in parts)
    return bool(module._supports_sdpa and module._can_set_attn_implementation() and not has_others)


class QuickDropout(nn.Dropout):
    """Dropout by 16 random bits an element."""

    @override
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if not self.training or not 0 < self.p < 1:
            return super().forward(input)
        return input * dropout_factors(input, self.p)


def dropout_factors(like: torch.Tensor, probability: float) -> torch.Tensor:
    """Return what the elements of a tensor are multiplied by: 0, or what keeps their mean.

    Args:
        like: Gives shape and type.
        probability: Of 0; at least 0 and less than 1.
    """
    number = like.numel()
    words = torch.empty(-(-number // 4), dtype=torch.int64).random_(-(2**63), None)
    bits = words.view(torch.int16)[:number].view(like.shape)
    dropped = min(round(probability * _VALUES), _VALUES - 1)
    return (bits >= dropped - _VALUES // 2).to(like.dtype).mul_(_VALUES / (_VALUES - dropped))


def _attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as an attention function of transformers: with dropout in plain operations, otherwise as "sdpa" does.

    Args:
        module: The attention layer.
        query: Of shape (rows, heads, tokens, head size).
        key: Like the queries.
        value: Like the queries.
        attention_mask: Bool, or added to the products; broadcast to (rows, heads, tokens, tokens).
        dropout: Probability.
        scaling: Of the products; None for that of the head size.
        **others: What some layers want besides.
    """
    causal = others.get("is_causal")
    in_one_direction = attention_mask is None and bool(getattr(module, "is_causal", True) if causal is None else causal)
    more = any(others.get(name) is not None and others.get(name) is not False for name in _MORE)
    if not 0 < dropout < 1 or in_one_direction or more or key.shape[1] != query.shape[1]:
        attended, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
        return attended, None
    attended = attend_with_dropout(query, key, value, attention_mask, dropout, scaling)
    return attended.transpose(1, 2).contiguous(), None


def attend_with_dropout(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    dropout: float,
    scale: float | None,
) -> torch.Tensor:
    """Return what attention gives, of shape (rows, heads, tokens, head size) as all of its inputs.

    Args:
        query: What attends.
        key: What it is compared with.
        value: What is attended to.
        mask: Bool, or added to the products; broadcast to (rows, heads, tokens, tokens).
        dropout: Probability, above 0 and below 1.
        scale: Of the products; None for that of the head size.
    """
    scores = torch.matmul(query * (query.shape[-1] ** -0.5 if scale is None else scale), key.transpose(2, 3))
    if mask is not None and mask.dtype is torch.bool:
        with torch.no_grad():
            # Softmax gives what is masked no gradient.
            scores.masked_fill_(~mask, torch.finfo(scores.dtype).min)
    elif mask is not None:
        scores = scores + mask
    weights = _softmax(scores).to(query.dtype)
    return torch.matmul(weights * dropout_factors(weights, dropout), value)


def _softmax(scores: torch.Tensor) -> torch.Tensor:
    """Return the softmax over the last axis, computed in float32, in float32 or already rounded as the scores are."""
    if scores.shape[-1] < _IN_A_REGISTER:
        return torch.softmax(scores, dim=-1, dtype=torch.float32)
    # Autocast would have it written out in float32.
    with torch.autocast(scores.device.type, enabled=False):
        return torch.softmax(scores, dim=-1)


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
