"""One run of a tracker from start to finish."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from easytx.config.model_args import ModelArgs

logger = logging.getLogger(__name__)


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
    wandb.init(project=args.wandb_project, config=dict(config), **args.wandb_kwargs)
    exit_code = 1
    try:
        yield
        exit_code = 0
    finally:
        wandb.finish(exit_code=exit_code)
