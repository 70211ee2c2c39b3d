"""Answers of taggers as trackers show them."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pandas as pd

from easytx.data.labels import LabelMap
from easytx.ner.data import Answers
from easytx.training.judged import Judged

# Keeps the logarithm of a probability finite.
_TINY = 1e-12


def judged(answers: Answers, sentences: pd.DataFrame, labels: LabelMap) -> Judged:
    """Return one line per sentence, with the mean cross entropy of its words, and the tag probabilities of all words.

    The probability of a sentence is that of its least certain tag.
    """
    from scipy.special import softmax

    truth = labels.encode(list(chain.from_iterable(sentences["labels"])), name="labels")
    tags = labels.encode(list(chain.from_iterable(answers.tags)), name="tags")
    chances = np.full((len(truth), len(labels)), np.nan)
    pieces = list(chain.from_iterable(answers.logits))
    seen = np.flatnonzero([len(piece) > 0 for piece in pieces])
    if len(seen):
        chances[seen] = softmax(np.stack([pieces[i][0] for i in seen]).astype(np.float64), axis=1)
    loss = -np.log(chances[np.arange(len(truth)), truth].clip(_TINY))
    ends = np.cumsum([len(words) for words in sentences["words"]])[:-1]
    columns = {
        "text": _joined(sentences["words"]),
        "truth": _joined(sentences["labels"]),
        "prediction": _joined(answers.tags),
        "probability": [_least(part) for part in answers.probabilities],
        "loss": [float(np.nanmean(part)) if np.isfinite(part).any() else 0.0 for part in np.split(loss, ends)],
    }
    wrong = np.array([bool(part.any()) for part in np.split(truth != tags, ends)])
    return Judged(pd.DataFrame(columns), wrong, labels.names, truth, chances, tags, "per_entity")


def _joined(lists: object) -> list[str]:
    return [" ".join(map(str, items)) for items in lists]  # type: ignore[attr-defined]


def _least(probabilities: np.ndarray) -> float:
    return float(np.nanmin(probabilities)) if np.isfinite(probabilities).any() else float("nan")
