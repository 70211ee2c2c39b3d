"""What a model says about replies, and how good that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from easytx.core.generative_model import TextAnswers


@dataclass(frozen=True)
class Ranking:
    """What a model says about the true replies.

    Attributes:
        totals: The sum of the cross entropy of each true reply's tokens, and their number, of shape (rows, 2).
        places: The place of each true reply among its candidates, counted from 1, of shape (rows,); NaN without others.
        choices: The cross entropy of choosing each, of shape (rows,); NaN where the model has no head for it.
    """

    totals: np.ndarray
    places: np.ndarray
    choices: np.ndarray

    @property
    def losses(self) -> np.ndarray:
        """The mean cross entropy of the tokens of each true reply, of shape (rows,)."""
        return np.asarray(self.totals[:, 0] / np.maximum(self.totals[:, 1], 1))

    @property
    def loss(self) -> float:
        """The mean cross entropy of all tokens of the true replies."""
        return float(self.totals[:, 0].sum(dtype=np.float64) / max(self.totals[:, 1].sum(), 1))

    def weighted(self, reply_weight: float, choice_weight: float) -> float:
        """Return the loss that training lowers: with a head that chooses, the weighted sum of two."""
        chosen = self.choices[~np.isnan(self.choices)]
        return reply_weight * self.loss + choice_weight * float(chosen.mean()) if len(chosen) else self.loss

    def scores(self) -> dict[str, float]:
        """Return language_model_loss, perplexity and, where there are candidates, hits@1."""
        with np.errstate(over="ignore"):
            found = {"language_model_loss": self.loss, "perplexity": float(np.exp(self.loss))}
        places = self.places[~np.isnan(self.places)]
        return {**found, "hits@1": float((places == 1).mean())} if len(places) else found


@dataclass(frozen=True)
class ChatAnswers(TextAnswers):
    """Replies, and what the model says about the true ones; None without them."""

    ranking: Ranking | None = None


def ranking(values: Sequence[np.ndarray], groups: Sequence[np.ndarray]) -> Ranking:
    """Return what a model says about the true replies.

    Candidates are ranked by the head that chooses; without one, by the mean likelihood of their tokens. Of equal ones
    the true one comes last.

    Args:
        values: For each candidate, the sum of the losses of its tokens, their number and, where there is a head that
            chooses, its score.
        groups: The positions of each row's candidates, the true one last.
    """
    flat = np.stack(values)
    chooses = flat.shape[1] > 2
    points = flat[:, 2] if chooses else -flat[:, 0] / np.maximum(flat[:, 1], 1)
    places, choices = np.full(len(groups), np.nan), np.full(len(groups), np.nan)
    for row, group in enumerate(groups):
        if len(group) > 1:
            own = points[group].astype(np.float64)
            places[row] = 1 + (own[:-1] >= own[-1]).sum()
            choices[row] = np.logaddexp.reduce(own) - own[-1] if chooses else np.nan
    return Ranking(flat[[group[-1] for group in groups], :2], places, choices)


def with_places(frame: Any, answers: ChatAnswers) -> Any:
    """Return rows with the place of the true reply among its candidates, where some row has candidates."""
    if answers.ranking is None or np.isnan(answers.ranking.places).all():
        return frame
    return frame.assign(rank=answers.ranking.places)
