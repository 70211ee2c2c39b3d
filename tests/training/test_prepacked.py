"""Linear layers with weights arranged for the CPU: the numbers of the layers they stand for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from easytx.training.prepacked import PrepackedLinear, can_prepack

BF16 = torch.bfloat16

pytestmark = pytest.mark.skipif(not can_prepack(), reason="this CPU has no products of bf16")


@pytest.mark.parametrize("layer", [nn.Linear(24, 40), nn.Linear(24, 40, bias=False), Conv1D(40, 24)])
@pytest.mark.parametrize("shape", [(24,), (3, 24), (2, 5, 24), (2, 1, 5, 24), (0, 24)])
def test_the_products_are_the_same_bit_for_bit(layer: Any, shape: tuple[int, ...]) -> None:
    layer.to(BF16)
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(BF16)
    with torch.no_grad():
        outputs = PrepackedLinear(layer)(inputs)
        assert outputs.dtype is BF16
        assert torch.equal(outputs, layer(inputs))


def test_other_numbers_are_cast() -> None:
    layer = nn.Linear(24, 40, bias=False)
    inputs = torch.randn(3, 24)
    with torch.no_grad():
        expected = nn.functional.linear(inputs.to(BF16), layer.weight.to(BF16))
        assert torch.equal(PrepackedLinear(layer)(inputs), expected)


def test_the_layer_it_stands_for_is_not_changed() -> None:
    layer = nn.Linear(24, 40)
    arranged = PrepackedLinear(layer)
    assert layer.weight.dtype is torch.float32
    assert arranged.weight is layer.weight
    assert arranged.bias is layer.bias
    assert repr(arranged) == "PrepackedLinear(in_features=24, out_features=40, bias=True)"
