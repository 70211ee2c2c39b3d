"""Orders and batches: what holds for any lengths, and hand-made cases."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader

from easytx.errors import ArgumentError
from easytx.training.batching import (
    LengthGroupedSampler,
    length_grouped_order,
    padded_share,
    token_budget_batches,
    usual_mega_batch,
)


def _lengths(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).geometric(0.03, size=rows)


def _order(lengths: Any, batch_size: int, seed: int = 0, **options: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return length_grouped_order(lengths, batch_size, generator=generator, **options)


def _cut(order: list[int], size: int) -> list[list[int]]:
    return [order[start : start + size] for start in range(0, len(order), size)]


@pytest.mark.parametrize("rows", [0, 1, 2, 7, 8, 9, 100, 401])
@pytest.mark.parametrize("batch_size", [1, 8])
@pytest.mark.parametrize("mega_batch", [1, 3, 50])
def test_the_order_is_a_permutation_with_the_longest_first(rows: int, batch_size: int, mega_batch: int) -> None:
    lengths = _lengths(rows)
    for seed in range(5):
        order = _order(lengths, batch_size, seed, mega_batch=mega_batch)
        assert sorted(order) == list(range(rows))
        assert all(type(row) is int for row in order[:1])
        if rows:
            assert lengths[order[:batch_size]].max() == lengths.max()


def test_the_incomplete_batch_gives_its_longest_row_away() -> None:
    # With a mega-batch of one batch the only long row often lands in the rest of 1 row.
    lengths = [1, 1, 1, 1, 9]
    for seed in range(20):
        order = _order(lengths, 2, seed, mega_batch=1)
        assert 4 in order[:2]
        assert sorted(order) == [0, 1, 2, 3, 4]


def test_batches_hold_like_lengths() -> None:
    lengths = np.repeat([5, 10, 20, 40], 8)
    batches = _cut(_order(lengths, 8), 8)
    assert [len(set(lengths[batch])) for batch in batches] == [1, 1, 1, 1]
    assert set(lengths[batches[0]]) == {40}


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        (np.random.default_rng(0).integers(40, 61, 800), 2),
        (np.random.default_rng(0).integers(20, 61, 800), 2),
        (np.random.default_rng(0).integers(5, 61, 800), 4),
        (np.random.default_rng(0).lognormal(3, 1.5, 800).astype(int) + 1, 8),
        (np.full(100 * 8 * 16, 40), 8),
        (np.full(100 * 8 * 16 - 1, 40), 2),
        ([], 2),
    ],
)
def test_few_rows_of_like_lengths_are_grouped_less(lengths: Any, expected: int) -> None:
    assert usual_mega_batch(lengths, 16) == expected
    assert LengthGroupedSampler(lengths, 16, seed=3).mega_batch == expected
    assert LengthGroupedSampler(lengths, 16, seed=3, mega_batch=5).mega_batch == 5


def test_padding_is_a_fraction_of_that_of_a_random_order() -> None:
    lengths = _lengths(4000)
    random = np.random.default_rng(1).permutation(4000).tolist()
    assert padded_share(lengths, _cut(random, 16)) > 0.6
    assert padded_share(lengths, _cut(_order(lengths, 16), 16)) < 0.35
    assert padded_share(lengths, _cut(_order(lengths, 16, mega_batch=50), 16)) < 0.1


def test_lengths_do_not_run_from_long_to_short() -> None:
    lengths = _lengths(4000)
    longest = np.array([lengths[batch].max() for batch in _cut(_order(lengths, 16), 16)])
    trend = np.corrcoef(np.arange(len(longest)), longest)[0, 1]
    assert abs(trend) < 0.2


def test_rows_of_equal_length_are_shuffled_too() -> None:
    assert _order([7] * 64, 8) != list(range(64))
    assert _order([7] * 64, 8, seed=0) != _order([7] * 64, 8, seed=1)


def test_seeds_have_no_order_in_common() -> None:
    orders = set()
    for seed in range(3):
        sampler = LengthGroupedSampler(_lengths(100), 8, seed)
        for epoch in range(3):
            sampler.set_epoch(epoch)
            orders.add(tuple(sampler))
    assert len(orders) == 9


def test_the_sampler_gives_each_epoch_its_order() -> None:
    lengths = _lengths(100)
    sampler = LengthGroupedSampler(lengths, 8, seed=3)
    first, again = list(sampler), list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    sampler.set_epoch(0)
    assert first == again == list(sampler)
    assert sorted(first) == sorted(second)
    assert first != second
    assert len(sampler) == 100


def test_the_sampler_is_the_same_on_every_rank() -> None:
    lengths = _lengths(100)
    torch.manual_seed(1)
    first = list(LengthGroupedSampler(lengths, 8, 0))
    torch.manual_seed(2)
    assert list(LengthGroupedSampler(lengths.tolist(), 8, 0)) == first
    assert list(LengthGroupedSampler(lengths, 8, 1)) != first


@pytest.mark.parametrize(("rank", "ranks"), [(0, 1), (0, 2), (1, 2)])
def test_the_trainers_loader_passes_the_epoch_on(rank: int, ranks: int) -> None:
    sampler = LengthGroupedSampler(_lengths(32), 4 * ranks, seed=0)
    loader: Any = DataLoader(list(range(32)), batch_size=4, sampler=sampler, collate_fn=lambda rows: rows)
    prepared: Any = prepare_data_loader(loader, num_processes=ranks, process_index=rank, put_on_device=False)
    orders = []
    for epoch in range(2):
        prepared.set_epoch(epoch)
        assert sampler.epoch == epoch
        order = list(sampler)
        orders.append(order)
        assert _cut(order, 4)[rank::ranks] == [list(batch) for batch in prepared.base_dataloader.batch_sampler]
    assert orders[0] != orders[1]


def test_batches_within_a_budget_by_hand() -> None:
    batches = token_budget_batches([3, 10, 4, 5, 5, 1], 12)
    # 10 alone; 5 and 5; 4, 3 and 1.
    assert [batch.tolist() for batch in batches] == [[1], [3, 4], [2, 0, 5]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"max_rows": 2}, [[1], [3, 4], [2, 0], [5]]),
        # Padded lengths 12, 6, 6, 6, 3, 3.
        ({"multiple_of": 3}, [[1], [3, 4], [2, 0], [5]]),
        ({"budget": 1}, [[1], [3], [4], [2], [0], [5]]),
        ({"budget": 1000}, [[1, 3, 4, 2, 0, 5]]),
    ],
)
def test_batches_by_hand(options: dict[str, int], expected: list[list[int]]) -> None:
    batches = token_budget_batches([3, 10, 4, 5, 5, 1], **{"budget": 12, **options})
    assert [batch.tolist() for batch in batches] == expected


@pytest.mark.parametrize("budget", [1, 50, 512, 100_000])
@pytest.mark.parametrize("max_rows", [None, 1, 7])
@pytest.mark.parametrize("multiple_of", [1, 8])
def test_what_holds_for_all_batches(budget: int, max_rows: int | None, multiple_of: int) -> None:
    lengths = _lengths(500)
    batches = token_budget_batches(lengths, budget, max_rows=max_rows, multiple_of=multiple_of)
    assert sorted(np.concatenate(batches)) == list(range(500))
    widths = [-(-lengths[batch].max() // multiple_of) * multiple_of for batch in batches]
    assert widths == sorted(widths, reverse=True)
    for batch, width in zip(batches, widths, strict=True):
        assert len(batch) == 1 or len(batch) * width <= budget
        assert max_rows is None or len(batch) <= max_rows


def test_no_rows_and_empty_rows() -> None:
    assert token_budget_batches([], 10) == []
    assert [batch.tolist() for batch in token_budget_batches([0, 0, 0], 2)] == [[0, 1], [2]]


def test_batches_of_many_rows_hold_little_padding() -> None:
    lengths = _lengths(100_000)
    assert padded_share(lengths, token_budget_batches(lengths, 4096)) < 0.01


def test_padded_share_by_hand() -> None:
    # 3 + 1 of 6 tokens, and 2 of 2.
    assert padded_share([3, 1, 2], [[0, 1], [2]]) == pytest.approx(1 - 6 / 8)
    assert padded_share([3, 1, 2], [np.array([0])]) == 0.0
    assert padded_share([3, 1, 2], []) == 0.0
    assert padded_share([0, 0], [[0, 1]]) == 0.0


@pytest.mark.parametrize("lengths", [[1.5], [[1, 2]], [-1], ["a"]])
def test_lengths_are_counts(lengths: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^lengths must be a flat list of token counts, each 0 or more, but is "):
        token_budget_batches(lengths, 10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: token_budget_batches([1], 0), "budget must be 1 or more, but is 0."),
        (lambda: token_budget_batches([1], 1, max_rows=0), "max_rows must be 1 or more, but is 0."),
        (lambda: token_budget_batches([1], 1, multiple_of=0), "multiple_of must be 1 or more, but is 0."),
        (lambda: LengthGroupedSampler([1], 0, 0), "batch_size must be 1 or more, but is 0."),
        (lambda: _order([1], 1, mega_batch=0), "mega_batch must be 1 or more, but is 0."),
    ],
)
def test_numbers_below_one(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{message}$"):
        make()
