"""The last layer is computed for the first token only where nothing else is read, and answers stay as they are."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import torch
import transformers

from easytx.testing import tiny_config
from easytx.training import first_token
from easytx.training.copies import cast_copy
from easytx.training.dropout import quick_dropout
from easytx.training.first_token import first_token_only
from easytx.training.hooking import unhooked
from easytx.training.packing import packed
from tests.training.conftest import CPU, NO_DROPOUT, features, run_rows, weights

LENGTHS = [9, 3, 12, 1]
MASK = torch.arange(12) < torch.tensor(LENGTHS)[:, None]


def _network(architecture: str, head: str = "SequenceClassification", **changes: Any) -> Any:
    torch.manual_seed(0)
    return getattr(transformers, f"AutoModelFor{head}").from_config(tiny_config(architecture, **changes)).eval()


def _batch(network: Any) -> dict[str, torch.Tensor]:
    ids = torch.randint(5, 60, MASK.shape, generator=torch.Generator().manual_seed(0))
    padding = network.config.pad_token_id
    return {"input_ids": ids.masked_fill(~MASK, 0 if padding is None else padding), "attention_mask": MASK.long()}


def _last_layer(network: Any) -> Any:
    base = network.base_model
    return base.transformer.layer[-1] if hasattr(base, "transformer") else base.encoder.layer[-1]


@contextlib.contextmanager
def _reading(network: Any, packing: bool = False, **options: Any) -> Any:
    """Yield the shapes of what the last layer gets, while it may compute the first token only."""
    shapes: list[tuple[int, ...]] = []
    with (
        packed(network, packing, device=CPU, dtype=None),
        first_token_only(network, device=CPU, dtype=None, **options),
    ):
        handle = _last_layer(network).register_forward_hook(
            lambda _layer, args, kwargs, _output: shapes.append(tuple((args or [*kwargs.values()])[0].shape)),
            with_kwargs=True,
        )
        try:
            yield shapes
        finally:
            handle.remove()


@pytest.mark.parametrize("packing", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("architecture", ["bert", "distilbert", "roberta", "electra", "xlm-roberta"])
def test_answers_and_gradients_are_those_of_all_tokens(architecture: str, packing: bool) -> None:
    network = _network(architecture)
    batch = {**_batch(network), "labels": torch.tensor([0, 1, 1, 0])}
    wanted = network(**batch)
    wanted.loss.backward()
    gradients = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    network.zero_grad()
    with _reading(network, packing) as shapes:
        found = network(**batch)
        found.loss.backward()
    assert shapes == [(1, 4, 32) if packing else (4, 1, 32)]
    torch.testing.assert_close(found.logits, wanted.logits, rtol=1e-5, atol=1e-6)
    left = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    assert left.keys() == gradients.keys()
    for name, gradient in left.items():
        torch.testing.assert_close(gradient, gradients[name], rtol=1e-4, atol=1e-6)


def test_a_network_of_one_layer_is_packed_after_it_was_padded() -> None:
    network = _network("bert", num_hidden_layers=1)
    wanted = network(**_batch(network)).logits
    for packing, shape in ((False, (4, 1, 32)), (True, (1, 4, 32))):
        with _reading(network, packing) as shapes:
            torch.testing.assert_close(network(**_batch(network)).logits, wanted, rtol=1e-5, atol=1e-6)
        assert shapes == [shape]


def test_encoders_of_retrieval_are_networks_of_that_kind() -> None:
    torch.manual_seed(0)
    config = transformers.DPRConfig(**tiny_config("bert").to_diff_dict() | {"model_type": "dpr"})
    network = transformers.DPRContextEncoder(config).eval()
    given = {name: value for name, value in _batch(network).items() if name != "labels"}
    wanted = network(**given).pooler_output
    lengths = []
    with first_token_only(network, device=CPU, dtype=None):
        last = network.ctx_encoder.bert_model.encoder.layer[-1]
        last.intermediate.register_forward_hook(lambda _m, args, _o: lengths.append(args[0].shape[1]))
        torch.testing.assert_close(network(**given).pooler_output, wanted, rtol=1e-5, atol=1e-6)
    assert lengths == [1]


def test_dropout_is_that_of_the_layers(network: Any) -> None:
    network = _network("bert", attention_probs_dropout_prob=0.5, hidden_dropout_prob=0.0)
    network.train()
    drawn = []
    for quick in (False, True):
        with quick_dropout(network, CPU) if quick else contextlib.nullcontext(), _reading(network) as shapes:
            for _ in range(2):
                torch.manual_seed(1)
                drawn.append(network(**_batch(network)).logits)
            drawn.append(network(**_batch(network)).logits)
            assert shapes == [(4, 1, 32)] * 3
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[3], drawn[4])
    assert not torch.allclose(drawn[1], drawn[2])
    assert not torch.allclose(drawn[0], drawn[3])


@pytest.mark.parametrize(
    ("architecture", "head"),
    [
        ("bert", "TokenClassification"),
        ("bert", "QuestionAnswering"),
        ("bert", "MaskedLM"),
        ("bert", "NextSentencePrediction"),
        ("albert", "SequenceClassification"),
        ("mpnet", "SequenceClassification"),
        ("deberta-v2", "SequenceClassification"),
        ("modernbert", "SequenceClassification"),
        ("gpt2", "TokenClassification"),
    ],
)
def test_other_networks_answer_as_ever(architecture: str, head: str) -> None:
    network = _network(architecture, head)
    with torch.no_grad():
        wanted = network(**_batch(network))[0]
        with first_token_only(network, device=CPU, dtype=None):
            found = network(**_batch(network))[0]
    if head == "NextSentencePrediction":
        torch.testing.assert_close(found, wanted)
    else:
        assert torch.equal(found, wanted)


class _Mean(transformers.BertForSequenceClassification):
    """Reads all tokens, the others a little only."""

    def forward(self, input_ids: Any = None, attention_mask: Any = None, **_more: Any) -> Any:
        states = self.bert(input_ids, attention_mask=attention_mask).last_hidden_state
        logits = self.classifier(states[:, 0] + 1e-6 * states.mean(1))
        return transformers.modeling_outputs.SequenceClassifierOutput(logits=logits)


def test_a_head_that_reads_a_little_of_the_others_gets_them() -> None:
    torch.manual_seed(0)
    network = _Mean(tiny_config("bert")).eval()
    with _reading(network) as shapes:
        network(**_batch(network))
    assert shapes == [(4, 12, 32)]


@pytest.mark.parametrize(
    "change",
    [
        lambda network: setattr(network.config, "is_decoder", True),
        lambda network: network.set_attn_implementation("eager"),
        lambda network: network.bert.encoder.layer[0].register_forward_hook(lambda *_given: None),
        lambda network: network.register_forward_pre_hook(lambda *_given: None),
        lambda network: setattr(network.bert.encoder.layer[1], "forward", lambda *_given, **_more: 1 / 0),
        lambda network: network.classifier.weight.data.fill_(torch.nan),
    ],
    ids=["decoder", "eager", "hooked", "watched", "fails", "spoilt"],
)
def test_what_speaks_against_it(change: Callable[[Any], object]) -> None:
    network = _network("bert").train()
    change(network)
    if "forward" in vars(network.bert.encoder.layer[1]):
        with pytest.raises(ZeroDivisionError), _reading(network):
            pass
        return
    before = network.bert.encoder.layer[1].attention.self.config
    with _reading(network):
        assert network.bert.encoder.layer[1].attention.self.config is before
    assert all(module.training for module in network.modules())


def test_a_wrong_attention_fails_the_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    attend = first_token._attention

    def coarse(*given: Any, **more: Any) -> Any:
        attended, scores = attend(*given, **more)
        return attended * 1.5, scores

    monkeypatch.setitem(transformers.AttentionInterface._global_mapping, first_token.NAME, coarse)
    network = _network("bert")
    with _reading(network) as shapes:
        network(**_batch(network))
    assert shapes == [(4, 12, 32)]


def test_nothing_is_left_on_the_network() -> None:
    network = _network("bert")
    layer = network.bert.encoder.layer[1]
    before, config = {name: list(vars(module)) for name, module in network.named_modules()}, network.config
    with first_token_only(network, device=CPU, dtype=None):
        assert layer.attention.self.config is not config
        assert config._attn_implementation == "sdpa"
        with unhooked(network):
            assert layer.attention.self.config is config
            assert cast_copy(network, CPU, torch.bfloat16) is not network
    assert all(getattr(module, "config", config) is config for module in network.modules())
    assert before == {name: list(vars(module)) for name, module in network.named_modules()}
    for module in network.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert "easytx" not in str(copy.deepcopy(network).config.to_dict())


def test_states_that_are_asked_for_are_whole() -> None:
    network = _network("bert")
    wanted = network(**_batch(network), output_hidden_states=True).hidden_states
    with _reading(network) as shapes:
        found = network(**_batch(network), output_hidden_states=True).hidden_states
        network.config.output_hidden_states = True
        network(**_batch(network))
    assert shapes == [(4, 12, 32)] * 2
    for ours, theirs in zip(found, wanted, strict=True):
        assert torch.equal(ours, theirs)


def test_what_is_known_of_a_network_is_known_of_its_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    trials, trial = [], first_token._trial
    monkeypatch.setattr(first_token, "_trial", lambda *given: trials.append(given) or trial(*given))
    network = _network("bert")
    for _ in range(2):
        with _reading(copy.deepcopy(network), like=network):
            pass
    with _reading(network) as shapes:
        network(**_batch(network))
    assert len(trials) == 1
    assert shapes == [(4, 1, 32)]


def test_the_loop_over_rows_uses_it(network: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, shortened = features(tokenizer, 12), []
    shorten = first_token._shorten
    monkeypatch.setattr(first_token, "_shorten", lambda *given: shortened.append(given) or shorten(*given))
    found = run_rows(network, dataset, tokenizer)
    assert shortened
    monkeypatch.setattr(first_token, "_trial", lambda *_given: False)
    shortened.clear()
    wanted = run_rows(copy.deepcopy(network), dataset, tokenizer)
    assert not shortened
    assert found.loss == pytest.approx(wanted.loss)
    for ours, theirs in zip(found.values, wanted.values, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


def test_a_training_uses_it_and_comes_to_the_same_weights(
    classifier: Callable[..., Any], train_df: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for verdict in (True, False):
        monkeypatch.setattr(first_token, "_trial", lambda *_given, verdict=verdict: verdict)
        model = classifier(config=NO_DROPOUT, no_save=True)
        model.train_model(train_df)
        found.append(weights(model))
    for name, value in found[0].items():
        # Attention does not depend on what is added to all keys: its gradient is rounding, and Adam scales that up.
        tolerance = 1e-2 if name.endswith("key.bias") else 1e-5
        torch.testing.assert_close(value, found[1][name], rtol=1e-4, atol=tolerance)
    assert any(not torch.equal(value, found[1][name]) for name, value in found[0].items())


def test_activations_that_are_computed_again_are_whole(
    classifier: Callable[..., Any], train_df: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []
    monkeypatch.setattr(first_token, "_trial", lambda *given: bool(tried.append(given)))
    classifier(no_save=True, gradient_checkpointing=True).train_model(train_df)
    assert not tried
