"""Going on with smaller batches after one that does not fit into the device's memory."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from torch import nn
from transformers import Trainer

from easytx.config.warn import warn_user
from easytx.errors import OutOfMemoryError

__all__ = ["PLACE", "RecoveringTrainer", "SmallerBatches", "named_memory_errors"]

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

# The column that says where in its dataset a row is.
PLACE = "place_in_dataset"


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an error says that the memory of a device did not suffice."""
    # What cuBLAS says when nothing is left for its workspace.
    in_cublas = "CUBLAS_STATUS_ALLOC_FAILED" in str(error)
    return isinstance(error, torch.OutOfMemoryError) or in_cublas or bool(should_reduce_batch_size(error))


@contextmanager
def named_memory_errors(device: torch.device) -> Iterator[None]:
    """Raise an error of ours where memory runs out in a training and a smaller batch would be of no help.

    Raises:
        OutOfMemoryError: With what to try.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(
            f"The memory of {device} ran out beside the forward and backward passes, most likely in the optimiser, "
            "where a smaller batch is of no help. Set optimizer='Adafactor', train fewer parameters, or take a "
            "smaller model."
        ) from error.with_traceback(None)


class SmallerBatches:
    """Has the batches of an inference computed, and smaller ones from the first on that does not fit into memory.

    Args:
        lengths: Tokens that each row takes in a batch, of shape (rows,).
        device: Where the batches are computed.
        remedy: What to do about a single row that does not fit.
    """

    def __init__(self, lengths: np.ndarray, device: torch.device, *, remedy: str) -> None:
        self.lengths, self.device, self.remedy = np.maximum(lengths, 1), device, remedy
        self.budget: int | None = None
        self.first: tuple[int, int] | None = None

    def compute(self, batch: np.ndarray, work: Callable[[np.ndarray], None]) -> None:
        """Have a batch computed, at once or in parts.

        Args:
            batch: Numbers of rows, longest first.
            work: Computes the rows that it is given, and leaves nothing behind where memory runs out.

        Raises:
            OutOfMemoryError: If a single row does not fit, or other processes would wait for this one.
        """
        while len(batch):
            part = batch if self.budget is None else batch[: max(self.budget // self.lengths[batch[0]], 1)]
            failed = _attempt(functools.partial(work, part))
            if failed is None:
                batch = batch[len(part) :]
            else:
                self._halve(part, failed)
                clear_device_cache(garbage_collection=True)

    def tell(self) -> None:
        """Warn if batches have become smaller."""
        if self.first is None:
            return
        rows, tokens = self.first
        warn_user(
            f"A batch of {rows} rows with {tokens} tokens did not fit into the memory of {self.device}, so batches of "
            f"at most {self.budget} tokens were used instead. Batches have up to eval_batch_size x max_seq_length "
            "tokens: set a lower eval_batch_size to begin with smaller ones."
        )

    def _halve(self, batch: np.ndarray, error: RuntimeError) -> None:
        if len(batch) == 1:
            raise OutOfMemoryError(
                f"A single row does not fit into the memory of {self.device}. {self.remedy}"
            ) from error
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        if distributed and torch.distributed.get_world_size() > 1:
            raise OutOfMemoryError(
                f"A batch of {len(batch)} rows does not fit into the memory of {self.device}. Only a single process "
                "goes on with smaller batches by itself. Set a lower eval_batch_size."
            ) from error
        tokens = len(batch) * int(self.lengths[batch[0]])
        self.first = self.first or (len(batch), tokens)
        self.budget = tokens // 2


class RecoveringTrainer(Trainer):
    """A Trainer that computes a batch in parts from when one does not fit into the device's memory.

    A step that fails so has changed no weights yet. Its gradients are dropped, and it is done again from its first
    batch on, with the random numbers it began with. So a training goes on as if it had been given the smaller batches
    with more accumulation steps, and neither its order of rows nor the number of its steps changes.
    """

    def __init__(self, **kwargs: Any) -> None:
        """Take what a Trainer takes."""
        dataset = kwargs["train_dataset"]
        kwargs["train_dataset"] = dataset.add_column(PLACE, np.arange(len(dataset)))
        kwargs["data_collator"] = _PlacedRows(kwargs["data_collator"])
        super().__init__(**kwargs)
        # Rows that are computed at once; None for whole batches.
        self.most_rows: int | None = None
        # The batches whose gradients are waiting for those of the rest of a step.
        self.accumulated: list[np.ndarray] = []
        self.warned = False

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """Compute the gradients of a batch, and return its loss."""
        inputs = dict(inputs)
        places = inputs.pop(PLACE)
        if not self.accumulated:
            self.random_state = _random_state(self.args.device)
        batches = [*self.accumulated, places]
        loss = _attempt(lambda: self._computed(model, places, inputs))
        while isinstance(loss, RuntimeError):
            self._halve(max(map(len, batches)), loss)
            model.zero_grad()
            clear_device_cache(garbage_collection=True)
            _set_random_state(self.args.device, self.random_state)
            loss = _attempt(lambda: [self._computed(model, batch) for batch in batches][-1])
            if not isinstance(loss, RuntimeError):
                self._tell(max(map(len, batches)))
        self.accumulated = [] if self.accelerator.sync_gradients else batches
        return loss

    def _computed(self, model: nn.Module, places: np.ndarray, inputs: dict[str, Any] | None = None) -> torch.Tensor:
        most = self.most_rows or len(places)
        if inputs is not None and len(places) <= most:
            return super().training_step(model, inputs)
        steps, losses = self.current_gradient_accumulation_steps, []
        try:
            for start in range(0, len(places), most):
                part = places[start : start + most]
                # A loss is divided by this: each part counts as much as its rows do in the mean over the batch.
                divisor: Any = steps * len(places) / len(part)
                self.current_gradient_accumulation_steps = divisor
                losses.append(super().training_step(model, self._batch(part)))
        finally:
            self.current_gradient_accumulation_steps = steps
        return torch.stack(losses).sum()

    def _batch(self, places: np.ndarray) -> dict[str, Any]:
        rows = self._rows.__getitems__(places.tolist())
        return {name: value for name, value in self.data_collator(rows).items() if name != PLACE}

    @functools.cached_property
    def _rows(self) -> Any:
        return self._remove_unused_columns(self.train_dataset, description="training")

    def _halve(self, largest: int, error: RuntimeError) -> None:
        device, most = self.args.device, min(largest, self.most_rows or largest)
        if most == 1:
            raise OutOfMemoryError(
                f"A single row does not fit into the memory of {device} in training. Set gradient_checkpointing=True, "
                "a lower max_seq_length or optimizer='Adafactor', or take a smaller model."
            ) from error
        half = (most + 1) // 2
        if self.args.world_size > 1 or self.is_deepspeed_enabled:
            raise OutOfMemoryError(
                f"A batch of {most} rows does not fit into the memory of {device}. Only a single process without "
                f"DeepSpeed goes on with smaller batches by itself. {self._advice(half)}, or "
                "gradient_checkpointing=True."
            ) from error
        self.most_rows = half

    def _tell(self, largest: int) -> None:
        logger.info("Batches are computed in parts of at most %s rows.", self.most_rows)
        if self.warned:
            return
        self.warned = True
        warn_user(
            f"A batch of {largest} rows did not fit into the memory of {self.args.device}. Batches are computed in "
            f"parts of at most {self.most_rows} rows from here on, and their gradients are added up: each step has as "
            f"many rows as before. {self._advice(self.most_rows or 1)} to begin so."
        )

    def _advice(self, rows: int) -> str:
        accumulated = -(-self.args.per_device_train_batch_size // rows) * self.args.gradient_accumulation_steps
        return f"Set train_batch_size={rows} and gradient_accumulation_steps={accumulated}"


class _PlacedRows:
    """Collator that keeps beside a batch where its rows are in their dataset, for when it has to be split."""

    def __init__(self, collate: Callable[[list[dict[str, Any]]], Any]) -> None:
        self.collate = collate

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        # Not a tensor, so that it stays on the CPU.
        places = np.array([row.pop(PLACE) for row in rows])
        return {**self.collate(rows), PLACE: places}


def _attempt(work: Callable[[], Result]) -> Result | RuntimeError:
    """Return what `work` returns, or the error of a memory that did not suffice for it."""
    try:
        return work()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        # The frames of a traceback hold the tensors that fill the memory.
        error.__context__ = None
        return error.with_traceback(None)


def _random_state(device: torch.device) -> list[torch.Tensor]:
    """Return the states of the random numbers that networks draw, of the CPU and of the device."""
    return [module.get_rng_state() for module in _random_modules(device)]


def _set_random_state(device: torch.device, states: list[torch.Tensor]) -> None:
    for module, state in zip(_random_modules(device), states, strict=True):
        module.set_rng_state(state)


def _random_modules(device: torch.device) -> list[Any]:
    return [torch] if device.type == "cpu" else [torch, torch.get_device_module(device)]
