"""The one loop behind eval_model, predict and the evaluation while training."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from easytx.data.tokenise import lengths_of
from easytx.training.batching import token_budget_batches
from easytx.training.copies import cast_copy
from easytx.training.losses import LossFunction
from easytx.training.precision import autocast

if TYPE_CHECKING:
    from datasets import Dataset

Reduce = Callable[[Any, Mapping[str, torch.Tensor]], "torch.Tensor | Sequence[torch.Tensor]"]
Collator = Callable[[list[dict[str, Any]]], Mapping[str, torch.Tensor]]


@dataclass(frozen=True)
class Outputs:
    """What a model said about each feature of a dataset.

    Attributes:
        values: One float array per feature, in the dataset's order.
        loss: Mean loss over rows, or over labelled tokens; None without labels.
    """

    values: list[np.ndarray]
    loss: float | None


def model_inputs(model: torch.nn.Module, dataset: Dataset) -> list[str]:
    """Return the columns of a dataset that the model's forward takes."""
    wrapped = vars(model).get("forward")
    accepted = _parameters(type(model).forward) if wrapped is None else inspect.signature(wrapped).parameters
    return [name for name in dataset.column_names if name in accepted]


@functools.cache
def _parameters(forward: Callable[..., Any]) -> Collection[str]:
    return inspect.signature(forward).parameters.keys() - {"self"}


def run(
    model: torch.nn.Module,
    dataset: Dataset,
    collator: Collator,
    *,
    reduce: Reduce,
    device: torch.device,
    dtype: torch.dtype | None,
    token_budget: int,
    loss_function: LossFunction | None = None,
    progress: Callable[[Iterable[Any], int], Iterable[Any]] | None = None,
) -> Outputs:
    """Run a model over a dataset: like lengths together, each batch within a budget of tokens.

    The model's mode and the random state are as before afterwards. Under a distributed launch the features are split
    over the ranks and each rank gets all the answers.

    Args:
        model: On `device`.
        dataset: Unpadded features with a `length` column; `labels` where there is a loss to compute.
        collator: Pads a list of features to a batch.
        reduce: Keeps of the model's output what the answer needs, per feature of the batch.
        device: Where the model is.
        dtype: Autocast to it, or None.
        token_budget: Most tokens of a batch, padding included; a single longer feature makes its own batch.
        loss_function: Replaces the model's own loss.
        progress: Wraps the batches, given their number.
    """
    names = model_inputs(model, dataset)
    batches = token_budget_batches(lengths_of(dataset), token_budget)
    mine, counted, ranks = _share_of_this_rank(batches)
    values: list[Any] = [None] * len(dataset)
    losses = _RunningLoss()
    was_training = model.training
    model.eval()
    network = cast_copy(model, device, dtype)
    try:
        # One autocast region for the whole loop: where weights are cast, they are cast once.
        with torch.no_grad(), autocast(device, dtype):
            for number, batch in enumerate(progress(mine, len(mine)) if progress else mine):
                inputs = {key: value.to(device) for key, value in collator(_rows(dataset, names, batch)).items()}
                outputs = _forward(network, inputs, loss_function, losses if number < counted else _RunningLoss())
                kept = reduce(outputs, inputs)
                for position, value in zip(batch, _arrays(kept), strict=True):
                    values[position] = value
    finally:
        model.train(was_training)
    return _gathered(values, losses, mine, ranks)


def trimmed(tensor: torch.Tensor, attention_mask: torch.Tensor) -> list[torch.Tensor]:
    """Return each row of a (rows, tokens, ...) tensor without its padding, on the CPU."""
    on_cpu, mask = tensor.float().cpu(), attention_mask.bool().cpu()
    return [row[kept] for row, kept in zip(on_cpu, mask, strict=True)]


class _RunningLoss:
    """A mean over labelled items, whatever the batches they came in."""

    def __init__(self) -> None:
        self.total, self.items = 0.0, 0

    def add(self, loss: torch.Tensor, labels: torch.Tensor | None, rows: int) -> None:
        items = rows if labels is None or labels.dim() == 1 else int((labels != -100).sum())
        self.total += float(loss) * items
        self.items += items


def _forward(
    model: torch.nn.Module,
    inputs: dict[str, torch.Tensor],
    loss_function: LossFunction | None,
    losses: _RunningLoss,
) -> Any:
    labels = inputs.get("labels")
    rows = len(inputs["input_ids"])
    if loss_function is not None and labels is not None:
        outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
        losses.add(loss_function(outputs.logits, labels), labels, rows)
        return outputs
    outputs = model(**inputs)
    if getattr(outputs, "loss", None) is not None:
        losses.add(outputs.loss, labels, rows)
    return outputs


def _rows(dataset: Dataset, names: list[str], batch: np.ndarray) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = dataset.data.fast_gather(batch).select(names).to_pylist()
    return rows


def _arrays(kept: torch.Tensor | Sequence[torch.Tensor]) -> Iterable[np.ndarray]:
    if isinstance(kept, torch.Tensor):
        array: np.ndarray = kept.float().cpu().numpy()
        return array
    return [tensor.float().cpu().numpy() for tensor in kept]


def _share_of_this_rank(batches: list[np.ndarray]) -> tuple[list[np.ndarray], int, int]:
    """Return this rank's batches, how many of them are no repetition, and the number of ranks.

    Every rank gets the same number of batches, as some kinds of wrapped models need it.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return batches, len(batches), 1
    ranks, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
    padded = batches + batches[-1:] * (-len(batches) % ranks)
    return padded[rank::ranks], len(batches[rank::ranks]), ranks


def _gathered(values: list[Any], losses: _RunningLoss, mine: list[np.ndarray], ranks: int) -> Outputs:
    if ranks > 1:
        shares: list[Any] = [None] * ranks
        own = {int(position): values[position] for batch in mine for position in batch}
        torch.distributed.all_gather_object(shares, (own, losses.total, losses.items))
        for share, _, _ in shares:
            for position, value in share.items():
                values[position] = value
        losses.total, losses.items = sum(s[1] for s in shares), sum(s[2] for s in shares)
    return Outputs(values, losses.total / losses.items if losses.items else None)
