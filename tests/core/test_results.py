"""Results unpack as tuples, know their rows, and survive being copied."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from easytx.core.results import EvalResult, InputExample, Prediction, TrainResult

FRAME = pd.DataFrame({"text": ["a", "b"], "prediction": [1, 0]}, index=[7, 3])
TABLE = pd.DataFrame({"f1": [0.5]}, index=["x"])


def test_training() -> None:
    result = TrainResult(3, 0.5, {"seed": 1})
    global_step, training_details = result
    assert (global_step, training_details, result.info) == (3, 0.5, {"seed": 1})
    assert result.to_frame().to_dict("records") == [{"global_step": 3, "train_loss": 0.5}]
    assert TrainResult(3, 0.5).info == {}


def test_training_with_evaluation_has_a_row_per_evaluation() -> None:
    result = TrainResult(4, {"global_step": [2, 4], "train_loss": [0.5, 0.25], "mcc": [0.1, 0.2]})
    assert result.to_frame().to_dict("list") == result.training_details


def test_evaluation() -> None:
    example = InputExample(0, "a", None, label=1, prediction=0)
    evaluation = EvalResult({"mcc": 1.0}, [[0.1]], [example], FRAME, TABLE)
    result, model_outputs, wrong_predictions = evaluation
    assert (result, model_outputs, wrong_predictions) == ({"mcc": 1.0}, [[0.1]], [example])
    assert evaluation.table is TABLE
    frame = evaluation.to_frame()
    frame["text"] = "changed"
    pd.testing.assert_frame_equal(evaluation.to_frame(), FRAME)


def test_prediction() -> None:
    prediction = Prediction([1, 0], [[0.1], [0.2]], FRAME)
    predictions, raw_outputs = prediction
    assert (predictions, raw_outputs) == ([1, 0], [[0.1], [0.2]])
    frame = prediction.to_frame()
    frame["text"] = "changed"
    pd.testing.assert_frame_equal(prediction.to_frame(), FRAME)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda result: pickle.loads(pickle.dumps(result))])
@pytest.mark.parametrize(
    "result",
    [TrainResult(3, 0.5, {"seed": 1}), EvalResult({"mcc": 1.0}, [1], [], FRAME, TABLE), Prediction([1], [2], FRAME)],
    ids=["train", "eval", "prediction"],
)
def test_results_can_be_copied(result: Any, duplicate: Callable[[Any], Any]) -> None:
    twin = duplicate(result)
    assert type(twin) is type(result)
    assert twin == result
    pd.testing.assert_frame_equal(twin.to_frame(), result.to_frame())
    assert getattr(twin, "info", None) == getattr(result, "info", None)
