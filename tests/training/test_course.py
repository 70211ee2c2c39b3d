"""Batches of a high loss are repeated."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from easytx.training.course import HighLosses


class _Training:
    """One weight, whose losses are given; says how often it was changed."""

    def __init__(self) -> None:
        self.model = nn.Linear(1, 1, bias=False)
        self.model.weight.data.fill_(0.0)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1.0)
        self.accelerator = Accelerator(cpu=True)
        self.computed = 0

    def loss(self, *values: float) -> Any:
        """Return what computes gradients of 1, and returns one value after the other."""
        given = iter(values)

        def compute() -> torch.Tensor:
            self.model.zero_grad()
            (self.model.weight * -1.0).sum().backward()
            self.computed += 1
            return torch.tensor(next(given))

        return compute

    def take_step(self) -> None:
        self.optimizer.step()
        self.model.zero_grad()


def test_a_batch_above_the_mean_is_repeated_until_it_is_below() -> None:
    training, high = _Training(), HighLosses(3, 2)
    # Of fewer batches there is no mean yet.
    assert float(high.computed(training, training.loss(1.0))) == 1.0
    assert float(high.computed(training, training.loss(3.0))) == 3.0
    assert float(training.model.weight.detach()) == 0.0
    # The mean is 2; two steps bring it below.
    assert float(high.computed(training, training.loss(4.0, 2.5, 1.5))) == 1.5
    assert float(training.model.weight.detach()) == 2.0
    assert training.computed == 5
    # What was last counts: now the mean is 2.25.
    assert float(high.computed(training, training.loss(2.2))) == pytest.approx(2.2)
    assert float(training.model.weight.detach()) == 2.0


def test_a_batch_is_not_repeated_for_ever() -> None:
    training, high = _Training(), HighLosses(2, 1)
    high.computed(training, training.loss(1.0))
    assert float(high.computed(training, training.loss(9.0, 9.0, 9.0, 9.0))) == 9.0
    assert float(training.model.weight.detach()) == 2.0
    # The gradients of the last time are still there, for the step that follows.
    assert float(training.model.weight.grad) == -1.0
