from __future__ import annotations

import sys

import pandas as pd
import pytest

from easytx.core.results import EvalResult, TrainResult
from easytx.errors import ArgumentError, MissingExtraError
from easytx.plots import confusion_matrix, learning_curve


@pytest.fixture
def training() -> TrainResult:
    details = {"global_step": [10, 20], "train_loss": [1.0, 0.5], "eval_loss": [0.9, 0.6], "mcc": [0.1, 0.4]}
    return TrainResult(20, details, {"best_step": 20})


def test_a_learning_curve_has_the_losses_the_score_and_the_best_step(training):
    axes = learning_curve(training, "mcc")
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}
    assert drawn["train_loss"] == [[10, 1.0], [20, 0.5]]
    assert drawn["eval_loss"] == [[10, 0.9], [20, 0.6]]
    (right,) = [other for other in axes.figure.axes if other is not axes]
    assert right.get_lines()[0].get_xydata().tolist() == [[10, 0.1], [20, 0.4]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "train_loss",
        "eval_loss",
        "mcc",
        "best model",
    ]


def test_a_loss_is_not_drawn_twice(training):
    axes = learning_curve(training, "eval_loss")
    assert axes.figure.axes == [axes]
    assert [line.get_label() for line in axes.get_lines()] == ["train_loss", "eval_loss", "best model"]


def test_given_axes_are_drawn_on(training):
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    assert learning_curve(training, axes=axes) is axes


def test_a_training_without_evaluations_has_no_curve():
    with pytest.raises(ArgumentError, match="train with evaluate_during_training=True and eval_df"):
        learning_curve(TrainResult(5, 0.7))


def test_an_unknown_score_is_refused(training):
    with pytest.raises(ArgumentError, match="There is no score 'f2'; there are"):
        learning_curve(training, "f2")


def test_a_confusion_matrix_counts_true_classes_in_rows():
    frame = pd.DataFrame({"labels": ["a", "a", "b", "c"], "prediction": ["a", "b", "b", "b"]})
    axes = confusion_matrix(EvalResult({}, None, [], frame))
    numbers = [text.get_text() for text in axes.texts]
    assert numbers == ["1", "1", "0", "0", "1", "0", "0", "1", "0"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]


def test_a_missing_matplotlib_says_what_to_install(training, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'easytx\[plots\]'"):
        learning_curve(training)
