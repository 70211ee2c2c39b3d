"""Training that goes on with smaller batches after one that does not fit into the device's memory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import nn
from transformers import Trainer

from easytx.config.warn import warn_user
from easytx.errors import OutOfMemoryError
from easytx.training.smaller import attempt, clear_memory

__all__ = ["RecoveringTrainer"]

logger = logging.getLogger(__name__)

Rows: TypeAlias = list[dict[str, Any]]

# Under this name a batch has its rows.
ROWS = "rows_of_batch"


class RecoveringTrainer(Trainer):
    """A Trainer that computes a batch in parts from when one does not fit into the device's memory.

    A step that fails so has changed no weights yet. Its gradients are dropped, and it is done again from its first
    batch on, with the random numbers it began with. So a training goes on as if it had been given the smaller batches
    with more accumulation steps, and neither its order of rows nor the number of its steps changes.
    """

    def __init__(self, **kwargs: Any) -> None:
        """Take what a Trainer takes."""
        self.collate = kwargs["data_collator"]
        kwargs["data_collator"] = _WithRows(self.collate)
        super().__init__(**kwargs)
        # Rows that are computed at once; None for whole batches.
        self.most_rows: int | None = None
        # The batches whose gradients are waiting for those of the rest of a step.
        self.accumulated: list[Rows] = []
        self.warned = False

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """Compute the gradients of a batch, and return its loss."""
        inputs = dict(inputs)
        rows: Rows = inputs.pop(ROWS).rows
        if not self.accumulated:
            self.random_state = _random_state(self.args.device)
        batches = [*self.accumulated, rows]
        loss = attempt(lambda: self._computed(model, rows, inputs))
        while isinstance(loss, RuntimeError):
            self._halve(max(map(len, batches)), loss)
            model.zero_grad()
            clear_memory()
            _set_random_state(self.args.device, self.random_state)
            loss = attempt(lambda: [self._computed(model, batch) for batch in batches][-1])
            if not isinstance(loss, RuntimeError):
                self._tell(max(map(len, batches)))
        self.accumulated = [] if self.accelerator.sync_gradients else batches
        return loss

    def _computed(self, model: nn.Module, rows: Rows, inputs: dict[str, Any] | None = None) -> torch.Tensor:
        most = self.most_rows or len(rows)
        if inputs is not None and len(rows) <= most:
            return super().training_step(model, inputs)
        steps, losses = self.current_gradient_accumulation_steps, []
        try:
            for start in range(0, len(rows), most):
                part = rows[start : start + most]
                # A loss is divided by this: each part counts as much as its rows do in the mean over the batch.
                divisor: Any = steps * len(rows) / len(part)
                self.current_gradient_accumulation_steps = divisor
                losses.append(super().training_step(model, self.collate(_copied(part))))
        finally:
            self.current_gradient_accumulation_steps = steps
        return torch.stack(losses).sum()

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


@dataclass
class _Kept:
    """Rows in a form that is passed on as it is on the way to the device."""

    rows: Rows


class _WithRows:
    """Collator that keeps the rows beside their batch, for when it has to be split."""

    def __init__(self, collate: Callable[[Rows], Any]) -> None:
        self.collate = collate

    def __call__(self, rows: Rows) -> dict[str, Any]:
        return {**self.collate(_copied(rows)), ROWS: _Kept(rows)}


def _copied(rows: Rows) -> Rows:
    """Return rows that a collator may take columns from."""
    return [dict(row) for row in rows]


def _random_state(device: torch.device) -> list[torch.Tensor]:
    """Return the states of the random numbers that networks draw, of the CPU and of the device."""
    return [module.get_rng_state() for module in _random_modules(device)]


def _set_random_state(device: torch.device, states: list[torch.Tensor]) -> None:
    for module, state in zip(_random_modules(device), states, strict=True):
        module.set_rng_state(state)


def _random_modules(device: torch.device) -> list[Any]:
    return [torch] if device.type == "cpu" else [torch, torch.get_device_module(device)]
