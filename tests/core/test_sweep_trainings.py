"""Sweeps that train: here, with Weights & Biases, and by the loop that Weights & Biases documents."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import wandb

import easytx
from easytx.classification import ClassificationArgs, ClassificationModel
from easytx.core import sweep_agent
from easytx.errors import ArgumentError
from easytx.testing import CORPUS
from easytx.training import tracking_mode
from tests.training.wandb_runs import runs

pytestmark = pytest.mark.usefixtures("_imports_are_no_garbage")

QUIET = {"silent": True, "fp16": False, "max_seq_length": 32, "train_batch_size": 6, "manual_seed": 3}
SMALL = {"save_model_every_epoch": False, "save_eval_checkpoints": False, "save_steps": -1}
GRID = {
    "method": "grid",
    "metric": {"name": "mcc", "goal": "maximize"},
    "parameters": {"learning_rate": {"values": [1e-3, 1e-4]}},
}

_INIT = wandb.init
_SETTINGS = wandb.Settings(silent=True, console="off", x_disable_stats=True, x_disable_meta=True)


def _rows(number: int, start: int = 0) -> pd.DataFrame:
    words = " ".join(CORPUS).lower().split()
    texts = [" ".join(["the", *words[: 1 + (row * 5) % 16], "of", str(start + row)]) for row in range(number)]
    return pd.DataFrame({"text": texts, "labels": [row % 2 for row in range(number)]})


TRAIN, HELD_OUT = _rows(12), _rows(6, start=100)


@pytest.fixture
def make(checkpoint: Path) -> Callable[..., Any]:
    """Return what makes what makes a classifier with these arguments."""

    def with_args(**args: Any) -> Callable[[dict[str, Any]], ClassificationModel]:
        return lambda _: ClassificationModel("bert", str(checkpoint), args={**QUIET, **SMALL, **args}, use_cuda=False)

    return with_args


def _agent(
    monkeypatch: pytest.MonkeyPatch, configs: list[dict[str, Any]], calls: list[Any], mode: str = "disabled"
) -> None:
    """Put in place of the agent and the server what goes through these values."""

    def init(**options: Any) -> Any:
        stated = {"mode": mode, "dir": ".", "config": configs[len(calls)], "settings": _SETTINGS}
        run = _INIT(**{**options, **stated})
        calls.append(run)
        return run

    def agent(sweep_id: str, function: Callable[[], Any], **options: Any) -> None:
        assert sweep_id == "a-sweep"
        monkeypatch.setenv("WANDB_SWEEP_ID", sweep_id)
        for _ in configs[: options.get("count")]:
            with contextlib.suppress(Exception):
                function()

    monkeypatch.setattr(wandb, "sweep", lambda *_, **__: "a-sweep")
    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setattr(wandb, "agent", agent)


def test_each_trial_has_a_folder_and_the_best_can_be_opened(make: Any) -> None:
    result = easytx.sweep(make(output_dir="out"), TRAIN, HELD_OUT, GRID)
    assert sorted(path.name for path in Path("out").iterdir()) == ["trial-0", "trial-1"]
    for number, rate in enumerate([1e-3, 1e-4]):
        folder = Path(f"out/trial-{number}")
        assert (folder / "eval_results.json").is_file()
        assert easytx.load(folder).args.learning_rate == rate
    best = result.best_model()
    assert best.args.learning_rate == result.best_params["learning_rate"]
    assert best.eval_model(HELD_OUT, silent=True)[0]["mcc"] == pytest.approx(result.best_score)
    assert [path.name for path in Path().iterdir() if path.name != "outputs"] == ["out"]


def test_scores_are_those_of_the_same_training_without_a_sweep(make: Any) -> None:
    metrics = {"texts": lambda truth, _: len(truth)}
    config = {**GRID, "metric": {"name": "eval_loss"}}
    frame = easytx.sweep(make(no_save=True), TRAIN, HELD_OUT, config, **metrics).to_frame()
    model = make(no_save=True, learning_rate=1e-4)({})
    model.train_model(TRAIN)
    assert frame["eval_loss"][1] == pytest.approx(model.eval_model(HELD_OUT, silent=True)[0]["eval_loss"])


def test_with_no_save_nothing_is_written(make: Any) -> None:
    config = {**GRID, "metric": {"name": "eval_loss"}, "early_terminate": {"type": "hyperband", "min_iter": 1}}
    result = easytx.sweep(make(no_save=True), TRAIN, HELD_OUT, config, count=1)
    assert result.to_frame()["state"].tolist() == ["finished"]
    assert list(Path().rglob("*")) == []


def test_a_training_that_does_badly_is_stopped(make: Any) -> None:
    evaluations: list[float] = []

    def quality(_truth: Any, _predictions: Any) -> float:
        # The first trial has three evaluations while training, and one after it.
        evaluations.append(0.9 if len(evaluations) < 4 else 0.1)
        return evaluations[-1]

    config = {
        **GRID,
        "metric": {"name": "quality", "goal": "maximize"},
        "parameters": {"learning_rate": {"values": [1e-3, 1e-4, 1e-5]}},
        "early_terminate": {"type": "hyperband", "min_iter": 1, "max_iter": 2},
    }
    frame = easytx.sweep(make(no_save=True, num_train_epochs=3), TRAIN, HELD_OUT, config, quality=quality).to_frame()
    assert frame["state"].tolist() == ["finished", "pruned", "pruned"]
    assert frame["quality"].tolist() == [0.9, 0.1, 0.1]
    assert evaluations == [0.9] * 4 + [0.1] * 2


def test_a_training_takes_callbacks(make: Any) -> None:
    from transformers import TrainerCallback

    class Stop(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
            control.should_training_stop = True
            return control

    assert make(no_save=True)({}).train_model(TRAIN, callbacks=[Stop()])[0] == 1


@pytest.mark.parametrize("mode", ["disabled", "offline"])
def test_the_loop_of_weights_and_biases_runs_as_it_is(
    mode: str, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    train_df, eval_df, models = TRAIN, HELD_OUT, []
    calls: list[Any] = []
    values = [{"learning_rate": 1e-3, "num_train_epochs": 1}, {"learning_rate": 1e-4, "num_train_epochs": 2}]
    _agent(monkeypatch, values, calls, mode)
    model_args = ClassificationArgs(**QUIET, **SMALL, overwrite_output_dir=True, evaluate_during_training=True)
    model_args.wandb_project = "Simple Sweep"
    before = model_args.to_dict()
    sweep_id = wandb.sweep({"method": "bayes"}, project="Simple Sweep")

    def train() -> None:
        wandb.init()
        model = ClassificationModel("bert", str(checkpoint), use_cuda=False, args=model_args, sweep_config=wandb.config)
        models.append(model)
        model.train_model(train_df, eval_df=eval_df)
        model.eval_model(eval_df)
        wandb.join()

    wandb.agent(sweep_id, train)
    assert len(calls) == len(models) == 2
    assert [{name: model.args[name] for name in values[0]} for model in models] == values
    assert model_args.to_dict() == before
    assert wandb.run is None
    found = runs(tmp_path)
    assert len(found) == (2 if mode == "offline" else 0)
    for run in found:
        # What a sweep's metric is looked for among.
        assert {"mcc", "eval_loss", "train_loss"} <= {name for row in run.history for name in row}
        assert run.exit_code == 0


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if there were an account; nobody is asked."""
    monkeypatch.setattr(sweep_agent, "has_account", lambda: True)
    monkeypatch.setattr("easytx.core.sweep.has_account", lambda: True)


def test_with_an_account_the_agent_calls_for_the_trials(
    make: Any, account: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[Any] = []
    configs = [{"learning_rate": 1e-3}, {"learning_rate": -1.0}, {"learning_rate": 1e-4}]
    _agent(monkeypatch, configs, runs)
    asked: list[Any] = []
    monkeypatch.setattr(wandb, "sweep", lambda config, **options: asked.append((config, options)) or "a-sweep")
    with pytest.warns(
        UserWarning, match=r"^Trial 1 of the sweep failed with \{'learning_rate': -1\.0\}: ArgumentError"
    ):
        result = easytx.sweep(make(no_save=True), TRAIN, HELD_OUT, GRID, project="p", entity="e")
    assert asked == [(GRID, {"project": "p", "entity": "e"})]
    frame = result.to_frame()
    assert list(frame) == ["trial", "state", "learning_rate", "mcc", "seconds", "error"]
    assert frame["state"].tolist() == ["finished", "failed", "finished"]
    assert frame["learning_rate"].tolist() == [1e-3, -1.0, 1e-4]
    assert runs[0].summary["mcc"] == frame["mcc"][0]
    assert "WANDB_SWEEP_ID" not in os.environ
    assert wandb.run is None


def test_what_would_fail_each_trial_comes_through_the_agent(
    make: Any, account: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    _agent(monkeypatch, [{"learning_rate": 1e-3}] * 3, calls)
    config = {**GRID, "metric": {"name": "nothing"}}
    with pytest.raises(ArgumentError, match=r"^The sweep's metric is 'nothing', but an evaluation here gives \["):
        easytx.sweep(make(no_save=True), TRAIN, HELD_OUT, config)
    assert len(calls) == 1


def test_a_server_that_goes_away_leaves_the_table_so_far(
    make: Any, account: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    _agent(monkeypatch, [{"learning_rate": 1e-3}] * 3, calls)
    init = wandb.init

    def once(**options: Any) -> Any:
        if calls:
            raise wandb.errors.CommError("gone")
        return init(**options)

    monkeypatch.setattr(wandb, "init", once)
    with pytest.warns(UserWarning, match=r"^Weights & Biases failed \(gone\); the sweep's table ends here\.$"):
        result = easytx.sweep(make(no_save=True), TRAIN, HELD_OUT, GRID)
    assert result.to_frame()["state"].tolist() == ["finished"]


def test_a_run_that_the_server_ends_is_pruned(make: Any, account: None, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its agent raises a bare Exception in the thread of the run.
    _agent(monkeypatch, [{"learning_rate": 1e-3}], [])

    def ended(_: Mapping[str, Any]) -> Any:
        raise Exception

    frame = easytx.sweep(ended, TRAIN, HELD_OUT, GRID).to_frame()
    assert frame["state"].tolist() == ["pruned"]
    assert frame["error"].isna().all()


def test_a_server_that_takes_no_sweep_is_done_without(
    make: Any, account: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> str:
        raise wandb.errors.CommError("permission denied")

    monkeypatch.setattr(wandb, "sweep", refuse)
    with pytest.warns(UserWarning, match=r"^Weights & Biases took no sweep \(permission denied\); it runs on this"):
        result = easytx.sweep(make(no_save=True), TRAIN, HELD_OUT, GRID, count=1)
    assert result.to_frame()["state"].tolist() == ["finished"]


class TestAccount:
    @pytest.fixture(autouse=True)
    def _online(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("WANDB_MODE", "online")
        monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        monkeypatch.setattr(tracking_mode, "answers", lambda *_, **__: True)
        # The client keeps what it has read of the environment.
        wandb.teardown()

    def test_a_key_is_an_account(self) -> None:
        assert sweep_agent.has_account()

    def test_so_is_an_entry_in_netrc(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.delenv("WANDB_API_KEY")
        assert not sweep_agent.has_account()
        (tmp_path / "netrc").write_text("machine api.wandb.ai login user password secret\n")
        assert sweep_agent.has_account()

    @pytest.mark.parametrize(
        ("name", "value"), [("WANDB_MODE", "offline"), ("WANDB_MODE", "disabled"), ("WANDB_DISABLED", "true")]
    )
    def test_one_that_is_not_to_be_used_is_none(self, name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(name, value)
        assert not sweep_agent.has_account()

    def test_a_server_that_cannot_be_reached_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tracking_mode, "answers", lambda *_, **__: False)
        with pytest.warns(UserWarning, match=r" does not answer; the sweep runs on this machine alone\.$"):
            assert not sweep_agent.has_account()

    def test_without_the_package_there_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "wandb", None)
        assert not sweep_agent.has_account()
