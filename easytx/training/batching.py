"""Which rows share a batch: rows of like lengths, so that little of a batch is padding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch.utils.data import Sampler

from easytx.errors import ArgumentError

__all__ = ["LengthGroupedSampler", "length_grouped_order", "padded_share", "token_budget_batches", "usual_mega_batch"]

Lengths: TypeAlias = Sequence[int] | np.ndarray

# Batches in a mega-batch. Few, because likeness has a price: with 50 the batches are so alike within that small
# fine-tuned models score worse, while 8 leave little padding as well (7 % instead of 30 % of the tokens of sentence
# pairs, 2 % with 50).
MEGA_BATCH = 8

# An epoch of fewer mega-batches has fewer chances: there, fewer batches make one if that leaves little padding.
MANY_MEGA_BATCHES = 100
FEWER = (2, 4)
LITTLE_PADDING = 0.25


def length_grouped_order(
    lengths: Lengths, batch_size: int, *, generator: torch.Generator, mega_batch: int = MEGA_BATCH
) -> list[int]:
    """Return a random order of the rows in which each batch holds rows of like lengths.

    The rows are shuffled and cut into mega-batches; each is sorted by length and cut into batches; the
    batches are shuffled. Two batches stand apart: the one with the longest row comes first, so that a lack of
    memory shows at once, and the incomplete one, if there is one, comes last.

    Args:
        lengths: Tokens of each row.
        batch_size: Rows of one step, over all ranks, so that the batches of the ranks are alike too.
        generator: The source of randomness, on the CPU.
        mega_batch: Batches in a mega-batch. More mean less padding and less chance.

    Raises:
        ArgumentError: A number is below 1, or `lengths` is not a flat list of token counts.
    """
    sizes = _as_lengths(lengths)
    _at_least_one(batch_size=batch_size, mega_batch=mega_batch)
    rows = len(sizes)
    order = torch.randperm(rows, generator=generator).numpy()
    mega = np.arange(rows) // (mega_batch * batch_size)
    order = order[np.lexsort((-sizes[order], mega))]
    whole = rows - rows % batch_size
    if whole == 0:
        return _listed(order)
    batches = order[:whole].reshape(-1, batch_size)
    batches = batches[torch.randperm(len(batches), generator=generator).numpy()]
    rest = order[whole:]
    # Rows of a batch descend in length, so that column 0 holds the longest.
    first = int(sizes[batches[:, 0]].argmax())
    if len(rest) and sizes[rest[0]] > sizes[batches[first, 0]]:
        batches[first, 0], rest[0] = rest[0], batches[first, 0]
    batches[[0, first]] = batches[[first, 0]]
    return _listed(np.concatenate([batches.ravel(), rest]))


def usual_mega_batch(lengths: Lengths, batch_size: int) -> int:
    """Return how many batches should make a mega-batch: 8, or fewer where rows are few and of like lengths anyhow.

    Args:
        lengths: Tokens of each row.
        batch_size: Rows of one step, over all ranks.

    Raises:
        ArgumentError: The batch size is below 1, or `lengths` is not a flat list of token counts.
    """
    if len(lengths) >= MANY_MEGA_BATCHES * MEGA_BATCH * batch_size:
        return MEGA_BATCH
    for fewer in FEWER:
        generator = torch.Generator().manual_seed(0)
        order = length_grouped_order(lengths, batch_size, generator=generator, mega_batch=fewer)
        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        if padded_share(lengths, batches) <= LITTLE_PADDING:
            return fewer
    return MEGA_BATCH


class LengthGroupedSampler(Sampler[int]):
    """Sampler of the order of `length_grouped_order`: a new one each epoch, the same on every rank.

    Args:
        lengths: Tokens of each row.
        batch_size: Rows of one step, over all ranks.
        seed: With the epoch, what the order depends on.
        mega_batch: Batches in a mega-batch; None for `usual_mega_batch`.

    Raises:
        ArgumentError: A number is below 1, or `lengths` is not a flat list of token counts.

    Example:
        >>> sampler = LengthGroupedSampler([3, 9, 4, 8], batch_size=2, seed=0)
        >>> sorted(list(sampler)[:2])
        [1, 3]
    """

    def __init__(self, lengths: Lengths, batch_size: int, seed: int, *, mega_batch: int | None = None) -> None:
        _at_least_one(batch_size=batch_size, mega_batch=1 if mega_batch is None else mega_batch)
        self.lengths = _as_lengths(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.mega_batch = usual_mega_batch(self.lengths, batch_size) if mega_batch is None else mega_batch
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch, counted from 0."""
        self.epoch = int(epoch)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator()
        # Not with the sum of the two: neighbouring seeds would have most of their epochs in common.
        state = np.random.SeedSequence([self.seed, self.epoch]).generate_state(1, np.uint64)
        generator.manual_seed(int(state[0]))
        return iter(
            length_grouped_order(self.lengths, self.batch_size, generator=generator, mega_batch=self.mega_batch)
        )

    def __len__(self) -> int:
        return len(self.lengths)


def token_budget_batches(
    lengths: Lengths, budget: int, *, max_rows: int | None = None, multiple_of: int = 1
) -> list[np.ndarray]:
    """Return batches of row numbers, longest rows first, each of at most `budget` tokens with its padding.

    A row longer than the budget makes a batch of its own. Every row is in exactly one batch.

    Args:
        lengths: Tokens of each row.
        budget: Tokens of a batch, padding included.
        max_rows: Rows of a batch at most.
        multiple_of: The lengths of batches are padded to a multiple of this many tokens.

    Raises:
        ArgumentError: A number is below 1, or `lengths` is not a flat list of token counts.
    """
    sizes = _as_lengths(lengths)
    _at_least_one(budget=budget, multiple_of=multiple_of, max_rows=1 if max_rows is None else max_rows)
    order = np.argsort(-sizes, kind="stable")
    widths = np.maximum(-(-sizes[order] // multiple_of) * multiple_of, 1)
    # The first row of a batch is its longest, and alone decides how many rows fit.
    room = np.maximum(budget // widths, 1)
    if max_rows is not None:
        room = np.minimum(room, max_rows)
    batches = []
    start = 0
    while start < len(order):
        stop = start + int(room[start])
        batches.append(order[start:stop])
        start = stop
    return batches


def padded_share(lengths: Lengths, batches: Iterable[Sequence[int] | np.ndarray]) -> float:
    """Return which share of the tokens in these batches is padding, from 0 to below 1.

    Args:
        lengths: Tokens of each row.
        batches: The row numbers of each batch.

    Raises:
        ArgumentError: `lengths` is not a flat list of token counts.
    """
    sizes = _as_lengths(lengths)
    text = total = 0
    for batch in batches:
        inside = sizes[np.asarray(batch, dtype=np.int64)]
        text += int(inside.sum())
        total += len(inside) * int(inside.max(initial=0))
    return 1.0 - text / total if total else 0.0


def _as_lengths(lengths: Lengths) -> np.ndarray:
    sizes = np.asarray(lengths)
    if sizes.size == 0:
        return np.zeros(0, dtype=np.int64)
    if sizes.ndim != 1 or sizes.dtype.kind not in "iu" or sizes.min() < 0:
        raise ArgumentError(
            "lengths must be a flat list of token counts, each 0 or more, but is "
            f"an array of shape {sizes.shape} and type {sizes.dtype}. Give one whole number per row."
        )
    return sizes.astype(np.int64, copy=False)


def _at_least_one(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ArgumentError(f"{name} must be 1 or more, but is {number}.")


def _listed(order: np.ndarray) -> list[int]:
    rows: list[int] = order.tolist()
    return rows
