"""How the vectors of a text's tokens become the vector of the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from easytx.config.fields import closest
from easytx.data.checks import rows
from easytx.errors import ArgumentError, DataError
from easytx.training.inference import trimmed
from easytx.training.pooling import max_of_tokens, mean_of_tokens, token_at, token_with_id

NAMES = ("mean", "max", "cls", "concat")


@dataclass(frozen=True)
class Combination:
    """One way of combining, asked for in one call.

    Attributes:
        strategy: "mean", "max", "cls", "concat", the place of a token, or None for all tokens.
        normalize: Whether vectors get length 1.
        cls_id: The id of the token that stands for a whole text, where the tokenizer has one.
    """

    strategy: str | int | None
    normalize: bool
    cls_id: int | None

    def check(self, lengths: np.ndarray, *, name: str) -> None:
        """Raise where these rows have no such vectors.

        Args:
            lengths: Tokens of each row.
            name: What to call the rows in messages.

        Raises:
            ArgumentError: If there is no such strategy, or the tokenizer has no cls token.
            DataError: If rows are too short to have the token that is asked for.
        """
        strategy = self.strategy
        if strategy == "cls" and self.cls_id is None:
            raise ArgumentError(
                "combine_strategy is 'cls', but the tokenizer has no such token. Use 'mean', or -1 for the last token."
            )
        if isinstance(strategy, int) and not isinstance(strategy, bool):
            short = np.flatnonzero(lengths < (strategy + 1 if strategy >= 0 else -strategy))
            if len(short):
                raise DataError(
                    f"combine_strategy asks for token {strategy}, but {name} has {lengths[short[0]]} tokens in "
                    f"{rows(short)}. Leave such rows out, or ask for a token that all of them have."
                )
        elif strategy is not None and strategy not in NAMES:
            known = ", ".join(map(repr, NAMES))
            hint = closest(strategy, NAMES) if isinstance(strategy, str) else ""
            raise ArgumentError(
                f"combine_strategy must be {known}, the place of a token, or None, but is {strategy!r}.{hint}"
            )

    def reduce(self, outputs: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor | list[torch.Tensor]:
        """Return, per row of a batch, its vector; or those of its tokens, of shape (tokens, width)."""
        states, mask = outputs.last_hidden_state, batch["attention_mask"]
        if self.strategy in (None, "concat"):
            return trimmed(self._scaled(states.float()), mask)
        if self.strategy == "mean":
            return self._scaled(mean_of_tokens(states, mask))
        if self.strategy == "max":
            return self._scaled(max_of_tokens(states, mask))
        if self.strategy == "cls":
            return self._scaled(token_with_id(states, batch["input_ids"], int(self.cls_id or 0)))
        return self._scaled(token_at(states, mask, int(self.strategy or 0)))

    def collect(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """Return the vectors of all rows as one array; rows shorter than the longest end in zeros.

        Its shape is (rows, width); (rows, tokens, width) for None; (rows, tokens x width) for "concat".
        """
        if self.strategy not in (None, "concat"):
            return np.stack(values)
        longest = max(len(row) for row in values)
        filled = np.zeros((len(values), longest, values[0].shape[-1]), dtype=np.float32)
        for place, row in zip(filled, values, strict=True):
            place[: len(row)] = row
        return filled if self.strategy is None else filled.reshape(len(values), -1)

    def _scaled(self, vectors: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(vectors, dim=-1) if self.normalize else vectors
