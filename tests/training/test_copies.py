"""Copies to predict with: the same answers as autocast gives, the weights of matrix products cast once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForMaskedLM

from easytx.training import copies
from easytx.training.copies import cast_copy, forget_copies

from .conftest import CPU

BF16 = torch.bfloat16


def _logits(network: Any) -> torch.Tensor:
    ids = torch.tensor([[2, 7, 8, 9, 3], [2, 8, 3, 0, 0]])
    with torch.no_grad(), torch.autocast("cpu", dtype=BF16):
        logits: torch.Tensor = network(input_ids=ids, attention_mask=(ids > 0).long()).logits
    return logits


def test_the_copy_answers_as_autocast_does(network: Any) -> None:
    assert torch.equal(_logits(cast_copy(network, CPU, BF16)), _logits(network))


def test_the_network_keeps_its_weights_and_shares_all_but_matrices(network: Any) -> None:
    copy = cast_copy(network, CPU, BF16)
    kinds = {name: parameter.dtype for name, parameter in copy.named_parameters()}
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert kinds["classifier.weight"] is BF16
    own = dict(network.named_parameters())
    shared = [name for name, parameter in copy.named_parameters() if parameter is own[name]]
    assert shared == [name for name, kind in kinds.items() if kind is torch.float32]
    assert any("embeddings" in name for name in shared)
    assert copy.config is network.config


def test_the_copy_is_kept_until_the_weights_change(network: Any) -> None:
    first = cast_copy(network, CPU, BF16)
    assert cast_copy(network, CPU, BF16) is first
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    network(input_ids=torch.tensor([[2, 7, 3]]), labels=torch.tensor([1])).loss.backward()
    optimizer.step()
    assert torch.equal(_logits(cast_copy(network, CPU, BF16)), _logits(network))
    assert cast_copy(network, CPU, BF16) is not first


def test_a_matrix_that_is_an_embedding_too_is_not_cast(checkpoint: Path) -> None:
    network = AutoModelForMaskedLM.from_pretrained(checkpoint).eval()
    copy = cast_copy(network, CPU, BF16)
    assert copy.get_output_embeddings().weight is copy.get_input_embeddings().weight
    assert copy.get_input_embeddings().weight.dtype is torch.float32
    assert torch.equal(_logits(copy), _logits(network))


def test_numbers_that_stand_for_weights_are_not_cast(network: Any) -> None:
    packed = nn.Parameter(torch.ones(16, 1, dtype=torch.uint8), requires_grad=False)
    network.classifier.weight = packed
    copy = cast_copy(network, CPU, BF16)
    assert copy.classifier.weight is packed
    assert copy.classifier.bias.dtype is BF16


def test_a_hooked_or_wrapped_network_runs_itself(network: Any) -> None:
    handle = network.classifier.register_forward_hook(lambda *_given: None)
    assert cast_copy(network, CPU, BF16) is network
    handle.remove()
    network.forward = network.forward
    assert cast_copy(network, CPU, BF16) is network


def test_in_float32_the_network_runs_itself(network: Any) -> None:
    assert cast_copy(network, CPU, None) is network


def test_forgotten_copies_are_freed() -> None:
    network = nn.Sequential(nn.Linear(2, 2)).eval()
    cast_copy(network, CPU, BF16)
    assert network in copies._COPIES
    forget_copies(network)
    assert network not in copies._COPIES
