"""A sweep on this machine: which trials there are, what becomes of them, and how it goes on after an interruption."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from transformers import TrainerControl, TrainerState

import easytx
from easytx.config.model_args import ModelArgs
from easytx.core.base_model import BaseModel
from easytx.core.results import TrainResult
from easytx.core.sweep import SweepResult
from easytx.errors import ArgumentError, MissingExtraError, OutputDirError

pytestmark = pytest.mark.usefixtures("_imports_are_no_garbage")

ROWS = pd.DataFrame({"text": ["a"], "labels": [0]})
GRID = {"method": "grid", "metric": {"name": "f1", "goal": "maximize"}, "parameters": {"x": {"values": [3, 1, 2]}}}
RANDOM = {**GRID, "method": "random", "parameters": {"x": {"min": 0.0, "max": 1.0}}}


class Stub(BaseModel):
    """A model class without a model: its score is a function of the trial's values."""

    args_class = ModelArgs

    def __init__(self, score: Callable[[], Any], evaluations: list[float] | None = None, **args: Any) -> None:
        self.args = ModelArgs(**{"no_save": True, **args})
        self.trained = False
        self.score_now, self.evaluations = score, evaluations or []
        self.results = {}

    def train_model(self, *rows: Any, callbacks: Any = (), **kwargs: Any) -> TrainResult:
        self.trained, control, done = True, TrainerControl(), 0
        for value in self.evaluations:
            done += 1
            for callback in callbacks:
                callback.on_evaluate(None, TrainerState(), control, metrics={"eval_f1": value})
            if control.should_training_stop:
                break
        return TrainResult(done, 0.25)

    def eval_model(self, *rows: Any, **kwargs: Any) -> None:
        self.results = {"f1": self.score_now(), "eval_loss": 1.0}


def _sweep(score: Callable[[dict[str, Any]], Any], config: Any = GRID, **options: Any) -> SweepResult:
    return easytx.sweep(lambda values: Stub(lambda: score(values)), ROWS, ROWS, config, **options)


def _x(result: SweepResult) -> list[Any]:
    return result.to_frame()["x"].tolist()


def test_a_grid_is_run_in_order() -> None:
    result = _sweep(lambda values: values["x"] / 10)
    frame = result.to_frame()
    assert list(frame) == ["trial", "state", "x", "f1", "seconds", "error"]
    assert frame["trial"].tolist() == [0, 1, 2]
    assert frame["state"].tolist() == ["finished"] * 3
    assert _x(result) == [3, 1, 2]
    assert frame["f1"].tolist() == [0.3, 0.1, 0.2]
    assert frame["seconds"].between(0, 5).all()
    assert frame["error"].isna().all()
    assert (result.best_params, result.best_score, result.best_trial.number) == ({"x": 3}, 0.3, 0)
    assert repr(result) == "<SweepResult: 3 trials, 3 finished, best f1 0.3 with {'x': 3}>"


def test_the_goal_is_the_lowest_score_by_default() -> None:
    config = {**GRID, "metric": {"name": "f1"}}
    assert _sweep(lambda values: values["x"], config).best_params == {"x": 1}


def test_count_ends_a_grid_early_and_run_cap_too() -> None:
    assert _x(_sweep(lambda _: 0, count=2)) == [3, 1]
    assert _x(_sweep(lambda _: 0, {**GRID, "run_cap": 1}, count=2)) == [3]
    assert len(_x(_sweep(lambda _: 0, count=99))) == 3


def test_a_target_ends_the_sweep() -> None:
    config = {**GRID, "metric": {"name": "f1", "goal": "maximize", "target": 0.5}}
    assert _x(_sweep(lambda values: 0.5 if values["x"] == 1 else 0.4, config)) == [3, 1]


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_the_seed_settles_the_values(method: str) -> None:
    config = {**RANDOM, "method": method}
    first, again, other = (_sweep(lambda values: values["x"], config, count=4, seed=seed) for seed in (1, 1, 2))
    assert _x(first) == _x(again)
    assert not set(_x(first)) & set(_x(other))
    assert len(set(_x(first))) == 4


def test_bayes_comes_closer_to_the_best_than_it_began() -> None:
    config = {**RANDOM, "method": "bayes"}
    values = _x(_sweep(lambda values: -((values["x"] - 0.7) ** 2), config, count=20, seed=0))
    first, last = (sum(abs(x - 0.7) for x in some) for some in (values[:10], values[-10:]))
    assert last < first / 2


def test_a_failed_trial_is_noted_and_passed_over() -> None:
    def score(values: dict[str, Any]) -> float:
        if values["x"] == 3:
            raise RuntimeError("out of memory")
        return float("nan") if values["x"] == 1 else 0.2

    with pytest.warns(UserWarning, match=r"^Trial 0 of the sweep failed with \{'x': 3\}: RuntimeError: out of memory$"):
        result = _sweep(score)
    frame = result.to_frame()
    assert frame["state"].tolist() == ["failed", "failed", "finished"]
    assert frame["error"].tolist()[:2] == ["RuntimeError: out of memory", "f1 is not a number."]
    assert frame["f1"].isna().tolist() == [True, True, False]
    assert result.best_params == {"x": 2}


def test_without_a_finished_trial_there_is_no_best() -> None:
    with pytest.warns(UserWarning, match="failed"):
        result = _sweep(lambda _: 1 / 0, count=1)
    assert repr(result) == "<SweepResult: 1 trials, 0 finished>"
    with pytest.raises(ArgumentError) as refused:
        result.best_params  # noqa: B018
    assert str(refused.value) == (
        "None of the 1 trials has finished. The first failed with ZeroDivisionError: division by zero"
    )


def test_the_model_of_a_trial_is_gone_before_the_next() -> None:
    models: list[weakref.ref[Stub]] = []

    def make(values: dict[str, Any]) -> Stub:
        assert all(model() is None for model in models)
        model = Stub(lambda: 1 / values["x"])
        # As a cycle it is freed by the garbage collector alone.
        model.itself = model  # type: ignore[attr-defined]
        models.append(weakref.ref(model))
        return model

    config = {**GRID, "parameters": {"x": {"values": [0, 1, 2]}}}
    gc.disable()
    try:
        with pytest.warns(UserWarning, match="division by zero"):
            result = easytx.sweep(make, ROWS, ROWS, config)
    finally:
        gc.enable()
    assert result.to_frame()["state"].tolist() == ["failed", "finished", "finished"]


def test_ctrl_c_ends_with_the_table_so_far_and_the_same_call_goes_on() -> None:
    def interrupted(values: dict[str, Any]) -> float:
        if values["x"] == 1:
            raise KeyboardInterrupt
        return 0.5

    first = _sweep(interrupted, study="studies/sweep.db").to_frame()
    assert first["state"].tolist() == ["finished", "failed"]
    assert first["error"].tolist()[1] == "interrupted"
    tried: list[int] = []
    result = _sweep(lambda values: tried.append(values["x"]) or 0.75, study="studies/sweep.db")
    assert tried == [1, 2]
    assert _x(result) == [3, 1, 1, 2]
    assert result.to_frame()["state"].tolist() == ["finished", "failed", "finished", "finished"]
    assert result.to_frame()["f1"].tolist()[0] == 0.5
    assert _sweep(lambda _: pytest.fail("nothing is left"), study="studies/sweep.db").best_score == 0.75


def test_a_killed_trial_is_run_again() -> None:
    class Killed(BaseException):
        """Ends the process as far as the sweep can see."""

    def killed(values: dict[str, Any]) -> float:
        raise Killed

    with pytest.raises(Killed):
        _sweep(killed, RANDOM, count=2, seed=5, study="sweep.db")
    result = _sweep(lambda _: 0, RANDOM, count=2, seed=5, study="sweep.db")
    assert result.to_frame()["state"].tolist() == ["failed", "finished", "finished"]
    whole = _x(_sweep(lambda _: 0, RANDOM, count=2, seed=5))
    assert _x(result) == [whole[0], *whole]


def test_a_seeded_sweep_taken_up_again_draws_what_it_would_have_drawn() -> None:
    for count in (2, 5):
        result = _sweep(lambda _: 0, RANDOM, count=count, seed=3, study="sweep.db")
    assert _x(result) == _x(_sweep(lambda _: 0, RANDOM, count=5, seed=3))


def test_failed_trials_are_not_run_again() -> None:
    with pytest.warns(UserWarning, match="failed"):
        _sweep(lambda _: 1 / 0, count=2, study="sweep.db")
    assert _sweep(lambda _: 0.5, study="sweep.db").to_frame()["state"].tolist() == ["failed"] * 2 + ["finished"]


def test_another_sweep_is_not_mixed_in() -> None:
    _sweep(lambda _: 0, count=1, study="sweep.db")
    with pytest.raises(ArgumentError, match=r"^'sweep\.db' holds another sweep named 'sweep', of other parameters"):
        _sweep(lambda _: 0, RANDOM, count=1, study="sweep.db")
    assert len(_x(_sweep(lambda _: 0, {**RANDOM, "name": "second"}, count=1, study="sweep.db"))) == 1


def test_a_trial_that_does_badly_is_pruned() -> None:
    config = {**GRID, "early_terminate": {"type": "hyperband", "min_iter": 1, "max_iter": 2, "eta": 2}}
    config["parameters"] = {"x": {"values": [9, 8, 7, 6, 5, 4, 3, 2]}}
    seen: list[bool] = []

    def make(values: dict[str, Any]) -> Stub:
        model = Stub(lambda: values["x"], evaluations=[values["x"]] * 3)
        seen.append(model.args.evaluate_during_training)
        return model

    frame = easytx.sweep(make, ROWS, ROWS, config).to_frame()
    assert set(frame["state"]) == {"finished", "pruned"}
    assert frame["state"][0] == "finished"
    pruned = frame[frame["state"] == "pruned"]
    # A pruned trial has the score of its last evaluation.
    assert pruned["f1"].tolist() == pruned["x"].tolist()
    assert pruned["error"].isna().all()
    assert seen == [False] * 8


@pytest.mark.parametrize(
    ("metric", "expected"), [("f1", 0.5), ("eval/f1", 0.5), ("eval_loss", 1.0), ("train_loss", 0.25)]
)
def test_the_metric_goes_by_its_name_in_the_trackers_too(metric: str, expected: float) -> None:
    assert _sweep(lambda _: 0.5, {**GRID, "metric": {"name": metric}}, count=1).best_score == expected


def test_a_metric_that_does_not_exist_ends_the_sweep() -> None:
    tried: list[int] = []
    with pytest.raises(ArgumentError) as refused:
        _sweep(lambda _: tried.append(1) or 0, {**GRID, "metric": {"name": "eval_los"}})
    assert str(refused.value) == (
        "The sweep's metric is 'eval_los', but an evaluation here gives ['eval_loss', 'f1', 'train_loss']. "
        "Did you mean 'eval_loss'?"
    )
    assert len(tried) == 1


def test_known_names_are_set_on_the_model_and_no_object_is_shared() -> None:
    shared = ModelArgs(no_save=True, best_model_dir="best", wandb_project="p", wandb_kwargs={"tags": ["t"]})
    before, models = shared.to_dict(), []

    def make(values: dict[str, Any]) -> Stub:
        values["mine"] = "make_model may write into its dict"
        model = Stub(lambda: 1.0)
        model.args = shared
        models.append(model)
        return model

    parameters = {"learning_rate": {"values": [1e-3, 1e-2]}, "own_name": {"value": 1}}
    result = easytx.sweep(make, ROWS, ROWS, {**GRID, "parameters": parameters}, seed=7)
    assert shared.to_dict() == before
    assert [model.args.learning_rate for model in models] == [1e-3, 1e-2]
    assert [model.args.output_dir for model in models] == ["outputs/trial-0", "outputs/trial-1"]
    assert [model.args.best_model_dir for model in models] == ["best/trial-0", "best/trial-1"]
    assert {model.args.manual_seed for model in models} == {7}
    assert models[1].args.wandb_kwargs == {"group": "sweep", "name": "trial-1", "tags": ["t"]}
    assert result.best_params == {"learning_rate": 1e-3, "own_name": 1}


def test_a_misspelt_argument_is_doubted() -> None:
    config = {**GRID, "parameters": {"learning_rat": {"values": [1e-3]}}}
    with pytest.warns(UserWarning, match="learning_rat") as caught:
        _sweep(lambda _: 1.0, config)
    assert [str(warning.message) for warning in caught] == [
        "The sweep's parameter 'learning_rat' is no argument; only make_model gets it. Did you mean 'learning_rate'?"
    ]


def test_one_model_for_all_trials_is_refused() -> None:
    model = Stub(lambda: 1.0)
    with pytest.raises(ArgumentError, match=r"^make_model must return a new model each time"):
        easytx.sweep(lambda _: model, ROWS, ROWS, GRID)
    with pytest.raises(ArgumentError, match=r"^make_model must return a model of easytx, but returned None\.$"):
        easytx.sweep(lambda _: None, ROWS, ROWS, GRID)  # type: ignore[arg-type,return-value]


def test_a_folder_in_the_way_ends_the_sweep() -> None:
    def make(values: dict[str, Any]) -> Stub:
        raise OutputDirError("not empty")

    with pytest.raises(OutputDirError, match="not empty"):
        easytx.sweep(make, ROWS, ROWS, GRID)


def test_without_saving_there_is_no_best_model() -> None:
    with pytest.raises(ArgumentError, match=r"^With no_save no trial leaves a model\. Train one with"):
        _sweep(lambda _: 1.0).best_model()


def test_optuna_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'easytx\[sweep\]'$"):
        _sweep(lambda _: 1.0)


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (RANDOM, {}, "A sweep with method 'random' has no end of its own: give count=."),
        (RANDOM, {"count": 0}, "count must be 1 or more, but is 0."),
    ],
)
def test_a_sweep_needs_an_end(config: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as refused:
        _sweep(lambda _: 1.0, config, **options)
    assert str(refused.value) == message


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ArgumentError, match=r"^A sweep runs in one process: start it without torchrun\.$"):
        _sweep(lambda _: 1.0)


def test_a_study_leaves_logging_as_it_was() -> None:
    root, mine = logging.getLogger(), logging.getLogger("a logger of the user's")
    before = (root.level, root.handlers[:])
    for _ in range(2):
        _sweep(lambda _: 1.0, study="sweep.db")
    assert (root.level, root.handlers) == before
    assert not mine.disabled
    assert not logging.getLogger("easytx.core.sweep").disabled


def test_nothing_is_written_but_the_study() -> None:
    _sweep(lambda _: 1.0, study="a/sweep.db")
    assert [str(path) for path in Path().rglob("*") if path.is_file()] == ["a/sweep.db"]
