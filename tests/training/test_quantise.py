from __future__ import annotations

import re

import pytest
import torch
from transformers.pytorch_utils import Conv1D

from easytx.errors import DeviceError, UnsupportedError
from easytx.training.quantise import Int8Linear, check_int8_device, dynamically_quantised


@pytest.fixture
def network() -> torch.nn.Sequential:
    torch.manual_seed(0)
    layers = [torch.nn.Linear(16, 32), torch.nn.LayerNorm(32), torch.nn.Linear(32, 16, bias=False)]
    return torch.nn.Sequential(*layers, torch.nn.Linear(16, 2)).eval()


@torch.no_grad()
def _error(copy: torch.nn.Module, network: torch.nn.Module, rows: torch.Tensor) -> float:
    return float((copy(rows) - network(rows)).norm() / network(rows).norm())


def test_the_copy_is_close_and_the_network_stays_as_it_was(network: torch.nn.Sequential):
    before = [parameter.clone() for parameter in network.parameters()]
    copy = dynamically_quantised(network)
    assert 0 < _error(copy, network, torch.randn(8, 3, 16)) < 0.02
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    assert [type(layer) for layer in copy] == [Int8Linear, torch.nn.LayerNorm, Int8Linear, torch.nn.Linear]
    assert type(network[0]) is torch.nn.Linear
    assert copy[0].weight.dtype is torch.int8


def test_a_product_is_that_of_rounded_numbers():
    layer = Int8Linear(torch.tensor([[1.0, -127.0], [0.5, 0.25]]), torch.nn.Parameter(torch.tensor([10.0, 20.0])))
    # The second row of weights becomes 127 and round(63.5) = 64 times 0.5 / 127.
    inputs = torch.tensor([[127.0, 3.4], [0.0, 0.0]])
    expected = [[127.0 - 127 * 3 + 10, (127 * 127 + 64 * 3) * 0.5 / 127 + 20], [10.0, 20.0]]
    with torch.no_grad():
        torch.testing.assert_close(layer(inputs), torch.tensor(expected))


def test_what_a_row_gets_does_not_depend_on_the_others(network: torch.nn.Sequential):
    rows = torch.randn(5, 16) * torch.tensor([0.001, 0.1, 1.0, 10.0, 1000.0])[:, None]
    copy = dynamically_quantised(network)
    with torch.no_grad():
        torch.testing.assert_close(copy(rows), torch.cat([copy(row) for row in rows.split(1)]))
        first, exact = copy[0](rows), network[0](rows)
    assert ((first - exact).norm(dim=1) / exact.norm(dim=1)).max() < 0.02


def test_an_output_with_small_weights_keeps_its_precision_beside_one_with_large_ones(network: torch.nn.Sequential):
    with torch.no_grad():
        network[2].weight[:8].mul_(0.001)
        rows = torch.randn(64, 32)
        expected, found = (each[2](rows)[:, :8] for each in (network, dynamically_quantised(network)))
    assert (found - expected).norm() / expected.norm() < 0.02


def test_the_copy_is_kept_until_the_weights_change(network: torch.nn.Sequential):
    first = dynamically_quantised(network)
    assert dynamically_quantised(network) is first
    with torch.no_grad():
        network[0].weight.add_(1.0)
    assert dynamically_quantised(network) is not first


def test_weights_that_stay_float_are_shared(network: torch.nn.Sequential):
    copy = dynamically_quantised(network)
    assert copy[1].weight is network[1].weight
    assert copy[0].bias is network[0].bias
    assert copy[3].weight is network[3].weight


def test_layers_of_gpt2_become_int8_too():
    torch.manual_seed(0)
    network = torch.nn.Sequential(Conv1D(24, 16)).eval()
    copy = dynamically_quantised(network)
    assert isinstance(copy[0], Int8Linear)
    assert isinstance(network[0], Conv1D)
    assert 0 < _error(copy, network, torch.randn(5, 16)) < 0.02


def test_a_torch_without_int8_products_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(torch, "_int_mm")
    message = (
        f"dynamic_quantize needs fast products of int8 matrices, which this torch ({torch.__version__}) does not have. "
        "Leave it out, or write the model with convert_to_onnx() and quantized_model=True, for int8 weights by ONNX "
        "Runtime."
    )
    with pytest.raises(UnsupportedError, match=rf"^{re.escape(message)}$"):
        dynamically_quantised(torch.nn.Linear(2, 2))


def test_another_device_than_a_cpu_is_refused():
    check_int8_device("quantize", torch.device("cpu"))
    message = (
        "quantize is set, but int8 weights are for prediction on a CPU and the model is on cuda:1. Open it with "
        "use_cuda=False, or with args={'quantize': False}."
    )
    with pytest.raises(DeviceError, match=rf"^{re.escape(message)}$"):
        check_int8_device("quantize", torch.device("cuda:1"))
