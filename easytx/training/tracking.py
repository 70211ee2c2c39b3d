"""Trackers: one run from start to finish, and where it is written."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from easytx.config.model_args import ModelArgs
from easytx.errors import MissingExtraError

if TYPE_CHECKING:
    from transformers import TrainerCallback


@contextlib.contextmanager
def tracked(args: ModelArgs, *, config: Mapping[str, Any], main_process: bool) -> Iterator[None]:
    """Keep a Weights & Biases run open while the block runs, when `wandb_project` is set.

    A run that the caller has opened is used and left open; a run opened here is finished here, with exit code 1
    after an exception.

    Args:
        args: `wandb_project` switches it on, `wandb_kwargs` goes to `wandb.init`.
        config: The hyperparameters of the run.
        main_process: Whether this process is the one that reports.
    """
    if not args.wandb_project or not main_process:
        yield
        return
    import wandb

    if wandb.run is not None:
        yield
        return
    options = {"project": args.wandb_project, **args.wandb_kwargs}
    wandb.init(**options | {"config": {**config, **(options.get("config") or {})}})
    exit_code = 1
    try:
        yield
        exit_code = 0
    finally:
        wandb.finish(exit_code=exit_code)


def log_scores(scores: Mapping[str, Any]) -> None:
    """Add scores, under their own names, to the Weights & Biases run that is open; without one do nothing."""
    wandb: Any = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.log({name: value for name, value in scores.items() if isinstance(value, (int, float))})


def reporters(args: ModelArgs) -> list[TrainerCallback]:
    """Return the callbacks of trackers that need to be told more than that they are wanted.

    Raises:
        MissingExtraError: If `tensorboard_dir` is set and TensorBoard is not installed.
    """
    if not args.tensorboard_dir:
        return []
    from transformers.integrations import integration_utils

    if not integration_utils.is_tensorboard_available():
        raise MissingExtraError(
            "tensorboard_dir needs the package 'tensorboard'. Install it with: pip install tensorboard"
        )
    reporter = integration_utils.TensorBoardCallback()
    reporter.logging_dir = args.tensorboard_dir
    return [reporter]
