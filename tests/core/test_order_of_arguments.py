"""Arguments without their names, in the order in which scripts give them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from easytx import ClassificationModel, MultiLabelClassificationModel, NERModel, QuestionAnsweringModel
from easytx.errors import ArgumentError

ARGS = {"silent": True, "max_steps": 1, "manual_seed": 0, "no_save": True, "fp16": False}
ROWS = pd.DataFrame({"text": ["a good film", "a bad one"], "labels": [0, 1]})
SEVERAL = ROWS.assign(labels=[[1, 0], [0, 1]])
CONTEXT = "Anna moved from Porto to Vienna."
QUESTIONS = [{"context": CONTEXT, "qas": [{"id": 7, "question": "Where to?"}]}]


def _without_the_note(warned: Any, call: Any) -> Any:
    """Return what a call gives, whose only warning is that the class says whether labels are multi-label."""
    found, messages = warned(call)
    assert [message for message in messages if "multi_label=" not in message] == []
    assert len(messages) == 1
    return found


def test_classification(checkpoint: Path, tmp_path: Path, warned: Any) -> None:
    model = ClassificationModel("bert", str(checkpoint), None, None, 2, [1.0, 2.0], {**ARGS, "no_save": False}, False)
    assert (model.num_labels, model.weight) == (2, [1.0, 2.0])
    steps, _ = _without_the_note(
        warned, lambda: model.train_model(ROWS, False, "there/model", False, {"learning_rate": 1e-3})
    )
    assert steps == 1
    assert model.args.learning_rate == 1e-3
    assert (tmp_path / "there" / "model" / "config.json").is_file()
    result, outputs, wrong = _without_the_note(
        warned, lambda: model.eval_model(ROWS, False, "there/scores", True, True)
    )
    assert (tmp_path / "there" / "scores" / "eval_results.txt").is_file()
    assert outputs.shape == (2, 2)
    assert result["mcc"] is not None
    assert len(wrong) <= 2
    assert len(_without_the_note(warned, lambda: model.predict(["a film"], False)).predictions) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    with pytest.raises(ArgumentError) as refused:
        model.predict(["a film"], False, 3)
    assert str(refused.value) == "predict takes at most 2 arguments without their names."


def test_the_folder_may_be_second(checkpoint: Path, tmp_path: Path) -> None:
    model = ClassificationModel("bert", checkpoint, args={**ARGS, "no_save": False})
    model.train_model(ROWS, "there")
    assert (tmp_path / "there" / "config.json").is_file()


def test_multi_label(checkpoint: Path, tmp_path: Path, warned: Any) -> None:
    args = {**ARGS, "no_save": False, "evaluate_during_training": True, "save_eval_checkpoints": False}
    model = MultiLabelClassificationModel("bert", checkpoint, 2, [1.0, 2.0], args, False)
    assert model.pos_weight == [1.0, 2.0]
    others = SEVERAL.assign(text=["the best", "the worst"])
    trained = _without_the_note(warned, lambda: model.train_model(SEVERAL, True, others, "there"))
    assert trained.training_details["global_step"] == [1]
    assert (tmp_path / "there" / "config.json").is_file()


def test_arguments_of_ranking_that_say_nothing_are_taken(checkpoint: Path, warned: Any) -> None:
    model = ClassificationModel("bert", checkpoint, args=ARGS)
    _, messages = warned(lambda: model.train_model(ROWS, qrels=None, run_dict=None, eval_name=None, eval_set="dev"))
    assert messages == []


def test_named_entities(checkpoint: Path) -> None:
    model = NERModel("bert", checkpoint, ["O", "B-PER"], [1.0, 2.0], ARGS, False)
    predictions, outputs = model.predict([["Anna", "moved"]], False)
    assert [list(word) for word in predictions[0]] == [["Anna"], ["moved"]]
    assert len(outputs[0]) == 2


def test_questions(checkpoint: Path, warned: Any) -> None:
    model = QuestionAnsweringModel("bert", checkpoint, {**ARGS, "max_seq_length": 100}, False)
    answers, probabilities = model.predict(QUESTIONS, 2)
    assert [answer["id"] for answer in answers] == [probability["id"] for probability in probabilities] == [7]
    assert len(answers[0]["answer"]) == len(probabilities[0]["probability"]) == 2
    assert len(model.predict(QUESTIONS, n_best_size=3).predictions[0]["answer"]) == 3
    with pytest.raises(ArgumentError) as refused:
        model.predict(QUESTIONS, 0)
    assert str(refused.value) == "n_best_size must be at least 1, but is 0."
    rows = pd.DataFrame({"context": [CONTEXT], "question": ["Where to?"], "answers": ["Vienna"]})
    (result, texts), messages = warned(lambda: model.eval_model(rows, verbose_logging=True))
    assert messages == [
        "eval_model(verbose_logging=...) has no effect: logging.getLogger('easytx') says how much is logged."
    ]
    assert sum(result[name] for name in ("correct", "similar", "incorrect")) == 1
    assert set(texts) == {"correct_text", "similar_text", "incorrect_text"}
