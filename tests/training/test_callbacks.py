"""When is evaluated, saved and stopped, what is kept of it, and which weights are the best."""

from __future__ import annotations

import csv
import json
import logging
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from transformers import TrainerControl, TrainerState

from easytx.config.model_args import ModelArgs
from easytx.errors import ArgumentError
from easytx.training import trainer
from easytx.training.callbacks import BestModel, EpochSchedule, History, as_json

from .conftest import STEPS, changed, weights

Make = Callable[..., Any]

EVALUATING = {"evaluate_during_training": True, "num_train_epochs": 2}


def scripted(values: Sequence[float]) -> Callable[[Any, Any], float]:
    """Return a metric that gives these values, evaluation by evaluation."""
    script: Iterator[float] = iter(values)
    return lambda _truth, _predictions: next(script)


def _saved(folder: str | Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(Path(folder) / "model.safetensors")


# When


@pytest.mark.parametrize(
    ("args", "steps"),
    [
        ({"evaluate_during_training_steps": 3}, [3, 4, 6, 8]),
        ({"evaluate_during_training_steps": 4}, [4, 8]),
        ({"evaluate_during_training_steps": 0}, [4, 8]),
        ({"evaluate_during_training_steps": -1}, [4, 8]),
        ({"evaluate_during_training_steps": 2000}, [4, 8]),
        ({"evaluate_during_training_steps": 3, "evaluate_each_epoch": False}, [3, 6, 8]),
        ({"evaluate_during_training_steps": 0, "evaluate_each_epoch": False}, [4, 8]),
        ({"evaluate_during_training_steps": 1, "gradient_accumulation_steps": 2}, [1, 2, 3, 4]),
        ({"evaluate_during_training_steps": 3, "max_steps": 5}, [3, 4, 5]),
    ],
    ids=lambda value: None if isinstance(value, list) else ", ".join(f"{k}={v}" for k, v in value.items()),
)
def test_each_step_is_evaluated_once(
    classifier: Make, train_df: pd.DataFrame, eval_df: pd.DataFrame, args: dict[str, Any], steps: list[int]
) -> None:
    calls = []
    model = classifier(**EVALUATING, **args, no_save=True)
    details = model.train_model(train_df, eval_df=eval_df, count=lambda truth, _: calls.append(len(truth)) or 0)
    assert details.training_details["global_step"] == steps
    assert calls == [len(eval_df)] * len(steps)


@pytest.mark.parametrize(
    ("args", "steps"),
    [
        ({}, []),
        ({"save_steps": 3}, [3, 6, 8]),
        ({"save_model_every_epoch": True}, [4, 8]),
        ({"save_model_every_epoch": True, "save_steps": 3}, [3, 4, 6, 8]),
        ({"save_eval_checkpoints": True, "evaluate_during_training_steps": 3}, [3, 4, 6, 8]),
        ({"save_steps": 1, "save_total_limit": 2, "save_model_every_epoch": True}, [7, 8]),
        ({"save_steps": 1, "save_total_limit": 1, "save_eval_checkpoints": True}, [8]),
    ],
    ids=lambda value: None if isinstance(value, list) else ", ".join(f"{k}={v}" for k, v in value.items()) or "none",
)
def test_checkpoints_are_written_once_and_only_the_last_ones_stay(
    classifier: Make,
    train_df: pd.DataFrame,
    eval_df: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    args: dict[str, Any],
    steps: list[int],
) -> None:
    written: list[str] = []
    seal = trainer.seal
    monkeypatch.setattr(trainer, "seal", lambda folder: written.append(folder.name) or seal(folder))
    model = classifier(**EVALUATING, **{"save_total_limit": None, **args})
    model.train_model(train_df, eval_df=eval_df)
    assert {path.name for path in Path("outputs").glob("checkpoint-*")} == {f"checkpoint-{step}" for step in steps}
    assert len(written) == len(set(written))
    assert set(written) >= {f"checkpoint-{step}" for step in steps}


def test_checkpoints_can_do_without_the_state_of_the_optimiser(classifier: Make, train_df: pd.DataFrame) -> None:
    classifier(save_model_every_epoch=True, save_optimizer_and_scheduler=False).train_model(train_df)
    names = {path.name for path in Path("outputs", f"checkpoint-{STEPS}").iterdir()}
    assert "model.safetensors" in names
    assert not names & {"optimizer.pt", "scheduler.pt", "rng_state.pth"}


def test_old_checkpoints_of_another_training_make_room(classifier: Make, train_df: pd.DataFrame) -> None:
    saving = {"save_model_every_epoch": True, "overwrite_output_dir": True, "save_total_limit": 1}
    model = classifier(**saving, num_train_epochs=2)
    model.train_model(train_df)
    model.train_model(train_df, args={"num_train_epochs": 1})
    assert [path.name for path in Path("outputs").glob("checkpoint-*")] == [f"checkpoint-{STEPS}"]


@pytest.mark.parametrize(
    ("reached", "epoch"), [(None, 0), (0.0, 0), (0.25, 0), (1.0, 1), (1.75, 1), (3 * (1 / 3) * 2, 2)]
)
def test_the_order_of_rows_is_that_of_the_epoch(reached: float | None, epoch: int) -> None:
    begun: list[int] = []
    schedule = EpochSchedule(ModelArgs(), evaluates=False, set_epoch=begun.append)
    schedule.on_epoch_begin(None, TrainerState(epoch=reached), TrainerControl())
    assert begun == [epoch]


# Early stopping


@pytest.mark.parametrize(
    ("values", "args", "evaluations", "best"),
    [
        # One evaluation a step; the lower the better.
        ([5, 4, 3, 2, 1, 0, -1, -2], {}, 8, 8),
        ([5, 4, 4, 4, 4], {"early_stopping_patience": 2}, 4, 2),
        ([5, 6, 4, 5, 5, 3], {"early_stopping_patience": 2}, 5, 3),
        ([5, 6], {"early_stopping_patience": 1}, 2, 1),
        ([math.nan, 5, math.nan, 6], {"early_stopping_patience": 2}, 4, 2),
        # The higher the better.
        ([1, 2, 3, 3, 2], {"early_stopping_patience": 2, "early_stopping_metric_minimize": False}, 5, 3),
        # Not better by enough: the patience ends, but the best is the best.
        ([5, 4.9, 4.8, 4.7], {"early_stopping_patience": 2, "early_stopping_delta": 0.5}, 3, 3),
        ([5, 4.9, 4.2, 4.1, 4.0], {"early_stopping_patience": 2, "early_stopping_delta": 0.5}, 5, 5),
        # Better by exactly delta is not better by more.
        ([5, 4.5, 4.5], {"early_stopping_patience": 2, "early_stopping_delta": 0.5}, 3, 2),
        (
            [1, 1.25, 1.25],
            {"early_stopping_patience": 2, "early_stopping_delta": 0.5, "early_stopping_metric_minimize": False},
            3,
            2,
        ),
    ],
)
def test_training_stops_when_there_is_no_more_improvement(
    classifier: Make,
    train_df: pd.DataFrame,
    eval_df: pd.DataFrame,
    values: list[float],
    args: dict[str, Any],
    evaluations: int,
    best: int,
) -> None:
    stopping = {"use_early_stopping": True, "early_stopping_metric": "scripted", "evaluate_during_training_steps": 1}
    model = classifier(**EVALUATING, **stopping, **args, no_save=True)
    details = model.train_model(train_df, eval_df=eval_df, scripted=scripted(values))
    assert details.global_step == evaluations
    assert details.training_details["global_step"] == list(range(1, evaluations + 1))
    assert details.info["best_step"] == best
    assert details.info["best_score"] == values[best - 1]


@pytest.mark.parametrize(
    ("args", "steps"),
    [
        # Of the evaluations at 3, 4, 6, 8, 9 ... none is better than the first; 4 and 8 are ends of epochs.
        ({}, [3, 4, 6, 8, 9]),
        ({"early_stopping_consider_epochs": True}, [3, 4, 6]),
        ({"evaluate_during_training_steps": 0}, [4, 8, 12]),
    ],
    ids=["epoch ends do not count", "epoch ends count", "only epoch ends"],
)
def test_whether_epoch_ends_count_against_the_patience(
    classifier: Make, train_df: pd.DataFrame, eval_df: pd.DataFrame, args: dict[str, Any], steps: list[int]
) -> None:
    stopping = {"use_early_stopping": True, "early_stopping_metric": "scripted", "early_stopping_patience": 2}
    given = {**EVALUATING, **stopping, "evaluate_during_training_steps": 3, "num_train_epochs": 4, **args}
    model = classifier(**given, no_save=True)
    details = model.train_model(train_df, eval_df=eval_df, scripted=scripted(range(20)))
    assert details.training_details["global_step"] == steps


def test_without_early_stopping_patience_has_no_end(
    classifier: Make, train_df: pd.DataFrame, eval_df: pd.DataFrame
) -> None:
    args = {"evaluate_during_training_steps": 1, "early_stopping_metric": "scripted", "early_stopping_patience": 1}
    model = classifier(**EVALUATING, **args, no_save=True)
    details = model.train_model(train_df, eval_df=eval_df, scripted=scripted(range(8)))
    assert details.global_step == 2 * STEPS


def test_a_metric_that_is_not_there_is_named(classifier: Make, train_df: pd.DataFrame, eval_df: pd.DataFrame) -> None:
    model = classifier(**EVALUATING, early_stopping_metric="eval_los", no_save=True)
    message = r"^early_stopping_metric is 'eval_los', but an evaluation here gives \['accuracy', .*'tp'\]\. "
    with pytest.raises(ArgumentError, match=message + re.escape("Did you mean 'eval_loss'?") + "$"):
        model.train_model(train_df, eval_df=eval_df)


# The best model


def test_the_best_weights_are_in_memory_and_in_both_folders(
    classifier: Make, train_df: pd.DataFrame, eval_df: pd.DataFrame
) -> None:
    args = {"evaluate_during_training_steps": 2, "early_stopping_metric": "scripted", "save_total_limit": None}
    model = classifier(**EVALUATING, **args, save_eval_checkpoints=True)
    details = model.train_model(train_df, eval_df=eval_df, scripted=scripted([3, 1, 2, 2]))
    assert details.info["best_step"] == 4
    assert details.info["best_score"] == 1
    assert details.info["restored"]
    then = _saved("outputs/checkpoint-4")
    assert changed(then, _saved("outputs/checkpoint-8"))
    for found in (weights(model), _saved("outputs"), _saved("outputs/best_model")):
        assert changed(then, found) == set()
    # The scores of that evaluation, beside the weights that had them.
    scores = json.loads(Path("outputs/best_model/eval_results.json").read_text("utf-8"))
    expected = {name: values[1] for name, values in details.training_details.items()}
    assert scores == {name: value for name, value in expected.items() if name not in {"global_step", "train_loss"}}


def test_the_best_weights_come_back_without_any_file(
    classifier: Make, train_df: pd.DataFrame, eval_df: pd.DataFrame
) -> None:
    args = {"evaluate_during_training_steps": 2, "early_stopping_metric": "scripted"}
    found = []
    for more in ({"no_save": True}, {}):
        model = classifier(**EVALUATING, **args, **more)
        model.train_model(train_df, eval_df=eval_df, scripted=scripted([3, 1, 2, 2]))
        found.append(weights(model))
    assert changed(*found) == set()


def test_the_last_weights_stay_where_the_best_are_not_wanted(
    classifier: Make, train_df: pd.DataFrame, eval_df: pd.DataFrame
) -> None:
    args = {"early_stopping_metric": "scripted", "save_best_model": False, "save_eval_checkpoints": True}
    model = classifier(**EVALUATING, **args)
    details = model.train_model(train_df, eval_df=eval_df, scripted=scripted([1, 2]))
    assert details.info["best_step"] == 4
    assert not details.info["restored"]
    assert changed(_saved("outputs/checkpoint-8"), weights(model)) == set()
    assert not Path("outputs/best_model").exists()


@pytest.mark.parametrize(
    ("args", "folder"),
    [
        ({}, "outputs/best_model"),
        ({"output_dir": "elsewhere"}, "elsewhere/best_model"),
        ({"best_model_dir": "best"}, "best"),
        ({"output_dir": "elsewhere", "best_model_dir": "outputs/best_model"}, "outputs/best_model"),
    ],
    ids=["default", "under output_dir", "named", "named like the default"],
)
def test_where_the_best_model_goes(
    classifier: Make, train_df: pd.DataFrame, eval_df: pd.DataFrame, args: dict[str, Any], folder: str
) -> None:
    model = classifier(**EVALUATING, **args)
    model.train_model(train_df, eval_df=eval_df)
    assert [path.parent.as_posix() for path in Path().rglob("eval_results.json")] == [folder]
    assert changed(_saved(folder), weights(model)) == set()


# The history


def test_the_history_is_written_as_csv_and_json(
    classifier: Make, train_df: pd.DataFrame, eval_df: pd.DataFrame
) -> None:
    model = classifier(**EVALUATING, evaluate_during_training_steps=2)
    details = model.train_model(train_df, eval_df=eval_df, seen=lambda _truth, _predicted: np.array([1, 2]))
    kept = details.training_details
    names = list(kept)
    assert names[:2] == ["global_step", "train_loss"]
    assert {"accuracy", "eval_loss", "mcc", "seen"} < set(names)
    assert kept["global_step"] == [2, 4, 6, 8]
    records = json.loads(Path("outputs/training_progress_scores.json").read_text("utf-8"))
    assert [list(record) for record in records] == [names] * 4
    assert [record["eval_loss"] for record in records] == kept["eval_loss"]
    assert records[0]["seen"] == [1, 2]
    with Path("outputs/training_progress_scores.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [int(row["global_step"]) for row in table] == [2, 4, 6, 8]
    assert [float(row["train_loss"]) for row in table] == kept["train_loss"]
    assert [float(row["mcc"]) for row in table] == kept["mcc"]


def test_the_loss_beside_an_evaluation_is_that_of_the_steps_since_the_last(
    classifier: Make, train_df: pd.DataFrame, eval_df: pd.DataFrame
) -> None:
    args = {"evaluate_during_training": True, "num_train_epochs": 2, "no_save": True}
    each = classifier(**args, evaluate_during_training_steps=1, logging_steps=1)
    each = each.train_model(train_df, eval_df=eval_df)
    some = classifier(**args, evaluate_during_training_steps=4).train_model(train_df, eval_df=eval_df)
    losses = each.training_details["train_loss"]
    assert len(set(losses)) == 2 * STEPS
    # The first step of a training is always logged by itself.
    expected = [np.mean(losses[1:4]), np.mean(losses[4:])]
    assert some.training_details["train_loss"] == pytest.approx(expected, rel=1e-5)


def test_a_score_that_comes_later_leaves_no_gap() -> None:
    history = History(None, verbose=False)
    history.add(1, {"a": 0.5})
    history.add(2, {"a": 0.25, "b": 1})
    history.add(3, {"b": 2})
    assert history.scores["global_step"] == [1, 2, 3]
    assert history.scores["a"] == [0.5, 0.25, None]
    assert history.scores["b"] == [None, 1, 2]


def test_a_verbose_history_logs_each_evaluation(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="easytx"):
        History(None, verbose=False).add(1, {"a": 0.5})
        assert caplog.messages == []
        History(None, verbose=True).add(2, {"a": 0.25})
    assert caplog.messages == ["step 2: {'a': 0.25}"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(np.float32(0.5), 0.5), (np.array([[1, 2]]), [[1, 2]]), (torch.tensor([1.5]), [1.5]), ({1}, "{1}")],
)
def test_what_a_metric_gives_can_be_written(value: Any, expected: Any) -> None:
    assert json.loads(json.dumps(value, default=as_json)) == expected


def test_a_best_model_is_judged_by_the_metric_alone() -> None:
    args = ModelArgs(early_stopping_metric="mcc", early_stopping_metric_minimize=False)
    kept: list[dict[str, Any]] = []
    best, control = BestModel(args, save=kept.append), TrainerControl()
    for step, (mcc, loss) in enumerate([(0.1, 0.3), (0.5, 0.9), (0.4, 0.1), (0.5, 0.1)], start=1):
        best.add(step, {"mcc": mcc, "eval_loss": loss}, control, at_epoch_end=False)
    assert (best.best_step, best.best) == (2, {"mcc": 0.5, "eval_loss": 0.9})
    assert [result["mcc"] for result in kept] == [0.1, 0.5]
    assert not control.should_training_stop
