"""Checkpoints are whole or not used, and a training resumed from one is the training without the break."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from easytx.errors import CheckpointError, OutputDirError
from easytx.training.checkpoints import is_whole, newest, rotate, seal, to_resume, unseal
from easytx.training.trainer import EasyTrainer

from .conftest import changed, weights

Make = Callable[..., Any]

SAVING = {"save_total_limit": None, "save_eval_checkpoints": True, "num_train_epochs": 2}
EVALUATING = {"evaluate_during_training": True, "evaluate_during_training_steps": 3}


def _checkpoint(folder: Path, *, optimizer: bool = True) -> Path:
    """Write something like a checkpoint, and seal it."""
    (folder / "shards").mkdir(parents=True)
    for name in ("model.safetensors", "shards/1.safetensors", *(["optimizer.pt"] if optimizer else [])):
        (folder / name).write_bytes(b"0123456789")
    seal(folder)
    return folder


# Seals


def test_a_seal_names_every_file_with_its_size(tmp_path: Path) -> None:
    folder = _checkpoint(tmp_path / "checkpoint-1")
    assert json.loads((folder / "checkpoint_files.json").read_text("utf-8")) == {
        "model.safetensors": 10,
        "optimizer.pt": 10,
        "shards/1.safetensors": 10,
    }
    assert is_whole(folder)
    seal(folder)
    assert is_whole(folder)


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "model.safetensors").write_bytes(b"01234"),
        lambda folder: (folder / "optimizer.pt").unlink(),
        lambda folder: (folder / "shards" / "1.safetensors").write_bytes(b""),
        lambda folder: (folder / "checkpoint_files.json").unlink(),
        unseal,
        shutil.rmtree,
    ],
    ids=["truncated", "missing", "empty", "no seal", "unsealed", "gone"],
)
def test_a_checkpoint_that_is_not_whole_is_noticed(tmp_path: Path, harm: Callable[[Path], Any]) -> None:
    folder = _checkpoint(tmp_path / "checkpoint-1")
    harm(folder)
    assert not is_whole(folder)


def test_the_newest_checkpoint_is_the_whole_one_with_the_highest_step(tmp_path: Path) -> None:
    assert newest(tmp_path) is None
    assert newest(tmp_path / "nowhere") is None
    for step in (9, 10, 100):
        _checkpoint(tmp_path / f"checkpoint-{step}")
    _checkpoint(tmp_path / "checkpoint-best")
    unseal(tmp_path / "checkpoint-100")
    (tmp_path / "checkpoint-1000").mkdir()
    (tmp_path / "checkpoint-2000").write_text("a file", encoding="utf-8")
    assert newest(tmp_path) == tmp_path / "checkpoint-10"


def test_rotation_keeps_what_was_written_last(tmp_path: Path) -> None:
    for age, step in enumerate((5, 10, 500)):
        folder = _checkpoint(tmp_path / f"checkpoint-{step}")
        os.utime(folder, (1_000_000 - age, 1_000_000 - age))
    (tmp_path / "best_model").mkdir()
    rotate(tmp_path, None)
    rotate(tmp_path, 3)
    assert len(list(tmp_path.iterdir())) == 4
    rotate(tmp_path, 1)
    assert {path.name for path in tmp_path.iterdir()} == {"best_model", "checkpoint-5"}


# What to resume from


def test_what_to_resume_from(tmp_path: Path) -> None:
    folder = _checkpoint(tmp_path / "checkpoint-3")
    _checkpoint(tmp_path / "checkpoint-7")
    assert to_resume(None, tmp_path) is None
    assert to_resume(False, tmp_path) is None
    assert to_resume(True, tmp_path) == tmp_path / "checkpoint-7"
    assert to_resume(folder, "elsewhere") == folder
    assert to_resume(str(folder), "elsewhere") == folder


@pytest.mark.parametrize(
    ("make", "wanted", "message"),
    [
        (lambda _: None, True, "There is no whole checkpoint under '{folder}' to resume from."),
        (
            lambda folder: unseal(_checkpoint(folder / "checkpoint-1")),
            "{folder}/checkpoint-1",
            "'{folder}/checkpoint-1' is not a whole checkpoint: files are missing, or cut short.",
        ),
        (
            lambda folder: _checkpoint(folder / "checkpoint-1", optimizer=False),
            True,
            "'{folder}/checkpoint-1' holds weights but no optimiser state, so training cannot be resumed from it. "
            "It was saved with save_optimizer_and_scheduler=False.",
        ),
    ],
    ids=["none", "not whole", "no optimiser"],
)
def test_what_cannot_be_resumed_from(
    tmp_path: Path, make: Callable[[Path], Any], wanted: bool | str, message: str
) -> None:
    make(tmp_path)
    asked = wanted if isinstance(wanted, bool) else wanted.format(folder=tmp_path)
    with pytest.raises(CheckpointError, match=rf"^{re.escape(message.format(folder=tmp_path))}$"):
        to_resume(asked, tmp_path)


# Resuming


def _scripted(values: list[float]) -> Callable[[Any, Any], float]:
    script: Iterator[float] = iter(values)
    return lambda _truth, _predictions: next(script)


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"train_sampling_strategy": "random"},
        {"gradient_accumulation_steps": 2, "train_batch_size": 3, "optimizer": "Adafactor"},
    ],
    ids=["length groups", "random order", "accumulated"],
)
def test_a_resumed_training_is_the_uninterrupted_one(
    classifier: Make, train_df: pd.DataFrame, eval_df: pd.DataFrame, args: dict[str, Any]
) -> None:
    args = {**SAVING, **EVALUATING, "save_best_model": False, **args}
    model = classifier(**args)
    details = model.train_model(train_df, eval_df=eval_df)
    assert details.training_details["global_step"] == [3, 4, 6, 8]
    expected = weights(model)
    # In the middle of the first epoch, at its end, in the middle of the second, at the very end.
    for step in (3, 4, 6, 8):
        torch.manual_seed(step)
        resumed = classifier(**args, output_dir=f"from-{step}")
        again = resumed.train_model(train_df, eval_df=eval_df, resume_from_checkpoint=f"outputs/checkpoint-{step}")
        assert again.global_step == details.global_step
        assert changed(expected, weights(resumed)) == set(), step
        assert again.training_details == details.training_details
        assert list(again.training_details) == list(details.training_details)


def test_a_training_that_broke_off_goes_on_from_the_last_whole_checkpoint(
    classifier: Make, train_df: pd.DataFrame, eval_df: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = classifier(**SAVING, **EVALUATING, output_dir="whole")
    details = whole.train_model(train_df, eval_df=eval_df)
    broken = classifier(**SAVING, **EVALUATING)
    step = EasyTrainer.training_step

    def fails(self: EasyTrainer, *given: Any, **options: Any) -> torch.Tensor:
        if self.state.global_step == 7:
            raise KeyboardInterrupt
        return step(self, *given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(EasyTrainer, "training_step", fails)
        with pytest.raises(KeyboardInterrupt):
            broken.train_model(train_df, eval_df=eval_df)
    # The machine stopped while this was written.
    with Path("outputs/checkpoint-6/model.safetensors").open("r+b") as file:
        file.truncate(100)
    with pytest.raises(OutputDirError):
        classifier(**SAVING, **EVALUATING).train_model(train_df, eval_df=eval_df)
    resumed = classifier(**SAVING, **EVALUATING)
    again = resumed.train_model(train_df, eval_df=eval_df, resume_from_checkpoint=True)
    assert changed(weights(whole), weights(resumed)) == set()
    assert again.training_details == details.training_details
    assert newest("outputs") == Path("outputs/checkpoint-8")


@pytest.mark.parametrize(
    ("step", "there", "expected"),
    [(4, True, 3), (4, False, 8), (3, False, 3)],
    ids=["its weights are there", "its weights are gone", "its weights are those of the checkpoint"],
)
def test_the_best_model_before_the_break_stays_the_best(
    classifier: Make,
    train_df: pd.DataFrame,
    eval_df: pd.DataFrame,
    warned: Callable[..., Any],
    step: int,
    there: bool,
    expected: int,
) -> None:
    args = {**SAVING, **EVALUATING, "early_stopping_metric": "scripted", "overwrite_output_dir": True}
    first = classifier(**args)
    first.train_model(train_df, eval_df=eval_df, scripted=_scripted([1, 2, 4, 3]))
    best = weights(first)
    if not there:
        shutil.rmtree("outputs/best_model")
    resumed = classifier(**args)
    script = _scripted([2, 4, 3] if step == 3 else [4, 3])
    details, messages = warned(
        lambda: resumed.train_model(
            train_df, eval_df=eval_df, scripted=script, resume_from_checkpoint=f"outputs/checkpoint-{step}"
        )
    )
    message = (
        "The best model so far, of step 3, is not where it was saved. The best from here on will be taken instead."
    )
    assert messages == ([message] if expected == 8 else [])
    assert details.training_details["scripted"] == [1, 2, 4, 3]
    assert (details.info["best_step"], details.info["best_score"]) == (expected, 1 if expected == 3 else 3)
    assert (changed(best, weights(resumed)) == set()) is (expected == 3)


def test_the_patience_goes_on_after_a_break(classifier: Make, train_df: pd.DataFrame, eval_df: pd.DataFrame) -> None:
    stopping = {"use_early_stopping": True, "early_stopping_metric": "scripted", "early_stopping_patience": 4}
    args = {**SAVING, "evaluate_during_training": True, "evaluate_during_training_steps": 1, **stopping}
    classifier(**args).train_model(train_df, eval_df=eval_df, scripted=_scripted([1, 2, 2, 2, 2]))
    resumed = classifier(**args, output_dir="resumed", save_best_model=False)
    details = resumed.train_model(
        train_df, eval_df=eval_df, scripted=_scripted([3] * 9), resume_from_checkpoint="outputs/checkpoint-3"
    )
    assert details.training_details["scripted"] == [1, 2, 2, 3, 3]
    assert details.global_step == 5


def test_a_checkpoint_without_optimiser_is_refused_before_anything_is_loaded(
    classifier: Make, train_df: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier(save_model_every_epoch=True, save_optimizer_and_scheduler=False).train_model(train_df)
    monkeypatch.setattr("easytx.core.loading.load_weights", lambda *_args, **_kwargs: pytest.fail("loaded"))
    with pytest.raises(CheckpointError, match=r"holds weights but no optimiser state"):
        classifier().train_model(train_df, resume_from_checkpoint=True)
