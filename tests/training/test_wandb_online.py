"""Runs on a server: a stand-in for it takes them, refuses them, or goes away in the middle."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import wandb
from transformers import TrainerCallback

from easytx.training import tracking, tracking_mode, tracking_open, tracking_server
from easytx.training.tracking import Tracker
from easytx.training.tracking_server import Link

from .conftest import changed, weights
from .wandb_runs import runs
from .wandb_server import ENTITY, Server, serving

Make = Callable[..., Any]
SETTINGS = {"silent": True, "console": "off", "x_disable_stats": True, "x_disable_meta": True}
EVALUATES = {"evaluate_during_training": True, "evaluate_during_training_steps": 2, "wandb_log_predictions": 2}


@pytest.fixture(autouse=True)
def _account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_MODE", "online")
    (tmp_path / "tracking").mkdir()


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    settings = wandb.Settings(**SETTINGS)
    return {
        "wandb_project": "tests",
        "wandb_kwargs": {"dir": str(tmp_path / "tracking"), "settings": settings},
        "logging_steps": 1,
    }


def _said(caplog: pytest.LogCaptureFixture) -> list[str]:
    messages = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    return [message for message in messages if "Weights & Biases" in message]


class _After(TrainerCallback):
    """Calls something after a step."""

    def __init__(self, step: int, call: Callable[[], Any]) -> None:
        self.step, self.call = step, call

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            self.call()


def test_training_and_evaluation_are_one_run_of_the_server(
    classifier: Make,
    train_df: pd.DataFrame,
    eval_df: pd.DataFrame,
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serving() as server, caplog.at_level(logging.WARNING, logger="easytx"):
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        model = classifier(**options, **EVALUATES, no_save=True)
        model.train_model(train_df, eval_data=eval_df)
        run_id = model.wandb_run_id
        assert server.exits == {run_id: 0}
        trained = len(server.rows[run_id])
        model.eval_model(eval_df, output_dir="scores")
        assert wandb.run is None
    assert set(server.runs) == set(server.exits) == {run_id}
    assert model.wandb_run_name == "bright-run-1"
    assert model.wandb_url == f"{server.url}/{ENTITY}/tests/runs/{run_id}"
    names = [{name for row in rows for name in row} for rows in (server.rows[run_id], server.rows[run_id][trained:])]
    assert {"train/loss", "eval/mcc", "mcc", "eval/predictions"} <= names[0]
    assert {"test/mcc", "mcc", "confusion_matrix_table"} <= names[1]
    assert any(name.startswith("media/table/eval/predictions") for name in server.uploads)
    assert _said(caplog) == []


@pytest.mark.parametrize("lost", ["server", "client"])
def test_what_is_lost_in_the_middle_changes_nothing_about_the_training(
    lost: str,
    classifier: Make,
    train_df: pd.DataFrame,
    eval_df: pd.DataFrame,
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    plain = classifier(**EVALUATES, no_save=True, num_train_epochs=2)
    plain.train_model(train_df, eval_data=eval_df)
    monkeypatch.setattr(tracking_open, "CLOSING", 1.0)
    monkeypatch.setattr(tracking_server, "_FRESH", 0.0)
    model = classifier(**options, **EVALUATES, no_save=True, num_train_epochs=2)
    with serving() as server, caplog.at_level(logging.WARNING, logger="easytx"):
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        lose = _After(3, server.die if lost == "server" else _end_client)
        started = time.monotonic()
        model.train_model(train_df, eval_data=eval_df, callbacks=[lose])
        assert time.monotonic() - started < 10
        assert changed(weights(plain), weights(model)) == set()
        assert wandb.run is None
        (said,) = _said(caplog)
        (folder,) = (path.parent for path in Path("tracking").rglob("run-*.wandb"))
        assert said.endswith(f"Training is not affected. Send what is recorded with: wandb sync {folder.resolve()}")
        if lost == "server":
            assert f"{server.url} does not answer any more, so tables and artifacts will be missing from" in said
            model.eval_model(eval_df, output_dir="scores")
            assert runs("tracking")[-1].id == model.wandb_run_id
            assert runs("tracking")[-1].exit_code == 0
        else:
            assert "everything from here on will be missing from the run" in said
            # What it has left behind is no hindrance to the next training.
            again = classifier(**options, no_save=True)
            again.train_model(train_df)
            assert server.exits[again.wandb_run_id] == 0


def _end_client() -> None:
    """End the process that wandb sends and writes with, as a machine short of memory would."""
    mine = str(os.getpid())
    for path in Path("/proc").glob("[0-9]*/stat"):
        name, _, rest = path.read_text("utf-8").partition(") ")
        if "wandb-core" in name and rest.split()[1] == mine:
            os.kill(int(path.parent.name), signal.SIGKILL)
    time.sleep(0.2)


def test_a_server_that_refuses_the_key_leaves_a_run_in_a_folder(
    classifier: Make,
    train_df: pd.DataFrame,
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serving(refuses=True) as server, caplog.at_level(logging.WARNING, logger="easytx"):
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        model = classifier(**options, no_save=True)
        model.train_model(train_df)
    run = runs(Path("tracking").resolve())[-1]
    assert (run.id, run.exit_code) == (model.wandb_run_id, 0)
    assert run.column("train/loss")
    assert _said(caplog) == [
        f"Weights & Biases: {server.url} did not open it (Error initializing run: input: permission denied), so this "
        f"run is not on the server, only in {run.folder}. Training is not affected. "
        f"Send what is recorded with: wandb sync {run.folder}"
    ]


def test_a_server_that_stops_answering_while_a_run_is_opened_is_not_waited_for(
    classifier: Make, train_df: pd.DataFrame, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking_mode, "answers", lambda *_, **__: True)
    monkeypatch.setattr(tracking_open, "_OPENING", 1.0)
    monkeypatch.setattr(tracking_open, "_LEAST", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        model = classifier(**options, no_save=True)
        started = time.monotonic()
        model.train_model(train_df)
        assert time.monotonic() - started < 10
    assert model.run_record.mode == "offline"
    assert [run.exit_code for run in runs("tracking") if "offline" in run.folder.name] == [0]


def test_the_whole_wait_is_ten_seconds_at_most() -> None:
    # For a server that is not there, for one that then opens no run, and for one that goes away later.
    assert tracking_server.PATIENCE + tracking_open._LEAST < 10
    assert tracking_open._OPENING < 10
    assert tracking_open.CLOSING < 10


def test_what_was_kept_in_folders_becomes_one_run_when_it_is_sent(
    classifier: Make,
    train_df: pd.DataFrame,
    eval_df: pd.DataFrame,
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    model = classifier(**options, no_save=True)
    model.train_model(train_df)
    model.eval_model(eval_df, output_dir="scores")
    first, second = runs("tracking")
    with serving() as server:
        environment = {**os.environ, "WANDB_BASE_URL": server.url, "WANDB_MODE": "online"}
        for run in (first, second):
            command = [sys.executable, "-m", "wandb", "sync", str(run.folder)]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
            assert done.returncode == 0, done.stderr
    assert set(server.runs) == set(server.rows) == {model.wandb_run_id}
    sent = server.rows[model.wandb_run_id]
    assert len(sent) == len(first.history) + len(second.history)
    assert [row["_step"] for row in sent] == list(range(len(sent)))
    assert "train/loss" in sent[0]
    assert "test/mcc" in sent[len(first.history)]
    assert server.exits == {model.wandb_run_id: 0}


def test_settings_of_the_user_win(server_settings: Callable[..., dict[str, Any]]) -> None:
    assert server_settings({"finish_timeout": 600})["finish_timeout"] == 600
    assert server_settings(wandb.Settings(finish_timeout=600))["finish_timeout"] == 600
    assert server_settings(None) == {"finish_timeout": 8.0, "finish_timeout_raises": True}


def test_so_does_the_environment(
    server_settings: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "600")
    assert server_settings(None) == {"finish_timeout_raises": True}


@pytest.fixture
def server_settings() -> Callable[..., dict[str, Any]]:
    """Return what gives the limits that are set on top of these settings, and checks that they stay as they are."""

    def limited(settings: Any) -> dict[str, Any]:
        before = wandb.Settings(finish_timeout=600) if isinstance(settings, wandb.Settings) else settings
        added = {"finish_timeout": 8.0, "finish_timeout_raises": True, "unknown to this version": 1}
        found = tracking_mode.with_settings(wandb, settings, added)
        assert settings == before
        return dict(found) if isinstance(found, dict) else {"finish_timeout": found.finish_timeout}

    return limited


def test_a_key_in_netrc_is_found_without_asking_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warned: Callable[..., Any]
) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    settings = wandb.setup().settings
    default = "https://api.forge.coreweave.com"
    assert not tracking_server.has_key(settings, default)
    (tmp_path / "no-netrc").write_text(f"machine api.wandb.ai\n login user\n password {'a' * 40}\n", "utf-8")
    assert tracking_server.has_key(settings, type(settings).model_fields["base_url"].default)
    assert not tracking_server.has_key(settings, "https://own.example")
    with serving() as server:
        (tmp_path / "no-netrc").write_text(
            f"machine {server.url.removeprefix('http://')}\n login user\n password {'a' * 40}\n", "utf-8"
        )
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        # The mode of the environment, which another one is stated for here, says nothing about the key.
        monkeypatch.setenv("WANDB_MODE", "offline")
        wandb.teardown()
        decision = tracking_mode.decided_mode(wandb, {"mode": "online"})
    assert decision == ("online", None, server.url)
    (tmp_path / "no-netrc").write_text("nonsense", "utf-8")
    assert not tracking_server.has_key(settings, server.url)


def test_a_proxy_of_the_settings_is_used() -> None:
    with serving() as proxy:
        assert tracking_server.answers("http://nowhere.example", proxies={"http": proxy.url}, seconds=2.0)
        assert not tracking_server.answers("http://nowhere.example", proxies={"http": "http://127.0.0.1:9"})


def test_a_server_that_has_not_answered_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, asked, now = [True, True, False, True], [], [1000.0]
    monkeypatch.setattr(tracking_server, "answers", lambda *_, **__: asked.append(now[0]) or answers[len(asked) - 1])
    monkeypatch.setattr(tracking_server.time, "monotonic", lambda: now[0])
    link = Link(type("Run", (), {"settings": wandb.Settings(base_url="https://there.example")}))
    found = []
    for now[0] in (1000.0, 1004.0, 1005.0, 1010.0, 1100.0, 1309.0, 1310.0):
        found.append(link.is_up())
    assert asked == [1000.0, 1005.0, 1010.0, 1310.0]
    assert found == [True, True, True, False, False, False, True]


def test_weights_are_waited_for_while_the_server_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    class Timeout(wandb.errors.Error):
        pass

    class Artifact:
        def __init__(self, waits: int) -> None:
            self.waits = waits

        def wait(self, timeout: int) -> None:
            assert timeout == tracking._PAUSE
            self.waits -= 1
            if self.waits > 0:
                raise Timeout("later") from TimeoutError()
            done.append("sent")

    class Run:
        def log_artifact(self, artifact: Artifact, aliases: list[str]) -> Artifact:
            return artifact

        def finish(self, exit_code: int) -> None:
            done.append("finished")

    class Way:
        answers = 3

        def is_up(self, *, afresh: bool) -> bool:
            self.answers -= 1
            return self.answers >= 0

    def close(*waits: int) -> list[str]:
        done.clear()
        tracker = Tracker()
        tracker.run, tracker.owned, tracker._link = Run(), True, Way()  # type: ignore[assignment]
        for number in waits:
            tracker.log_artifact(Artifact(number), [])
        tracker.close(0)
        return list(done)

    assert close(3, 1) == ["sent", "sent", "finished"]
    assert close(1, 99) == ["sent", "finished"]
    assert close() == ["finished"]


def test_the_stand_in_is_a_server_that_ends() -> None:
    server = Server()
    assert tracking_server.answers(server.url)
    server.die()
    assert not tracking_server.answers(server.url)
