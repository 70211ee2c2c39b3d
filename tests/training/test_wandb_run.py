"""One run of Weights & Biases from the first step to the last table, read back from what the real client wrote."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import wandb

import easytx
from easytx.errors import ModelNotFoundError, NonFiniteLossError
from easytx.training import tracking_callback
from easytx.training.tracking_config import data_fingerprint, hyperparameters, versions
from easytx.training.tracking_record import RUN_FILE, RunRecord, read_run, write_run
from easytx.training.tracking_weights import histograms

from .conftest import changed, weights
from .wandb_runs import Run, runs

Make = Callable[..., Any]
SETTINGS = {"silent": True, "console": "off", "x_disable_stats": True, "x_disable_meta": True}


@pytest.fixture(autouse=True)
def _own_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "tracking").mkdir()
    monkeypatch.setenv("WANDB_MODE", "offline")
    yield
    if wandb.run is not None:
        wandb.finish()


@pytest.fixture
def options() -> dict[str, Any]:
    """Return arguments that switch tracking on, with as little beside a run as wandb can do with."""
    return {
        "wandb_project": "tests",
        "wandb_kwargs": {"dir": str(Path("tracking").resolve()), "settings": wandb.Settings(**SETTINGS)},
        "logging_steps": 2,
    }


EVALUATES = {"evaluate_during_training": True, "evaluate_during_training_steps": 2}


def _runs() -> list[Run]:
    return runs("tracking")


def test_training_and_evaluation_are_one_run(
    classifier: Make, train_df: pd.DataFrame, eval_df: pd.DataFrame, options: dict[str, Any]
) -> None:
    model = classifier(**options, **EVALUATES, wandb_log_predictions=3, num_train_epochs=2)
    model.train_model(train_df, eval_data=eval_df)
    assert wandb.run is None
    model.eval_model(eval_df)
    assert wandb.run is None
    first, second = _runs()
    assert first.id == second.id == model.wandb_run_id
    assert (first.project, second.project) == ("tests", "tests")
    assert (first.exit_code, second.exit_code) == (0, 0)
    steps = [row["_step"] for row in [*first.history, *second.history]]
    assert steps == list(range(len(steps)))


def test_what_a_training_leaves_in_its_run(
    classifier: Make, train_df: pd.DataFrame, eval_df: pd.DataFrame, options: dict[str, Any]
) -> None:
    model = classifier(**options, **EVALUATES, wandb_log_predictions=3, num_train_epochs=2)
    details = model.train_model(train_df, eval_data=eval_df, listed=lambda *_: [1, 2])
    (run,) = _runs()
    assert run.column("global_step") == [1, 2, 2, 4, 4, 6, 6, 8, 8]
    for name in ("train/loss", "Training loss", "lr", "train/learning_rate", "train/grad_norm", "train/epoch"):
        assert len(run.column(name)) == 5, name
    assert run.column("train/loss") == run.column("Training loss")
    assert all(value > 0 for value in run.column("train/examples_per_second"))
    tokens, examples = run.column("train/tokens_per_second"), run.column("train/examples_per_second")
    assert min(t / e for t, e in zip(tokens, examples, strict=True)) > 4
    for name in ("mcc", "eval_loss", "train_loss", "f1_score"):
        assert run.column(name) == pytest.approx(details.training_details[name]), name
        if name != "train_loss":
            assert run.column(f"eval/{name.removeprefix('eval_')}") == run.column(name)
    assert "listed" not in {name for row in run.history for name in row}
    assert run.summary["best/step"] == details.info["best_step"]
    assert run.summary["best/eval_loss"] == pytest.approx(details.info["best_score"])
    assert run.summary["train_runtime"] > 0
    tables = run.tables("eval/predictions")
    assert len(tables) == 4
    assert tables[0]["columns"] == ["text", "truth", "prediction", "probability", "loss", "epoch", "global_step"]
    assert [len(table["data"]) for table in tables] == [3, 3, 3, 3]
    assert [row[0] for row in tables[0]["data"]] == [row[0] for row in tables[3]["data"]]
    assert [row[0] for row in tables[0]["data"]] == eval_df["text"].iloc[[0, 4, 9]].tolist()
    assert {row[-1] for row in tables[3]["data"]} == {8.0}


def test_the_configuration_of_a_run(classifier: Make, train_df: pd.DataFrame, options: dict[str, Any]) -> None:
    secret = {"hub_token": "SECRET", "save_safetensors": True}
    options["wandb_kwargs"] |= {"config": {"mine": 1}, "name": "a name", "tags": ["SEEN"], "notes": "kept"}
    model = classifier(**options, no_save=True, trainer_kwargs={"hub_token": secret["hub_token"]})
    model.train_model(train_df)
    (run,) = _runs()
    expected = {
        "mine": 1,
        "learning_rate": 1e-3,
        "train_rows": 24,
        "train_features": 24,
        "labels": ["0", "1"],
        "num_labels": 2,
        "seed": 3,
        "precision": f"{model.device}, fp32",
        "device": str(model.device),
        "model_class": "ClassificationModel",
        "versions": versions(),
        "trainer_kwargs": {},
    }
    found = {name: run.config[name] for name in expected if not isinstance(expected[name], dict) or expected[name]}
    assert found == {name: value for name, value in expected.items() if name in found}
    assert set(versions()) >= {"python", "easytx", "torch", "transformers", "wandb"}
    assert len(run.config["data_fingerprint"]) == 32
    assert "wandb_kwargs" not in run.config
    assert "SECRET" not in json.dumps(run.config)
    assert run.name == model.wandb_run_name == "a name"


def test_the_environment_names_the_project(
    classifier: Make, train_df: pd.DataFrame, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "from the environment")
    for own in ({"wandb_project": None, "report_to": ["wandb"]}, {}):
        model = classifier(**{**options, **own}, no_save=True)
        details = model.train_model(train_df)
        assert details.info["trackers"] == ["wandb"]
    assert [run.project for run in _runs()] == ["from the environment", "tests"]


def test_the_final_evaluation_of_a_run(
    classifier: Make, train_df: pd.DataFrame, eval_df: pd.DataFrame, options: dict[str, Any]
) -> None:
    model = classifier(**options, wandb_log_predictions=3, num_train_epochs=2, no_save=True)
    model.train_model(train_df)
    evaluation = model.eval_model(eval_df, output_dir="scores")
    first, run = _runs()
    assert first.column("train_loss") != []
    assert run.column("test/mcc") == run.column("mcc") == pytest.approx([evaluation.result["mcc"]])
    assert run.column("test/loss") == run.column("eval_loss")
    assert run.column("train/global_step")[0] == 8
    (matrix,) = run.tables("confusion_matrix_table")
    counts = {(row[0], row[1]): row[2] for row in matrix["data"]}
    truth, predicted = eval_df["labels"].tolist(), evaluation.to_frame()["prediction"].tolist()
    assert counts == {
        (str(i), str(j)): list(zip(truth, predicted, strict=True)).count((i, j)) for i in (0, 1) for j in (0, 1)
    }
    (roc,), (pr,), (table,) = (run.tables(name) for name in ("roc_table", "pr_table", "test/per_class"))
    assert list(dict.fromkeys(row[0] for row in roc["data"])) == ["0", "1"]
    assert roc["data"][0] == ["0", 0.0, 0.0]
    assert roc["data"][-1] == ["1", 1.0, 1.0]
    assert pr["columns"] == ["class", "recall", "precision"]
    assert table["columns"] == ["label", "precision", "recall", "f1", "support"]
    (wrong,) = run.tables("test/wrong_predictions")
    losses = [row[wrong["columns"].index("loss")] for row in wrong["data"]]
    assert len(losses) == len(evaluation.wrong_predictions)
    assert losses == sorted(losses, reverse=True)


def test_an_evaluation_can_be_kept_from_the_run(
    classifier: Make, train_df: pd.DataFrame, eval_df: pd.DataFrame, options: dict[str, Any]
) -> None:
    model = classifier(**options, no_save=True)
    model.train_model(train_df)
    model.eval_model(eval_df, output_dir="scores", wandb_log=False)
    assert len(_runs()) == 1


def test_texts_are_sent_only_when_asked_for(
    classifier: Make, train_df: pd.DataFrame, eval_df: pd.DataFrame, options: dict[str, Any]
) -> None:
    model = classifier(**options, **EVALUATES, no_save=True)
    model.train_model(train_df, eval_data=eval_df)
    model.eval_model(eval_df, output_dir="scores")
    names = {name for run in _runs() for row in run.history for name in row}
    assert not [name for name in names if "predictions" in name]
    assert not [path for path in Path("tracking").rglob("*.json") if "of 100" in path.read_text("utf-8")]


def test_predictions_are_shown_every_so_often(
    classifier: Make, train_df: pd.DataFrame, eval_df: pd.DataFrame, options: dict[str, Any]
) -> None:
    args = {"wandb_log_predictions": 100, "wandb_log_predictions_freq": 3, "num_train_epochs": 2, "no_save": True}
    classifier(**options, **EVALUATES, **args).train_model(train_df, eval_data=eval_df)
    (run,) = _runs()
    assert [table["data"][0][-1] for table in run.tables("eval/predictions")] == [2.0, 8.0]
    assert len(run.tables("eval/predictions")[0]["data"]) == len(eval_df)
    assert len(run.tables("eval/wrong_predictions")) == 1


def test_a_run_of_the_callers_takes_everything_and_stays_open(
    classifier: Make, train_df: pd.DataFrame, eval_df: pd.DataFrame, options: dict[str, Any]
) -> None:
    run = wandb.init(project="mine", **options["wandb_kwargs"])
    model = classifier(**options, no_save=True)
    model.train_model(train_df)
    model.eval_model(eval_df, output_dir="scores")
    assert wandb.run is run
    assert model.wandb_run_id == run.id
    run.finish(exit_code=7)
    (found,) = _runs()
    assert (found.project, found.exit_code) == ("mine", 7)
    assert found.config["learning_rate"] == 1e-3
    assert {"train/loss", "test/mcc"} <= {name for row in found.history for name in row}


def test_a_sweep_is_tracked_without_a_project(
    classifier: Make, train_df: pd.DataFrame, checkpoint: Path, options: dict[str, Any]
) -> None:
    from easytx.classification import ClassificationModel

    with wandb.init(project="mine", config={"learning_rate": 5e-4}, **options["wandb_kwargs"]) as run:
        model = ClassificationModel(
            "bert", str(checkpoint), sweep_config=run.config, args={"no_save": True, "silent": True}
        )
        assert model.args.learning_rate == 5e-4
        model.train_model(train_df)
    (found,) = _runs()
    assert found.column("Training loss")
    classifier(no_save=True).train_model(train_df)
    assert len(_runs()) == 1


@pytest.mark.parametrize("error", [NonFiniteLossError("nan"), KeyboardInterrupt(), SystemExit(3)])
def test_a_training_that_fails_is_a_run_that_failed(
    error: BaseException, classifier: Make, train_df: pd.DataFrame, eval_df: pd.DataFrame, options: dict[str, Any]
) -> None:
    def broken(*_given: Any) -> float:
        raise error

    model = classifier(**options, **EVALUATES, no_save=True)
    with pytest.raises(type(error)):
        model.train_model(train_df, eval_data=eval_df, broken=broken)
    assert wandb.run is None
    (run,) = _runs()
    assert run.exit_code == 1
    assert run.column("train/loss")


def test_a_full_disk_is_told_of_though_wandb_says_nothing(
    classifier: Make,
    train_df: pd.DataFrame,
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=4096))
    with caplog.at_level(logging.WARNING, logger="easytx"):
        classifier(**options, no_save=True).train_model(train_df)
    (run,) = _runs()
    said = [record.getMessage() for record in caplog.records if "Weights & Biases" in record.getMessage()]
    folder = run.folder.resolve()
    assert said == [
        f"Weights & Biases: the disk of {folder} is full, so the end of the run may be missing. Training is not "
        f"affected. Send what is recorded with: wandb sync {folder}"
    ]


def test_each_training_is_a_run_of_its_own(classifier: Make, train_df: pd.DataFrame, options: dict[str, Any]) -> None:
    model = classifier(**options, no_save=True)
    model.train_model(train_df)
    first = model.wandb_run_id
    model.train_model(train_df, args={"wandb_project": None})
    assert model.wandb_run_id is None
    model.train_model(train_df, args={"wandb_project": "tests"})
    assert model.wandb_run_id not in (None, first)
    assert len({run.id for run in _runs()}) == 2


def test_the_folder_says_which_run_it_is_of(
    classifier: Make, train_df: pd.DataFrame, eval_df: pd.DataFrame, options: dict[str, Any]
) -> None:
    model = classifier(**options, **EVALUATES)
    assert (model.wandb_run_id, model.wandb_run_name, model.wandb_url) == (None, None, None)
    model.train_model(train_df, eval_data=eval_df)
    saved = json.loads(Path("outputs", RUN_FILE).read_text("utf-8"))
    assert saved["id"] == model.wandb_run_id
    assert (saved["mode"], saved["project"], saved["url"], saved["global_step"]) == ("offline", "tests", None, 4)
    assert read_run("outputs/best_model").id == model.wandb_run_id
    loaded = easytx.load("outputs", args={"wandb_kwargs": options["wandb_kwargs"]})
    assert loaded.wandb_run_id == model.wandb_run_id
    loaded.eval_model(eval_df)
    assert [run.id for run in _runs()] == [model.wandb_run_id] * 2
    loaded.args.wandb_project = "another"
    loaded.eval_model(eval_df)
    assert _runs()[-1].id != model.wandb_run_id
    model.train_model(train_df, args={"overwrite_output_dir": True, "wandb_project": None}, eval_data=eval_df)
    assert not Path("outputs", RUN_FILE).exists()


def test_a_training_goes_on_in_its_run(classifier: Make, train_df: pd.DataFrame, options: dict[str, Any]) -> None:
    options["logging_steps"] = 1
    model = classifier(**options, save_steps=2, max_steps=2)
    model.train_model(train_df)
    second = classifier(**options, save_steps=2, max_steps=4)
    second.train_model(train_df, resume_from_checkpoint=True)
    assert second.wandb_run_id == model.wandb_run_id
    first, more = _runs()
    assert first.id == more.id
    assert first.column("train/global_step") == [1, 2, 2]
    assert more.column("train/global_step") == [3, 4, 4]
    # There may have been more rows after the checkpoint than it knows of; none may come again.
    steps = [row["_step"] for row in [*first.history, *more.history]]
    assert steps == sorted(set(steps))


@pytest.mark.parametrize(("where", "expected"), [("args", "end"), ("environment", "end"), ("both", "false")])
def test_the_model_is_an_artifact(
    where: str,
    expected: str,
    classifier: Make,
    train_df: pd.DataFrame,
    eval_df: pd.DataFrame,
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if where != "args":
        monkeypatch.setenv("WANDB_LOG_MODEL", "end")
    stated = {"args": "end", "both": "false"}
    options["wandb_kwargs"]["name"] = "a name/1"
    args = {"wandb_log_model": stated[where]} if where in stated else {}
    model = classifier(**options, **EVALUATES, **args)
    model.train_model(train_df, eval_data=eval_df)
    (run,) = _runs()
    if expected == "false":
        assert run.artifacts == []
        return
    ((name, aliases, files, metadata),) = run.artifacts
    assert (name, aliases) == ("model-a_name_1", ["final_model", "latest"])
    assert {"model.safetensors", "config.json", "model_args.json", RUN_FILE} <= set(files)
    assert not [file for file in files if "/" in file]
    assert metadata["labels"] == ["0", "1"]
    assert metadata["base_checkpoint"] == model.args.model_name
    assert metadata["metrics"]["eval_loss"] == pytest.approx(run.summary["best/eval_loss"])
    assert metadata["data_fingerprint"] == run.config["data_fingerprint"]


def test_checkpoints_are_artifacts_and_training_resumes_from_one(
    classifier: Make, train_df: pd.DataFrame, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = classifier(**options, save_steps=2, max_steps=2, wandb_log_model="checkpoint")
    model.train_model(train_df)
    (run,) = _runs()
    assert [name for name, *_ in run.artifacts] == [f"checkpoint-{run.id}", f"model-{run.id}"]
    assert run.artifacts[0][1] == ["checkpoint_global_step_2", "epoch_0.5", "latest"]
    assert "optimizer.pt" in run.artifacts[0][2]

    asked: list[tuple[str, str]] = []

    class Artifact:
        def download(self) -> str:
            return "outputs/checkpoint-2"

        def link(self, target: str, aliases: list[str] | None) -> None:
            asked.append((target, str(aliases)))

    class Api:
        def artifact(self, name: str, type: str) -> Artifact:
            asked.append((name, type))
            if "missing" in name:
                raise wandb.errors.CommError("not found")
            return Artifact()

    monkeypatch.setattr(wandb, "Api", Api)
    name = f"wandb:me/tests/checkpoint-{run.id}:latest"
    resumed = classifier(**options, save_steps=2, max_steps=4, save_total_limit=None)
    details = resumed.train_model(train_df, resume_from_checkpoint=name)
    assert asked == [(f"me/tests/checkpoint-{run.id}:latest", "model")]
    assert (details.global_step, resumed.wandb_run_id) == (4, run.id)

    loaded = easytx.load(name)
    assert (type(loaded).__name__, loaded.wandb_run_id) == ("ClassificationModel", run.id)
    easytx.link_model(name, "wandb-registry-model/tickets", aliases=["production"])
    assert asked[-1] == ("wandb-registry-model/tickets", "['production']")
    with pytest.raises(
        ModelNotFoundError, match=r"^The artifact 'me/missing:v1' could not be downloaded\. It is named"
    ):
        easytx.load("wandb:me/missing:v1")
    with pytest.raises(ModelNotFoundError, match="'me/missing:v1' could not be linked to 'there'"):
        easytx.link_model("me/missing:v1", "there")


def test_without_a_saved_model_the_artifact_is_made_from_memory(
    classifier: Make, train_df: pd.DataFrame, options: dict[str, Any]
) -> None:
    classifier(**options, no_save=True, wandb_log_model="end").train_model(train_df)
    (run,) = _runs()
    assert "model.safetensors" in run.artifacts[0][2]
    assert {path.name for path in Path().iterdir()} == {"tracking"}


@pytest.mark.parametrize(
    ("what", "expected"),
    [("gradients", {"gradients"}), ("parameters", {"parameters"}), ("all", {"gradients", "parameters"})],
)
def test_the_network_is_watched_where_the_environment_says_so(
    what: str,
    expected: set[str],
    classifier: Make,
    train_df: pd.DataFrame,
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_WATCH", what)
    monkeypatch.setattr(tracking_callback, "_WATCH_STEPS", 3)
    model = classifier(**options, no_save=True, num_train_epochs=2)
    model.train_model(train_df)
    (run,) = _runs()
    parameters = dict(model.model.named_parameters())
    found = {name.split(".")[0] for row in run.history for name in row if name.endswith(".bins")}
    assert {name.split("/")[0] for name in found} == expected
    name = next(iter(parameters))
    for kind in expected:
        rows = [row for row in run.history if f"{kind}/{name}.bins" in row]
        assert [row["train/global_step"] for row in rows] == [1, 4, 7]
        assert [sum(row[f"{kind}/{name}.values"]) for row in rows] == [parameters[name].numel()] * 3


def test_what_fails_while_the_network_is_watched_does_not_reach_the_training(
    classifier: Make,
    train_df: pd.DataFrame,
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_given: Any, **_options: Any) -> None:
        raise RuntimeError("no histogram")

    plain = classifier(no_save=True)
    plain.train_model(train_df)
    monkeypatch.setenv("WANDB_WATCH", "all")
    monkeypatch.setattr(wandb, "Histogram", broken)
    model = classifier(**options, no_save=True)
    with caplog.at_level(logging.WARNING, logger="easytx"):
        model.train_model(train_df)
    assert changed(weights(plain), weights(model)) == set()
    said = [record.getMessage() for record in caplog.records if "Weights & Biases" in record.getMessage()]
    (warning,) = said
    assert "gradients and parameters will be missing from the run (RuntimeError: no histogram)" in warning
    (run,) = _runs()
    assert run.column("train/loss")


def test_histograms_are_of_what_is_finite() -> None:
    network = torch.nn.Linear(2, 1)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[1.0, float("nan")]]))
        network.bias.fill_(float("inf"))
    found = histograms(network, "all")
    assert set(found) == {"parameters/weight"}
    assert (found["parameters/weight"].histogram, found["parameters/weight"].bins) == ([1], [1.0, 1.0])
    network = network.to(torch.bfloat16)
    network.weight.grad = torch.tensor([[0.0, 4.0]], dtype=torch.bfloat16)
    (made,) = histograms(network, "gradients").values()
    assert (made.histogram[0], made.histogram[-1], sum(made.histogram)) == (1, 1, 2)
    assert (made.bins[0], made.bins[-1]) == (0.0, 4.0)


@pytest.mark.parametrize("failure", ["none", "log", "init", "finish", "module", "config"])
def test_a_tracker_changes_nothing_about_the_training(
    failure: str,
    classifier: Make,
    train_df: pd.DataFrame,
    eval_df: pd.DataFrame,
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_given: Any, **_options: Any) -> None:
        raise OSError(28, "No space left on device")

    plain = classifier(**EVALUATES, no_save=True)
    expected = plain.train_model(train_df, eval_data=eval_df)
    if failure in ("log", "finish"):
        monkeypatch.setattr(wandb.Run, failure, broken)
    elif failure == "init":
        monkeypatch.setattr(wandb, "init", broken)
    elif failure == "module":
        monkeypatch.setitem(sys.modules, "wandb", None)
    elif failure == "config":
        monkeypatch.setattr("easytx.core.tracking.data_fingerprint", broken)
    model = classifier(**options, **EVALUATES, no_save=True, wandb_log_predictions=2)
    with caplog.at_level(logging.WARNING, logger="easytx"):
        details = model.train_model(train_df, eval_data=eval_df)
        result = model.eval_model(eval_df, output_dir="scores").result
    assert changed(weights(plain), weights(model)) == set()
    assert details.training_details == expected.training_details
    assert result["mcc"] is not None
    said = [record.getMessage() for record in caplog.records if "Weights & Biases" in record.getMessage()]
    # Training and evaluation each open a run where there is hope, and then each says once what is lost.
    assert len(said) == {"none": 0, "log": 2, "finish": 2}.get(failure, 1)
    if failure == "module":
        assert said == [
            "Weights & Biases: wandb is not installed, so this run is not recorded. Training is not affected. "
            "Install it with: pip install wandb"
        ]
    elif failure == "log":
        assert "everything from here on will be missing from the run (OSError: [Errno 28] No space left" in said[0]
        assert said[0].endswith(f"wandb sync {_runs()[0].folder.resolve()}")
    monkeypatch.undo()
    if wandb.run is not None:
        wandb.finish()


def test_hyperparameters_hold_no_secrets(classifier: Make) -> None:
    secrets = {"hub_token": "SECRET", "hub_model_id": "seen", "accelerator_config": {"api_key": "SECRET", "kept": 1}}
    args = classifier(trainer_kwargs=secrets, wandb_kwargs={"settings": {"api_key": "SECRET"}}).args
    found = hyperparameters(args)
    assert found["trainer_kwargs"] == {"hub_model_id": "seen", "accelerator_config": {"kept": 1}}
    assert "SECRET" not in str(found)
    assert {"wandb_kwargs", "fp16_opt_level"} & set(found) == set()
    assert {"special_tokens_list", "tokenizer_name", "regression"} <= set(found)
    args.__dict__["smuggled"] = "SECRET"
    assert "smuggled" not in hyperparameters(args)


def test_the_fingerprint_is_that_of_tokens_and_labels(classifier: Make, train_df: pd.DataFrame) -> None:
    def made(frame: pd.DataFrame) -> str:
        model = classifier()
        return data_fingerprint(model.prepared(frame, name="df", split="train", renames={}).dataset)

    assert made(train_df) == made(train_df.set_axis(reversed(train_df.index)))
    others = [train_df.iloc[::-1], train_df.assign(labels=1 - train_df["labels"]), train_df.head(20)]
    assert len({made(train_df), *map(made, others)}) == 4


def test_a_record_of_a_run_is_kept_and_forgotten(tmp_path: Path) -> None:
    record = RunRecord("abc", project="p", mode="offline", step=3)
    write_run(tmp_path, record)
    assert read_run(tmp_path) == record
    path = tmp_path / RUN_FILE
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "later": 1}), encoding="utf-8")
    assert read_run(tmp_path) == record
    write_run(tmp_path, RunRecord(None))
    assert read_run(tmp_path) is None
