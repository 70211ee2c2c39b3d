"""Dropout on a CPU: the right share, the right mean, and nothing left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification

from easytx.classification import ClassificationModel
from easytx.testing import tiny_checkpoint
from easytx.training import dropout
from easytx.training.dropout import QuickDropout, attend_with_dropout, dropout_factors, quick_dropout

CPU = torch.device("cpu")

# Rounded to 16 bits, none is dropped.
ALMOST_NEVER = 1e-6


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_share_of_the_elements_is_dropped_and_the_mean_stays(probability: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    factors = dropout_factors(torch.empty(999, 1001, dtype=dtype), probability)
    assert factors.dtype is dtype
    assert factors.shape == (999, 1001)
    assert sorted(factors.unique().float().tolist()) == pytest.approx([0, 1 / (1 - probability)], rel=5e-3)
    assert float((factors == 0).double().mean()) == pytest.approx(probability, abs=2e-3)
    assert float(factors.double().mean()) == pytest.approx(1, abs=2e-2)


def test_neighbours_are_dropped_independently() -> None:
    torch.manual_seed(0)
    kept = dropout_factors(torch.empty(400_000), 0.5) > 0
    for distance in (1, 2, 3, 4):
        together = (kept[distance:] & kept[:-distance]).double().mean()
        assert float(together) == pytest.approx(0.25, abs=5e-3)


def test_gradients_pass_where_elements_were_kept() -> None:
    layer = QuickDropout(0.25).train()
    inputs = torch.ones(50, 50, requires_grad=True)
    outputs = layer(inputs)
    outputs.sum().backward()
    assert inputs.grad is not None
    assert torch.equal(inputs.grad, outputs.detach())
    assert torch.equal(layer.eval()(inputs), inputs)
    assert torch.equal(QuickDropout(1.0).train()(inputs), torch.zeros(50, 50))


def test_the_random_numbers_are_those_of_the_seed() -> None:
    drawn = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        drawn.append(dropout_factors(torch.empty(7, 9), 0.5))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("dropout") / "bert", "bert")


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "roberta", "electra", "gpt2"])
def test_the_attention_is_that_of_sdpa(architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_checkpoint(tmp_path, architecture)
    network = AutoModelForSequenceClassification.from_pretrained(folder, pad_token_id=0).eval()
    ids = torch.randint(5, 20, (3, 9), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(9) < torch.tensor([9, 4, 1])[:, None]).long()
    expected = network(input_ids=ids, attention_mask=mask).logits
    calls = []

    def counted(like: torch.Tensor, probability: float) -> torch.Tensor:
        calls.append(like.shape)
        return dropout_factors(like, probability)

    monkeypatch.setattr(dropout, "dropout_factors", counted)
    for layer in network.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = ALMOST_NEVER
        for name in ("attn_dropout", "dropout"):
            if isinstance(getattr(layer, name, None), float):
                setattr(layer, name, ALMOST_NEVER)
    network.train()
    with quick_dropout(network, CPU):
        found = network(input_ids=ids, attention_mask=mask).logits
    torch.testing.assert_close(found, expected)
    assert (3, network.config.num_attention_heads, 9, 9) in calls


@pytest.mark.parametrize("tokens", [16, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_attention_with_dropout_is_that_of_plain_operations(dtype: torch.dtype, tokens: int) -> None:
    chance = torch.Generator().manual_seed(0)
    given = [torch.randn(3, 2, tokens, 8, generator=chance).to(dtype).requires_grad_() for _ in range(3)]
    signal = torch.randn(3, 2, tokens, 8, generator=chance).to(dtype)
    mask = (torch.arange(tokens) < torch.tensor([[tokens], [5], [1]]))[:, None, None, :]
    torch.manual_seed(1)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
        found = attend_with_dropout(*given, mask, 0.25, None)
    assert found.dtype is dtype
    torch.manual_seed(1)
    factors = dropout_factors(torch.empty(3, 2, tokens, tokens, dtype=dtype), 0.25).double()
    query, key, value = (part.detach().double().requires_grad_() for part in given)
    scores = (query @ key.transpose(2, 3) / 8**0.5).masked_fill(~mask, -torch.inf)
    wanted = (scores.softmax(-1) * factors) @ value
    tolerance = 2e-2 if dtype is torch.bfloat16 else 1e-6
    for ours, theirs in zip(
        (found, *torch.autograd.grad(found, given, signal)),
        (wanted, *torch.autograd.grad(wanted, (query, key, value), signal.double())),
        strict=True,
    ):
        assert (ours - theirs).norm() <= tolerance * theirs.norm()


def test_masks_that_are_added_are_too() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, 6, 8, generator=generator)
    module = nn.Module()
    module.is_causal = False  # type: ignore[assignment]
    for mask in (None, torch.randn(2, 1, 6, 6, generator=generator), torch.ones(6, 6).tril().bool()[None, None]):
        expected, _ = dropout._attention(module, query, key, value, mask)
        found, _ = dropout._attention(module, query, key, value, mask, dropout=ALMOST_NEVER)
        torch.testing.assert_close(found, expected)


def _kinds(network: nn.Module) -> set[type]:
    return {type(module) for module in network.modules() if isinstance(module, nn.Dropout)}


def test_nothing_is_left_on_the_network(checkpoint: Path) -> None:
    network: Any = AutoModelForSequenceClassification.from_pretrained(checkpoint)
    found = []

    def stopped() -> None:
        with quick_dropout(network, CPU):
            found.extend([_kinds(network), network.config._attn_implementation])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert found == [{QuickDropout}, dropout.NAME]
    assert _kinds(network) == {nn.Dropout}
    assert network.config._attn_implementation == "sdpa"
    with quick_dropout(network, torch.device("cuda")):
        assert _kinds(network) == {nn.Dropout}


def test_trainings_use_it_and_save_no_trace_of_it(checkpoint: Path, tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["good", "bad", "fine", "poor"] * 4, "labels": [1, 0, 1, 0] * 4})
    seen = []

    def look(_module: nn.Module, _inputs: Any, _output: Any) -> None:
        seen.append(_kinds(network))

    args = {"manual_seed": 1, "silent": True, "save_steps": 1, "save_total_limit": None}
    model = ClassificationModel("bert", checkpoint, use_cuda=False, num_labels=2, args=args)
    network = model.model
    network.register_forward_hook(look)
    with pytest.warns(UserWarning, match="same text"):
        model.train_model(frame, output_dir=str(tmp_path / "out"))
    assert {QuickDropout} in seen
    assert _kinds(model.model) == {nn.Dropout}
    for config in (tmp_path / "out").rglob("config.json"):
        assert dropout.NAME not in json.dumps(json.loads(config.read_text("utf-8")))
    assert len(list((tmp_path / "out").rglob("config.json"))) >= 2
