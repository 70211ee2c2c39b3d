"""One run of a tracker per training, where it was asked for and nowhere else."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import wandb
from transformers.integrations import integration_utils

from easytx.config.model_args import ModelArgs
from easytx.errors import MissingExtraError, NonFiniteLossError
from easytx.training.tracking import Guard, reporters, tracked

Make = Callable[..., Any]

has_tensorboard = importlib.util.find_spec("tensorboard") is not None


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Return the list that calls of wandb are added to instead of being made."""
    made: list[tuple[str, dict[str, Any]]] = []

    class Run:
        dir = "tracking/run/files"

        def define_metric(self, *_names: Any, **_options: Any) -> None:
            pass

        def finish(self, **options: Any) -> None:
            made.append(("finish", options))

    def init(**options: Any) -> Run:
        made.append(("init", options))
        return Run()

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(wandb, "run", None)
    monkeypatch.setattr(wandb, "init", init)
    return made


def test_without_a_project_no_tracker_is_touched(
    classifier: Make, train_df: pd.DataFrame, calls: list[Any], tmp_path: Path
) -> None:
    classifier(no_save=True).train_model(train_df)
    assert calls == []
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_finished_as_it_ended(calls: list[tuple[str, dict[str, Any]]]) -> None:
    args = ModelArgs(wandb_project="tests", wandb_kwargs={"project": "another", "config": {"b": 3}})
    with tracked(args, config=lambda: {"a": 1, "b": 2}, main_process=True):
        assert calls == [("init", {"project": "another", "config": {"a": 1, "b": 3}, "mode": "offline"})]
    assert calls[1:] == [("finish", {"exit_code": 0})]
    with (
        pytest.raises(NonFiniteLossError),
        tracked(ModelArgs(wandb_project="tests"), config=dict, main_process=True),
    ):
        raise NonFiniteLossError("nan")
    assert calls[2:] == [
        ("init", {"project": "tests", "config": {}, "mode": "offline"}),
        ("finish", {"exit_code": 1}),
    ]


def test_only_the_main_process_reports(calls: list[Any]) -> None:
    with tracked(ModelArgs(wandb_project="tests"), config=dict, main_process=False):
        pass
    with tracked(ModelArgs(), config=dict, main_process=True):
        pass
    assert calls == []


def test_what_ends_a_run_from_outside_is_no_error_of_the_tracker() -> None:
    told: list[Exception] = []
    with Guard(told.append):
        raise ValueError("from the tracker")
    assert [str(error) for error in told] == ["from the tracker"]
    with pytest.raises(KeyboardInterrupt), Guard(told.append):
        raise KeyboardInterrupt
    # So an agent ends a run that its server has given up.
    with pytest.raises(Exception, match=r"^$") as caught, Guard(told.append):
        raise Exception
    assert type(caught.value) is Exception
    assert len(told) == 1


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
