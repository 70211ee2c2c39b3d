"""Answers to questions as trackers show them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from easytx.metrics.spans import exact_match, normalise_answer
from easytx.question_answering.spans import SpanPrediction
from easytx.training.judged import Judged

# The probability of a true answer that is not among the best ones.
_TINY = 1e-6


def judged(answers: Sequence[SpanPrediction], questions: pd.DataFrame) -> Judged:
    """Return one line per question; its loss is minus the logarithm of what true answers have of the probability."""
    truths = questions["answers"].tolist()
    first = [texts[0] if texts else "" for texts in truths]
    best = [answer.answers[0] for answer in answers]
    columns = {
        "question": questions["question"].tolist(),
        "context": questions["context"].tolist(),
        "truth": first,
        "prediction": best,
        "probability": [answer.probabilities[0] for answer in answers],
        "loss": [_loss(answer, texts) for answer, texts in zip(answers, truths, strict=True)],
    }
    wrong = [exact_match(guess, texts or [""]) < 1 for guess, texts in zip(best, truths, strict=True)]
    return Judged(pd.DataFrame(columns), np.array(wrong, dtype=bool))


def _loss(answer: SpanPrediction, truths: Sequence[str]) -> float:
    accepted = {normalise_answer(text) for text in truths or [""]}
    pairs = zip(answer.answers, answer.probabilities, strict=True)
    return -math.log(max(sum(chance for text, chance in pairs if normalise_answer(text) in accepted), _TINY))
