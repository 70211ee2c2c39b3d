"""One vector from the vectors of a row's tokens, on the device, in float32.

Everywhere `states` has the shape (rows, tokens, width) and `mask`, 1 for a token and 0 for padding, the shape (rows,
tokens). Padding is behind the tokens and never counts.
"""

from __future__ import annotations

import torch


def mean_of_tokens(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean over the tokens of each row, of shape (rows, width)."""
    weights = mask.unsqueeze(-1).to(torch.float32)
    return (states.float() * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)


def max_of_tokens(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the highest value over the tokens of each row, of shape (rows, width)."""
    return states.float().masked_fill(~mask.bool().unsqueeze(-1), -torch.inf).amax(dim=1)


def token_at(states: torch.Tensor, mask: torch.Tensor, place: int) -> torch.Tensor:
    """Return the vector of one token of each row, of shape (rows, width); -1 is a row's last token."""
    if place >= 0:
        return states[:, place].float()
    return states[torch.arange(len(states), device=states.device), mask.sum(dim=1) + place].float()


def token_with_id(states: torch.Tensor, input_ids: torch.Tensor, token_id: int) -> torch.Tensor:
    """Return the vector of the first token of each row that has this id, of shape (rows, width)."""
    return states[torch.arange(len(states), device=states.device), (input_ids == token_id).int().argmax(dim=1)].float()
