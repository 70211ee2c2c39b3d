"""The one place that knows the argument names of transformers' Trainer."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from transformers import TrainingArguments

from easytx.config.fields import closest
from easytx.config.model_args import ModelArgs
from easytx.errors import ArgumentError
from easytx.training.optimizers import optimizer_name, scheduler_name

# our argument -> the Trainer's, where the value goes over unchanged
DIRECT = {
    "adam_epsilon": "adam_epsilon",
    "dataloader_num_workers": "dataloader_num_workers",
    "gradient_accumulation_steps": "gradient_accumulation_steps",
    "learning_rate": "learning_rate",
    "logging_steps": "logging_steps",
    "max_grad_norm": "max_grad_norm",
    "max_steps": "max_steps",
    "neftune_noise_alpha": "neftune_noise_alpha",
    "num_train_epochs": "num_train_epochs",
    "tf32": "tf32",
    "train_batch_size": "per_device_train_batch_size",
    "train_sampling_strategy": "train_sampling_strategy",
    "weight_decay": "weight_decay",
}

# our arguments that become Trainer arguments by the functions below
DERIVED = frozenset(
    {
        "adafactor_beta1",
        "adafactor_clip_threshold",
        "adafactor_decay_rate",
        "adafactor_eps",
        "adafactor_relative_step",
        "adafactor_scale_parameter",
        "adafactor_warmup_init",
        "adam_betas",
        "cosine_schedule_num_cycles",
        "evaluate_during_training_steps",
        "bf16",
        "fp16",
        "gradient_checkpointing",
        "manual_seed",
        "no_save",
        "optimizer",
        "output_dir",
        "polynomial_decay_schedule_lr_end",
        "polynomial_decay_schedule_power",
        "report_to",
        "save_optimizer_and_scheduler",
        "save_steps",
        "save_total_limit",
        "scheduler",
        "tensorboard_dir",
        "trainer_kwargs",
        "wandb_project",
        "warmup_ratio",
        "warmup_steps",
    }
)


# the Trainer's argument -> what to set instead
_OURS = {theirs: ours for ours, theirs in DIRECT.items()} | {
    "activation_checkpointing": "gradient_checkpointing",
    "adam_beta1": "adam_betas",
    "adam_beta2": "adam_betas",
    "auto_find_batch_size": "auto_find_batch_size",
    "bf16": "bf16",
    "data_seed": "manual_seed",
    "eval_steps": "evaluate_during_training_steps",
    "eval_strategy": "evaluate_during_training",
    "fp16": "fp16",
    "gradient_checkpointing": "gradient_checkpointing",
    "greater_is_better": "early_stopping_metric_minimize",
    "label_smoothing_factor": "label_smoothing_factor",
    "load_best_model_at_end": "save_best_model",
    "lr_scheduler_type": "scheduler",
    "metric_for_best_model": "early_stopping_metric",
    "optim": "optimizer",
    "output_dir": "output_dir",
    "per_device_eval_batch_size": "eval_batch_size",
    "report_to": "report_to",
    "save_only_model": "save_optimizer_and_scheduler",
    "save_steps": "save_steps",
    "save_strategy": "save_steps or save_model_every_epoch",
    "save_total_limit": "save_total_limit",
    "seed": "manual_seed",
    "torch_compile": "torch_compile",
    "torch_compile_backend": "torch_compile",
    "torch_compile_mode": "torch_compile",
    "use_cpu": "use_cuda",
    "warmup_steps": "warmup_steps",
}


@dataclass
class OneDeviceArguments(TrainingArguments):
    """The Trainer's arguments for one device per process: the one that the model is on.

    Left to itself, a Trainer that finds several GPUs takes the first and spreads each batch over all of them.

    Attributes:
        model_device: Where the model is.
        writes: Whether the Trainer may make folders and files.
    """

    model_device: str = "cpu"
    writes: bool = True

    def get_warmup_steps(self, num_training_steps: int) -> int:
        """Return the steps of the warm-up; none in a training of one step, which would have a learning rate of 0."""
        return 0 if num_training_steps == 1 else int(super().get_warmup_steps(num_training_steps))

    @cached_property
    def _setup_devices(self) -> torch.device:
        wanted = torch.device(self.model_device)
        index = torch.cuda.current_device() if wanted.type == "cuda" and wanted.index is None else wanted.index
        found: torch.device = super()._setup_devices
        self._n_gpu = min(self._n_gpu, 1)
        if wanted.type == "cuda" and self.world_size == 1:
            found = torch.device("cuda", index)
            torch.cuda.set_device(found)
        return found

    @property
    def should_save(self) -> bool:
        """Whether this process writes checkpoints."""
        return self.writes and super().should_save


def training_arguments(
    args: ModelArgs,
    *,
    output_dir: str | Path,
    device: torch.device,
    dtype: torch.dtype | None,
    evaluates: bool,
    show: bool,
    use_cache: bool | None = None,
) -> OneDeviceArguments:
    """Return the Trainer's arguments for ours.

    Args:
        args: Ours.
        output_dir: Where checkpoints go.
        device: Where the model trains.
        dtype: Mixed precision, or None for float32.
        evaluates: Whether there is evaluation while training.
        show: Whether there is a bar.
        use_cache: What the model's configuration says of it, to be left as it is.

    Raises:
        ArgumentError: If `trainer_kwargs` holds a name the Trainer does not have or that easytx sets itself.
    """
    check_trainer_kwargs(args.trainer_kwargs)
    seed = _shared_seed(args.manual_seed, device)
    values: dict[str, Any] = {theirs: args[ours] for ours, theirs in DIRECT.items()}
    values |= _optimizer(args, device) | _schedule(args) | _saving(args) | _precision(device, dtype) | _memory(args)
    values |= {
        "output_dir": str(output_dir),
        "model_device": str(device),
        "seed": seed,
        "data_seed": seed,
        # These two are told of the training by callbacks of ours.
        "report_to": [
            name for name in trackers(args) if name != "wandb" and (name != "tensorboard" or not args.tensorboard_dir)
        ],
        "logging_first_step": True,
        "disable_tqdm": not show,
        # A non-finite loss is an error of ours, not a gap in the log.
        "logging_nan_inf_filter": False,
        "average_tokens_across_devices": False,
        "ddp_find_unused_parameters": False,
        "eval_strategy": "steps" if evaluates and args.evaluate_during_training_steps > 0 else "no",
        "eval_steps": max(args.evaluate_during_training_steps, 1),
        "eval_on_start": evaluates and bool(args.get("evaluate_before_training", False)),
    }
    if use_cache is not None:
        values["use_cache"] = use_cache
    return OneDeviceArguments(**values | args.trainer_kwargs)


def check_trainer_kwargs(names: Iterable[str]) -> None:
    """Raise for a name that the Trainer does not have, or that is an argument of ours.

    Raises:
        ArgumentError: With the name to use instead.
    """
    accepted = TrainingArguments.__dataclass_fields__
    for name in names:
        if name in _OURS:
            raise ArgumentError(f"trainer_kwargs holds '{name}', which easytx sets itself. Use {_OURS[name]} instead.")
        if name not in accepted:
            raise ArgumentError(
                f"trainer_kwargs holds '{name}', which transformers.TrainingArguments does not have."
                f"{closest(name, accepted)}"
            )


def _shared_seed(wanted: int | None, device: torch.device) -> int:
    """Return the seed that all ranks use: the wanted one, or one that the first of them draws."""
    if wanted is not None:
        return wanted
    drawn = [secrets.randbelow(2**31)]
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        PartialState(cpu=device.type == "cpu")
        broadcast_object_list(drawn)
    return drawn[0]


def trackers(args: ModelArgs) -> list[str]:
    """Return the trackers that the Trainer reports to."""
    wanted = [*args.report_to]
    wanted += ["wandb"] if args.wandb_project else []
    wanted += ["tensorboard"] if args.tensorboard_dir else []
    return list(dict.fromkeys(wanted))


def _optimizer(args: ModelArgs, device: torch.device) -> dict[str, Any]:
    name = optimizer_name(args.optimizer, device.type)
    beta1, beta2 = args.adam_betas
    return {"optim": name, "adam_beta1": beta1, "adam_beta2": beta2}


def adafactor_options(args: ModelArgs) -> dict[str, Any]:
    """Return the options of `transformers.Adafactor`.

    With `adafactor_relative_step` the optimiser chooses its step size itself, so it gets no learning rate.
    """
    return {
        "lr": None if args.adafactor_relative_step else args.learning_rate,
        "eps": tuple(args.adafactor_eps),
        "clip_threshold": args.adafactor_clip_threshold,
        "decay_rate": args.adafactor_decay_rate,
        "beta1": args.adafactor_beta1,
        "scale_parameter": args.adafactor_scale_parameter,
        "relative_step": args.adafactor_relative_step,
        "warmup_init": args.adafactor_warmup_init,
    }


def _schedule(args: ModelArgs) -> dict[str, Any]:
    name = scheduler_name(args.scheduler)
    options: dict[str, Any] = {}
    if name == "cosine":
        options["num_cycles"] = args.cosine_schedule_num_cycles
    elif name == "cosine_with_restarts":
        options["num_cycles"] = max(1, round(args.cosine_schedule_num_cycles))
    elif name == "polynomial":
        options = {
            "lr_end": args.polynomial_decay_schedule_lr_end,
            "power": args.polynomial_decay_schedule_power,
        }
    # The Trainer reads a float below 1 as a share of the steps; 1.0 would be one step.
    warmup: float = args.warmup_steps or min(args.warmup_ratio, 0.9999)
    return {"lr_scheduler_type": name, "lr_scheduler_kwargs": options, "warmup_steps": warmup}


def _saving(args: ModelArgs) -> dict[str, Any]:
    by_steps = args.save_steps > 0 and not args.no_save
    return {
        "save_strategy": "steps" if by_steps else "no",
        "save_steps": max(args.save_steps, 1),
        "save_only_model": not args.save_optimizer_and_scheduler,
        # Old checkpoints go when the new one is sealed, which the Trainer does not know of.
        "save_total_limit": None,
        "writes": not args.no_save,
    }


def _memory(args: ModelArgs) -> dict[str, Any]:
    # Older versions of transformers have the second name only, newer ones deprecate it.
    names = ("activation_checkpointing", "gradient_checkpointing")
    name = next(name for name in names if name in TrainingArguments.__dataclass_fields__)
    return {name: args.gradient_checkpointing}


def _precision(device: torch.device, dtype: torch.dtype | None) -> dict[str, Any]:
    return {"use_cpu": device.type == "cpu", "bf16": dtype is torch.bfloat16, "fp16": dtype is torch.float16}
