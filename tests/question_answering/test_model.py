"""What an evaluation says of answers, worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from easytx import QuestionAnsweringModel
from easytx.question_answering.spans import SpanPrediction
from easytx.testing import tiny_checkpoint

CONTEXT = "It was Elin Berg who wrote the novel in Oslo in 1987."

# The true answers, what a model says, and what is to be said of that.
ANSWERS = {
    "equal": (["Elin Berg"], "Elin Berg", "correct"),
    "white space": ([" Elin Berg"], "Elin Berg ", "correct"),
    "another true answer": (["in Oslo", "Oslo"], "Oslo", "correct"),
    "case": (["Elin Berg"], "elin berg", "similar"),
    "a part": (["in Oslo in 1987"], "Oslo", "similar"),
    "more, of another true answer": (["1987", "Oslo"], "novel in Oslo", "similar"),
    "other": (["Oslo"], "1987", "incorrect"),
    "nothing": (["Oslo"], "", "incorrect"),
    "white space alone": (["Oslo"], " ", "incorrect"),
    "rightly nothing": ([], "", "correct"),
    "too much": ([], "Oslo", "incorrect"),
}


def test_an_empty_answer_is_correct_or_incorrect_and_never_similar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = [
        {
            "id": name,
            "question": f"Who ({name})?",
            "is_impossible": not truths,
            "answers": [{"text": text, "answer_start": CONTEXT.index(text)} for text in truths],
        }
        for name, (truths, _, _) in ANSWERS.items()
    ]
    model = QuestionAnsweringModel("bert", tiny_checkpoint(tmp_path / "bert"), use_cuda=False, args={"silent": True})
    said = [SpanPrediction([text], [1.0], [0], 0.0, text) for _, text, _ in ANSWERS.values()]
    monkeypatch.setattr(model, "decode", lambda _outputs, _data: said)
    seen: list[Any] = []
    result, texts = model.eval_model(
        [{"context": CONTEXT, "qas": questions}], seen=lambda *given: seen.append(given) or 1
    )

    kinds = {name: kind for name, (_, _, kind) in ANSWERS.items()}
    assert {name: kind for kind in ("correct", "similar", "incorrect") for name in texts[f"{kind}_text"]} == kinds
    assert {kind: result[kind] for kind in ("correct", "similar", "incorrect")} == {
        "correct": 4,
        "similar": 3,
        "incorrect": 4,
    }
    assert texts["correct_text"]["another true answer"] == "Oslo"
    assert texts["correct_text"]["rightly nothing"] == ""
    assert texts["incorrect_text"]["nothing"] == {"truth": "Oslo", "predicted": "", "question": "Who (nothing)?"}
    assert texts["similar_text"]["more, of another true answer"]["truth"] == "Oslo"
    # Functions of the user get the first true answer and the predicted one.
    assert seen == [
        ([truths[0] if truths else "" for truths, _, _ in ANSWERS.values()], [text for _, text, _ in ANSWERS.values()])
    ]
    # By the official scorer the five that are equal but for case, articles and white space are exact: 500 / 11.
    assert result["exact_match"] == pytest.approx(100 * 5 / 11)
    written = json.loads(Path("outputs/predictions_test.json").read_text("utf-8"))
    assert written == {name: text for name, (_, text, _) in ANSWERS.items()}
