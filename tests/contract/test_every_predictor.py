"""What holds for the classes that only predict: one test a promise."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import easytx
from easytx import RepresentationModel
from easytx.errors import ArgumentError, DataError, UnsupportedError

from .conftest import Case

TEXTS = ["the film was good", "a dull book and the worst song of all", "bread", "Anna moved to Rome in the rain"]


@pytest.fixture(scope="module", params=[RepresentationModel], ids=lambda kind: kind.__name__)
def model(request: pytest.FixtureRequest, case: Case, checkpoint: Path) -> Any:
    if case.architecture.startswith("rag-"):
        pytest.skip("the parts of such a model are opened one by one")
    return request.param("auto", str(checkpoint), args={"fp16": False, "max_seq_length": 64, "silent": True})


def test_a_saved_model_predicts_the_same_when_opened_again(model: Any, tmp_path: Path) -> None:
    model.save_model(tmp_path / "saved")
    expected = model.predict(TEXTS).raw_outputs
    for opened in (easytx.load(tmp_path / "saved"), type(model)(str(tmp_path / "saved"))):
        assert type(opened) is type(model)
        assert opened.args["max_seq_length"] == 64
        np.testing.assert_allclose(opened.predict(TEXTS).raw_outputs, expected, rtol=1e-5, atol=1e-6)
    names = {path.name for path in (tmp_path / "saved").iterdir()}
    assert {"config.json", "model.safetensors", "model_args.json", "tokenizer.json", "README.md"} <= names


def test_answers_are_one_a_row_in_order_and_under_the_index(model: Any) -> None:
    frame = pd.DataFrame({"text": TEXTS}, index=[f"row {number}" for number in (3, 1, 2, 0)])
    predictions, raw_outputs = prediction = model.predict(frame)
    assert len(predictions) == len(raw_outputs) == len(TEXTS)
    assert prediction.to_frame().index.tolist() == frame.index.tolist()
    assert prediction.to_frame()["text"].tolist() == TEXTS
    backward = model.predict(frame[::-1]).raw_outputs
    np.testing.assert_allclose(backward[::-1], raw_outputs, rtol=1e-4, atol=1e-5)


def test_prediction_leaves_rows_disk_and_random_state_alone(model: Any, tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": TEXTS})
    before, states = (
        frame.copy(),
        (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()),
    )
    model.predict(frame)
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == states
    pd.testing.assert_frame_equal(frame, before)
    assert list(tmp_path.iterdir()) == []


def test_a_silent_model_prints_nothing(model: Any, capfd: pytest.CaptureFixture[str]) -> None:
    model.predict(TEXTS * 300)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("rows", [[], pd.DataFrame({"text": []})], ids=["list", "frame"])
def test_no_rows_are_a_data_error(model: Any, rows: Any) -> None:
    with pytest.raises(DataError, match=r"^to_predict has no rows\.$"):
        model.predict(rows)


def test_training_and_evaluation_say_what_to_use_instead(model: Any, tmp_path: Path) -> None:
    calls: list[Callable[[], Any]] = [lambda: model.train_model(TEXTS), lambda: model.eval_model(TEXTS)]
    for call in calls:
        with pytest.raises(UnsupportedError, match=rf"^{type(model).__name__} only predicts\. \w+"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_a_misspelled_argument_is_refused_with_the_right_one(model: Any, checkpoint: Path) -> None:
    with pytest.raises(ArgumentError, match=r"Did you mean 'max_seq_length'\?"):
        type(model)(str(checkpoint), args={"max_seq_lenght": 3})
