"""Int8 weights that are earned on labelled rows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import easytx
from easytx.classification import ClassificationModel
from easytx.core import checkpointed
from easytx.core.quantising import Bound
from easytx.errors import ArgumentError, DeviceError, ScoreDropError, UnsupportedError

TEXTS = ["the film was good", "a dull book and the worst song of all", "fine", "the bread was cold", "great soup"]
ROWS = pd.DataFrame({"text": TEXTS, "labels": [1, 0, 1, 0, 1]})
ARGS = {"fp16": False, "silent": True, "max_seq_length": 32, "manual_seed": 5, "overwrite_output_dir": True}


@pytest.fixture
def model(checkpoint: Path) -> Callable[..., ClassificationModel]:
    return lambda **args: ClassificationModel("bert", str(checkpoint), num_labels=2, args={**ARGS, **args})


def _logits(model: Any) -> np.ndarray:
    found: np.ndarray = model.predict(TEXTS).raw_outputs
    return found


def _scores(monkeypatch: pytest.MonkeyPatch, **scores: tuple[float, float]) -> None:
    """Have evaluations give the first numbers without int8 weights, and the second with them."""

    def evaluated(self: Any, *_: Any, **__: Any) -> tuple[dict[str, float], None]:
        return {name: pair[self.args.dynamic_quantize] for name, pair in scores.items()}, None

    monkeypatch.setattr(ClassificationModel, "evaluated", evaluated)


def test_int8_weights_that_cost_little_are_switched_on_and_saved(
    model: Callable[..., ClassificationModel], tmp_path: Path
) -> None:
    made = model()
    before = _logits(made)
    result = made.quantize(ROWS, bound=0.5)
    assert result.metric == "eval_loss"
    assert set(result.before) == set(result.after) >= {"eval_loss", "accuracy", "mcc"}
    assert result.drop == pytest.approx(result.after["eval_loss"] / result.before["eval_loss"] - 1)
    assert result.to_frame().loc["eval_loss"].tolist() == [result.before["eval_loss"], result.after["eval_loss"]]
    assert result.before["eval_loss"] != result.after["eval_loss"] == made.eval_model(ROWS).result["eval_loss"]
    assert 0 < np.abs(_logits(made) - before).max() < 0.1
    saved = made.save_model(tmp_path / "int8")
    kept = json.loads((saved / "model_args.json").read_text("utf-8"))
    assert (kept["dynamic_quantize"], kept["quantize"], kept["quantize_bound"]) == (True, True, 0.5)
    # The weights of the folder are those of before.
    np.testing.assert_allclose(_logits(easytx.load(saved)), _logits(made), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(_logits(easytx.load(saved, args={"dynamic_quantize": False})), before, atol=1e-6)


@pytest.mark.parametrize(
    ("metric", "scores", "said"),
    [
        ("accuracy", (0.85, 0.8), "from 0.85 to 0.8, which is 5.88 % worse"),
        ("eval_loss", (0.4, 0.5), "from 0.4 to 0.5, which is 25 % worse"),
        ("mcc", (float("nan"), 0.5), "from nan to 0.5, which is nan % worse"),
        ("mcc", (0.0, -0.1), "from 0 to -0.1, which is inf % worse"),
    ],
)
def test_weights_that_cost_too_much_are_refused_and_nothing_changes(
    model: Callable[..., ClassificationModel],
    monkeypatch: pytest.MonkeyPatch,
    metric: str,
    scores: tuple[float, float],
    said: str,
) -> None:
    made = model()
    results = made.results
    _scores(monkeypatch, **{metric: scores})
    message = (
        f"With int8 weights, {metric} on eval_df goes {said}; at most 2 % is accepted. The model predicts as before. "
        "Accept more with a higher bound, or leave int8 weights out."
    )
    with pytest.raises(ScoreDropError, match=rf"^{re.escape(message)}$"):
        made.quantize(ROWS, metric=metric, bound=0.02)
    assert (made.args.dynamic_quantize, made.args.quantize, made.args.quantize_bound) == (False, False, 0.01)
    assert made.results is results


@pytest.mark.parametrize(
    ("scores", "minimize", "drop"),
    [((0.8, 0.72), False, 0.1), ((0.8, 0.88), False, -0.1), ((0.5, 0.55), True, 0.1), ((-0.5, -0.6), False, 0.2)],
)
def test_a_drop_is_a_share_of_the_score(scores: tuple[float, float], minimize: bool, drop: float) -> None:
    assert Bound("score", minimize, 0.01).drop(*scores) == pytest.approx(drop)
    assert Bound("score", minimize, 0.01).drop(0.0, 0.0) == 0.0


def test_the_direction_of_ones_own_metric_has_to_be_said(
    model: Callable[..., ClassificationModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    _scores(monkeypatch, cost=(1.0, 2.0))
    message = (
        "'cost' is a metric of your own: say whether a lower score is better, with minimize=True or minimize=False."
    )
    with pytest.raises(ArgumentError, match=rf"^{re.escape(message)}$"):
        model().quantize(ROWS, metric="cost", cost=lambda *_: 0.0)
    assert model().quantize(ROWS, metric="cost", minimize=False, cost=lambda *_: 0.0).drop == -1.0
    named = model(early_stopping_metric="cost", early_stopping_metric_minimize=False)
    assert named.quantize(ROWS, cost=lambda *_: 0.0).drop == -1.0


def test_wrong_calls_are_refused(model: Callable[..., ClassificationModel], checkpoint: Path) -> None:
    made = model()
    with pytest.raises(ArgumentError, match=r"^metric is 'acuracy', but an evaluation here gives \[.*\]\. Did you"):
        made.quantize(ROWS, metric="acuracy")
    assert not made.args.dynamic_quantize
    with pytest.raises(ArgumentError, match=r"^quantize needs data: give it as the first argument\.$"):
        made.quantize()
    with pytest.raises(ArgumentError, match="quantize_bound"):
        made.quantize(ROWS, bound=-0.1)
    message = (
        "RepresentationModel has no scores to compare. For int8 weights without a check, set dynamic_quantize in args."
    )
    with pytest.raises(UnsupportedError, match=rf"^{re.escape(message)}$"):
        easytx.RepresentationModel("bert", str(checkpoint)).quantize(ROWS)


def test_a_model_on_a_gpu_is_refused(
    model: Callable[..., ClassificationModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = model()
    monkeypatch.setattr(checkpointed, "resolve_device", lambda *_: torch.device("cuda"))
    message = (
        "dynamic_quantize is set, but int8 weights are for prediction on a CPU and the model is on cuda. Open it with "
        "use_cuda=False, or with args={'dynamic_quantize': False}."
    )
    with pytest.raises(DeviceError, match=rf"^{re.escape(message)}$"):
        model(dynamic_quantize=True)
    made.device = torch.device("cuda")
    for call in (lambda: made.quantize(ROWS), lambda: made.train_model(ROWS, args={"quantize": True})):
        with pytest.raises(DeviceError, match=r"^quantize is set, but int8 weights"):
            call()


@pytest.mark.parametrize("bf16", [None, True])
def test_a_training_that_evaluates_ends_with_int8_weights_where_they_are_earned(
    model: Callable[..., ClassificationModel], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bf16: bool | None
) -> None:
    seen: list[bool] = []
    real = ClassificationModel.evaluated

    def evaluated(self: Any, *given: Any, **options: Any) -> Any:
        seen.append(self.args.dynamic_quantize)
        return real(self, *given, **options)

    monkeypatch.setattr(ClassificationModel, "evaluated", evaluated)
    made = model(bf16=bf16)
    args = {"quantize": True, "quantize_bound": 0.5, "evaluate_during_training": True, "num_train_epochs": 2}
    train = ROWS.assign(text=ROWS["text"] + " indeed")
    for folder in ("first", "second"):
        made.train_model(train, output_dir=tmp_path / folder, eval_data=ROWS, args=args)
        assert made.args.dynamic_quantize
        assert easytx.load(tmp_path / folder).args.dynamic_quantize
    # Two epochs, then the comparison; the second training begins without.
    assert seen == [False, False, False, True] * 2


def test_a_training_keeps_float_weights_where_int8_costs_too_much(
    model: Callable[..., ClassificationModel], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = model(quantize=True, evaluate_during_training=True)
    monkeypatch.setattr(Bound, "drop", lambda *_: 0.5)
    with pytest.warns(UserWarning, match=r"^With int8 weights, eval_loss on eval_df goes from .*; at most 1 % is"):
        made.train_model(ROWS.assign(text=ROWS["text"] + " indeed"), output_dir=tmp_path, eval_data=ROWS)
    assert not made.args.dynamic_quantize
    assert not easytx.load(tmp_path).args.dynamic_quantize


def test_what_was_earned_ends_with_a_training_that_does_not_evaluate(
    model: Callable[..., ClassificationModel], tmp_path: Path
) -> None:
    made = model()
    made.quantize(ROWS, bound=0.5)
    message = (
        "quantize is set, but this training does not evaluate, so the model will not predict with int8 weights. Give "
        "eval_df=... and set evaluate_during_training, or call quantize(eval_df) afterwards."
    )
    with pytest.warns(UserWarning, match=rf"^{re.escape(message)}$"):
        made.train_model(ROWS, output_dir=tmp_path)
    assert not made.args.dynamic_quantize


def test_evaluation_while_training_in_mixed_precision_uses_int8_weights_too(
    model: Callable[..., ClassificationModel],
) -> None:
    made = model(dynamic_quantize=True, bf16=True, evaluate_during_training=True, no_save=True)
    train = ROWS.assign(text=ROWS["text"] + " indeed")
    details = made.train_model(train, eval_data=ROWS).training_details
    assert details["eval_loss"][-1] == pytest.approx(made.eval_model(ROWS).result["eval_loss"], rel=1e-6)
