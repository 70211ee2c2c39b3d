"""A batch that does not fit into memory is computed in parts, and everything else is as if it had fitted."""

from __future__ import annotations

import functools
import gc
import math
import re
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset
from transformers import (
    AutoTokenizer,
    BertForSequenceClassification,
    T5ForConditionalGeneration,
)

from easytx.config.generation import GenerationArgs, generation_kwargs
from easytx.data.tokenise import encode
from easytx.errors import OutOfMemoryError
from easytx.testing import CORPUS, tiny_checkpoint
from easytx.training import first_token, recovery, smaller
from easytx.training.arguments import OneDeviceArguments
from easytx.training.generation import generate, prompt_collator
from easytx.training.smaller import SmallerBatches

from .conftest import CPU, NO_DROPOUT, ROWS, changed, features, rows, run_rows, weights

Make = Callable[..., Any]
Fails = Callable[[torch.Tensor], bool]

SEQUENTIAL = {"train_sampling_strategy": "sequential", "no_save": True, "train_batch_size": 8}
WARNING = (
    "A batch of 8 rows did not fit into the memory of cpu. Batches are computed in parts of at most 4 rows from here "
    "on, and their gradients are added up: each step has as many rows as before. Set train_batch_size=4 and "
    "gradient_accumulation_steps=2 to begin so."
)


def _out_of_memory() -> Exception:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")


def _more_than(number: int) -> Fails:
    return lambda ids: len(ids) > number


@pytest.fixture(autouse=True)
def _no_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have networks compute nothing but the batches that are counted."""
    monkeypatch.setattr(first_token, "_trial", lambda *_given: False)


class Memory:
    """Has the forward, or the backward, of classifiers run out of memory.

    Attributes:
        fails: Tells it from the ids of a batch; None where the memory suffices.
        late: Whether that happens in the backward, when most of the gradients are there.
        sizes: The rows of each batch that was tried.
    """

    def __init__(self) -> None:
        self.fails: Fails | None = None
        self.late = False
        self.sizes: list[int] = []

    def used(self, network: Any, ids: torch.Tensor) -> None:
        self.sizes.append(len(ids))
        if self.fails is None or not self.fails(ids):
            return
        if not self.late or not torch.is_grad_enabled():
            raise _out_of_memory()
        embeddings = network.bert.embeddings

        def runs_out(_gradient: torch.Tensor) -> None:
            raise _out_of_memory()

        def watched(_module: Any, _inputs: Any, output: torch.Tensor) -> None:
            hook.remove()
            output.register_hook(runs_out)

        hook = embeddings.register_forward_hook(watched)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    found = Memory()
    forward = BertForSequenceClassification.forward

    def limited(self: Any, *args: Any, **kwargs: Any) -> Any:
        found.used(self, kwargs["input_ids"])
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(BertForSequenceClassification, "forward", functools.wraps(forward)(limited))
    return found


def _calls(*failing: int) -> Fails:
    """Return what fails at these calls, counted from 1."""
    calls = iter(range(1, 1000))
    return lambda _ids: next(calls) in failing


def _close(first: Any, second: Any) -> None:
    for name, value in weights(first).items():
        torch.testing.assert_close(value, weights(second)[name], rtol=1e-4, atol=1e-5)


# Training


@pytest.mark.parametrize("late", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize(("accumulated", "most", "sizes"), [(1, 4, [8, 4, 4]), (2, 2, [8, 4, 2, 2, 2, 2, 2, 2, 2, 2])])
def test_a_training_goes_on_as_if_it_had_begun_with_smaller_batches(
    classifier: Make, train_df: pd.DataFrame, memory: Memory, accumulated: int, most: int, sizes: list[int], late: bool
) -> None:
    memory.fails, memory.late = _more_than(most), late
    model = classifier(**SEQUENTIAL, gradient_accumulation_steps=accumulated)
    told = WARNING
    if accumulated == 2:
        told = WARNING.replace("most 4", "most 2").replace("size=4", "size=2").replace("steps=2", "steps=8")
    with pytest.warns(UserWarning, match="did not fit") as said:
        result = model.train_model(train_df)
    assert [str(warning.message) for warning in said] == [told]
    assert memory.sizes[: len(sizes)] == sizes
    memory.fails = None
    small = {**SEQUENTIAL, "train_batch_size": most, "gradient_accumulation_steps": accumulated * 8 // most}
    expected = classifier(**small)
    other = expected.train_model(train_df)
    assert result.global_step == other.global_step == 3 // accumulated + (accumulated == 2)
    assert result.training_details == pytest.approx(other.training_details, rel=1e-5)
    assert changed(weights(model), weights(expected)) == set()


@pytest.mark.parametrize("late", [False, True], ids=["forward", "backward"])
def test_the_batches_before_in_the_same_step_are_done_again(
    classifier: Make, train_df: pd.DataFrame, memory: Memory, late: bool
) -> None:
    memory.fails, memory.late = _calls(2), late
    model = classifier(**SEQUENTIAL, gradient_accumulation_steps=3)
    with pytest.warns(UserWarning, match="parts of at most 4 rows"):
        model.train_model(train_df)
    assert memory.sizes == [8, 8, 4, 4, 4, 4, 4, 4]
    memory.fails = None
    expected = classifier(**{**SEQUENTIAL, "train_batch_size": 4}, gradient_accumulation_steps=6)
    expected.train_model(train_df)
    assert changed(weights(model), weights(expected)) == set()


@pytest.mark.parametrize("strategy", ["sequential", "random", "group_by_length"])
def test_a_step_in_parts_is_the_step_that_did_not_fit(classifier: Make, memory: Memory, strategy: str) -> None:
    # The last batch has five rows, of which one is left for the second part.
    args = {**SEQUENTIAL, "train_sampling_strategy": strategy, "config": NO_DROPOUT, "num_train_epochs": 2}
    args |= {"optimizer": "sgd", "max_grad_norm": 0.0, "learning_rate": 0.1}
    whole, parted = classifier(**args), classifier(**args)
    expected = whole.train_model(rows(21))
    memory.fails, memory.sizes = _calls(3), []
    with pytest.warns(UserWarning, match="parts of at most (3|4) rows"):
        result = parted.train_model(rows(21))
    # What follows has fitted before and is computed in parts all the same, each of an epoch in the order it had.
    assert max(memory.sizes[3:]) <= 4
    assert (result.global_step, result.training_details) == (6, pytest.approx(expected.training_details, rel=1e-5))
    _close(parted, whole)


def test_what_was_done_before_is_not_done_again(
    classifier: Make, train_df: pd.DataFrame, eval_df: pd.DataFrame, memory: Memory, tmp_path: Path
) -> None:
    args = {
        "config": NO_DROPOUT,
        "evaluate_during_training": True,
        "evaluate_during_training_steps": 1,
        "num_train_epochs": 2,
        "save_steps": 1,
        "save_total_limit": None,
        "train_batch_size": 8,
    }
    whole = classifier(**args, output_dir=str(tmp_path / "whole"))
    expected = whole.train_model(train_df, eval_data=eval_df)
    # The batches of training and evaluation take turns.
    memory.fails = _calls(3, 6)
    parted = classifier(**args, output_dir=str(tmp_path / "parted"))
    with pytest.warns(UserWarning, match="did not fit") as said:
        result = parted.train_model(train_df, eval_data=eval_df)
    assert len(said) == 2
    assert result.training_details["global_step"] == [1, 2, 3, 4, 5, 6]
    for name, values in expected.training_details.items():
        assert result.training_details[name] == pytest.approx(values, rel=1e-4, nan_ok=True), name
    made = [sorted(path.name for path in (tmp_path / name).glob("checkpoint-*")) for name in ("whole", "parted")]
    assert made[0] == made[1] == [f"checkpoint-{step}" for step in range(1, 7)]


def test_a_training_is_resumed_after_its_batches_have_become_smaller(
    classifier: Make, train_df: pd.DataFrame, memory: Memory, tmp_path: Path
) -> None:
    args = {**SEQUENTIAL, "no_save": False, "save_steps": 2, "save_total_limit": None, "num_train_epochs": 2}
    memory.fails = _more_than(4)
    whole = classifier(**args, output_dir=str(tmp_path))
    resumed = classifier(**args, output_dir=str(tmp_path))
    with pytest.warns(UserWarning, match="did not fit"):
        whole.train_model(train_df)
    with pytest.warns(UserWarning, match="did not fit"):
        result = resumed.train_model(train_df, resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert result.global_step == 6
    assert changed(weights(whole), weights(resumed)) == set()


def test_a_row_that_does_not_fit_into_memory_ends_a_training_and_gives_the_weights_back(
    classifier: Make, train_df: pd.DataFrame, memory: Memory
) -> None:
    calls = iter(range(1, 1000))
    memory.fails = lambda _ids: next(calls) > 2
    model = classifier(**SEQUENTIAL)
    message = (
        "A single row does not fit into the memory of cpu in training. Set gradient_checkpointing=True, a lower "
        "max_seq_length or optimizer='Adafactor', or take a smaller model."
    )
    with pytest.raises(OutOfMemoryError, match=rf"^{re.escape(message)}$") as raised:
        model.train_model(train_df)
    assert isinstance(raised.value, MemoryError)
    assert str(raised.value.__cause__) == "CUDA out of memory. Tried to allocate 1.00 GiB."
    assert memory.sizes == [8, 8, 8, 4, 2, 1]
    memory.fails = None
    model.train_model(train_df)
    expected = classifier(**SEQUENTIAL)
    expected.train_model(train_df)
    assert changed(weights(model), weights(expected)) == set()


def test_several_processes_do_not_go_on(
    classifier: Make, train_df: pd.DataFrame, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_ids: torch.Tensor) -> bool:
        monkeypatch.setattr(OneDeviceArguments, "world_size", 2)
        return True

    memory.fails = fails
    message = (
        "A batch of 8 rows does not fit into the memory of cpu. Only a single process without DeepSpeed goes on with "
        "smaller batches by itself. Set train_batch_size=4 and gradient_accumulation_steps=6, or "
        "gradient_checkpointing=True."
    )
    with pytest.raises(OutOfMemoryError, match=rf"^{re.escape(message)}$"):
        classifier(**SEQUENTIAL, gradient_accumulation_steps=3).train_model(train_df)
    assert memory.sizes == [8]


def test_where_a_smaller_batch_is_of_no_help_it_is_said(
    classifier: Make, train_df: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(*_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 1.00 GiB.")

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    message = (
        "The memory of cpu ran out beside the forward and backward passes, most likely in the optimiser, where a "
        "smaller batch is of no help. Set optimizer='Adafactor', train fewer parameters, or take a smaller model."
    )
    with pytest.raises(OutOfMemoryError, match=rf"^{re.escape(message)}$"):
        classifier(**SEQUENTIAL, optimizer="sgd").train_model(train_df)


def test_other_errors_are_nothing_to_recover_from(classifier: Make, train_df: pd.DataFrame, memory: Memory) -> None:
    def fails(_ids: torch.Tensor) -> bool:
        raise RuntimeError("The size of tensor a (3) must match the size of tensor b (4)")

    memory.fails = fails
    for method in ("train_model", "eval_model"):
        with pytest.raises(RuntimeError, match=r"^The size of tensor a"):
            getattr(classifier(**SEQUENTIAL), method)(train_df)
    assert memory.sizes == [8, ROWS]


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (torch.OutOfMemoryError("out"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (ValueError("CUDA out of memory."), False),
    ],
)
def test_what_a_lack_of_memory_is(error: Exception, found: bool) -> None:
    assert smaller.is_out_of_memory(error) is found


def test_what_filled_the_memory_is_gone_before_the_next_attempt(
    classifier: Make, train_df: pd.DataFrame, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[weakref.ref[torch.Tensor]] = []

    def fails(ids: torch.Tensor) -> bool:
        if len(ids) <= 4:
            return False
        filled = torch.zeros(3)
        alive.append(weakref.ref(filled))
        raise _out_of_memory()

    memory.fails = fails
    seen = []
    # Without a search for cycles, which would hide what is still held.
    for module in (recovery, smaller):
        monkeypatch.setattr(module, "clear_memory", lambda: seen.append(alive[-1]() is None))
    model = classifier(**SEQUENTIAL)
    gc.disable()
    try:
        with pytest.warns(UserWarning, match="did not fit"):
            model.train_model(train_df)
        with pytest.warns(UserWarning, match="did not fit"):
            model.predict(train_df["text"].tolist())
    finally:
        gc.enable()
    assert len(seen) > 2
    assert all(seen)


@pytest.mark.real
# What Python 3.12 and later say of torch's workers.
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_rows_that_workers_have_prepared_are_split_too(
    classifier: Make, train_df: pd.DataFrame, memory: Memory
) -> None:
    memory.fails = _more_than(4)
    model, expected = (classifier(**SEQUENTIAL, dataloader_num_workers=number) for number in (1, 0))
    for one in (model, expected):
        with pytest.warns(UserWarning, match="did not fit"):
            one.train_model(train_df)
    assert changed(weights(model), weights(expected)) == set()


# Evaluation and prediction


@pytest.fixture
def dataset(tokenizer: Any) -> Dataset:
    return features(tokenizer, ROWS)


@pytest.fixture
def quiet() -> Iterator[list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        yield said


def test_batches_are_halved_until_they_fit_and_stay_so(
    network: Any, dataset: Dataset, tokenizer: Any, memory: Memory, quiet: list[warnings.WarningMessage]
) -> None:
    expected = run_rows(network, dataset, tokenizer, token_budget=240)
    assert quiet == []
    tokens: list[int] = []
    longest = max(dataset["length"])

    def fails(ids: torch.Tensor) -> bool:
        tokens.append(ids.numel())
        return ids.numel() > 80

    memory.fails = fails
    outputs = run_rows(network, dataset, tokenizer, token_budget=240)
    first = 240 // longest * longest
    assert tokens[:2] == [first, first // 2 // longest * longest]
    assert sum(number > 80 for number in tokens) == 2
    assert tokens[2] <= first // 4
    np.testing.assert_allclose(np.stack(outputs.values), np.stack(expected.values), rtol=1e-4, atol=1e-5)
    assert outputs.loss == pytest.approx(expected.loss, rel=1e-5)
    budget = first // 2 // longest * longest // 2
    assert [str(warning.message) for warning in quiet] == [
        f"A batch of {240 // longest} rows with {first} tokens did not fit into the memory of cpu, so batches of at "
        f"most {budget} tokens were used instead. Set a lower eval_batch_size, in rows, to begin with "
        "smaller ones."
    ]


def test_a_loss_is_not_counted_twice_where_what_is_kept_does_not_fit(
    network: Any, dataset: Dataset, tokenizer: Any
) -> None:
    expected = run_rows(network, dataset, tokenizer, token_budget=240)
    sizes = []

    def reduce(outputs: Any, _batch: Any) -> torch.Tensor:
        sizes.append(len(outputs.logits))
        if len(outputs.logits) > 5:
            raise _out_of_memory()
        return outputs.logits

    with pytest.warns(UserWarning, match="did not fit"):
        outputs = run_rows(network, dataset, tokenizer, token_budget=240, reduce=reduce)
    assert max(sizes) > 5
    assert outputs.loss == pytest.approx(expected.loss, rel=1e-5)
    np.testing.assert_allclose(np.stack(outputs.values), np.stack(expected.values), rtol=1e-4, atol=1e-5)


def test_a_row_that_does_not_fit_ends_a_prediction(classifier: Make, memory: Memory) -> None:
    memory.fails = _more_than(0)
    message = "A single row does not fit into the memory of cpu. Set a lower max_seq_length, or take a smaller model."
    with pytest.raises(OutOfMemoryError, match=rf"^{re.escape(message)}$"):
        classifier().predict(rows(6)["text"].tolist())
    assert memory.sizes == [6, 3, 1]


def test_processes_that_share_a_prediction_do_not_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(_batch: np.ndarray) -> None:
        raise _out_of_memory()

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    message = (
        "A batch of 4 rows does not fit into the memory of cpu. Only a single process goes on with smaller batches by "
        "itself. Set a lower eval_batch_size."
    )
    with pytest.raises(OutOfMemoryError, match=rf"^{re.escape(message)}$"):
        SmallerBatches(np.full(4, 3), CPU, remedy="").compute(np.arange(4), work)


# Writing


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    folder = tiny_checkpoint(tmp_path_factory.mktemp("recovery") / "t5", "t5", initializer_factor=3.0)
    return T5ForConditionalGeneration.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def _write(t5: tuple[Any, Any], *, most: float = math.inf, **given: Any) -> list[list[list[int]]]:
    network, tokenizer = t5
    write = network.generate

    def limited(input_ids: torch.Tensor, **inputs: Any) -> Any:
        if len(input_ids) > most:
            raise _out_of_memory()
        return write(input_ids=input_ids, **inputs)

    options = {**generation_kwargs(GenerationArgs(max_length=6, **given)), "pad_token_id": tokenizer.pad_token_id}
    dataset = encode(tokenizer, ["he", *CORPUS[:6], "a dull story"], max_length=64)
    network.generate = limited
    try:
        texts = generate(
            network, dataset, prompt_collator(tokenizer, left=False), options=options, device=CPU, dtype=None,
            token_budget=10_000,
        )  # fmt: skip
    finally:
        del network.generate
    return [[text.tolist() for text in row] for row in texts]


@pytest.mark.parametrize("beams", [1, 2])
def test_texts_are_the_same_in_smaller_batches(t5: tuple[Any, Any], beams: int) -> None:
    given = {"num_beams": beams, "num_return_sequences": beams}
    expected = _write(t5, **given)
    assert len({str(texts) for texts in expected}) > 3
    with pytest.warns(UserWarning, match=r"^A batch of 8 rows with \d+ tokens did not fit") as said:
        assert _write(t5, most=3, **given) == expected
    assert len(said) == 1


def test_a_row_that_does_not_fit_ends_the_writing(t5: tuple[Any, Any]) -> None:
    message = (
        "A single row does not fit into the memory of cpu. Set a lower max_seq_length, max_new_tokens, num_beams or "
        "num_return_sequences, or take a smaller model."
    )
    with pytest.raises(OutOfMemoryError, match=rf"^{re.escape(message)}$"):
        _write(t5, most=0)
