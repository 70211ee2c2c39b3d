"""Copies to predict with: answers as good as those of autocast, from weights that are cast once."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForMaskedLM

from easytx.training import copies
from easytx.training.copies import cast_copy, forget_copies, modules_of
from easytx.training.precision import autocast
from easytx.training.prepacked import PrepackedLinear

from .conftest import CPU

BF16 = torch.bfloat16


def _logits(network: Any, dtype: torch.dtype | None = BF16) -> torch.Tensor:
    ids = torch.tensor([[2, 7, 8, 9, 3], [2, 8, 3, 0, 0]])
    with torch.no_grad(), autocast(CPU, dtype):
        logits: torch.Tensor = network(input_ids=ids, attention_mask=(ids > 0).long()).logits
    return logits.float()


def _distance(logits: torch.Tensor, exact: torch.Tensor) -> float:
    return float((logits - exact).norm() / exact.norm())


def test_the_copy_answers_as_well_as_autocast_does(checkpoint: Path) -> None:
    network = AutoModelForMaskedLM.from_pretrained(checkpoint).eval()
    exact = _logits(network, None)
    ours, theirs = _distance(_logits(cast_copy(network, CPU, BF16)), exact), _distance(_logits(network), exact)
    assert 0 < ours < 3 * theirs < 0.06


def test_the_network_keeps_its_weights(network: Any) -> None:
    before = {name: parameter.clone() for name, parameter in network.named_parameters()}
    cast = cast_copy(network, CPU, BF16)
    own = dict(network.named_parameters())
    matrices = {f"{name}.weight" for name, module in network.named_modules() if isinstance(module, nn.Linear)}
    assert {name for name, parameter in cast.named_parameters() if parameter is own.get(name)} == matrices
    assert {parameter.dtype for name, parameter in cast.named_parameters() if name not in matrices} == {BF16}
    assert all(torch.equal(parameter, before[name]) for name, parameter in network.named_parameters())
    assert cast.config is network.config


def test_the_copy_is_kept_until_the_weights_change(network: Any) -> None:
    first = cast_copy(network, CPU, BF16)
    assert cast_copy(network, CPU, BF16) is first
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    network(input_ids=torch.tensor([[2, 7, 3]]), labels=torch.tensor([1])).loss.backward()
    optimizer.step()
    second = cast_copy(network, CPU, BF16)
    assert second is not first
    assert not torch.equal(_logits(second), _logits(first))
    assert torch.equal(_logits(second), _logits(cast_copy(copy.deepcopy(network), CPU, BF16)))


def test_arranged_weights_change_no_answer(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    arranged, compiled = cast_copy(network, CPU, BF16), cast_copy(network, CPU, BF16, prepacks=False)
    kinds = [{type(module) for module in modules_of(each)} for each in (arranged, compiled)]
    assert [PrepackedLinear in kind for kind in kinds] == [True, False]
    assert nn.Linear not in kinds[0]
    assert torch.equal(_logits(arranged), _logits(compiled))
    monkeypatch.setattr("easytx.training.copies.can_prepack", lambda: False)
    assert cast_copy(network, CPU, BF16) is compiled


def test_tied_weights_stay_tied(checkpoint: Path) -> None:
    cast: Any = cast_copy(AutoModelForMaskedLM.from_pretrained(checkpoint).eval(), CPU, BF16)
    assert cast.get_output_embeddings().weight is cast.get_input_embeddings().weight


def test_normalisation_by_batch_statistics_stays_in_float32() -> None:
    network = nn.Sequential(nn.Conv1d(2, 3, 1), nn.BatchNorm1d(3), nn.Flatten(), nn.Linear(12, 2)).eval()
    cast: Any = cast_copy(network, CPU, BF16)
    assert [parameter.dtype for parameter in cast[:2].parameters()] == [BF16] * 2 + [torch.float32] * 2
    with torch.no_grad(), autocast(CPU, BF16):
        torch.testing.assert_close(cast(torch.ones(1, 2, 4)), network(torch.ones(1, 2, 4)), rtol=0.02, atol=0.02)


def test_what_an_architecture_keeps_in_float32_stays(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_keep_in_fp32_modules_strict", {"classifier"})
    cast = cast_copy(network, CPU, BF16)
    assert type(cast.classifier) is nn.Linear
    assert cast.classifier.weight is network.classifier.weight
    assert cast.classifier.bias is network.classifier.bias


def test_numbers_that_stand_for_weights_are_not_cast(network: Any) -> None:
    packed = nn.Parameter(torch.ones(16, 1, dtype=torch.uint8), requires_grad=False)
    network.classifier.weight = packed
    cast = cast_copy(network, CPU, BF16)
    assert cast.classifier.weight is packed
    assert cast.classifier.bias.dtype is BF16


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
