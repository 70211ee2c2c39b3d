"""Where labels come from, and how they come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import easytx
from easytx.classification import ClassificationModel
from easytx.errors import ArgumentError, LabelError
from easytx.testing import tiny_checkpoint


def _model(checkpoint: Path, **options: Any) -> ClassificationModel:
    return ClassificationModel("bert", checkpoint, use_cuda=False, **options)


@pytest.mark.parametrize(
    ("options", "labels"),
    [
        ({"labels": ["b", "a"]}, ["b", "a"]),
        ({"labels": [7, 3]}, [7, 3]),
        ({"labels": np.array(["b", "a"]).tolist()}, ["b", "a"]),
        ({"args": {"labels_list": ["b", "a"]}}, ["b", "a"]),
        ({"args": {"labels_list": [np.int64(7), np.int64(3)]}}, [7, 3]),
        ({"args": {"labels_map": {"b": 0, "a": 1}}}, ["b", "a"]),
        ({"args": {"labels_map": {7: 0, 3: 1}}}, [7, 3]),
        ({"args": {"labels_map": {0: 1, 1: 0}}}, [1, 0]),
        ({"args": {"labels_list": [True, False]}}, [True, False]),
        ({"args": {"labels_list": [0, 1]}}, [0, 1]),
        ({"args": {"labels_list": ["a", 1, True]}}, ["a", 1, True]),
        ({"num_labels": 3}, [0, 1, 2]),
        ({}, [0, 1]),
    ],
)
def test_stated_labels_come_back_with_their_type(
    options: dict[str, Any], labels: list[Any], checkpoint: Path, tmp_path: Path
) -> None:
    model = _model(checkpoint, **options)
    folder = model.save_model(tmp_path)
    for found in (model, easytx.load(folder, use_cuda=False)):
        assert found.known_labels().labels == labels
        assert [type(label) for label in found.known_labels().labels] == [type(label) for label in labels]
        assert found.num_labels in (None, len(labels))
        assert found.model.config.num_labels == len(labels)


def test_labels_that_contradict_each_other_are_refused(checkpoint: Path) -> None:
    with pytest.raises(LabelError) as refused:
        _model(checkpoint, labels=["a", "b"], args={"labels_list": ["b", "a"]})
    assert str(refused.value) == "labels is ['a', 'b'], but args.labels_list is ['b', 'a']. Give one of the two."
    with pytest.raises(LabelError) as refused:
        _model(checkpoint, num_labels=3, args={"labels_list": ["b", "a"]})
    assert str(refused.value) == "num_labels is 3, but there are 2 labels: ['b', 'a']. Leave num_labels out."
    with pytest.raises(LabelError, match=r"^labels_map must number its labels from 0 without gaps"):
        _model(checkpoint, args={"labels_map": {"a": 1, "b": 2}})


@pytest.mark.parametrize(
    ("options", "values", "labels"),
    [
        ({}, ["b", "a", "b"], ["a", "b"]),
        ({}, [1, 0, 2], [0, 1, 2]),
        ({}, [3, 7], [3, 7]),
        ({}, [True, False], [False, True]),
        ({"num_labels": 2}, [True, False], [False, True]),
        ({"num_labels": 2}, [1, 2], [1, 2]),
        ({"num_labels": 4}, [0, 2], [0, 1, 2, 3]),
        ({"labels": ["z", "b", "a"]}, ["a", "b"], ["z", "b", "a"]),
    ],
)
def test_labels_are_learnt_from_rows_where_they_are_not_stated(
    options: dict[str, Any], values: list[Any], labels: list[Any], checkpoint: Path
) -> None:
    model = _model(checkpoint, **options)
    ids = model.label_ids(values, "train", "train_df")
    assert [model.known_labels().labels[i] for i in ids] == values
    assert [*map(repr, model.known_labels().labels)] == [*map(repr, labels)]
    assert model.num_labels == len(labels)
    assert model.args["labels_list"] == labels


def test_another_number_of_labels_than_stated_is_refused(checkpoint: Path) -> None:
    with pytest.raises(LabelError) as refused:
        _model(checkpoint, num_labels=2).learn_labels(["a", "b", "c"], name="train_df")
    assert str(refused.value) == (
        "num_labels is 2, but train_df has 3 labels: ['a', 'b', 'c']. "
        "Leave num_labels out, or list all labels in args.labels_list."
    )
    with pytest.raises(LabelError) as refused:
        _model(checkpoint, num_labels=1).learn_labels([0, 1], name="train_df")
    assert str(refused.value) == (
        "num_labels is 1, but train_df has 2 labels: [0, 1]. "
        "Leave num_labels out, or set regression=True in args to predict numbers."
    )


def test_one_class_only_is_refused(checkpoint: Path) -> None:
    with pytest.raises(LabelError) as refused:
        _model(checkpoint).learn_labels(["a", "a"], name="train_df")
    assert str(refused.value) == (
        "train_df has one class only: 'a' in all 2 rows. A classifier needs rows of two classes or more."
    )


def test_a_label_that_was_not_stated_is_refused(checkpoint: Path) -> None:
    with pytest.raises(LabelError) as refused:
        _model(checkpoint, labels=["a", "b"]).label_ids(["a", "c"], "train", "train_df")
    assert str(refused.value) == (
        "train_df has 1 row with labels that labels_list did not have: 'c' (row 1). Known labels are ['a', 'b']."
    )


def test_a_checkpoint_with_a_head_brings_its_labels(tmp_path: Path) -> None:
    names = {"id2label": {0: "neg", 1: "pos"}, "label2id": {"neg": 0, "pos": 1}}
    folder = tiny_checkpoint(tmp_path, head="AutoModelForSequenceClassification", **names)
    model = _model(folder)
    assert (model.known_labels().labels, model.num_labels) == (["neg", "pos"], 2)
    assert model.learn_labels(["pos", "neg"], name="train_df").labels == ["neg", "pos"]
    assert _model(folder, num_labels=5).known_labels().labels == [0, 1, 2, 3, 4]


def test_weights_per_label_are_worked_out_anew_for_other_rows(checkpoint: Path) -> None:
    model = _model(checkpoint, weight="balanced", labels=["a", "b"])
    assert model.label_weights() is None
    model.label_ids(["a", "b", "b", "b"], "train", "train_df")
    assert model.label_weights() == [2.0, pytest.approx(2 / 3)]
    model.label_ids(["a", "b"], "train", "train_df")
    assert model.label_weights() == [1.0, 1.0]
    assert model.weight == "balanced"


@pytest.mark.parametrize("weight", [[1.0, 3.0], np.array([1.0, 3.0]), {"b": 3.0}])
def test_stated_weights_count_before_any_training(weight: Any, checkpoint: Path) -> None:
    model = _model(checkpoint, weight=weight, labels=["a", "b"])
    assert model.label_weights() == [1.0, 3.0]


def test_weights_for_other_labels_are_refused(checkpoint: Path) -> None:
    with pytest.raises(ArgumentError, match=r"^weight needs 2 numbers, one for each of the labels 'a', 'b', but has 3"):
        _model(checkpoint, weight=[1, 2, 3], labels=["a", "b"]).label_weights()
    with pytest.raises(ArgumentError, match=r"^weight names \['c'\], but the labels are 'a', 'b'\."):
        _model(checkpoint, weight={"c": 1}, labels=["a", "b"]).label_weights()
