"""Layers without padding: the answers and gradients of rows alone, and nothing left behind."""

from __future__ import annotations

import copy
import json
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import transformers

from easytx.testing import tiny_config
from easytx.training import varlen
from easytx.training.copies import cast_copy
from easytx.training.packing import packed
from easytx.training.varlen import Packing
from tests.training.conftest import NO_DROPOUT, weights

CPU = torch.device("cpu")
LENGTHS = [9, 3, 12, 1]
MASK = torch.arange(12) < torch.tensor(LENGTHS)[:, None]
OWN_WAY = "its layers attend in a way of their own"
PADDED_ONLY = "its layers take padded batches only"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Packing, float]]:
    """Return the packings and dropouts that the kernel of the CPU is called with."""
    seen = []

    def kernel(*given: Any) -> torch.Tensor:
        seen.append((given[3], given[4]))
        return varlen.padded(*given)

    monkeypatch.setitem(varlen.KERNELS, "cpu", kernel)
    return seen


def _network(architecture: str, head: str = "TokenClassification", **changes: Any) -> Any:
    config = tiny_config(architecture, **changes)
    torch.manual_seed(0)
    return getattr(transformers, f"AutoModelFor{head}").from_config(config).eval()


def _batch(network: Any, seed: int = 0) -> dict[str, torch.Tensor]:
    ids = torch.randint(5, 60, MASK.shape, generator=torch.Generator().manual_seed(seed))
    padding = network.config.pad_token_id
    return {"input_ids": ids.masked_fill(~MASK, 0 if padding is None else padding), "attention_mask": MASK.long()}


def _packed(network: Any, packing: bool | None = True, *, trains: bool = False) -> Any:
    return packed(network, packing, device=CPU, dtype=None, trains=trains)


def _logits(network: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        outputs = network(**batch)
    found = outputs.logits if "logits" in outputs else torch.stack([outputs.start_logits, outputs.end_logits], -1)
    return found[MASK] if found.shape[:2] == MASK.shape else found


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "roberta", "electra", "albert", "xlm-roberta"])
def test_states_and_gradients_are_those_of_padded_rows(architecture: str, calls: list[Any]) -> None:
    network = _network(architecture)
    batch = {**_batch(network), "labels": torch.ones(MASK.shape, dtype=torch.long).masked_fill(~MASK, -100)}
    wanted = _logits(network, batch)
    network(**batch).loss.backward()
    gradients = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    network.zero_grad()
    with _packed(network, trains=True):
        calls.clear()
        torch.testing.assert_close(_logits(network, batch), wanted, rtol=1e-5, atol=1e-5)
        network(**batch).loss.backward()
    assert [packing.offsets.tolist() for packing, _ in calls] == [[0, 9, 12, 24, 25]] * 4
    for name, parameter in network.named_parameters():
        if name in gradients:
            torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("head", ["SequenceClassification", "QuestionAnswering", "MaskedLM"])
def test_heads_get_padded_states(head: str, calls: list[Any]) -> None:
    network = _network("bert", head)
    wanted = _logits(network, _batch(network))
    with _packed(network):
        calls.clear()
        torch.testing.assert_close(_logits(network, _batch(network)), wanted, rtol=1e-5, atol=1e-5)
    assert len(calls) == 2


def test_a_row_has_no_part_in_another(calls: list[Any]) -> None:
    network = _network("bert", "SequenceClassification")
    first, second = _batch(network), _batch(network)
    second["input_ids"][2] = _batch(network, seed=1)["input_ids"][2]
    with _packed(network):
        ours, others = _logits(network, first), _logits(network, second)
    assert calls
    assert torch.equal(ours[[0, 1, 3]], others[[0, 1, 3]])
    assert not torch.allclose(ours[2], others[2])


@pytest.mark.parametrize(
    "mask",
    [[[1] * 6] * 3, [[1] * 5], [[0, 0, 1, 1], [1, 1, 1, 1]], [[1, 0, 1], [1, 1, 0]]],
    ids=["equal lengths", "one row", "padding on the left", "holes"],
)
def test_any_mask_is_packed(mask: list[list[int]], calls: list[Any]) -> None:
    network, kept = _network("bert"), torch.tensor(mask)
    batch = {"input_ids": torch.arange(5, 5 + kept.numel()).view(kept.shape), "attention_mask": kept}
    with torch.no_grad():
        wanted = network(**batch).logits
        with _packed(network):
            calls.clear()
            found = network(**batch).logits
    assert len(calls) == 2
    torch.testing.assert_close(found[kept.bool()], wanted[kept.bool()], rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize(
    ("architecture", "who", "reason"),
    [
        ("mpnet", "MPNetModel", OWN_WAY),
        ("deberta-v2", "DebertaV2ForTokenClassification", PADDED_ONLY),
        ("longformer", "LongformerForTokenClassification", PADDED_ONLY),
        ("modernbert", "ModernBertForTokenClassification", PADDED_ONLY),
        ("gpt2", "GPT2ForTokenClassification", PADDED_ONLY),
        ("t5", "T5ForTokenClassification", PADDED_ONLY),
    ],
)
def test_other_architectures_keep_their_padding_and_say_so_once(architecture: str, who: str, reason: str) -> None:
    network = _network(architecture)
    wanted = _logits(network, _batch(network))
    with pytest.warns(UserWarning, match="^packing is True") as said, _packed(network):
        assert torch.equal(_logits(network, _batch(network)), wanted)
    assert [str(one.message) for one in said] == [
        f"packing is True, but {who} runs with padding, because {reason}. Leave packing out to have it where it is "
        "possible."
    ]
    with _packed(network):
        assert torch.equal(_logits(network, _batch(network)), wanted)


@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda network: setattr(network.config, "chunk_size_feed_forward", 1),
            "its config has a chunk_size_feed_forw",
        ),
        (lambda network: setattr(network.config, "is_decoder", True), "it is a decoder"),
        (lambda network: network.set_attn_implementation("eager"), "its attn_implementation is 'eager'"),
        (
            lambda network: network.bert.encoder.layer[0].register_forward_hook(lambda *_given: None),
            "hooks are registered on its layers",
        ),
    ],
)
def test_settings_that_need_padding(change: Callable[[Any], object], reason: str) -> None:
    network = _network("bert")
    with _packed(network):
        assert network.config._attn_implementation == varlen.NAME
    change(network)
    with pytest.warns(UserWarning, match=f"BertModel runs with padding, because {reason}"), _packed(network):
        assert network.config._attn_implementation != varlen.NAME


@pytest.mark.usefixtures("calls")
def test_attention_in_one_direction_is_not_packed() -> None:
    network = _network("bert")
    network.bert.encoder.layer[1].attention.self.is_causal = True
    with pytest.warns(UserWarning, match="because BertSelfAttention attends with is_causal"), _packed(network):
        assert network.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    "mask", [None, torch.ones(2, 1, 6, 6, dtype=torch.bool).tril()], ids=["none", "one of its own"]
)
def test_calls_with_other_masks_are_as_ever(mask: torch.Tensor | None, calls: list[Any]) -> None:
    network, ids = _network("bert"), torch.arange(5, 17).view(2, 6)
    with torch.no_grad():
        wanted = network(input_ids=ids, attention_mask=mask).logits
        with _packed(network):
            calls.clear()
            assert torch.equal(network(input_ids=ids, attention_mask=mask).logits, wanted)
    assert not calls


def _row_by_row(query: Any, key: Any, value: Any, packing: Packing, dropout: float, scale: Any) -> torch.Tensor:
    """Attend without any padding."""
    lengths = packing.offsets.diff().tolist()
    rows = zip(*(part.transpose(0, 1).split(lengths, dim=1) for part in (query, key, value)), strict=True)
    attend = torch.nn.functional.scaled_dot_product_attention
    return torch.cat([attend(*row, None, dropout, scale=scale) for row in rows], dim=1).transpose(0, 1)


@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize(
    "mask",
    [
        [[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]],
        [[0, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1]],
        [[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]],
        [[1, 1], [1, 1]],
    ],
    ids=["right", "left", "holes", "none"],
)
def test_the_kernel_of_the_cpu_attends_row_by_row(mask: list[list[int]], scale: float | None) -> None:
    packing, chance = Packing.of(torch.tensor(mask)), torch.Generator().manual_seed(0)
    given, weights = (
        [torch.randn(len(packing.tokens), 2, 4, generator=chance, requires_grad=grad) for _ in range(number)]
        for number, grad in ((3, True), (1, False))
    )
    found = []
    for kernel in (varlen.padded, _row_by_row):
        attended = kernel(*given, packing, 0.0, scale)
        found.append([attended, *torch.autograd.grad((attended * weights[0]).sum(), given)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_kernel_of_the_cpu_drops_weights_and_scales_the_rest() -> None:
    packing = Packing.of(torch.tensor([[1] * 32, [1] * 16 + [0] * 16] * 8))
    tokens, chance = len(packing.tokens), torch.Generator().manual_seed(0)
    query, key = (torch.randn(tokens, 2, 32, generator=chance) for _ in range(2))
    # With the unit matrix for values a token's output is its row of the attention matrix.
    place = torch.arange(tokens) - packing.offsets[:-1].repeat_interleave(packing.offsets.diff())
    unit = torch.eye(32)[place][:, None].repeat(1, 2, 1).requires_grad_()
    torch.manual_seed(0)
    left, full = (varlen.padded(query, key, unit, packing, dropout, None) for dropout in (0.25, 0.0))
    kept = (left != 0) & (full != 0)
    assert 1 - kept.sum() / (full != 0).sum() == pytest.approx(0.25, abs=0.02)
    torch.testing.assert_close(left[kept] * 0.75, full[kept], rtol=1e-4, atol=1e-6)
    signal = torch.randn(left.shape, generator=chance)
    (gradient,) = torch.autograd.grad(left, unit, signal)
    for start, end in zip(packing.offsets, packing.offsets[1:], strict=False):
        row, size = slice(start, end), end - start
        wanted = torch.einsum("qhk,qhd->khd", left[row, :, :size], signal[row])
        torch.testing.assert_close(gradient[row], wanted)


def test_training_on_a_cpu_is_packed_but_not_the_evaluation_in_it(
    calls: list[Any], classifier: Callable[..., Any], train_df: pd.DataFrame, eval_df: pd.DataFrame
) -> None:
    model = classifier(config=NO_DROPOUT, no_save=True, evaluate_during_training=True)
    shares = []
    evaluated = model.evaluated

    def counting(*given: Any, **options: Any) -> Any:
        calls.clear()
        assert model.model.config._attn_implementation == "sdpa"
        result = evaluated(*given, **options)
        shares.append(len(calls))
        return result

    model.evaluated = counting
    details = model.train_model(train_df, eval_data=eval_df).training_details
    assert shares == [0] * len(details["eval_loss"])
    assert calls == []
    assert model.model.config._attn_implementation == "sdpa"
    model.train_model(train_df, args={"evaluate_during_training": False})
    assert any(not packing.mask.all() for packing, _ in calls)
    calls.clear()
    model.predict(list(eval_df["text"]))
    assert calls == []


def _leaky(query: Any, key: Any, value: Any, packing: Packing, dropout: float, scale: Any) -> torch.Tensor:
    all_one = Packing(packing.mask, packing.tokens, packing.offsets[[0, -1]], packing.shape)
    return _row_by_row(query, key, value, all_one, dropout, scale)


def _coarse(*given: Any) -> torch.Tensor:
    return 1.2 * varlen.padded(*given)


def _without_gradients(*given: Any) -> torch.Tensor:
    return varlen.padded(*given).detach()


def _broken(*_given: Any) -> torch.Tensor:
    raise RuntimeError("no such kernel")


@pytest.mark.parametrize(
    ("kernel", "reason"),
    [
        (_leaky, "a row would have a part in another"),
        (_coarse, "its states without padding would differ by "),
        (_without_gradients, "its gradients without padding would differ by "),
        (_broken, "a trial failed (RuntimeError('no such kernel'))"),
    ],
)
def test_what_fails_its_trial_is_not_used(
    kernel: Any, reason: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(varlen.KERNELS, "cpu", kernel)
    network = _network("bert").train()
    with pytest.warns(UserWarning, match="^packing is True") as said, _packed(network, trains=True):
        assert network.config._attn_implementation == "sdpa"
    assert f"BertModel runs with padding, because {reason}" in str(said[0].message)
    assert all(module.training for module in network.modules())
    assert not caplog.records


def test_nothing_is_left_on_the_network(calls: list[Any]) -> None:
    network = _network("bert")
    before = {name: list(vars(module)) for name, module in network.named_modules()}
    with _packed(network):
        assert network.config._attn_implementation == varlen.NAME
        with pytest.raises(KeyError), _packed(network):
            raise KeyError
        _logits(network, _batch(network))
        assert varlen.NAME not in json.dumps(network.config.to_dict())
    assert calls
    assert network.config._attn_implementation == "sdpa"
    assert before == {name: list(vars(module)) for name, module in network.named_modules()}
    for module in network.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert cast_copy(network, CPU, torch.bfloat16) is not network
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(_logits(twin, _batch(network)), _logits(network, _batch(network)))


def test_hidden_states_keep_their_padding(calls: list[Any]) -> None:
    network = _network("bert")
    wanted = network(**_batch(network), output_hidden_states=True).hidden_states
    with _packed(network):
        calls.clear()
        found = network(**_batch(network), output_hidden_states=True).hidden_states
    assert not calls
    assert [tuple(states.shape) for states in found] == [(4, 12, 32)] * 3
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("reentrant", [True, False])
def test_activations_may_be_computed_again(reentrant: bool, calls: list[Any]) -> None:
    network = _network("bert", **NO_DROPOUT).train()
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            # Newer versions of transformers have both names, and warn of the second.
            enable = getattr(network, "activation_checkpointing_enable", None) or network.gradient_checkpointing_enable
            enable({"use_reentrant": reentrant})
            network.enable_input_require_grads()
        network.zero_grad()
        with _packed(network, trains=True):
            calls.clear()
            network(**_batch(network)).logits[MASK].sum().backward()
        assert len(calls) == (4 if checkpointing else 2)
        gradients.append({name: p.grad for name, p in network.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name])


def test_attention_has_the_dropout_of_the_config(calls: list[Any]) -> None:
    network = _network("bert", attention_probs_dropout_prob=0.25).train()
    with _packed(network):
        assert {dropout for _, dropout in calls} == {0.0}
        calls.clear()
        _logits(network, _batch(network))
    assert [dropout for _, dropout in calls] == [0.25, 0.25]


def test_without_a_kernel_it_is_said_where_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delitem(varlen.KERNELS, "cpu")
    caplog.set_level(logging.INFO, "easytx")
    network = _network("bert")
    for packing in (None, False):
        with _packed(network, packing):
            assert network.config._attn_implementation == "sdpa"
    assert not caplog.records
    wanted = (
        "packing is True, but BertModel runs with padding, because there is no attention without padding for cpu, "
        "float32. Leave packing out to have it where it is possible."
    )
    with pytest.warns(UserWarning, match="^packing is True") as said, _packed(network):
        assert network.config._attn_implementation == "sdpa"
    assert [str(one.message) for one in said] == [wanted]
    assert said[0].filename == __file__


@pytest.mark.real
def test_a_model_predicts_and_trains_without_padding(
    tmp_path: Path, calls: list[Any], classifier: Callable[..., Any], train_df: pd.DataFrame, eval_df: pd.DataFrame
) -> None:
    found = {}
    for packing in (False, True):
        calls.clear()
        model = classifier(packing=packing, config=NO_DROPOUT, evaluate_during_training=True)
        answers = model.predict(list(eval_df["text"])).raw_outputs
        assert bool(calls) is packing
        model.train_model(train_df, eval_df=eval_df, output_dir=tmp_path / str(packing))
        found[packing] = (answers, weights(model), model.predict(list(eval_df["text"])).raw_outputs)
        assert model.model.config._attn_implementation == "sdpa"
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.model.modules())
        assert varlen.NAME not in (tmp_path / str(packing) / "config.json").read_text("utf-8")
    torch.testing.assert_close(found[True][0], found[False][0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[True][1], found[False][1], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found[True][2], found[False][2], rtol=1e-3, atol=1e-3)


def test_a_compiled_model_keeps_its_padding() -> None:
    from easytx.config.model_args import ModelArgs
    from easytx.core.running import wants_packing

    assert wants_packing(ModelArgs()) is None
    assert wants_packing(ModelArgs(torch_compile=True)) is False
    with pytest.warns(UserWarning, match="^packing is True") as said:
        assert wants_packing(ModelArgs(torch_compile=True, packing=True)) is False
    assert [str(one.message) for one in said] == [
        "packing is True, but a compiled model runs with padding. Set torch_compile=False for packing."
    ]
