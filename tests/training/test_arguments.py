"""Our arguments as the Trainer's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from easytx.config.model_args import ModelArgs
from easytx.errors import ArgumentError
from easytx.training.arguments import (
    DIRECT,
    OneDeviceArguments,
    adafactor_options,
    trackers,
    training_arguments,
)

CPU = torch.device("cpu")


def _made(
    *, dtype: torch.dtype | None = None, evaluates: bool = False, show: bool = False, **args: Any
) -> OneDeviceArguments:
    settings = {"output_dir": "somewhere", "device": CPU, "dtype": dtype, "evaluates": evaluates, "show": show}
    return training_arguments(ModelArgs(**args), **settings)


def test_what_goes_over_unchanged() -> None:
    values = {
        "adam_epsilon": 1e-7,
        "dataloader_num_workers": 1,
        "gradient_accumulation_steps": 3,
        "learning_rate": 1e-4,
        "logging_steps": 7,
        "max_grad_norm": 0.5,
        "max_steps": 11,
        "neftune_noise_alpha": 5.0,
        "num_train_epochs": 2.5,
        "tf32": False,
        "train_batch_size": 16,
        "train_sampling_strategy": "sequential",
        "weight_decay": 0.1,
    }
    assert values.keys() == DIRECT.keys()
    made = _made(**values)
    assert {ours: getattr(made, theirs) for ours, theirs in DIRECT.items()} == values


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({}, {"optim": "adamw_torch_fused", "adam_beta1": 0.9, "adam_beta2": 0.999}),
        ({"adam_betas": (0.8, 0.9)}, {"adam_beta1": 0.8, "adam_beta2": 0.9}),
        ({"optimizer": "Adafactor"}, {"optim": "adafactor"}),
        ({"optimizer": "sgd"}, {"optim": "sgd"}),
        ({}, {"lr_scheduler_type": "linear", "warmup_steps": 0.06}),
        ({"warmup_steps": 5, "warmup_ratio": 0.5}, {"warmup_steps": 5}),
        ({"warmup_ratio": 1.0}, {"warmup_steps": 0.9999}),
        ({"scheduler": "constant_schedule"}, {"lr_scheduler_type": "constant", "lr_scheduler_kwargs": {}}),
        (
            {"scheduler": "polynomial_decay_schedule_with_warmup", "polynomial_decay_schedule_power": 2.0},
            {"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": {"lr_end": 1e-7, "power": 2.0}},
        ),
        ({}, {"save_strategy": "steps", "save_steps": 2000, "save_only_model": False, "save_total_limit": None}),
        ({"save_steps": -1}, {"save_strategy": "no"}),
        ({"no_save": True}, {"save_strategy": "no", "should_save": False}),
        ({"save_optimizer_and_scheduler": False}, {"save_only_model": True}),
        ({"manual_seed": 0}, {"seed": 0, "data_seed": 0}),
        ({"gradient_checkpointing": True}, {"gradient_checkpointing": True}),
        ({"trainer_kwargs": {"dataloader_drop_last": True}}, {"dataloader_drop_last": True}),
        ({"trainer_kwargs": {"logging_first_step": False}}, {"logging_first_step": False}),
        ({}, {"eval_strategy": "no", "use_cpu": True, "disable_tqdm": True, "report_to": []}),
        ({"report_to": ["none"]}, {"report_to": []}),
        ({}, {"average_tokens_across_devices": False, "logging_nan_inf_filter": False}),
    ],
    ids=lambda value: ", ".join(value) or "defaults",
)
def test_what_follows_from_our_arguments(args: dict[str, Any], expected: dict[str, Any]) -> None:
    made = _made(**args)
    assert {name: getattr(made, name) for name in expected} == expected


@pytest.mark.parametrize(("steps", "strategy"), [(5, "steps"), (0, "no"), (-1, "no")])
def test_evaluation_by_steps(steps: int, strategy: str) -> None:
    made = _made(evaluates=True, evaluate_during_training_steps=steps)
    assert made.eval_strategy == strategy
    assert _made(evaluates=False, evaluate_during_training_steps=steps).eval_strategy == "no"
    assert strategy == "no" or made.eval_steps == steps


@pytest.mark.parametrize(
    ("dtype", "bf16", "fp16"),
    [(None, False, False), (torch.bfloat16, True, False), (torch.float16, False, True)],
)
def test_mixed_precision(dtype: torch.dtype | None, bf16: bool, fp16: bool) -> None:
    made = _made(dtype=dtype)
    assert (made.bf16, made.fp16) == (bf16, fp16)


def test_making_them_touches_no_disk(tmp_path: Path) -> None:
    _made()
    assert list(tmp_path.iterdir()) == []


def test_a_seed_is_drawn_where_none_is_wanted() -> None:
    first, second = _made().seed, _made().seed
    assert first != second
    assert min(first, second) >= 0
    assert max(first, second) < 2**31


def test_several_gpus_are_not_taken_by_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    made = OneDeviceArguments(output_dir="somewhere", per_device_train_batch_size=6, model_device="cpu")
    assert made.device.type == "cpu"
    assert made.n_gpu <= 1
    assert made.train_batch_size == 6


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("per_device_train_batch_size", "train_batch_size"),
        ("learning_rate", "learning_rate"),
        ("optim", "optimizer"),
        ("seed", "manual_seed"),
        ("load_best_model_at_end", "save_best_model"),
        ("report_to", "report_to"),
        ("activation_checkpointing", "gradient_checkpointing"),
    ],
)
def test_what_easytx_sets_itself_is_refused(name: str, remedy: str) -> None:
    message = f"trainer_kwargs holds '{name}', which easytx sets itself. Use {remedy} instead."
    with pytest.raises(ArgumentError, match=rf"^{re.escape(message)}$"):
        _made(trainer_kwargs={name: 1})


def test_what_the_trainer_does_not_have_is_refused() -> None:
    message = (
        "trainer_kwargs holds 'dataloader_drop_lst', which transformers.TrainingArguments does not have. "
        "Did you mean 'dataloader_drop_last'?"
    )
    with pytest.raises(ArgumentError, match=rf"^{re.escape(message)}$"):
        _made(trainer_kwargs={"dataloader_drop_lst": True})


def test_adafactor_gets_no_learning_rate_where_it_chooses_its_steps() -> None:
    assert adafactor_options(ModelArgs(learning_rate=1e-3))["lr"] == 1e-3
    assert adafactor_options(ModelArgs(adafactor_relative_step=True))["lr"] is None


def test_trackers_are_named_once() -> None:
    args = ModelArgs(wandb_project="project", report_to=["wandb", "trackio"], tensorboard_dir="board")
    assert trackers(args) == ["wandb", "trackio", "tensorboard"]
    assert trackers(ModelArgs()) == []
