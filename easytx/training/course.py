"""What a task changes in the course of its training, from epoch to epoch and from step to step."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers import TrainerCallback

__all__ = ["Course", "HighLosses"]


class HighLosses:
    """Repeats the steps of batches whose loss is above the mean of those before.

    A batch is repeated, with a step of the optimiser each time, as long as its loss is above that mean, and at most a
    number of times. Repetitions count neither as steps nor for the learning rate's schedule.
    """

    def __init__(self, most: int, window: int) -> None:
        """Take how often a batch is repeated at most, and of how many batches the mean is; before, none is."""
        self.most, self.losses = most, deque[float](maxlen=window)

    def computed(self, trainer: Any, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Return the loss of a batch whose gradients are waiting to be applied.

        Args:
            trainer: An `EasyTrainer`.
            compute: Computes the gradients of the batch, and returns its loss.
        """
        loss = compute()
        for _ in range(self.most):
            if not self._is_high(trainer, loss):
                break
            trainer.take_step()
            loss = compute()
        self.losses.append(self._of_all_ranks(trainer, loss))
        return loss

    def _is_high(self, trainer: Any, loss: torch.Tensor) -> bool:
        if len(self.losses) < (self.losses.maxlen or 0):
            return False
        return self._of_all_ranks(trainer, loss) > sum(self.losses) / len(self.losses)

    def _of_all_ranks(self, trainer: Any, loss: torch.Tensor) -> float:
        # All of them have to do the same.
        return float(trainer.accelerator.gather(loss.detach()).mean())


class Course(TrainerCallback):
    """A callback of the Trainer that a task makes for each of its trainings.

    Attributes:
        sampler: The order of the rows; None for batches of like lengths.
        repeats: Which batches are repeated; None for none.
    """

    sampler: Sampler[int] | None = None
    repeats: HighLosses | None = None
