"""A training computes what it says: losses, gradients, learning rates, frozen weights, and leaves no trace."""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch.nn import functional as F
from transformers import BertForSequenceClassification, DataCollatorWithPadding

from easytx.errors import ArgumentError, NonFiniteLossError
from easytx.training.trainer import EasyTrainer

from .conftest import NO_DROPOUT, STEPS, changed, rows, weights

Make = Callable[..., Any]

ONE_STEP = {
    "config": NO_DROPOUT,
    "scheduler": "constant_schedule",
    "warmup_ratio": 0.0,
    "train_sampling_strategy": "sequential",
    "optimizer": "sgd",
    "max_grad_norm": 0.0,
    "learning_rate": 0.1,
    "num_train_epochs": 1,
    "no_save": True,
}


@pytest.fixture
def optimizers(monkeypatch: pytest.MonkeyPatch) -> list[torch.optim.Optimizer]:
    """Return the list that the optimisers of all trainings are added to."""
    made: list[torch.optim.Optimizer] = []
    create = EasyTrainer.create_optimizer

    def remember(self: EasyTrainer, model: Any = None) -> torch.optim.Optimizer:
        made.append(create(self, model))
        return made[-1]

    monkeypatch.setattr(EasyTrainer, "create_optimizer", remember)
    return made


def _logged(folder: str | Path, name: str) -> dict[int, float]:
    """Return what was logged under a name, by step."""
    newest = max(Path(folder).glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    history = json.loads((newest / "trainer_state.json").read_text("utf-8"))["log_history"]
    return {entry["step"]: entry[name] for entry in history if name in entry}


# Losses and gradients


def _hand_step(model: Any, frame: pd.DataFrame, smoothing: float) -> tuple[float, dict[str, torch.Tensor]]:
    """Return the mean loss over rows, and the weights after one step of gradient descent with 0.1."""
    network = model.model
    inputs = model.tokenizer(frame["text"].tolist(), padding=True, return_tensors="pt")
    logits = network(**inputs).logits
    loss = F.cross_entropy(logits, torch.tensor(frame["labels"].tolist()), label_smoothing=smoothing)
    gradients = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
    named = zip(network.named_parameters(), gradients, strict=True)
    return loss.item(), {name: p.detach() - (0.0 if g is None else 0.1 * g) for (name, p), g in named}


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize(("batch", "accumulated"), [(8, 1), (2, 4)])
def test_a_step_is_one_of_the_mean_loss_whatever_is_accumulated(
    classifier: Make, batch: int, accumulated: int, smoothing: float
) -> None:
    frame = rows(8)
    size = {"train_batch_size": batch, "gradient_accumulation_steps": accumulated}
    model = classifier(**ONE_STEP, **size, label_smoothing_factor=smoothing)
    loss, expected = _hand_step(model, frame, smoothing)
    details = model.train_model(frame)
    assert details.global_step == 1
    assert details.training_details == pytest.approx(loss, rel=1e-5)
    found = weights(model)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)


def test_a_step_with_fewer_batches_is_one_of_their_mean_loss(classifier: Make) -> None:
    size = {"train_batch_size": 2, "gradient_accumulation_steps": 4}
    frame = rows(10)
    model = classifier(**ONE_STEP, **size)
    steps = [frame.iloc[:8], frame.iloc[8:]]
    losses = []
    for part in steps:
        loss, after = _hand_step(model, part, 0.0)
        losses.append(loss)
        model.model.load_state_dict(after)
    again = classifier(**ONE_STEP, **size)
    details = again.train_model(frame)
    assert details.global_step == 2
    assert details.training_details == pytest.approx(sum(losses) / 2, rel=1e-5)
    for name, value in weights(again).items():
        torch.testing.assert_close(value, weights(model)[name], rtol=1e-4, atol=1e-6)


def test_the_loss_of_a_regression_is_the_mean_squared_error(classifier: Make) -> None:
    frame = rows(8).assign(labels=[row / 4 for row in range(8)])
    model = classifier(num_labels=1, regression=True, **{**ONE_STEP, "learning_rate": 0.0}, train_batch_size=2)
    predicted = torch.tensor(model.predict(frame["text"].tolist()).predictions)
    expected = F.mse_loss(predicted, torch.tensor(frame["labels"].tolist(), dtype=torch.float32))
    accumulated = {"gradient_accumulation_steps": 4}
    assert model.train_model(frame, args=accumulated).training_details == pytest.approx(expected.item(), rel=1e-5)


def test_a_training_of_one_step_learns_something(classifier: Make) -> None:
    model = classifier(no_save=True, num_train_epochs=1, train_batch_size=8)
    before = weights(model)
    assert model.train_model(rows(8)).global_step == 1
    assert changed(before, weights(model))


def test_gradients_are_clipped(classifier: Make) -> None:
    frame = rows(8)
    model = classifier(**{**ONE_STEP, "max_grad_norm": 0.01}, train_batch_size=8)
    before = weights(model)
    model.train_model(frame)
    step = math.sqrt(sum((value - before[name]).pow(2).sum().item() for name, value in weights(model).items()))
    assert step == pytest.approx(0.1 * 0.01, rel=1e-3)


def test_a_loss_that_is_no_number_stops_the_training_and_names_the_step(
    classifier: Make, train_df: pd.DataFrame
) -> None:
    model = classifier(optimizer="sgd", learning_rate=1e30, max_grad_norm=0.0, scheduler="constant_schedule")
    message = (
        "The loss became nan at step 2 of 4. Try a lower learning_rate, max_grad_norm=1.0 or fp16=False, and look "
        "for extreme values among the labels."
    )
    with pytest.raises(NonFiniteLossError, match=rf"^{re.escape(message)}$"):
        model.train_model(train_df)
    assert not (Path("outputs") / "model.safetensors").exists()
    # The next training begins with sound weights again.
    better = {"learning_rate": 1e-3, "max_grad_norm": 1.0}
    assert math.isfinite(model.train_model(train_df, args=better).training_details)


def test_a_trained_model_keeps_its_weights_when_a_further_training_diverges(
    classifier: Make, train_df: pd.DataFrame
) -> None:
    model = classifier(no_save=True)
    model.train_model(train_df)
    before, answers = weights(model), model.predict(train_df["text"].tolist()).raw_outputs
    bad = {"optimizer": "sgd", "learning_rate": 1e30, "max_grad_norm": 0.0, "scheduler": "constant_schedule"}
    with pytest.raises(NonFiniteLossError):
        model.train_model(train_df, args=bad)
    assert changed(weights(model), before) == set()
    assert (model.predict(train_df["text"].tolist()).raw_outputs == answers).all()


# Seeds


def test_a_new_head_depends_on_the_seed_alone(classifier: Make) -> None:
    def head(seed: int | None, noise: int) -> torch.Tensor:
        torch.manual_seed(noise)
        return classifier(manual_seed=seed).model.classifier.weight

    assert torch.equal(head(1, 10), head(1, 11))
    assert not torch.equal(head(1, 10), head(2, 10))


def test_without_a_seed_one_is_drawn_that_gives_the_same_training_again(
    classifier: Make, train_df: pd.DataFrame
) -> None:
    first = classifier(manual_seed=None, no_save=True, num_labels=None)
    details = first.train_model(train_df)
    other = classifier(manual_seed=None, no_save=True, num_labels=None).train_model(train_df)
    assert details.info["seed"] != other.info["seed"]
    again = classifier(manual_seed=details.info["seed"], no_save=True, num_labels=None)
    assert again.train_model(train_df).training_details == details.training_details
    assert changed(weights(first), weights(again)) == set()


# What is left on the model


def test_each_call_computes_in_its_own_precision(classifier: Make, train_df: pd.DataFrame) -> None:
    model = classifier(no_save=True, max_steps=1)
    seen: set[torch.dtype] = set()
    model.model.classifier.register_forward_hook(lambda _module, _inputs, output: seen.add(output.dtype))

    def dtypes(call: Callable[[], Any]) -> set[torch.dtype]:
        seen.clear()
        call()
        return set(seen)

    half, full = {torch.bfloat16}, {torch.float32}
    texts = train_df["text"].tolist()
    assert dtypes(lambda: model.eval_model(train_df)) == full
    assert dtypes(lambda: model.train_model(train_df, args={"bf16": True})) == half
    assert dtypes(lambda: model.predict(texts)) == half
    assert dtypes(lambda: model.train_model(train_df, args={"bf16": None})) == full
    assert dtypes(lambda: model.predict(texts)) == full
    assert dtypes(lambda: model.train_model(train_df, args={"bf16": True})) == half
    assert dtypes(lambda: model.train_model(train_df, args={"bf16": None})) == full


@pytest.mark.parametrize("bf16", [True, None], ids=["bf16", "fp32"])
def test_a_trained_network_is_as_transformers_made_it(
    classifier: Make, train_df: pd.DataFrame, bf16: bool | None
) -> None:
    model = classifier(no_save=True, max_steps=1, bf16=bf16)
    use_cache = model.config.use_cache
    model.train_model(train_df)
    network = model.model
    assert network.forward.__func__ is type(network).forward
    assert not network._is_accelerate_prepared
    assert not network.training
    assert network.config.use_cache == use_cache
    inputs = model.tokenizer(["the film"], return_tensors="pt")
    assert network(**inputs).logits.dtype is torch.float32
    assert isinstance(network(**inputs, return_dict=False), tuple)
    assert all(parameter.dtype is torch.float32 for parameter in network.parameters())


def test_scores_in_mixed_precision_while_training_are_those_afterwards(
    classifier: Make, train_df: pd.DataFrame, eval_df: pd.DataFrame
) -> None:
    model = classifier(bf16=True, evaluate_during_training=True, no_save=True)
    details = model.train_model(train_df, eval_data=eval_df).training_details
    result = model.eval_model(eval_df).result
    assert {name: details[name][-1] for name in result} == pytest.approx(result, rel=1e-6)


@pytest.mark.parametrize("fails", [False, True], ids=["to the end", "to an error"])
def test_noise_and_checkpointing_end_with_the_training(
    classifier: Make, train_df: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    model = classifier(no_save=True, neftune_noise_alpha=5.0, gradient_checkpointing=True)
    if fails:
        monkeypatch.setattr(EasyTrainer, "training_step", lambda *_args, **_kwargs: torch.tensor(1 / 0))
        with pytest.raises(ZeroDivisionError):
            model.train_model(train_df)
    else:
        model.train_model(train_df)
    assert not model.model.get_input_embeddings()._forward_hooks
    assert not any(getattr(module, "gradient_checkpointing", False) for module in model.model.modules())


# Options


def test_noise_on_embeddings_changes_the_training(classifier: Make, train_df: pd.DataFrame) -> None:
    plain = classifier(no_save=True, config=NO_DROPOUT).train_model(train_df).training_details
    noisy = classifier(no_save=True, config=NO_DROPOUT, neftune_noise_alpha=5.0).train_model(train_df)
    assert noisy.training_details != plain


def test_gradient_checkpointing_changes_no_number(
    classifier: Make, train_df: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Otherwise only the one without it would leave out a part of the last layer, and of its dropout.
    monkeypatch.setattr("easytx.training.first_token._trial", lambda *_given: False)
    plain, saving = classifier(no_save=True), classifier(no_save=True, gradient_checkpointing=True)
    expected = plain.train_model(train_df).training_details
    recomputed = []
    run = torch.utils.checkpoint.checkpoint
    monkeypatch.setattr("torch.utils.checkpoint.checkpoint", lambda *a, **k: recomputed.append(1) or run(*a, **k))
    assert saving.train_model(train_df).training_details == pytest.approx(expected)
    assert changed(weights(plain), weights(saving)) == set()


def test_max_steps_overrides_the_epochs(classifier: Make, train_df: pd.DataFrame) -> None:
    model = classifier(no_save=True, num_train_epochs=1, max_steps=STEPS + 2)
    assert model.train_model(train_df).global_step == STEPS + 2


def test_a_part_of_an_epoch_can_be_trained(classifier: Make, train_df: pd.DataFrame) -> None:
    assert classifier(no_save=True, num_train_epochs=0.5).train_model(train_df).global_step == STEPS // 2


def test_trainer_kwargs_reach_the_trainer(classifier: Make) -> None:
    model = classifier(no_save=True, trainer_kwargs={"dataloader_drop_last": True})
    assert model.train_model(rows(13)).global_step == 2


def test_wrong_arguments_are_refused_before_the_weights_are_loaded(
    classifier: Make, train_df: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("easytx.core.loading.load_weights", lambda *_args, **_kwargs: pytest.fail("loaded"))
    for args in ({"trainer_kwargs": {"nonsense": 1}}, {"optimizer": "Adamm"}, {"scheduler": "liner"}):
        with pytest.raises(ArgumentError):
            classifier(no_save=True, **args).train_model(train_df)


def test_rows_for_an_evaluation_that_is_not_wanted_are_a_mistake(
    classifier: Make, train_df: pd.DataFrame, eval_df: pd.DataFrame
) -> None:
    message = "eval_df is not used: to evaluate while training, set evaluate_during_training=True in args."
    with pytest.warns(UserWarning, match=rf"^{re.escape(message)}$"):
        classifier(no_save=True).train_model(train_df, eval_df=eval_df)


def test_evaluation_while_training_needs_rows(classifier: Make, train_df: pd.DataFrame) -> None:
    message = "evaluate_during_training is set, but no evaluation data was given. Give eval_df=..."
    with pytest.raises(ArgumentError, match=rf"^{re.escape(message)}$"):
        classifier(evaluate_during_training=True).train_model(train_df)


# Which weights train, and how


def test_biases_and_norms_do_not_decay(
    classifier: Make, train_df: pd.DataFrame, optimizers: list[torch.optim.Optimizer]
) -> None:
    model = classifier(no_save=True, weight_decay=0.1, max_steps=1)
    model.train_model(train_df)
    names = {parameter: name for name, parameter in model.model.named_parameters()}
    decays = {names[p]: group["weight_decay"] for group in optimizers[0].param_groups for p in group["params"]}
    assert decays.keys() == set(names.values())
    for name, decay in decays.items():
        assert decay == (0.0 if "bias" in name or "LayerNorm" in name else 0.1), name


def test_a_custom_group_has_its_own_learning_rate(classifier: Make, train_df: pd.DataFrame) -> None:
    groups = [{"params": ["classifier.bias"], "lr": 1e-2}]
    model = classifier(no_save=True, learning_rate=0.0, custom_parameter_groups=groups)
    before = weights(model)
    model.train_model(train_df)
    assert changed(before, weights(model)) == {"classifier.bias"}
    assert groups == [{"params": ["classifier.bias"], "lr": 1e-2}]
    model.train_model(train_df)


def test_a_custom_layer_has_its_own_learning_rate(classifier: Make, train_df: pd.DataFrame) -> None:
    model = classifier(no_save=True, learning_rate=0.0, custom_layer_parameters=[{"layer": 1, "lr": 1e-2}])
    before = weights(model)
    model.train_model(train_df)
    found = changed(before, weights(model))
    assert found
    assert all(name.startswith("bert.encoder.layer.1.") for name in found)


def test_custom_parameters_can_be_the_only_ones_that_train(
    classifier: Make, train_df: pd.DataFrame, optimizers: list[torch.optim.Optimizer]
) -> None:
    groups = [{"params": ["classifier.weight", "classifier.bias"], "lr": 1e-2}]
    model = classifier(no_save=True, custom_parameter_groups=groups, train_custom_parameters_only=True)
    before = weights(model)
    model.train_model(train_df)
    assert changed(before, weights(model)) == {"classifier.weight", "classifier.bias"}
    assert sum(len(group["params"]) for group in optimizers[0].param_groups) == 2
    assert all(parameter.requires_grad for parameter in model.model.parameters())


def test_frozen_weights_stay_and_can_train_the_next_time(classifier: Make, train_df: pd.DataFrame) -> None:
    model = classifier(no_save=True, freeze=["embeddings", "bert.encoder.layer.0"])
    model.model.bert.pooler.dense.weight.requires_grad_(False)
    before = weights(model)
    model.train_model(train_df)
    found = changed(before, weights(model))
    assert "bert.encoder.layer.1.output.dense.weight" in found
    assert not any(name.startswith(("bert.embeddings", "bert.encoder.layer.0.")) for name in found)
    still = {name for name, parameter in model.model.named_parameters() if not parameter.requires_grad}
    assert still == {"bert.pooler.dense.weight"}


def test_what_was_frozen_before_an_error_trains_again(classifier: Make, train_df: pd.DataFrame) -> None:
    model = classifier(no_save=True, freeze=["embeddings"], train_custom_parameters_only=True)
    with pytest.raises(ArgumentError, match=r"^train_custom_parameters_only needs custom_parameter_groups"):
        model.train_model(train_df)
    assert all(parameter.requires_grad for parameter in model.model.parameters())


def test_the_options_of_adafactor_reach_it(
    classifier: Make, train_df: pd.DataFrame, optimizers: list[torch.optim.Optimizer]
) -> None:
    options = {"eps": (1e-29, 1e-2), "clip_threshold": 0.5, "decay_rate": -0.7, "beta1": 0.8, "scale_parameter": True}
    given = {f"adafactor_{name}": value for name, value in options.items()}
    classifier(no_save=True, optimizer="Adafactor", max_steps=1, **given).train_model(train_df)
    (optimizer,) = optimizers
    assert type(optimizer).__name__ == "Adafactor"
    for group in optimizer.param_groups:
        assert {name: group[name] for name in options} == options
        assert group["initial_lr"] == 1e-3
        assert not group["relative_step"]


def test_adafactor_can_choose_its_own_steps(
    classifier: Make, train_df: pd.DataFrame, optimizers: list[torch.optim.Optimizer]
) -> None:
    own = {"adafactor_relative_step": True, "adafactor_warmup_init": True, "adafactor_scale_parameter": True}
    classifier(no_save=True, optimizer="Adafactor", max_steps=2, **own).train_model(train_df)
    assert all(group["relative_step"] and group["warmup_init"] for group in optimizers[0].param_groups)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({"warmup_ratio": 0.5}, [0, 1 / 4, 2 / 4, 3 / 4, 1, 3 / 4, 2 / 4, 1 / 4]),
        ({"warmup_ratio": 0.5, "warmup_steps": 2}, [0, 1 / 2, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        ({"warmup_ratio": 0.0}, [1 - step / 8 for step in range(8)]),
        ({"scheduler": "constant_schedule", "warmup_ratio": 0.5}, [1.0] * 8),
        ({"scheduler": "constant_schedule_with_warmup", "warmup_ratio": 0.25}, [0, 1 / 2, *[1.0] * 6]),
        (
            {"scheduler": "cosine_schedule_with_warmup", "warmup_ratio": 0.0},
            [(1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)],
        ),
        (
            {"scheduler": "cosine_with_hard_restarts_schedule_with_warmup", "warmup_ratio": 0.0}
            | {"cosine_schedule_num_cycles": 2.0},
            [(1 + math.cos(math.pi * (step % 4) / 4)) / 2 for step in range(8)],
        ),
        (
            {"scheduler": "polynomial_decay_schedule_with_warmup", "warmup_ratio": 0.0}
            | {"polynomial_decay_schedule_power": 2.0, "polynomial_decay_schedule_lr_end": 5e-4},
            [0.5 + 0.5 * (1 - step / 8) ** 2 for step in range(8)],
        ),
    ],
    ids=["ratio", "steps", "linear", "constant", "constant with warmup", "cosine", "restarts", "polynomial"],
)
def test_the_learning_rate_follows_its_schedule(
    classifier: Make, train_df: pd.DataFrame, args: dict[str, Any], expected: list[float]
) -> None:
    # Two epochs of four steps; only the last one is saved, with all that was logged.
    model = classifier(num_train_epochs=2, logging_steps=1, save_steps=8, **args)
    model.train_model(train_df)
    logged = _logged("outputs", "learning_rate")
    assert list(logged) == list(range(1, 9))
    assert list(logged.values()) == pytest.approx([1e-3 * share for share in expected])


# Batches


def _batches(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """Return the list that each batch of a training is added to."""
    seen: list[dict[str, torch.Tensor]] = []
    collate = DataCollatorWithPadding(model.tokenizer)
    monkeypatch.setattr(model, "collator", lambda: lambda features: seen.append(collate(features)) or seen[-1])
    return seen


def _padded(batches: list[dict[str, torch.Tensor]]) -> int:
    return sum(int((batch["attention_mask"] == 0).sum()) for batch in batches)


def test_rows_of_like_lengths_share_a_batch(classifier: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    padded, lengths = {}, {}
    for strategy in ("group_by_length", "random", "sequential"):
        model = classifier(no_save=True, train_sampling_strategy=strategy)
        batches = _batches(model, monkeypatch)
        model.train_model(rows(48))
        padded[strategy] = _padded(batches)
        lengths[strategy] = sorted(int(row.sum()) for batch in batches for row in batch["attention_mask"])
    assert lengths["group_by_length"] == lengths["random"] == lengths["sequential"]
    assert padded["group_by_length"] < 0.5 * min(padded["random"], padded["sequential"])


def test_each_epoch_has_its_own_order_of_all_rows(classifier: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    model = classifier(no_save=True, num_train_epochs=3)
    batches = _batches(model, monkeypatch)
    model.train_model(rows(24))
    per_epoch = [batches[start : start + STEPS] for start in range(0, 3 * STEPS, STEPS)]
    epochs = [[tuple(row[row != 0].tolist()) for batch in epoch for row in batch["input_ids"]] for epoch in per_epoch]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(epochs[2])
    assert epochs[0] != epochs[1] != epochs[2]


def test_rows_can_keep_their_order(classifier: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    model = classifier(no_save=True, train_sampling_strategy="sequential")
    batches = _batches(model, monkeypatch)
    frame = rows(12)
    model.train_model(frame)
    texts = [text for batch in batches for text in model.tokenizer.batch_decode(batch["input_ids"], True)]
    assert texts == frame["text"].tolist()


def test_threads_are_as_wanted(classifier: Make, train_df: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = BertForSequenceClassification.forward
    seen = []

    def counting(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(torch.get_num_threads())
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(BertForSequenceClassification, "forward", functools.wraps(forward)(counting))
    before = torch.get_num_threads()
    model = classifier(no_save=True, max_steps=1, thread_count=before + 1)
    model.train_model(train_df)
    model.eval_model(train_df)
    model.predict(train_df["text"].tolist())
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before
    classifier(no_save=True).predict(train_df["text"].tolist())
    assert seen[-1] == before
