"""One loop: like lengths together, answers in the order of the rows, the loss a mean over what is labelled."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch.nn import functional as F
from transformers import (
    AutoModelForTokenClassification,
    DataCollatorForTokenClassification,
)

from easytx.training import inference
from easytx.training.inference import Outputs, run, trimmed
from easytx.training.losses import build_loss

from .conftest import CPU, features, run_rows


@pytest.fixture
def token_network(checkpoint: Path) -> Any:
    torch.manual_seed(0)
    return AutoModelForTokenClassification.from_pretrained(checkpoint, num_labels=3).eval()


@pytest.fixture
def dataset(tokenizer: Any) -> Dataset:
    return features(tokenizer, 11)


def _alone(network: Any, dataset: Dataset) -> torch.Tensor:
    """Return the logits of each row by itself."""
    with torch.no_grad():
        return torch.cat([network(torch.tensor([ids])).logits for ids in dataset["input_ids"]])


def test_answers_come_in_the_order_of_the_rows(network: Any, dataset: Dataset, tokenizer: Any) -> None:
    outputs = run_rows(network, dataset, tokenizer)
    assert all(value.dtype == np.float32 and value.shape == (3,) for value in outputs.values)
    np.testing.assert_allclose(np.stack(outputs.values), _alone(network, dataset), rtol=1e-4, atol=1e-5)


def test_batches_hold_like_lengths_within_the_budget(network: Any, dataset: Dataset, tokenizer: Any) -> None:
    shapes = []
    run_rows(
        network,
        dataset,
        tokenizer,
        reduce=lambda outputs, batch: shapes.append(batch["input_ids"].shape) or outputs.logits,
    )
    assert sum(number for number, _ in shapes) == len(dataset)
    assert all(number * length <= 60 for number, length in shapes)
    assert [length for _, length in shapes] == sorted((length for _, length in shapes), reverse=True)
    assert len(shapes) < len(dataset)


@pytest.mark.parametrize("budget", [1, 60, 10_000])
@pytest.mark.parametrize("given", [False, True], ids=["the model's own loss", "a given loss"])
def test_the_loss_is_a_mean_over_rows(network: Any, dataset: Dataset, tokenizer: Any, budget: int, given: bool) -> None:
    def twice(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        return 2 * F.cross_entropy(logits, truth)

    labels = torch.tensor(dataset["labels"][:])
    options: dict[str, Any] = {"loss_function": twice} if given else {}
    expected = F.cross_entropy(_alone(network, dataset), labels).item() * (2 if given else 1)
    assert run_rows(network, dataset, tokenizer, token_budget=budget, **options).loss == pytest.approx(
        expected, rel=1e-5
    )


@pytest.mark.parametrize("budget", [1, 60, 10_000])
def test_the_loss_of_tokens_is_a_mean_over_labelled_tokens(
    token_network: Any, dataset: Dataset, tokenizer: Any, budget: int
) -> None:
    lengths = enumerate(dataset["length"])
    tags = [[-100, *((row + place) % 3 for place in range(length - 2)), -100] for row, length in lengths]
    dataset = dataset.remove_columns("labels").add_column("labels", tags)
    outputs = run(
        token_network,
        dataset,
        DataCollatorForTokenClassification(tokenizer),
        reduce=lambda outputs, batch: trimmed(outputs.logits, batch["attention_mask"]),
        device=CPU,
        dtype=None,
        token_budget=budget,
    )
    assert [value.shape for value in outputs.values] == [(length, 3) for length in dataset["length"]]
    logits = torch.cat([torch.from_numpy(value) for value in outputs.values])
    flat = torch.tensor([tag for row in tags for tag in row])
    assert outputs.loss == pytest.approx(F.cross_entropy(logits, flat).item(), rel=1e-5)


@pytest.mark.parametrize("budget", [1, 60, 10_000])
@pytest.mark.parametrize("loss_type", [None, "focal"])
def test_the_loss_with_class_weights_is_the_weighted_mean_over_all_rows(
    network: Any, dataset: Dataset, tokenizer: Any, budget: int, loss_type: str | None
) -> None:
    loss = build_loss(kind="single_label", loss_type=loss_type, weight=[1.0, 5.0, 0.1])
    assert loss is not None
    expected = loss(_alone(network, dataset), torch.tensor(dataset["labels"][:])).item()
    found = run_rows(network, dataset, tokenizer, token_budget=budget, loss_function=loss).loss
    assert found == pytest.approx(expected, rel=1e-5)


def test_without_labels_there_is_no_loss(network: Any, dataset: Dataset, tokenizer: Any) -> None:
    outputs = run_rows(network, dataset.remove_columns("labels"), tokenizer, loss_function=F.cross_entropy)
    assert outputs.loss is None


def test_columns_that_the_model_does_not_take_stay_away_from_it(network: Any, dataset: Dataset, tokenizer: Any) -> None:
    seen = []
    run_rows(network, dataset, tokenizer, reduce=lambda outputs, batch: seen.append(set(batch)) or outputs.logits)
    assert seen[0] == {"input_ids", "token_type_ids", "attention_mask", "labels"}


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_as_before_even_after_an_error(
    network: Any, dataset: Dataset, tokenizer: Any, training: bool
) -> None:
    def fails(_outputs: Any, _batch: Any) -> Any:
        raise KeyError("reduce")

    network.train(training)
    modes = []
    run_rows(
        network, dataset, tokenizer, reduce=lambda outputs, _batch: modes.append(network.training) or outputs.logits
    )
    assert network.training is training
    assert set(modes) == {False}
    with pytest.raises(KeyError):
        run_rows(network, dataset, tokenizer, reduce=fails)
    assert network.training is training


def test_gradients_are_not_kept_and_chance_is_not_touched(network: Any, dataset: Dataset, tokenizer: Any) -> None:
    before = torch.get_rng_state()
    kept = []
    run_rows(network, dataset, tokenizer, reduce=lambda outputs, _batch: kept.append(outputs.logits) or outputs.logits)
    assert not any(logits.requires_grad for logits in kept)
    assert torch.equal(torch.get_rng_state(), before)


def test_answers_are_float32_in_mixed_precision(network: Any, dataset: Dataset, tokenizer: Any) -> None:
    outputs = run_rows(network, dataset, tokenizer, dtype=torch.bfloat16)
    assert {value.dtype for value in outputs.values} == {np.dtype(np.float32)}
    np.testing.assert_allclose(np.stack(outputs.values), _alone(network, dataset), atol=0.05)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_progress_gets_the_batches_and_their_number(network: Any, dataset: Dataset, tokenizer: Any) -> None:
    numbers = []

    def progress(batches: Iterable[Any], number: int) -> Iterable[Any]:
        numbers.append(number)
        return batches

    assert len(run_rows(network, dataset, tokenizer, progress=progress).values) == len(dataset)
    assert numbers == [len(inference.token_budget_batches(dataset["length"][:], 60))]


def test_no_rows_give_no_answers(network: Any, dataset: Dataset, tokenizer: Any) -> None:
    assert run_rows(network, dataset.select([]), tokenizer) == Outputs([], None)


def _ranks(monkeypatch: pytest.MonkeyPatch, number: int) -> Callable[[int], None]:
    """Pretend to be one of several ranks; return what chooses which."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: number)
    return lambda rank: monkeypatch.setattr(torch.distributed, "get_rank", lambda: rank)


def test_ranks_share_the_batches_and_gather_the_answers(
    network: Any, dataset: Dataset, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run_rows(network, dataset, tokenizer, token_budget=1)
    be = _ranks(monkeypatch, 2)
    shares: list[Any] = []

    def first_round(gathered: list[Any], own: Any) -> None:
        shares.append(own)
        gathered[:] = [own] * 2

    monkeypatch.setattr(torch.distributed, "all_gather_object", first_round)
    counts = []
    for rank in range(2):
        be(rank)
        count = {"progress": lambda batches, number: counts.append(number) or batches}
        run_rows(network, dataset, tokenizer, token_budget=1, **count)
    # Of eleven batches both run six, the last one twice.
    assert counts == [6, 6]

    def second_round(gathered: list[Any], _own: Any) -> None:
        gathered[:] = shares

    monkeypatch.setattr(torch.distributed, "all_gather_object", second_round)
    for rank in range(2):
        be(rank)
        outputs = run_rows(network, dataset, tokenizer, token_budget=1)
        np.testing.assert_array_equal(np.stack(outputs.values), np.stack(expected.values))
        assert outputs.loss == pytest.approx(expected.loss, rel=1e-6)
