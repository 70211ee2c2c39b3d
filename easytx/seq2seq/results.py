"""What models that look up passages return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from easytx.core.generative_model import TextAnswers, TextOutputs
from easytx.core.results import Restorable, TextPrediction
from easytx.seq2seq.lookup import Found


@dataclass(frozen=True)
class RagOutputs(TextOutputs):
    """What a model writes, and what it found for it; None where no texts were wanted."""

    found: Found | None = None


@dataclass(frozen=True)
class RagAnswers(TextAnswers):
    """Texts, and what was found for each; None where no texts were wanted."""

    found: Found | None = None


class _Prediction(NamedTuple):
    outputs: list[Any]
    retrieved_docs: list[dict[str, list[str]]]
    doc_scores: np.ndarray


class RagPrediction(Restorable, _Prediction):
    """What `predict` returns: `outputs, retrieved_docs, doc_scores`, each with one entry per row.

    `outputs` are the texts. `retrieved_docs` are dicts of two lists, `title` and `text`, best passage first, and
    `doc_scores` of shape (rows, passages) are their dot products with the question.

    Attributes:
        raw_outputs: The token ids of each row's texts.
        frame: One row per row.
    """

    raw_outputs: list[Any]
    frame: pd.DataFrame

    def __new__(cls, written: TextPrediction, found: Found) -> RagPrediction:
        """Make the tuple of what was written and found."""
        self = super().__new__(cls, list(written), found.passages, found.scores)
        best = {f"passage_{name}": [docs[name][0] for docs in found.passages] for name in ("title", "text")}
        self.raw_outputs = written.raw_outputs
        self.frame = written.frame.assign(**best, doc_score=found.scores[:, 0])
        return self

    @property
    def predictions(self) -> list[Any]:
        """The texts, under the name they have in what other classes return."""
        return self.outputs

    def to_frame(self) -> pd.DataFrame:
        """Return one row per input, in its order and under its index, with its text and its best passage."""
        return self.frame.copy()

    def hits(self) -> pd.DataFrame:
        """Return one row per passage found: input_text, rank (from 1), title, text and doc_score."""
        number = self.doc_scores.shape[1]
        return pd.DataFrame(
            {
                "input_text": np.repeat(self.frame["input_text"].to_numpy(dtype=object), number),
                "rank": np.tile(np.arange(1, number + 1), len(self.frame)),
                **{name: [one for docs in self.retrieved_docs for one in docs[name]] for name in ("title", "text")},
                "doc_score": self.doc_scores.ravel(),
            },
            index=self.frame.index.repeat(number),
        )
