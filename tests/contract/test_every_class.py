"""What holds for every model class: one test a promise, one row of the table in conftest.py a class."""

from __future__ import annotations

import contextlib
import copy
import functools
import gc
import json
import pickle
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from torch.serialization import safe_globals

import easytx
from easytx.errors import ArgumentError, DataError, OutputDirError
from easytx.training import inference
from easytx.training.trainer import EasyTrainer

from .conftest import SEED, Case, Trained, needs_answers, numbers, outputs

# What a float32 sum may differ by when padding changes the order of its terms.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}

PICKLES = {".bin", ".pickle", ".pkl", ".pt", ".pth"}
RESUMABLE = {"optimizer.pt", "scheduler.pt", "rng_state.pth"}
RESULTS = {"eval_results.txt", "eval_results.json"}


def _files(folder: Path) -> dict[str, bytes]:
    """Return all files under a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def _weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.model.state_dict().items()}


def _same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def _states() -> list[bytes]:
    name, keys, *rest = np.random.get_state()
    return [
        repr(random.getstate()).encode(),
        repr((name, keys.tolist(), rest)).encode(),
        torch.get_rng_state().numpy().tobytes(),
    ]


# Saving and loading


@pytest.mark.parametrize("opened", ["load", "class", "class with a type"])
def test_a_saved_model_predicts_the_same_when_opened_again(trained: Trained, opened: str) -> None:
    needs_answers(trained.case)
    folder, args = str(trained.folder), {"silent": True}
    model = {
        "load": lambda: easytx.load(folder, args=args),
        "class": lambda: trained.case.model_class()(folder, args=args),
        "class with a type": lambda: trained.case.model_class()(trained.case.architecture, folder, args=args),
    }[opened]()
    assert type(model) is type(trained.model)
    expected, found = trained.model.predict(trained.case.inputs), model.predict(trained.case.inputs)
    # The same weights at another place in memory may be added up in another order.
    if trained.case.name == "regression":
        np.testing.assert_allclose(found.predictions, expected.predictions, rtol=1e-5)
    else:
        assert str(found.predictions) == str(expected.predictions)
    np.testing.assert_allclose(numbers(found.raw_outputs), numbers(expected.raw_outputs), rtol=1e-5, atol=1e-6)


def test_transformers_opens_a_saved_model_with_the_same_logits(trained: Trained) -> None:
    model = trained.model
    if trained.case.tokenizers is not None:
        pytest.skip("its network needs passages besides; see tests/seq2seq/test_rag.py")
    for part in trained.case.parts:
        tokenizer = transformers.AutoTokenizer.from_pretrained(trained.folder / part)
        network = getattr(transformers, model.auto_class).from_pretrained(trained.folder / part)
        ours = getattr(model.model, part) if part else model.model
        texts = ["the film was good", "a dull book and the worst song of all, terrible"]
        inputs = tokenizer(texts, padding=True, return_tensors="pt")
        assert inputs["input_ids"].tolist() == model.tokenizer(texts, padding=True)["input_ids"]
        if network.config.is_encoder_decoder:
            inputs["decoder_input_ids"] = inputs["input_ids"]
        with torch.no_grad():
            beside = trained.case.beside(len(texts))
            expected, found = ours(**inputs, **beside), network(**inputs, **beside)
        assert expected.keys() == found.keys()
        for name in expected:
            if isinstance(expected[name], torch.Tensor):
                torch.testing.assert_close(found[name], expected[name])
        assert network.config.id2label == ours.config.id2label


def test_a_model_folder_holds_no_pickle(trained: Trained) -> None:
    checkpoints = [path for path in trained.folder.glob("checkpoint-*") if path.is_dir()]
    assert len(checkpoints) == 1
    for folder in (trained.folder, trained.folder / "best_model", *checkpoints):
        names = {path.name for path in folder.iterdir() if path.is_file()}
        assert {"config.json", "model_args.json", "README.md"} <= names
        for part in trained.case.parts:
            inside = {path.name for path in (folder / part).iterdir() if path.is_file()}
            assert {"config.json", "model.safetensors"} <= inside
            names |= inside
        for part in trained.case.tokenizers or trained.case.parts:
            assert (folder / part / "tokenizer.json").is_file()
        pickles = {name for name in names if Path(name).suffix in PICKLES}
        assert pickles == (RESUMABLE if folder in checkpoints else set())


def test_the_state_of_a_checkpoint_loads_without_unpickling_code(trained: Trained) -> None:
    (checkpoint,) = (path for path in trained.folder.glob("checkpoint-*"))
    steps = trained.details.global_step
    assert torch.load(checkpoint / "optimizer.pt", weights_only=True)["state"][0]["step"] == steps
    assert torch.load(checkpoint / "scheduler.pt", weights_only=True)["last_epoch"] == steps
    # The state of numpy's generator is an array.
    with safe_globals([np._core.multiarray._reconstruct, np.ndarray, np.dtype, type(np.dtype(np.uint32))]):
        assert set(torch.load(checkpoint / "rng_state.pth", weights_only=True)) >= {"python", "numpy", "cpu"}


# Answers


def test_return_values_unpack(trained: Trained) -> None:
    global_step, details = trained.details
    evaluation = trained.model.eval_model(trained.case.held_out)
    assert isinstance(global_step, int)
    assert details["global_step"][-1] == global_step
    assert trained.model.results == evaluation.result
    assert len(trained.details.to_frame()) == len(details["global_step"]) == 2
    if trained.case.answers:
        assert evaluation._fields == trained.case.answers
        assert tuple(evaluation) == tuple(getattr(evaluation, name) for name in trained.case.answers)
    else:
        assert evaluation == evaluation.result


def test_answers_unpack(trained: Trained) -> None:
    needs_answers(trained.case)
    prediction = trained.model.predict(trained.case.inputs)
    assert len(prediction.predictions) == len(prediction.raw_outputs) == len(trained.case.inputs)
    if isinstance(prediction, tuple):
        assert prediction._fields == trained.case.predicted
        assert tuple(map(str, prediction)) == tuple(str(getattr(prediction, name)) for name in trained.case.predicted)
    else:
        assert prediction == prediction.predictions


def test_results_can_be_copied_and_pickled(trained: Trained) -> None:
    results = [trained.details, trained.model.eval_model(trained.case.held_out, output_dir="scores")]
    results += [trained.model.predict(trained.case.inputs)] if trained.case.writes else []
    for result in results:
        for again in (copy.copy(result), copy.deepcopy(result), pickle.loads(pickle.dumps(result))):
            assert type(again) is type(result)
            assert repr(again) == repr(result)
            # Images are shown by where they are in memory.
            frames = [one.to_frame().drop(columns="images", errors="ignore") for one in (again, result)]
            pd.testing.assert_frame_equal(*(frame.astype(str) for frame in frames))


def test_a_batch_of_different_lengths_answers_like_one_row_at_a_time(trained: Trained) -> None:
    needs_answers(trained.case)
    rows = trained.case.inputs
    together = trained.model.predict(rows)
    alone = [trained.model.predict([row]) for row in rows]
    np.testing.assert_allclose(numbers(together.raw_outputs), numbers([one.raw_outputs for one in alone]), **CLOSE)


def test_evaluation_and_prediction_keep_order_and_index(trained: Trained) -> None:
    case, model = trained.case, trained.model
    theirs, ours = case.key
    evaluated = model.eval_model(case.held_out).to_frame()
    rows = case.held_out if case.label in case.key else case.held_out.drop(columns=case.label)
    predicted = model.predict(rows).to_frame() if case.writes else evaluated
    for frame in (evaluated, predicted):
        assert frame.index.tolist() == case.held_out.index.tolist()
        assert frame[ours].tolist() == case.held_out[theirs].tolist()
    if "prediction" in evaluated:
        assert predicted["prediction"].tolist() == evaluated["prediction"].tolist()


def test_rows_in_another_order_get_the_same_answers(trained: Trained) -> None:
    needs_answers(trained.case)
    rows = trained.case.inputs
    forward, backward = trained.model.predict(rows), trained.model.predict(rows[::-1])
    np.testing.assert_allclose(numbers(backward.raw_outputs[::-1]), numbers(forward.raw_outputs), **CLOSE)


def test_scores_while_training_are_those_of_eval_model(trained: Trained) -> None:
    info, details = trained.details.info, trained.details.training_details
    best = details["global_step"].index(info["best_step"])
    while_training = {name: values[best] for name, values in details.items()}
    for model in (trained.model, trained.reopened(silent=True)):
        afterwards = model.eval_model(trained.case.held_out).result
        assert {name: while_training[name] for name in afterwards} == pytest.approx(afterwards, rel=1e-4, nan_ok=True)
        assert set(while_training) - set(afterwards) == {"global_step", "train_loss"}


def test_one_row_is_enough_for_evaluation_and_prediction(trained: Trained) -> None:
    case = trained.case
    held_out = case.held_out
    one = held_out[held_out.get("sentence_id", pd.Series(range(len(held_out)), held_out.index)) == 0]
    assert "eval_loss" in trained.model.eval_model(one).result
    if case.writes:
        assert len(trained.model.predict(case.inputs[:1]).predictions) == 1


@pytest.mark.parametrize("method", ["train_model", "eval_model", "predict"])
@pytest.mark.parametrize("form", ["frame", "list"])
def test_no_rows_are_a_data_error(trained: Trained, method: str, form: str) -> None:
    model = trained.reopened(overwrite_output_dir=True, evaluate_during_training=False)
    rows = trained.case.train.iloc[:0] if form == "frame" else []
    name = {"train_model": "train_df", "eval_model": "eval_df", "predict": "to_predict"}[method]
    with pytest.raises(DataError, match=rf"^{name} has no (rows|questions)\.$"):
        getattr(model, method)(rows)


# What callers gave, and where things go


def test_what_the_caller_gave_stays_as_it_was(case: Case, checkpoint: Path) -> None:
    train, held_out, inputs = case.train, case.held_out, case.inputs
    values = {
        "manual_seed": SEED,
        "custom_parameter_groups": [{"params": [case.parameter], "lr": 1e-2}],
        "trainer_kwargs": {"dataloader_drop_last": False},
        **case.args,
    }
    for args in (values, case.model_class().args_class(**values)):
        more = {"evaluate_during_training": True, "silent": True, "max_seq_length": 64, "overwrite_output_dir": True}
        given = (train, held_out, inputs, args, more, case.given)
        before = copy.deepcopy(given)
        model = case.model_class()("auto", str(checkpoint), args=args, **case.given)
        model.train_model(train, eval_data=held_out, args=more)
        model.eval_model(held_out)
        outputs(case, model)
        for was, now in zip(before[:2], given[:2], strict=True):
            pd.testing.assert_frame_equal(was, now)
        assert before[2:] == given[2:]
        assert not isinstance(args, dict) or args.keys() == values.keys()
        assert model.args is not args


def test_prediction_leaves_the_disk_and_the_random_state_alone(trained: Trained, tmp_path: Path) -> None:
    needs_answers(trained.case)
    model = trained.reopened(silent=True)
    before, states = _files(trained.folder), _states()
    model.predict(trained.case.inputs)
    assert _states() == states
    assert _files(trained.folder) == before
    assert list(tmp_path.iterdir()) == []


def test_files_go_where_output_dir_says(case: Case, checkpoint: Path, tmp_path: Path) -> None:
    model = case.model(checkpoint, evaluate_during_training=True)
    model.train_model(case.train, output_dir="there/training", eval_data=case.held_out)
    model.eval_model(case.held_out, output_dir="there/evaluation")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    folder = tmp_path / "there"
    assert {path.name for path in folder.iterdir()} == {"training", "evaluation"}
    assert {path.name for path in (folder / "evaluation").iterdir()} >= RESULTS
    for part in case.parts:
        assert (folder / "training" / "best_model" / part / "model.safetensors").is_file()
    assert (folder / "training" / "training_progress_scores.csv").is_file()
    assert not RESULTS & {path.name for path in (folder / "training").iterdir()}


def test_evaluation_writes_sorted_lines_and_json(trained: Trained, tmp_path: Path) -> None:
    result = trained.model.eval_model(trained.case.held_out, output_dir="scores").result
    lines = (tmp_path / "scores" / "eval_results.txt").read_text("utf-8").splitlines()
    assert lines == [f"{name} = {result[name]}" for name in sorted(result)]
    written = json.loads((tmp_path / "scores" / "eval_results.json").read_text("utf-8"))
    assert written == pytest.approx(result, nan_ok=True)
    assert list(written) == sorted(result)


def test_nothing_is_written_with_no_save(case: Case, checkpoint: Path, tmp_path: Path) -> None:
    model = case.model(checkpoint, no_save=True, evaluate_during_training=True)
    model.train_model(case.train, eval_data=case.held_out)
    assert list(tmp_path.iterdir()) == []


def test_a_silent_model_prints_nothing(case: Case, checkpoint: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = case.model(checkpoint, silent=True, evaluate_during_training=True, logging_steps=1)
    capfd.readouterr()
    model.train_model(case.train, eval_data=case.held_out)
    model.eval_model(case.held_out)
    outputs(case, model)
    assert capfd.readouterr() == ("", "")


def test_predictions_do_not_pile_up_in_memory(trained: Trained) -> None:
    needs_answers(trained.case)

    def blocks_after(times: int) -> int:
        for _ in range(times):
            trained.model.predict(trained.case.inputs)
        gc.collect()
        return sys.getallocatedblocks()

    # One prediction kept is hundreds of blocks; a few come and go with caches of the libraries beneath.
    assert blocks_after(10) - blocks_after(10) > -300


# Errors


def test_a_missing_column_is_named(case: Case, checkpoint: Path) -> None:
    model = case.model(checkpoint)
    with pytest.raises(DataError, match=rf"^{re.escape(case.missing)}$"):
        model.train_model(case.train.drop(columns=case.label))
    with pytest.raises(DataError, match=rf"^{re.escape(case.missing.replace('train_df', 'eval_df'))}$"):
        model.eval_model(case.held_out.drop(columns=case.label))


def test_a_misspelled_argument_is_refused_with_the_right_one(case: Case, checkpoint: Path) -> None:
    args_class = case.model_class().args_class.__name__
    message = (
        f"{args_class} has no argument 'num_train_epoch'. Did you mean 'num_train_epochs'? "
        f"{args_class}.help() lists all of them."
    )
    model = case.model(checkpoint)
    calls: list[Callable[[], Any]] = [
        lambda: case.model(checkpoint, num_train_epoch=1),
        lambda: model.train_model(case.train, args={"num_train_epoch": 1}),
        lambda: setattr(model.args, "num_train_epoch", 1),
    ]
    for call in calls:
        with pytest.raises(ArgumentError, match=rf"^{re.escape(message)}$"):
            call()


def test_a_folder_that_is_not_empty_is_not_written_into(trained: Trained) -> None:
    before = _files(trained.folder)
    message = (
        f"output_dir '{trained.folder}' is not empty. Set overwrite_output_dir=True to write into it, or give "
        "another output_dir."
    )
    with pytest.raises(OutputDirError, match=rf"^{re.escape(message)}$"):
        trained.reopened(output_dir=str(trained.folder)).train_model(trained.case.train)
    assert _files(trained.folder) == before


# Training


def test_the_seed_decides_everything(case: Case, checkpoint: Path) -> None:
    def run(seed: int) -> tuple[float, list[float]]:
        random.seed()
        np.random.seed()
        torch.seed()
        model = case.model(checkpoint, manual_seed=seed, no_save=True)
        loss = model.train_model(case.train).training_details
        return loss, list(numbers(outputs(case, model)))

    first, again, other = run(1), run(1), run(2)
    assert first == again
    assert first[0] != other[0]
    # Two steps may leave a model that writes with the same likeliest words.
    assert first[1] != other[1] or not case.answers


def test_a_second_training_goes_on_from_the_first(case: Case, checkpoint: Path) -> None:
    model = case.model(checkpoint, num_train_epochs=1)
    new = _weights(model) if model.labels is not None else None
    model.train_model(case.train)
    first = _weights(model)
    # With this learning rate a training leaves the weights as it finds them.
    model.train_model(case.train, args={"learning_rate": 0.0, "overwrite_output_dir": True})
    assert _same(_weights(model), first)
    model.train_model(case.train, args={"learning_rate": 1e-3})
    assert not _same(_weights(model), first)
    assert new is None or not _same(new, first)


def test_a_training_changes_what_it_trains_and_leaves_the_model_ready(trained: Trained) -> None:
    network = trained.model.model
    assert not network.training
    assert not network._is_accelerate_prepared
    assert "forward" not in vars(network)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())


def _short_of_memory_once(work: Callable[..., Any]) -> Callable[..., Any]:
    """Return what runs out of memory when it is first called."""
    failures = iter([torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")])

    @functools.wraps(work)
    def limited(*args: Any, **kwargs: Any) -> Any:
        for error in failures:
            raise error
        return work(*args, **kwargs)

    return limited


def test_a_batch_of_a_training_that_does_not_fit_is_computed_in_parts(
    case: Case, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = []
    for fits in (True, False):
        if not fits:
            monkeypatch.setattr(EasyTrainer, "compute_loss", _short_of_memory_once(EasyTrainer.compute_loss))
        model = case.model(checkpoint, no_save=True)
        # Parts have other dropout and fewer passages to compare with, but are no other training.
        with contextlib.nullcontext() if fits else pytest.warns(UserWarning, match="parts of at most 3 rows"):
            result = model.train_model(case.train)
        losses.append(result.training_details)
    assert losses[1] == pytest.approx(losses[0], rel=0.7)


def test_a_batch_that_does_not_fit_gives_the_same_answers_in_parts(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = numbers(outputs(trained.case, trained.model))
    monkeypatch.setattr(inference, "_forward", _short_of_memory_once(inference._forward))
    writing = transformers.GenerationMixin.generate
    monkeypatch.setattr(transformers.GenerationMixin, "generate", _short_of_memory_once(writing))
    with pytest.warns(UserWarning, match="did not fit into the memory of cpu, so batches of at most"):
        found = numbers(outputs(trained.case, trained.model))
    np.testing.assert_allclose(found, expected, **CLOSE)
