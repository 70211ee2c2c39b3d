"""Any number of labels per text, as vectors or as names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import easytx
from easytx.classification import MultiLabelClassificationModel
from easytx.errors import ArgumentError, LabelError

TEXTS = ["good food", "a long train", "food on the train", "a sad song"]
VECTORS = [[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]]
NAMES = [["food"], ["travel"], ["travel", "food"], []]
LONG = "The film was a joy from the first scene to the last and I would watch it again with the team in London"


def _frame(labels: list[Any]) -> pd.DataFrame:
    return pd.DataFrame({"text": TEXTS, "labels": labels}, index=[*"dcba"])


@pytest.mark.parametrize("options", [{}, {"num_labels": 3}, {"labels": ["food", "travel", "music"]}])
def test_vectors_are_answered_by_vectors(options: dict[str, Any], make: Any) -> None:
    model = make(MultiLabelClassificationModel, **options)
    model.train_model(_frame(VECTORS))
    predictions, raw_outputs = model.predict(TEXTS)
    assert np.shape(predictions) == (4, 3)
    assert {value for row in predictions for value in row} <= {0, 1}
    assert isinstance(predictions, list)
    assert isinstance(predictions[0], list)
    assert raw_outputs.shape == (4, 3)
    assert ((raw_outputs > 0) & (raw_outputs < 1)).all()
    assert predictions == (raw_outputs >= 0.5).astype(int).tolist()
    assert model.num_labels == 3
    assert list(model.predict_proba(TEXTS).columns) == options.get("labels", [0, 1, 2])
    again = easytx.load("outputs", use_cuda=False)
    assert again.predict(TEXTS).predictions == predictions


def test_names_are_answered_by_names(make: Any) -> None:
    model = make(MultiLabelClassificationModel, args={"threshold": 0.0001})
    model.train_model(_frame(NAMES))
    assert model.predict(TEXTS).predictions == [["food", "travel"]] * 4
    evaluation = model.eval_model(_frame(NAMES))
    result, model_outputs, wrong = evaluation
    assert set(result) >= {"LRAP", "eval_loss"}
    assert model_outputs.shape == (4, 2)
    assert [(example.guid, example.label) for example in wrong] == [(0, ["food"]), (1, ["travel"]), (3, [])]
    assert list(evaluation.to_frame().index) == [*"dcba"]
    assert list(evaluation.table.index) == ["food", "travel"]
    probabilities = model.predict_proba(_frame(NAMES))
    assert list(probabilities.columns) == ["food", "travel"]
    assert list(probabilities.index) == [*"dcba"]
    again = easytx.load("outputs", use_cuda=False)
    assert again.predict(TEXTS).predictions == [["food", "travel"]] * 4


def test_names_and_vectors_train_the_same_model(make: Any) -> None:
    by_name = make(MultiLabelClassificationModel, labels=["food", "travel"])
    by_vector = make(MultiLabelClassificationModel, labels=["food", "travel"])
    by_name.train_model(_frame(NAMES), output_dir="names")
    by_vector.train_model(_frame([row[:2] for row in VECTORS]), output_dir="vectors")
    assert np.array_equal(by_name.predict(TEXTS).raw_outputs, by_vector.predict(TEXTS).raw_outputs)


@pytest.mark.parametrize(
    ("options", "labels", "message"),
    [
        (
            {},
            [[1, 0], [1, 0, 1], [0, 1], [1]],
            "train_df has label lists of different lengths: 2 in row 0, but 3 in rows 1, 3. "
            "Each row needs one 0 or 1 per label.",
        ),
        (
            {},
            [[1, 0], None, 3, "x"],
            "train_df has no list of labels in 3 rows of the column 'labels': rows 1, 2, 3. "
            "Give a list of 0 and 1, one per label, or a list of label names.",
        ),
        (
            {"num_labels": 2},
            VECTORS,
            "num_labels is 2, but train_df has 3 labels a row. Leave num_labels out, or give one 0 or 1 per label.",
        ),
        (
            {"labels": ["food", "travel"]},
            VECTORS,
            "train_df has 3 labels a row, but the model has 2: ['food', 'travel'].",
        ),
        (
            {"labels": ["food", "music"]},
            NAMES,
            "train_df has 2 rows with labels that training did not have, such as 'travel' (rows 1, 2). "
            "Known labels are ['food', 'music'].",
        ),
        ({}, [[], [], [], []], "train_df has no label in any row."),
        (
            {},
            [["food", "travel"], ["travel", "food"], ["food", "travel"], ["food", "travel"]],
            "train_df has the same labels in all 4 rows: ['food', 'travel']. A classifier needs rows that differ.",
        ),
        (
            {},
            [[0, 1, 0]] * 4,
            "train_df has the same labels in all 4 rows: [1]. A classifier needs rows that differ.",
        ),
    ],
)
def test_wrong_labels_are_refused(options: dict[str, Any], labels: list[Any], message: str, make: Any) -> None:
    with pytest.raises(LabelError) as refused:
        make(MultiLabelClassificationModel, **options).train_model(_frame(labels))
    assert str(refused.value) == message


def test_each_label_has_its_threshold(make: Any) -> None:
    model = make(MultiLabelClassificationModel, num_labels=3, args={"threshold": [0.0, 1.0, 0.0]})
    assert model.predict(TEXTS).predictions == [[1, 0, 1]] * 4
    result = model.eval_model(_frame(VECTORS)).result
    assert 0 <= result["LRAP"] <= 1
    with pytest.raises(ArgumentError) as refused:
        make(MultiLabelClassificationModel, num_labels=3, args={"threshold": [0.5, 0.5]}).predict(TEXTS)
    assert str(refused.value) == "threshold must be one number or one per label (3), but has the shape (2,)."


@pytest.mark.parametrize("pos_weight", [[1.0, 2.0, 3.0], {2: 3.0}, "balanced"])
def test_presence_can_count_more_than_absence(pos_weight: Any, make: Any) -> None:
    plain = make(MultiLabelClassificationModel, num_labels=3)
    weighted = make(MultiLabelClassificationModel, num_labels=3, pos_weight=pos_weight)
    weighted.targets(_frame(VECTORS)["labels"], "train", "train_df")
    losses = [model.eval_model(_frame(VECTORS)).result["eval_loss"] for model in (plain, weighted)]
    assert losses[0] != pytest.approx(losses[1], abs=1e-3)
    assert weighted.weight is pos_weight


def test_balanced_is_absences_over_presences(make: Any) -> None:
    model = make(MultiLabelClassificationModel, num_labels=3, pos_weight="balanced")
    model.targets(_frame(VECTORS)["labels"], "train", "train_df")
    assert model.label_weights() == [1.0, 1.0, 3.0]


def test_a_loss_for_single_labels_is_refused(make: Any) -> None:
    model = make(MultiLabelClassificationModel, args={"loss_type": "focal"})
    with pytest.raises(ArgumentError, match=r"^loss_type is for labels that exclude each other"):
        model.train_model(_frame(VECTORS))


def test_custom_metrics_get_probabilities(make: Any) -> None:
    seen: list[Any] = []
    model = make(MultiLabelClassificationModel, num_labels=3)
    metric = lambda truth, outputs: seen.append((truth, outputs)) or 0.5  # noqa: E731
    evaluation = model.eval_model(_frame(VECTORS), mine=metric, prob_mine=metric)
    assert (evaluation.result["mine"], evaluation.result["prob_mine"]) == (0.5, 0.5)
    for truth, outputs in seen:
        assert truth.tolist() == VECTORS
        assert np.array_equal(outputs, evaluation.model_outputs)


def test_sliding_windows_keep_one_answer_a_row(make: Any) -> None:
    args = {"sliding_window": True, "max_seq_length": 10}
    model = make(MultiLabelClassificationModel, args=args)
    frame = pd.DataFrame({"text": [*TEXTS[:3], LONG], "labels": VECTORS})
    model.train_model(frame)
    predictions, raw_outputs = model.predict([LONG, *TEXTS])
    assert np.shape(predictions) == raw_outputs.shape == (5, 3)
    assert len(model.eval_model(frame).to_frame()) == 4


def test_pairs(make: Any) -> None:
    model = make(MultiLabelClassificationModel)
    frame = pd.DataFrame({"text_a": TEXTS, "text_b": TEXTS[::-1], "labels": VECTORS})
    model.train_model(frame)
    predictions, _ = model.predict([[a, b] for a, b in zip(TEXTS, TEXTS[::-1], strict=True)])
    assert predictions == model.eval_model(frame).to_frame()["prediction"].tolist()
