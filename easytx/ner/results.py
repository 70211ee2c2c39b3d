"""What `NERModel` returns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from easytx.core.results import Prediction, Restorable
from easytx.metrics.sequence import entity_report, entity_table
from easytx.ner.data import Answers, caller_rows


class _NEREval(NamedTuple):
    result: dict[str, Any]
    model_outputs: list[list[list[list[float]]]]
    preds_list: list[list[Any]]


class NEREvalResult(Restorable, _NEREval):
    """What `NERModel.eval_model` returns: `result, model_outputs, preds_list`.

    `model_outputs` has for each sentence and word one list of logits per piece of the word: NaN where there is none.

    Attributes:
        table: Precision, recall, F1 and support of each entity type.
    """

    frame: pd.DataFrame
    table: pd.DataFrame

    def __new__(
        cls,
        result: dict[str, Any],
        model_outputs: list[list[list[list[float]]]],
        preds_list: list[list[Any]],
        frame: pd.DataFrame,
        table: pd.DataFrame,
    ) -> NEREvalResult:
        """Keep the tuple's fields, and the frame and table behind them."""
        self = super().__new__(cls, result, model_outputs, preds_list)
        self.frame, self.table = frame, table
        return self

    def to_frame(self) -> pd.DataFrame:
        """Return one row per word: sentence_id, word, label, prediction and probability."""
        return self.frame.copy()


def evaluation(result: dict[str, Any], sentences: pd.DataFrame, answers: Answers) -> NEREvalResult:
    """Return scores, and answers for sentences with labels."""
    table = entity_table(sentences["labels"].tolist(), answers.tags)
    return NEREvalResult(result, answers.listed_logits, answers.tags, words_frame(sentences, answers), table)


def prediction(sentences: pd.DataFrame, answers: Answers) -> Prediction:
    """Return answers for sentences: one dict a word, with its tag and with the logits of its pieces."""
    return Prediction(
        _by_word(sentences, answers.tags), _by_word(sentences, answers.listed_logits), words_frame(sentences, answers)
    )


def append_report(file: Path, sentences: pd.DataFrame, answers: Answers) -> None:
    """Append the table of the entity types to a file of scores."""
    with file.open("a", encoding="utf-8") as scores:
        scores.write(f"\n{entity_report(sentences['labels'].tolist(), answers.tags)}\n")


def words_frame(sentences: pd.DataFrame, answers: Answers) -> pd.DataFrame:
    """Return one row per word; in the order and under the index of the caller's rows, where a row was a word."""
    sizes = [len(words) for words in sentences["words"]]
    columns: dict[str, Any] = {"sentence_id": np.repeat(np.array(sentences["sentence_id"], dtype=object), sizes)}
    columns["word"] = _flat(sentences["words"])
    if "labels" in sentences:
        columns["label"] = _flat(sentences["labels"])
    columns["prediction"] = _flat(answers.tags)
    columns["probability"] = np.concatenate(answers.probabilities)
    frame = pd.DataFrame(columns).infer_objects()
    if "row" not in sentences:
        return frame
    return frame.set_axis(_flat(sentences["index"]), axis="index").iloc[np.argsort(caller_rows(sentences))]


def _by_word(sentences: pd.DataFrame, values: Sequence[Sequence[Any]]) -> list[list[dict[str, Any]]]:
    pairs = zip(sentences["words"], values, strict=True)
    return [[{word: value} for word, value in zip(*pair, strict=True)] for pair in pairs]


def _flat(lists: Any) -> list[Any]:
    return list(chain.from_iterable(lists))
