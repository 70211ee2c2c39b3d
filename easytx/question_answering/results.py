"""What question answering returns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from easytx.core.results import Restorable

if TYPE_CHECKING:
    import pandas as pd

    from easytx.question_answering.spans import SpanPrediction


class _Eval(NamedTuple):
    result: dict[str, Any]
    texts: dict[str, dict[str, Any]]


class QAEvalResult(Restorable, _Eval):
    """What `eval_model` returns: `result, texts`.

    `texts` has `correct_text`, {id: answer}, and `similar_text` and `incorrect_text`,
    {id: {"truth", "predicted", "question"}}.
    """

    frame: pd.DataFrame

    def __new__(cls, result: dict[str, Any], texts: dict[str, Any], frame: pd.DataFrame) -> QAEvalResult:
        """Keep the tuple's fields, and the frame behind them."""
        self = super().__new__(cls, result, texts)
        self.frame = frame
        return self

    def to_frame(self) -> pd.DataFrame:
        """Return one row per question, in order and under its index."""
        return self.frame.copy()


def by_id(
    answers: Sequence[SpanPrediction], frame: pd.DataFrame
) -> tuple[dict[str, str], dict[str, list[str]], dict[str, str]]:
    """Return, by the id of the question, the predicted text, the true texts and the question."""
    ids = frame["id"].tolist()
    predicted = {i: answer.answers[0] for i, answer in zip(ids, answers, strict=True)}
    truths = dict(zip(ids, frame["answers"].tolist(), strict=True))
    return predicted, truths, dict(zip(ids, frame["question"].tolist(), strict=True))


def with_answers(answers: Sequence[SpanPrediction], frame: pd.DataFrame) -> pd.DataFrame:
    """Return the questions with the best answer, its probability and where it starts (-1 for none)."""
    return frame.assign(
        prediction=[answer.answers[0] for answer in answers],
        probability=[answer.probabilities[0] for answer in answers],
        start=[answer.start_chars[0] for answer in answers],
    )


def write_answers(folder: Path, answers: Sequence[SpanPrediction], ids: Sequence[Any]) -> None:
    """Write the best answers, the n best with probabilities, and the odds of "no answer", as JSON by id."""

    def listed(answer: SpanPrediction) -> list[dict[str, Any]]:
        pairs = zip(answer.answers, answer.probabilities, strict=True)
        return [{"text": text, "probability": probability} for text, probability in pairs]

    files: dict[str, list[Any]] = {
        "predictions_test.json": [answer.answers[0] for answer in answers],
        "nbest_predictions_test.json": [listed(answer) for answer in answers],
        "null_odds_test.json": [answer.null_odds for answer in answers],
    }
    for name, values in files.items():
        content = json.dumps(dict(zip(map(str, ids), values, strict=True)), indent=2, ensure_ascii=False)
        (folder / name).write_text(content + "\n", encoding="utf-8")
