"""Other spellings of our arguments: Hugging Face names and names from old scripts."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from easytx.config.warn import warn_user


def _same(value: Any) -> Any:
    return value


def _negated(value: Any) -> Any:
    return not value


# spelling -> (our name, value as ours)
RENAMED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "activation_checkpointing": ("gradient_checkpointing", _same),
    "early_stopping_threshold": ("early_stopping_delta", _same),
    "eval_steps": ("evaluate_during_training_steps", _same),
    "greater_is_better": ("early_stopping_metric_minimize", _negated),
    "label_smoothing": ("label_smoothing_factor", _same),
    "lazy_header_row": ("lazy_loading_start_line", int),
    "logging_dir": ("tensorboard_dir", _same),
    "lr": ("learning_rate", _same),
    "lr_scheduler_type": ("scheduler", _same),
    "max_length": ("max_seq_length", _same),
    "metric_for_best_model": ("early_stopping_metric", _same),
    "optim": ("optimizer", _same),
    "per_device_eval_batch_size": ("eval_batch_size", _same),
    "per_device_train_batch_size": ("train_batch_size", _same),
    "seed": ("manual_seed", _same),
}


def canonical_item(name: str, value: Any, known: Collection[str]) -> tuple[str, Any]:
    """Return our name and value for a given one.

    A name that the args class has itself (such as `max_length` of a generating class) stays as it is.
    """
    if name in known or name not in RENAMED:
        return name, value
    ours, convert = RENAMED[name]
    if ours not in known:
        return name, value
    warn_user(f"The argument '{name}' is called '{ours}' here; it was taken as such.")
    return ours, convert(value)
