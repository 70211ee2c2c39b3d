"""The one loop behind eval_model, predict and the evaluation while training."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from easytx.data.tokenise import lengths_of
from easytx.training.batching import token_budget_batches
from easytx.training.compiling import compiled
from easytx.training.copies import cast_copy, modules_of
from easytx.training.losses import LossFunction
from easytx.training.precision import autocast
from easytx.training.smaller import SmallerBatches

if TYPE_CHECKING:
    from datasets import Dataset

# A layer takes as long for so many tokens as for one.
_FEW_TOKENS = 64

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
    max_rows: int | None = None,
    batch_columns: tuple[str, ...] = (),
    shifts_labels: bool = False,
    loss_function: LossFunction | None = None,
    compiles: bool = False,
    progress: Callable[[Iterable[Any], int], Iterable[Any]] | None = None,
    packing: bool | None = False,
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
        max_rows: Most features of a batch, or None.
        batch_columns: Columns that the collator reads besides those that the model takes.
        shifts_labels: Whether a token's label is the next token, so that the first one of a row is never asked for.
        loss_function: Replaces the model's own loss.
        compiles: Whether the model is run by compiled code.
        progress: Wraps the batches, given their number.
        packing: Whether the network's layers run without padding; see `packing.packed`.

    Raises:
        OutOfMemoryError: If a single row does not fit into the memory; batches that do not fit are made smaller.
    """
    from easytx.training.first_token import first_token_only
    from easytx.training.packing import packed

    read = reader(dataset, [*dict.fromkeys([*model_inputs(model, dataset), *batch_columns])])
    lengths = lengths_of(dataset)
    batches = token_budget_batches(lengths, token_budget, max_rows=max_rows)
    mine, counted, ranks = share_of_this_rank(batches)
    values: list[Any] = [None] * len(dataset)
    losses = _RunningLoss(shifts_labels, loss_function)
    smaller = SmallerBatches(lengths, device, remedy="Set a lower max_seq_length, or take a smaller model.")

    def compute(batch: np.ndarray, *, counts: bool) -> None:
        inputs = {key: value.to(device) for key, value in collator(read(batch)).items()}
        outputs, loss = _forward(network, inputs, loss_function)
        kept = _arrays(reduce(outputs, inputs))
        # Nothing is counted or kept before all that may not fit into the memory is over.
        if counts and loss is not None:
            losses.add(loss, inputs.get("labels"), len(batch))
        for position, value in zip(batch, kept, strict=True):
            values[position] = value

    training = [module for module in modules_of(model) if module.training]
    if training:
        model.eval()
    copy = cast_copy(model, device, dtype, prepacks=not compiles)
    network = compiled(copy) if compiles else copy
    # One row has no padding.
    packing = packing if len(dataset) > 1 else False
    shortens = not compiles and int(lengths.sum()) > _FEW_TOKENS
    try:
        # One autocast region for the whole loop: where weights are cast, they are cast once.
        with (
            torch.no_grad(),
            packed(copy, packing, device=device, dtype=dtype),
            first_token_only(copy, device=device, dtype=dtype, like=model) if shortens else nullcontext(),
            autocast(device, dtype),
        ):
            for number, batch in enumerate(progress(mine, len(mine)) if progress else mine):
                smaller.compute(batch, functools.partial(compute, counts=number < counted))
    finally:
        for module in training:
            module.training = True
    smaller.tell()
    if ranks > 1:
        shares = fill_from_all_ranks(values, mine, (losses.total, losses.items))
        losses.total, losses.items = sum(total for total, _ in shares), sum(items for _, items in shares)
    return Outputs(values, losses.total / losses.items if losses.items else None)


def trimmed(tensor: torch.Tensor, attention_mask: torch.Tensor) -> list[torch.Tensor]:
    """Return each row of a (rows, tokens, ...) tensor without its padding, on the CPU."""
    on_cpu, mask = tensor.float().cpu(), attention_mask.bool().cpu()
    return [row[kept] for row, kept in zip(on_cpu, mask, strict=True)]


class _RunningLoss:
    """A mean over labelled items, each with the weight of its class, whatever the batches they came in."""

    def __init__(self, shifts_labels: bool, loss_function: LossFunction | None) -> None:
        self.total, self.items = 0.0, 0.0
        self.first = 1 if shifts_labels else 0
        self.loss_function = loss_function

    def add(self, loss: torch.Tensor, labels: torch.Tensor | None, rows: int) -> None:
        items = self._counted(labels, rows)
        self.total += float(loss) * items
        self.items += items

    def _counted(self, labels: torch.Tensor | None, rows: int) -> float:
        """Return what the mean of a batch was divided by."""
        # Losses with one weight per class keep them as `weight`, like those of torch.
        weight = getattr(self.loss_function, "weight", None)
        if weight is not None and labels is not None:
            return float(weight.to(labels.device)[labels[labels != -100]].sum())
        return rows if labels is None or labels.dim() == 1 else int((labels[:, self.first :] != -100).sum())


def _forward(
    model: Callable[..., Any],
    inputs: dict[str, torch.Tensor],
    loss_function: LossFunction | None,
) -> tuple[Any, torch.Tensor | None]:
    labels = inputs.get("labels")
    if loss_function is not None and labels is not None:
        outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
        return outputs, loss_function(outputs.logits, labels)
    outputs = model(**inputs)
    return outputs, getattr(outputs, "loss", None)


def reader(dataset: Dataset, names: list[str]) -> Callable[[np.ndarray], list[dict[str, Any]]]:
    """Return what reads the rows of a batch, one dict of some columns each."""
    # Each look at the features copies them.
    features = dataset.features
    if dataset._indices is None and not any(hasattr(features[name], "decode_example") for name in names):
        # Past the formatting and naming of datasets, which for a short text take longer than a small model.
        table = dataset.data.select(names)
        return lambda batch: table.fast_gather(batch).to_pylist()
    selected = dataset.select_columns(names)

    def read(batch: np.ndarray) -> list[dict[str, Any]]:
        columns = selected[batch.tolist()]
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    return read


def _arrays(kept: torch.Tensor | Sequence[torch.Tensor]) -> Iterable[np.ndarray]:
    if isinstance(kept, torch.Tensor):
        array: np.ndarray = kept.float().cpu().numpy()
        return array
    return [tensor.float().cpu().numpy() for tensor in kept]


def share_of_this_rank(batches: list[np.ndarray]) -> tuple[list[np.ndarray], int, int]:
    """Return this rank's batches, how many of them are no repetition, and the number of ranks.

    Every rank gets the same number of batches, as some kinds of wrapped models need it.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return batches, len(batches), 1
    ranks, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
    padded = batches + batches[-1:] * (-len(batches) % ranks)
    return padded[rank::ranks], len(batches[rank::ranks]), ranks


def fill_from_all_ranks(values: list[Any], mine: list[np.ndarray], extra: Any = None) -> list[Any]:
    """Fill in what the other ranks have found, and return what each rank adds to it.

    Args:
        values: What this rank has found, under the numbers of the rows.
        mine: The batches of this rank.
        extra: What it adds.
    """
    shares: list[Any] = [None] * torch.distributed.get_world_size()
    own = {int(position): values[position] for batch in mine for position in batch}
    torch.distributed.all_gather_object(shares, (own, extra))
    for share, _ in shares:
        for position, value in share.items():
            values[position] = value
    return [more for _, more in shares]
