"""Running a model class's model over prepared rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from easytx.config.model_args import ModelArgs
from easytx.data.prepared import TaskData
from easytx.training.inference import Collator, Outputs, Reduce, run
from easytx.training.losses import LossFunction
from easytx.training.quantise import dynamically_quantised

if TYPE_CHECKING:
    from datasets import Dataset

    from easytx.core.base_model import BaseModel

# Tokens per inference batch at which a device is busy and its caches are still used well.
_BUSY_TOKENS = {"cpu": 4096, "mps": 16384, "cuda": 65536}

# Below this many rows a bar would only flicker.
_ROWS_FOR_A_BAR = 1000


def token_budget(args: ModelArgs, device_type: str, *, batch_rows: int | None = None) -> int:
    """Return the tokens of an inference batch: what the device does best, or what the user has set.

    Args:
        args: For `eval_batch_size` and `max_seq_length`.
        device_type: Such as "cpu" or "cuda".
        batch_rows: Rows of full length per batch, in place of `eval_batch_size`.
    """
    if batch_rows is not None:
        return batch_rows * args.max_seq_length
    wanted = args.eval_batch_size * args.max_seq_length
    if args.eval_batch_size != ModelArgs().eval_batch_size:
        return wanted
    return max(wanted, _BUSY_TOKENS.get(device_type, wanted))


def is_main_process() -> bool:
    """Tell whether this process, of all that train or evaluate together, is the one that writes files."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return not distributed or torch.distributed.get_rank() == 0


def run_model(model: BaseModel, data: TaskData, *, show: bool) -> Outputs:
    """Return what the model says about the rows; with `show`, a bar for more than a few."""
    return run_network(
        model,
        model.model,
        data.dataset,
        collator=model.collator(),
        reduce=model.reduce,
        show=show,
        batch_columns=model.batch_columns,
        shifts_labels=model.shifts_labels,
        loss_function=model.loss() if data.labelled else None,
    )


def run_network(
    model: BaseModel,
    network: torch.nn.Module,
    dataset: Dataset,
    *,
    collator: Collator,
    reduce: Reduce,
    show: bool,
    batch_rows: int | None = None,
    batch_columns: tuple[str, ...] = (),
    shifts_labels: bool = False,
    loss_function: LossFunction | None = None,
) -> Outputs:
    """Return what a network, the whole of a model or a part of it, says about features.

    Args:
        model: What the network belongs to: its arguments, device and precision count.
        network: On the model's device.
        dataset: The features.
        collator: Makes batches of them.
        reduce: Keeps of an output what the answer needs.
        show: Whether there is a bar for more than a few features.
        batch_rows: As for `token_budget`.
        batch_columns: As for `inference.run`.
        shifts_labels: As for `inference.run`.
        loss_function: As for `inference.run`.
    """
    from tqdm.auto import tqdm

    def bar(batches: Any, number: int) -> Any:
        return tqdm(batches, total=number, leave=False)

    quantises = model.args.dynamic_quantize and model.device.type == "cpu"
    return run(
        dynamically_quantised(network) if quantises else network,
        dataset,
        collator,
        reduce=reduce,
        device=model.device,
        dtype=None if quantises else model.precision(),
        token_budget=token_budget(model.args, model.device.type, batch_rows=batch_rows),
        batch_columns=batch_columns,
        shifts_labels=shifts_labels,
        loss_function=loss_function,
        progress=bar if show and len(dataset) >= _ROWS_FOR_A_BAR else None,
    )
