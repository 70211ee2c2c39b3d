"""Running a model class's model over prepared rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from easytx.config.model_args import ModelArgs
from easytx.data.prepared import TaskData
from easytx.training.inference import Outputs, run
from easytx.training.quantise import dynamically_quantised

if TYPE_CHECKING:
    from easytx.core.base_model import BaseModel

# Tokens per inference batch at which a device is busy and its caches are still used well.
_BUSY_TOKENS = {"cpu": 4096, "mps": 16384, "cuda": 65536}

# Below this many rows a bar would only flicker.
_ROWS_FOR_A_BAR = 1000


def token_budget(args: ModelArgs, device_type: str) -> int:
    """Return the tokens of an inference batch: what the device does best, or what the user has set."""
    wanted = args.eval_batch_size * args.max_seq_length
    if args.eval_batch_size != ModelArgs().eval_batch_size:
        return wanted
    return max(wanted, _BUSY_TOKENS.get(device_type, wanted))


def is_main_process() -> bool:
    """Tell whether this process, of all that train or evaluate together, is the one that writes files."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return not distributed or torch.distributed.get_rank() == 0


def run_model(model: BaseModel, data: TaskData, *, show: bool, budget: int | None = None) -> Outputs:
    """Return what the model says about the rows.

    Args:
        model: With `reduce`, which keeps what the answers need.
        data: The rows.
        show: Whether there is a bar, for more than a few rows.
        budget: Tokens of a batch at most; None for `token_budget`.
    """
    quantises = quantised(model)
    return run(
        dynamically_quantised(model.model) if quantises else model.model,
        data.dataset,
        model.collator(),
        reduce=model.reduce,
        device=model.device,
        dtype=None if quantises else model.precision(),
        token_budget=budget or token_budget(model.args, model.device.type),
        batch_columns=model.batch_columns,
        shifts_labels=model.shifts_labels,
        loss_function=model.loss() if data.labelled else None,
        progress=progress_bar(len(data.dataset), show=show),
    )


def quantised(model: BaseModel) -> bool:
    """Tell whether the model answers with int8 weights."""
    return bool(model.args.dynamic_quantize) and model.device.type == "cpu"


def progress_bar(rows: int, *, show: bool) -> Callable[[Any, int], Any] | None:
    """Return what shows a bar over batches, or None where there is none to show."""
    from tqdm.auto import tqdm

    def bar(batches: Any, number: int) -> Any:
        return tqdm(batches, total=number, leave=False)

    return bar if show and rows >= _ROWS_FOR_A_BAR else None
