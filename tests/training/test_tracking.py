"""One run of a tracker per training, where it was asked for and nowhere else."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import wandb
from transformers.integrations import integration_utils

from easytx.config.model_args import ModelArgs
from easytx.core import fitting
from easytx.errors import MissingExtraError, NonFiniteLossError
from easytx.training.tracking import log_scores, reporters, tracked

Make = Callable[..., Any]

has_tensorboard = importlib.util.find_spec("tensorboard") is not None


@pytest.fixture
def offline(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Return options for runs that wandb writes into the folder `tracking`, with as little beside them as it can."""
    settings = wandb.Settings(silent=True, console="off", x_disable_stats=True, x_disable_meta=True)
    (tmp_path / "tracking").mkdir()
    yield {"mode": "offline", "dir": str(tmp_path / "tracking"), "settings": settings}
    if wandb.run is not None:
        wandb.finish()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Return the list that calls of wandb are added to instead of being made."""
    made: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(wandb, "run", None)
    monkeypatch.setattr(wandb, "init", lambda **options: made.append(("init", options)))
    monkeypatch.setattr(wandb, "finish", lambda **options: made.append(("finish", options)))
    return made


def _runs() -> list[Path]:
    return [path for path in Path("tracking").rglob("offline-run-*") if path.is_dir()]


def test_a_training_is_one_finished_run(
    classifier: Make,
    train_df: pd.DataFrame,
    eval_df: pd.DataFrame,
    offline: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = classifier(
        wandb_project="tests",
        wandb_kwargs={**offline, "name": "a name", "config": {"mine": 1}},
        evaluate_during_training=True,
        evaluate_during_training_steps=2,
        no_save=True,
    )
    seen: dict[str, Any] = {}

    def look(_truth: Any, _predictions: Any) -> float:
        seen.update(config=dict(wandb.run.config), project=wandb.run.project, name=wandb.run.name)
        return 0.5

    logged: list[dict[str, Any]] = []

    def log(scores: dict[str, Any]) -> None:
        log_scores(scores)
        logged.append(scores)
        seen.update(summary=wandb.run.summary["mcc"])

    monkeypatch.setattr(fitting, "log_scores", log)
    details = model.train_model(train_df, eval_data=eval_df, look=look)
    assert wandb.run is None
    for name in ("global_step", "train_loss", "eval_loss", "mcc"):
        assert [scores[name] for scores in logged] == details.training_details[name]
    assert seen["summary"] == details.training_details["mcc"][-1]
    assert len(_runs()) == 1
    assert (seen["project"], seen["name"]) == ("tests", "a name")
    expected = {"mine": 1, "learning_rate": 1e-3, "train_rows": len(train_df), "max_seq_length": 64}
    assert {name: seen["config"][name] for name in expected} == expected
    model.eval_model(eval_df, output_dir="scores")
    assert wandb.run is None
    assert len(_runs()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"scores", "tracking"}


def test_a_run_of_the_callers_is_used_and_left_open(
    classifier: Make, train_df: pd.DataFrame, offline: dict[str, Any]
) -> None:
    run = wandb.init(project="mine", **offline)
    classifier(wandb_project="tests", no_save=True).train_model(train_df)
    assert wandb.run is run
    assert "train/loss" in run.summary.keys()  # noqa: SIM118
    assert len(_runs()) == 1


def test_scores_go_to_the_run_under_their_own_names(
    classifier: Make, train_df: pd.DataFrame, eval_df: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[dict[str, Any]] = []
    model = classifier(evaluate_during_training=True, evaluate_during_training_steps=2, no_save=True)
    monkeypatch.setattr(wandb, "log", logged.append)
    log_scores({"mcc": 0.5})
    model.train_model(train_df, eval_df=eval_df)
    monkeypatch.setattr(wandb, "run", object())
    model.eval_model(eval_df, wandb_log=False)
    assert logged == []
    result = model.eval_model(eval_df, words=lambda _truth, _predictions: "no number").result
    assert logged == [{name: value for name, value in result.items() if name != "words"}]


def test_without_a_project_no_tracker_is_touched(
    classifier: Make, train_df: pd.DataFrame, calls: list[Any], tmp_path: Path
) -> None:
    classifier(no_save=True).train_model(train_df)
    assert calls == []
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_finished_as_it_ended(calls: list[tuple[str, dict[str, Any]]]) -> None:
    args = ModelArgs(wandb_project="tests", wandb_kwargs={"project": "another", "config": {"b": 3}})
    with tracked(args, config={"a": 1, "b": 2}, main_process=True):
        assert calls == [("init", {"project": "another", "config": {"a": 1, "b": 3}})]
    assert calls[1:] == [("finish", {"exit_code": 0})]
    with (
        pytest.raises(NonFiniteLossError),
        tracked(ModelArgs(wandb_project="tests"), config={}, main_process=True),
    ):
        raise NonFiniteLossError("nan")
    assert calls[2:] == [("init", {"project": "tests", "config": {}}), ("finish", {"exit_code": 1})]


def test_only_the_main_process_reports(calls: list[Any]) -> None:
    with tracked(ModelArgs(wandb_project="tests"), config={}, main_process=False):
        pass
    with tracked(ModelArgs(), config={}, main_process=True):
        pass
    assert calls == []


def test_tensorboard_is_off_unless_it_has_a_folder() -> None:
    assert reporters(ModelArgs()) == []
    assert reporters(ModelArgs(report_to=["tensorboard"])) == []


def test_tensorboard_has_to_be_installed(
    classifier: Make, train_df: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integration_utils, "is_tensorboard_available", lambda: False)
    message = r"^tensorboard_dir needs the package 'tensorboard'\. Install it with: pip install tensorboard$"
    with pytest.raises(MissingExtraError, match=message):
        classifier(tensorboard_dir="board").train_model(train_df)


@pytest.mark.skipif(not has_tensorboard, reason="needs tensorboard, which easytx does not bring")
def test_tensorboard_writes_into_its_folder(classifier: Make, train_df: pd.DataFrame, tmp_path: Path) -> None:
    classifier(tensorboard_dir="board", no_save=True).train_model(train_df)
    assert [path.name for path in tmp_path.iterdir()] == ["board"]
    assert any((tmp_path / "board").rglob("events.out.tfevents.*"))


def test_tensorboard_is_told_its_folder(
    classifier: Make, train_df: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folders: list[str] = []

    class Reporter(integration_utils.TensorBoardCallback):
        def __init__(self) -> None:
            self.tb_writer = None
            self.logging_dir = None

        def on_train_begin(self, *_args: Any, **_kwargs: Any) -> None:
            folders.append(str(self.logging_dir))

        def on_log(self, *_args: Any, **_kwargs: Any) -> None:
            pass

    monkeypatch.setattr(integration_utils, "is_tensorboard_available", lambda: True)
    monkeypatch.setattr(integration_utils, "TensorBoardCallback", Reporter)
    details = classifier(tensorboard_dir="board", no_save=True).train_model(train_df)
    assert folders == ["board"]
    assert details.info["trackers"] == ["tensorboard"]
    assert list(tmp_path.iterdir()) == []
