"""What to do where a batch of an inference does not fit into the device's memory: go on with smaller ones."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch

from easytx.config.warn import warn_user
from easytx.errors import OutOfMemoryError

__all__ = ["SmallerBatches", "attempt", "clear_memory", "is_out_of_memory", "named_memory_errors"]

Result = TypeVar("Result")


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an error says that the memory of a device did not suffice."""
    from accelerate.utils.memory import should_reduce_batch_size

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
            failed = attempt(functools.partial(work, part))
            if failed is None:
                batch = batch[len(part) :]
            else:
                self._halve(part, failed)
                clear_memory()

    def tell(self) -> None:
        """Warn if batches have become smaller."""
        if self.first is None:
            return
        rows, tokens = self.first
        warn_user(
            f"A batch of {rows} rows with {tokens} tokens did not fit into the memory of {self.device}, so batches of "
            f"at most {self.budget} tokens were used instead. Set a lower eval_batch_size, in rows, to begin "
            "with smaller ones."
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


def attempt(work: Callable[[], Result]) -> Result | RuntimeError:
    """Return what `work` returns, or the error of a memory that did not suffice for it."""
    try:
        return work()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        # The frames of a traceback hold the tensors that fill the memory.
        error.__context__ = None
        return error.with_traceback(None)


def clear_memory() -> None:
    """Give back what the device's allocator keeps, garbage included."""
    from accelerate.utils.memory import clear_device_cache

    clear_device_cache(garbage_collection=True)
