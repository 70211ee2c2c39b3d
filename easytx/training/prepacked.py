"""Linear layers whose weights are arranged once as the matrix products of a CPU read them."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

__all__ = ["LINEAR", "PrepackedLinear", "can_prepack", "weight_of"]

# Layers that may be replaced: exactly these, since what is made from them may compute otherwise.
LINEAR = (nn.Linear, Conv1D)

_OPERATORS = ("_is_mkldnn_bf16_supported", "_linear_pointwise", "_reorder_linear_weight")


class PrepackedLinear(nn.Module):
    """A linear layer in bf16 for prediction: the numbers of `torch.nn.functional.linear`, sooner.

    oneDNN, which computes the products, arranges the weights at each call as its kernels read them: for a short text
    that takes longer than the product. torch's own compiler keeps weights arranged as well, by the same operators.

    Args:
        layer: One of `LINEAR`, with a bias in bf16 if it has one. What is computed with is a copy of its weights.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        # Not computed with, but some architectures ask for its type.
        self.weight, self.bias = layer.weight, layer.bias
        weight = weight_of(layer).detach().to(torch.bfloat16).contiguous()
        self.out_features, self.in_features = weight.shape
        self.prepacked = torch.ops.mkldnn._reorder_linear_weight(weight)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the product, bf16 of shape (..., outputs)."""
        states = inputs.to(torch.bfloat16)
        outputs: torch.Tensor = torch.ops.mkldnn._linear_pointwise(states, self.prepacked, self.bias, "none", [], "")
        return outputs

    def extra_repr(self) -> str:
        """Return what stands in the brackets."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


@functools.cache
def can_prepack() -> bool:
    """Tell whether this torch has the operators, and the CPU bf16 for them."""
    operators = torch.ops.mkldnn
    if not torch.backends.mkldnn.is_available() or not all(hasattr(operators, name) for name in _OPERATORS):
        return False
    return bool(operators._is_mkldnn_bf16_supported())


def weight_of(layer: Any) -> torch.Tensor:
    """Return the weights of a linear layer, of shape (outputs, inputs)."""
    # Those of GPT-2 hold their weights the other way round.
    weight: torch.Tensor = layer.weight.T if isinstance(layer, Conv1D) else layer.weight
    return weight
