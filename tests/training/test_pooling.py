"""One vector from the vectors of a row's tokens, padding left out."""

from __future__ import annotations

import pytest
import torch

from easytx.training.pooling import max_of_tokens, mean_of_tokens, token_at, token_with_id

# Two rows of width 1; the second has one token and padding with a large value.
STATES = torch.tensor([[[1.0], [2.0], [6.0]], [[-4.0], [99.0], [99.0]]])
MASK = torch.tensor([[1, 1, 1], [1, 0, 0]])


def test_padding_never_counts() -> None:
    assert mean_of_tokens(STATES, MASK).tolist() == [[3.0], [-4.0]]
    assert max_of_tokens(STATES, MASK).tolist() == [[6.0], [-4.0]]
    assert token_at(STATES, MASK, 0).tolist() == [[1.0], [-4.0]]
    assert token_at(STATES, MASK, -1).tolist() == [[6.0], [-4.0]]
    ids = torch.tensor([[7, 5, 5], [5, 0, 0]])
    assert token_with_id(STATES, ids, 5).tolist() == [[2.0], [-4.0]]


def test_half_precision_is_added_up_in_full() -> None:
    states = torch.full((1, 3000, 1), 1.001, dtype=torch.bfloat16)
    found = mean_of_tokens(states, torch.ones(1, 3000))
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(float(states[0, 0, 0]), rel=1e-5)
