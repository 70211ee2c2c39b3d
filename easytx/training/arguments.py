"""The one place that knows the argument names of transformers' Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from easytx.config.model_args import ModelArgs
from easytx.errors import ArgumentError
from easytx.training.optimizers import optimizer_name, scheduler_name

if TYPE_CHECKING:
    from transformers import TrainingArguments

# our argument -> the Trainer's, where the value goes over unchanged
DIRECT = {
    "adam_epsilon": "adam_epsilon",
    "auto_find_batch_size": "auto_find_batch_size",
    "dataloader_num_workers": "dataloader_num_workers",
    "gradient_accumulation_steps": "gradient_accumulation_steps",
    "gradient_checkpointing": "activation_checkpointing",
    "learning_rate": "learning_rate",
    "logging_steps": "logging_steps",
    "max_grad_norm": "max_grad_norm",
    "max_steps": "max_steps",
    "neftune_noise_alpha": "neftune_noise_alpha",
    "num_train_epochs": "num_train_epochs",
    "save_total_limit": "save_total_limit",
    "tf32": "tf32",
    "torch_compile": "torch_compile",
    "train_batch_size": "per_device_train_batch_size",
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
        "fp16",
        "bf16",
        "manual_seed",
        "no_save",
        "optimizer",
        "output_dir",
        "polynomial_decay_schedule_lr_end",
        "polynomial_decay_schedule_power",
        "report_to",
        "save_optimizer_and_scheduler",
        "save_steps",
        "scheduler",
        "tensorboard_dir",
        "trainer_kwargs",
        "wandb_project",
        "warmup_ratio",
        "warmup_steps",
    }
)


def training_arguments(
    args: ModelArgs,
    *,
    output_dir: str | Path,
    device: torch.device,
    dtype: torch.dtype | None,
    seed: int,
    evaluates: bool,
    show: bool,
    use_cache: bool | None = None,
) -> TrainingArguments:
    """Return the Trainer's arguments for ours.

    Args:
        args: Ours.
        output_dir: Where checkpoints go.
        device: Where the model trains.
        dtype: Mixed precision, or None for float32.
        seed: For everything random.
        evaluates: Whether there is evaluation while training.
        show: Whether there is a bar.
        use_cache: What the model's configuration says of it, to be left as it is.

    Raises:
        ArgumentError: If `trainer_kwargs` holds a name the Trainer does not have or that easytx sets itself.
    """
    from transformers import TrainingArguments

    values: dict[str, Any] = {theirs: args[ours] for ours, theirs in DIRECT.items()}
    values |= _optimizer(args, device) | _schedule(args) | _saving(args) | _precision(device, dtype)
    values |= {
        "output_dir": str(output_dir),
        "seed": seed,
        "data_seed": seed,
        "report_to": trackers(args),
        "logging_first_step": True,
        "disable_tqdm": not show,
        # A non-finite loss is an error of ours, not a gap in the log.
        "logging_nan_inf_filter": False,
        "average_tokens_across_devices": False,
        "ddp_find_unused_parameters": False,
        "eval_strategy": "steps" if evaluates and args.evaluate_during_training_steps > 0 else "no",
        "eval_steps": max(args.evaluate_during_training_steps, 1),
    }
    if use_cache is not None:
        values["use_cache"] = use_cache
    accepted = TrainingArguments.__dataclass_fields__
    unknown = [name for name in args.trainer_kwargs if name not in accepted]
    if unknown:
        raise ArgumentError(f"trainer_kwargs holds {unknown}, which transformers.TrainingArguments does not have.")
    return TrainingArguments(**values | args.trainer_kwargs)


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
    }


def _precision(device: torch.device, dtype: torch.dtype | None) -> dict[str, Any]:
    return {"use_cpu": device.type == "cpu", "bf16": dtype is torch.bfloat16, "fp16": dtype is torch.float16}
