"""Attention of rows that lie one behind the other, without padding between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from easytx.training.dropout import attend_with_dropout
from easytx.training.hooking import PREFIX

__all__ = ["KERNELS", "NAME", "NotPackableError", "Packing", "computes", "padded"]

# Under this name transformers knows the attention below.
NAME = "easytx_varlen"

# (queries, keys, values) of shape (tokens, heads, head size), packing, dropout, scale -> like the queries
Kernel = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, "Packing", float, "float | None"], torch.Tensor]


class NotPackableError(RuntimeError):
    """An architecture attends in a way that is not that of rows one behind the other."""


@dataclass
class Packing:
    """Where the rows of a batch lie when they are put one behind the other.

    Attributes:
        mask: What is a token, of shape (rows, tokens).
        tokens: Positions of the tokens in the flattened (rows, tokens) batch.
        offsets: Where each row begins, and where the last one ends, of shape (rows + 1) and type int32.
        shape: Rows and tokens of the padded batch.
        calls: How often attention was computed with it.
        first_only: Whether queries are those of the first token of each row only.
        layouts: By the number of heads, what `layout` has found.
    """

    mask: torch.Tensor
    tokens: torch.Tensor
    offsets: torch.Tensor
    shape: tuple[int, int]
    calls: int = 0
    first_only: bool = False
    layouts: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    @classmethod
    def of(cls, mask: torch.Tensor) -> Packing:
        """Return the packing of the tokens that a mask of shape (rows, tokens) keeps."""
        kept = mask.bool()
        ends = kept.sum(1).cumsum(0)
        return cls(
            kept,
            kept.flatten().nonzero().flatten(),
            functional.pad(ends, (1, 0)).to(torch.int32),
            (mask.shape[0], mask.shape[1]),
        )

    def layout(self, heads: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what leads from (all tokens, heads) to (rows, heads, tokens), and back.

        The first says which of (all tokens, heads) stands at each of (rows, heads, tokens), at padding any; the second
        where each of (all tokens, heads) stands among (rows, heads, tokens). Both are flat.
        """
        if heads not in self.layouts:
            rows, tokens = self.shape
            each = torch.arange(heads, device=self.tokens.device)
            places = (self.mask.flatten().cumsum(0) - 1).clamp(min=0).view(rows, 1, tokens)
            first = (self.tokens // tokens) * heads * tokens + self.tokens % tokens
            self.layouts[heads] = (
                (places * heads + each[:, None]).flatten(),
                (first[:, None] + each * tokens).flatten(),
            )
        return self.layouts[heads]

    def pack(self, padded: torch.Tensor) -> torch.Tensor:
        """Return states of shape (rows, tokens, width) as (1, all tokens, width)."""
        return padded.flatten(0, 1).index_select(0, self.tokens).unsqueeze(0)

    def unpack(self, packed: torch.Tensor) -> torch.Tensor:
        """Return states of shape (1, all tokens, width) as (rows, tokens, width), with zeros at the padding."""
        rows, tokens = self.shape
        empty = packed.new_zeros(rows * tokens, packed.shape[-1])
        return empty.index_copy(0, self.tokens, packed[0]).view(rows, tokens, -1)


def flash(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    packing: Packing,
    dropout: float,
    scale: float | None,
) -> torch.Tensor:
    """Attend with the FlashAttention kernels that torch brings for CUDA, in bf16 or fp16."""
    # What torch's varlen_attn and its attention over nested tensors call as well. The first leaves no dropout, and the
    # second would wrap queries, keys and values anew in each layer.
    rows, longest = packing.shape
    starts, most = packing.offsets, longest
    if packing.first_only:
        starts, most = torch.arange(rows + 1, dtype=torch.int32, device=query.device), 1
    attended: torch.Tensor = torch.ops.aten._flash_attention_forward(
        query,
        key,
        value,
        starts,
        packing.offsets,
        most,
        longest,
        dropout,
        False,
        False,
        scale=scale,
    )[0]
    return attended


def padded(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    packing: Packing,
    dropout: float,
    scale: float | None,
) -> torch.Tensor:
    """Attend with padding, on any device: attention alone, a small part of a layer, computes it then."""
    mask = packing.mask[:, None, None, :]
    keys, values = _spread(key, packing), _spread(value, packing)
    queries = query.unsqueeze(2) if packing.first_only else _spread(query, packing)
    if 0 < dropout < 1:
        attended = attend_with_dropout(queries, keys, values, mask, dropout, scale)
    else:
        attended = functional.scaled_dot_product_attention(queries, keys, values, mask, dropout, scale=scale)
    gathered: torch.Tensor = attended.squeeze(2) if packing.first_only else _gathered(attended, packing)
    return gathered


def _by_rows(packed: torch.Tensor, packing: Packing) -> torch.Tensor:
    """Return (all tokens, heads, head size) as (rows, heads, tokens, head size); what pads rows is any token."""
    _, heads, size = packed.shape
    rows, tokens = packing.shape
    return packed.reshape(-1, size).index_select(0, packing.layout(heads)[0]).view(rows, heads, tokens, size)


def _by_tokens(padded: torch.Tensor, packing: Packing) -> torch.Tensor:
    """The other way round."""
    _, heads, _, size = padded.shape
    return padded.reshape(-1, size).index_select(0, packing.layout(heads)[1]).view(-1, heads, size)


class _Spread(torch.autograd.Function):
    """`_by_rows`, without a gradient of what pads rows; by autograd, it would be added up place by place."""

    @staticmethod
    def forward(context: Any, packed: torch.Tensor, packing: Packing) -> torch.Tensor:
        context.packing = packing
        return _by_rows(packed, packing)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return _by_tokens(gradient, context.packing), None


class _Gathered(torch.autograd.Function):
    """`_by_tokens`, with a gradient of zeros for what pads rows."""

    @staticmethod
    def forward(context: Any, padded: torch.Tensor, packing: Packing) -> torch.Tensor:
        context.packing = packing
        return _by_tokens(padded, packing)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        packing = context.packing
        return _by_rows(gradient, packing).masked_fill_(~packing.mask[:, None, :, None], 0), None


_spread: Callable[..., torch.Tensor] = _Spread.apply
_gathered: Callable[..., torch.Tensor] = _Gathered.apply

# What attends fast on each kind of device.
KERNELS: dict[str, Kernel] = {"cuda": flash, "cpu": padded}


def computes(device: torch.device, dtype: torch.dtype) -> bool:
    """Tell whether rows without padding can be computed on a device, in this precision."""
    return device.type in KERNELS and (device.type != "cuda" or dtype in (torch.bfloat16, torch.float16))


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    packing: Packing | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as an attention function of transformers: within rows if they are packed, otherwise as "sdpa" does.

    Args:
        module: The attention layer.
        query: Of shape (rows, heads, tokens, head size), where all rows are one if they are packed.
        key: Like the queries.
        value: Like the queries.
        attention_mask: Of shape (rows, tokens), or as for "sdpa".
        dropout: Probability.
        scaling: Of the products; None for that of the head size.
        packing: Where the rows are.
        **others: What some layers want besides.

    Raises:
        NotPackableError: If the rows are packed, and the layer wants more than plain attention in both directions.
    """
    if packing is None:
        if attention_mask is not None and attention_mask.dim() == 2:
            attention_mask = attention_mask[:, None, None, :].bool()
        attended, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
        return attended, None
    causal = others.pop("is_causal", None)
    wanted = sorted(
        name
        for name, option in others.items()
        if option is not None and option is not False and not name.startswith(PREFIX)
    )
    if getattr(module, "is_causal", True) if causal is None else causal:
        wanted.insert(0, "is_causal")
    alike = key.shape[1] == query.shape[1] and (packing.first_only or key.shape == query.shape)
    if wanted or attention_mask is not None or not alike:
        raise NotPackableError(f"{type(module).__name__} attends with {', '.join(wanted) or 'a mask of its own'}")
    packing.calls += 1
    query, key, value = (part.transpose(1, 2).squeeze(0) for part in (query, key, value))
    return KERNELS[query.device.type](query, key, value, packing, dropout, scaling).unsqueeze(0), None


def _mask(*_given: Any, attention_mask: torch.Tensor | None = None, **_more: Any) -> torch.Tensor | None:
    """Return the mask of shape (rows, tokens) as it is."""
    return attention_mask


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, _mask)
