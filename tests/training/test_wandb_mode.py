"""Where a run goes is decided before it is opened: nobody is asked for a key, and no dead server is waited for."""

from __future__ import annotations

import contextlib
import http.server
import logging
import os
import pty
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import wandb

from easytx.config.model_args import ModelArgs
from easytx.errors import ArgumentError
from easytx.training import tracking_mode
from easytx.training.tracking_mode import decided_mode, init_options, is_wanted, log_model, stated_mode, watched
from easytx.training.tracking_server import answers

from .wandb_runs import runs

Make = Callable[..., Any]
KEY = "a" * 40
SETTINGS = {"silent": True, "console": "off", "x_disable_stats": True, "x_disable_meta": True}


@pytest.fixture(autouse=True)
def _no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_DISABLED", "WANDB_LOG_MODEL", "WANDB_WATCH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "online")


@contextlib.contextmanager
def _server(status: int) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_given: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def _deaf() -> Iterator[str]:
    """Give the address of a server that takes calls and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def _unused() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_what_switches_tracking_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "from the environment")
    assert not is_wanted(ModelArgs())
    assert is_wanted(ModelArgs(wandb_project="p"))
    assert is_wanted(ModelArgs(report_to=["wandb"]))
    assert is_wanted(ModelArgs(), sweeping=True)
    kwargs = {"name": "n", "tags": ["t"]}
    assert init_options(ModelArgs(wandb_project="p", wandb_kwargs=kwargs)) == {"project": "p", **kwargs}
    assert init_options(ModelArgs(wandb_project="p", wandb_kwargs={"project": "q"})) == {"project": "q"}
    assert init_options(ModelArgs(report_to=["wandb"])) == {}


@pytest.mark.parametrize("value", ["true", "1", " TRUE ", "yes"])
def test_tracking_can_be_disabled_by_the_environment(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_DISABLED", value)
    assert stated_mode({}) == "disabled"
    assert stated_mode({"mode": "offline"}) == "offline"
    assert stated_mode({"settings": wandb.Settings(mode="offline")}) == "offline"
    assert stated_mode({"settings": wandb.Settings()}) == "disabled"
    monkeypatch.setenv("WANDB_DISABLED", "false")
    assert stated_mode({}) == "online"
    monkeypatch.delenv("WANDB_MODE")
    assert stated_mode({}) is None


@pytest.mark.parametrize(("name", "value"), [("WANDB_DISABLED", "true"), ("WANDB_MODE", "disabled")])
def test_a_disabled_run_writes_and_says_nothing(
    name: str,
    value: str,
    classifier: Make,
    train_df: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv(name, value)
    model = classifier(wandb_project="p", no_save=True, wandb_kwargs={"dir": str(tmp_path)})
    model.train_model(train_df)
    assert model.wandb_run_id is None
    assert wandb.run is None
    assert list(tmp_path.iterdir()) == []
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == []


def test_without_a_key_a_run_is_offline() -> None:
    reason = "there is no API key (wandb login, or WANDB_API_KEY, sets one)"
    assert decided_mode(wandb, {}) == ("offline", reason, None)
    assert decided_mode(wandb, {"mode": "offline"}) == ("offline", None, None)
    assert decided_mode(wandb, {"mode": "disabled"}) == ("disabled", None, None)


def test_with_a_key_the_server_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(tracking_mode, "answers", lambda url, **_: asked.append(url) or "good" in url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    found = [decided_mode(wandb, {"settings": {"base_url": "https://good"}})]
    found.append(decided_mode(wandb, {"settings": wandb.Settings(base_url="https://bad")}))
    monkeypatch.setenv("WANDB_BASE_URL", "https://good.own")
    found.append(decided_mode(wandb, {"mode": "online"}))
    assert found == [
        ("online", None, "https://good"),
        ("offline", "https://bad does not answer", None),
        ("online", None, "https://good.own"),
    ]
    assert asked == ["https://good", "https://bad", "https://good.own"]


@pytest.mark.parametrize(("status", "expected"), [(200, True), (404, True), (401, True), (502, False)])
def test_a_server_that_refuses_is_there_and_a_broken_one_is_not(status: int, expected: bool) -> None:
    with _server(status) as url:
        assert answers(url, seconds=2.0) is expected


def test_a_dead_server_is_not_waited_for() -> None:
    assert not answers(_unused())
    assert not answers("no address at all")
    with _deaf() as url:
        started = time.monotonic()
        assert not answers(url, seconds=0.2)
        assert time.monotonic() - started < 4.0


def test_a_name_that_is_never_found_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def looking(*_given: Any, **_options: Any) -> None:
        release.wait(5.0)
        raise socket.gaierror("not found")

    monkeypatch.setattr(socket, "getaddrinfo", looking)
    started = time.monotonic()
    assert not answers("http://nowhere.example", seconds=0.1)
    assert time.monotonic() - started < 4.0
    release.set()


def test_a_training_without_a_server_is_recorded_in_a_folder(
    classifier: Make,
    train_df: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    settings = wandb.Settings(base_url=_unused(), **SETTINGS)
    model = classifier(wandb_project="p", no_save=True, wandb_kwargs={"dir": str(tmp_path), "settings": settings})
    with caplog.at_level(logging.WARNING, logger="easytx"):
        model.train_model(train_df)
        model.eval_model(train_df, output_dir="scores")
    first, second = runs(tmp_path)
    assert first.id == second.id == model.wandb_run_id
    said = [record.getMessage() for record in caplog.records if "Weights & Biases" in record.getMessage()]
    assert said == [
        f"Weights & Biases: {settings.base_url} does not answer, so this run is not on the server, only in "
        f"{first.folder}. Training is not affected. Send what is recorded with: wandb sync {first.folder}"
    ]


@pytest.mark.parametrize(
    ("argument", "environment", "expected"),
    [
        (None, None, "false"),
        (None, "end", "end"),
        (None, "CHECKPOINT", "checkpoint"),
        (None, "true", "end"),
        (None, "nonsense", "false"),
        ("false", "end", "false"),
        ("checkpoint", None, "checkpoint"),
    ],
)
def test_which_weights_are_sent(
    argument: str | None, environment: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if environment is not None:
        monkeypatch.setenv("WANDB_LOG_MODEL", environment)
    assert log_model(ModelArgs(wandb_log_model=argument)) == expected


def test_other_weights_cannot_be_asked_for() -> None:
    with pytest.raises(ArgumentError, match=r"wandb_log_model must be one of 'false', 'end', 'checkpoint'"):
        ModelArgs(wandb_log_model="always")


@pytest.mark.parametrize(
    ("value", "expected"), [(None, None), ("false", None), ("all", "all"), ("Gradients", "gradients")]
)
def test_what_is_watched(value: str | None, expected: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is not None:
        monkeypatch.setenv("WANDB_WATCH", value)
    assert watched() == expected


SCRIPT = """
import sys, time
import pandas as pd
import easytx.core.fitting
from easytx.classification import ClassificationModel

frame = pd.DataFrame({"text": [f"the film {i}" for i in range(12)], "labels": [i % 2 for i in range(12)]})
args = {"silent": True, "no_save": True, "max_steps": 2, "wandb_project": "p"}

def seconds(**options):
    own = {**args, "wandb_kwargs": {"dir": sys.argv[2], **options}}
    model = ClassificationModel("bert", sys.argv[1], use_cuda=False, args=own)
    started = time.monotonic()
    model.train_model(frame)
    return time.monotonic() - started, model.run_record.mode

untroubled, _ = seconds(mode="offline")
tracked, mode = seconds()
print("SECONDS", tracked - untroubled, mode, flush=True)
"""


def _script(checkpoint: Path, folder: Path, **environment: str) -> tuple[list[str], dict[str, str]]:
    root = Path(__file__).resolve().parents[2]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    tracking = {f"WANDB_{name}_DIR": str(folder / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
    given = {**kept, **tracking, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", **environment}
    return [sys.executable, "-c", SCRIPT, str(checkpoint), str(folder)], given


@pytest.mark.real
def test_a_silent_server_costs_ten_seconds_at_most(checkpoint: Path, tmp_path: Path) -> None:
    with _deaf() as url:
        command, environment = _script(checkpoint, tmp_path, WANDB_BASE_URL=url, WANDB_API_KEY=KEY)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    _, seconds, mode = next(line for line in done.stdout.splitlines() if line.startswith("SECONDS")).split()
    assert mode == "offline"
    assert float(seconds) < 10
    assert f"{url} does not answer" in done.stderr
    assert [run.exit_code for run in runs(tmp_path)] == [0, 0]


@pytest.mark.real
def test_without_a_key_a_terminal_is_not_asked_for_one(checkpoint: Path, tmp_path: Path) -> None:
    command, environment = _script(checkpoint, tmp_path)
    mine, theirs = pty.openpty()
    process = subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True)
    os.close(theirs)
    said = b""
    # On Linux reading raises when the last writer has gone.
    with contextlib.suppress(OSError):
        while part := os.read(mine, 4096):
            said += part
    os.close(mine)
    assert process.wait(timeout=300) == 0, said[-3000:].decode()
    assert b"there is no API key" in said
    assert b"offline" in said[said.index(b"SECONDS") :]
    assert [run.exit_code for run in runs(tmp_path)] == [0, 0]
