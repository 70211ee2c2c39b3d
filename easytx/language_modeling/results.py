"""What language models return, and how they are scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from easytx.core.calls import Metric, custom_scores
from easytx.core.results import Prediction
from easytx.data.prepared import TaskData


@dataclass(frozen=True)
class TokenScores:
    """What a model says about the tokens that it was asked for.

    Attributes:
        row: The document of each token, of shape (tokens,).
        losses: Its cross entropy.
        truth: Its number in the vocabulary.
        predicted: The number that was predicted.
        told: Of a discriminator, loss and success for each token, of shape (tokens, 2); None for others.
    """

    row: np.ndarray
    losses: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray
    told: np.ndarray | None = None


class PredictionWithPassages(Prediction):
    """What `predict` returns with `rag`: `responses, token_ids`, and the passages that were found.

    Attributes:
        passages: Those of each text, best first; a column of `to_frame()` too.
    """

    passages: list[list[str]]

    def __new__(cls, prediction: Prediction, passages: list[list[str]]) -> PredictionWithPassages:
        """Keep a prediction, and the passages behind it."""
        frame = prediction.frame.assign(passages=pd.Series(passages, index=prediction.frame.index, dtype=object))
        self: Any = super().__new__(cls, prediction.predictions, prediction.raw_outputs, frame)
        self.passages = passages
        return self  # type: ignore[no-any-return]


def token_scores(values: list[np.ndarray], row: np.ndarray) -> TokenScores:
    """Return the scores of all blocks as flat arrays.

    Args:
        values: One array of shape (tokens, 3) per block, as `Objective.reduce` gives them.
        row: The document of each block.
    """
    flat = np.concatenate(values)
    rows = np.repeat(row, [len(value) for value in values])
    told = np.isnan(flat[:, 0])
    asked = flat[~told]
    discriminated = flat[told, 1:] if told.any() else None
    return TokenScores(
        rows[~told], asked[:, 0], asked[:, 1].astype(np.int64), asked[:, 2].astype(np.int64), discriminated
    )


def scores(answers: TokenScores, metrics: Mapping[str, Metric]) -> dict[str, Any]:
    """Return perplexity, the share of tokens predicted rightly, and custom metrics.

    Perplexity is the exponential of the mean cross entropy over all tokens that were asked for.

    Args:
        answers: What the model said.
        metrics: Functions of (true token numbers, predicted token numbers).
    """
    mean = answers.losses.mean(dtype=np.float64)
    found = {"perplexity": _exponential(mean), "accuracy": float((answers.truth == answers.predicted).mean())}
    if answers.told is not None:
        told = answers.told.mean(axis=0, dtype=np.float64)
        found |= {
            "generator_loss": float(mean),
            "discriminator_loss": float(told[0]),
            "discriminator_accuracy": float(told[1]),
        }
    return {**found, **custom_scores(metrics, answers.truth, answers.predicted)}


def by_document(answers: TokenScores, data: TaskData) -> pd.DataFrame:
    """Return one row per document: text, tokens, loss and perplexity; NaN where no token was asked for."""
    number = len(data.frame)
    tokens = np.bincount(answers.row, minlength=number)
    total = np.bincount(answers.row, weights=answers.losses, minlength=number)
    loss = np.divide(total, tokens, out=np.full(number, np.nan), where=tokens > 0)
    with np.errstate(over="ignore"):
        return data.frame[["text"]].assign(tokens=tokens, loss=loss, perplexity=np.exp(loss))


def _exponential(mean: Any) -> float:
    with np.errstate(over="ignore"):
        return float(np.exp(mean))
