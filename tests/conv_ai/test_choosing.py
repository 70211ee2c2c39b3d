"""The head that chooses: its losses by hand, its folder, and what it leaves alone."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2DoubleHeadsModel, GPT2LMHeadModel

from easytx.conv_ai import ConvAIModel
from easytx.conv_ai.choosing import choice_loss, converted, has_choices, reply_loss, with_choices
from easytx.testing import tiny_config


def _network() -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return with_choices(GPT2LMHeadModel)(tiny_config("gpt2")).eval()


def test_choosing_among_one_costs_nothing_and_among_equals_the_logarithm() -> None:
    logits = torch.tensor([0.3, 1.0, 1.0, 1.0, 2.0, 5.0])
    loss = choice_loss(logits, torch.tensor([1, 3, 2]))
    expected = (math.log(3) + math.log(1 + math.exp(-3))) / 2
    assert float(loss) == pytest.approx(expected, rel=1e-6)
    assert float(choice_loss(logits[:2], torch.tensor([1, 1]))) == 0.0


def test_the_gradient_of_rows_of_different_sizes_is_finite() -> None:
    logits = torch.tensor([0.3, 1.0, -1.0], requires_grad=True)
    choice_loss(logits, torch.tensor([1, 2])).backward()
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())
    assert float(logits.grad[0]) == 0.0


def test_the_loss_is_the_weighted_sum_of_both_and_counts_true_replies_only() -> None:
    network = _network()
    ids = torch.tensor([[5, 6, 7, 8, 9], [5, 6, 10, 9, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])
    labels = torch.tensor([[-100, -100, 7, 8, 9], [-100, -100, 10, 9, -100]])
    given = {"input_ids": ids, "attention_mask": mask}
    with torch.no_grad():
        plain = network(**given)
        asked = {**given, "labels": labels, "candidates": torch.tensor([2])}
        both = network(**asked, loss_weights=torch.tensor([2.0, 0.5]))
        smoothed = network(**asked, loss_weights=torch.tensor([2.0, 0.5, 0.1]))
        hidden = network.transformer(**given).last_hidden_state
        points = network.choice_head(hidden[[0, 1], [4, 3]]).flatten().tolist()
    assert both.choice_logits.tolist() == pytest.approx(points, rel=1e-5)
    told = torch.log_softmax(plain.logits[1], dim=-1)
    replies = -float(told[1, 10] + told[2, 9]) / 2
    chosen = math.log(1 + math.exp(points[0] - points[1]))
    assert float(both.loss) == pytest.approx(2 * replies + 0.5 * chosen, rel=1e-5)
    assert float(reply_loss(plain.logits[1:], labels[1:])) == pytest.approx(replies, rel=1e-5)
    spread = -float(told[1:3].mean())
    assert float(smoothed.loss) == pytest.approx(2 * (0.9 * replies + 0.1 * spread) + 0.5 * chosen, rel=1e-5)


def test_without_labels_it_is_the_model_of_transformers() -> None:
    network = _network()
    assert inspect.signature(network.forward) == inspect.signature(GPT2LMHeadModel.forward.__get__(network))
    assert type(network).__name__ == "GPT2LMHeadModel"
    assert with_choices(GPT2LMHeadModel) is type(network)
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        assert network(input_ids=ids).keys() == GPT2LMHeadModel.forward(network, input_ids=ids).keys()


def test_a_trained_network_keeps_its_weights_when_it_gets_the_head() -> None:
    network = GPT2LMHeadModel(tiny_config("gpt2")).eval()
    state = torch.get_rng_state()
    changed = converted(network, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert has_choices(changed.config)
    assert not changed.training
    for name, value in network.state_dict().items():
        assert torch.equal(changed.state_dict()[name], value)
    assert torch.equal(changed.choice_head.weight, converted(network, seed=3).choice_head.weight)


def test_a_training_with_candidates_adds_the_head_and_one_without_does_not(
    talker: Callable[..., ConvAIModel], chats: list[dict[str, Any]]
) -> None:
    assert not talker().chooses
    for given, chooses in [({}, True), ({"mc_coef": 0.0}, False), ({"num_candidates": 1}, False)]:
        model = talker(no_save=True, **given)
        model.train_model(chats)
        assert model.chooses is chooses
        assert hasattr(model.model, "choice_head") is chooses
        assert ("hits@1" in model.eval_model(chats, output_dir="scores")) is True


def test_a_model_that_has_replied_already_gets_the_head_too(
    talker: Callable[..., ConvAIModel], chats: list[dict[str, Any]]
) -> None:
    model = talker(no_save=True, num_train_epochs=1)
    before = model.interact_single("Hi", [])[0]
    first = {name: value.clone() for name, value in model.model.state_dict().items()}
    model.train_model(chats, args={"learning_rate": 0.0})
    assert model.chooses
    assert model.interact_single("Hi", [])[0] == before
    assert all(torch.equal(model.model.state_dict()[name], value) for name, value in first.items())


def test_a_folder_holds_the_head_and_opens_as_a_causal_language_model(
    talker: Callable[..., ConvAIModel], chats: list[dict[str, Any]], tmp_path: Path
) -> None:
    model = talker()
    model.train_model(chats, output_dir=str(tmp_path / "out"))
    reopened = ConvAIModel("gpt2", tmp_path / "out", use_cuda=False)
    assert torch.equal(reopened.model.choice_head.weight, model.model.choice_head.weight)
    assert reopened.eval_model(chats, output_dir="scores") == pytest.approx(model.eval_model(chats, output_dir="again"))
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert type(plain) is GPT2LMHeadModel
    assert plain.config.architectures == ["GPT2LMHeadModel"]


def test_the_double_heads_of_transformers_open_with_their_head(
    checkpoint: Callable[[str], Path], chats: list[dict[str, Any]], tmp_path: Path
) -> None:
    former = GPT2DoubleHeadsModel.from_pretrained(checkpoint("gpt2"), num_labels=1)
    former.save_pretrained(tmp_path / "former")
    talk = ConvAIModel("gpt2", checkpoint("gpt2"), use_cuda=False)
    talk.tokenizer.save_pretrained(tmp_path / "former")
    model = ConvAIModel("gpt2", tmp_path / "former", use_cuda=False, args={"fp16": False})
    assert model.chooses
    assert torch.equal(model.model.choice_head.weight, former.multiple_choice_head.summary.weight)
    assert "hits@1" in model.eval_model(chats, output_dir="scores")


def test_a_resumed_training_ends_where_an_uninterrupted_one_does(
    talker: Callable[..., ConvAIModel], chats: list[dict[str, Any]], tmp_path: Path
) -> None:
    settings = {"num_train_epochs": 4, "train_batch_size": 2, "save_steps": 4, "learning_rate": 1e-3}
    whole = talker(**settings)
    whole.train_model(chats, output_dir=str(tmp_path / "whole"), args={"save_total_limit": None})
    resumed = talker(**settings)
    resumed.train_model(
        chats, output_dir=str(tmp_path / "resumed"), resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4")
    )
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value, rtol=0, atol=1e-6)
