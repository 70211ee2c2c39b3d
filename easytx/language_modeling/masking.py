"""Which tokens a model is asked for: masked ones, drawn anew in training and once for evaluation, or the next ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset

from easytx.language_modeling.blocks import GIVEN

IGNORED = -100

# Of the masked tokens, what share is replaced by the mask, and of the others by any token; the rest stays as it is
# (Devlin et al. 2019, "BERT", section 3.1, https://arxiv.org/abs/1810.04805).
_BY_MASK = 0.8
_BY_ANY = 0.5

# The masks of an evaluation depend on this alone, so that two evaluations ask for the same tokens.
_EVALUATION_SEED = 0
_ROWS = 64


class MaskedTokens:
    """Collator that pads rows and masks a share of their units, unless they have been masked already.

    The random numbers are the Trainer's own, so a training with the same seed masks the same tokens.

    Args:
        tokenizer: With a mask token.
        probability: Share of the units that are masked.
        generator: Source of the random numbers; None for torch's own.
    """

    def __init__(self, tokenizer: Any, probability: float, generator: torch.Generator | None = None) -> None:
        self.tokenizer, self.probability, self.generator = tokenizer, probability, generator

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return a batch with `labels`: the masked tokens, and -100 elsewhere."""
        batch, units, labels = padded(self.tokenizer, features)
        if labels is not None:
            return {**batch, "labels": labels}
        ids = batch["input_ids"]
        chances = torch.full((len(ids), int(units.max().clamp(min=0)) + 1), self.probability)
        chosen = self._drawn(chances).gather(1, units.clamp(min=0)) & (units != GIVEN)
        by_mask = self._drawn(torch.full(ids.shape, _BY_MASK)) & chosen
        by_any = self._drawn(torch.full(ids.shape, _BY_ANY)) & chosen & ~by_mask
        others = torch.randint(len(self.tokenizer), ids.shape, generator=self.generator)
        masked = torch.where(by_any, others, ids).masked_fill(by_mask, self.tokenizer.mask_token_id)
        return {**batch, "input_ids": masked, "labels": ids.masked_fill(~chosen, IGNORED)}

    def _drawn(self, chances: torch.Tensor) -> torch.Tensor:
        return torch.bernoulli(chances, generator=self.generator).bool()


class NextTokens:
    """Collator that pads rows; each token is asked for, except those that are given.

    Args:
        tokenizer: Of the rows.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Return a batch with `labels`: the tokens themselves; the model compares each with its prediction before."""
        batch, units, _ = padded(self.tokenizer, features)
        return {**batch, "labels": batch["input_ids"].masked_fill(units == GIVEN, IGNORED)}


def padded(
    tokenizer: Any, features: list[dict[str, Any]]
) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor | None]:
    """Return the model inputs of a batch, its units, and its labels where it has any."""
    inputs = [{name: row[name] for name in row if name in tokenizer.model_input_names} for row in features]
    batch: Mapping[str, torch.Tensor] = tokenizer.pad(
        inputs, padding=True, padding_side="right", return_tensors="pt", verbose=False
    )
    labels = _filled(features, "labels", IGNORED) if "labels" in features[0] else None
    return dict(batch), _filled(features, "units", GIVEN), labels


def masked_once(tokenizer: Any, dataset: Dataset, probability: float) -> Dataset:
    """Return the blocks with masked `input_ids` and with `labels`, the same ones at each call.

    At least one token is masked, so that there is a loss.
    """
    generator = torch.Generator().manual_seed(_EVALUATION_SEED)
    collator = MaskedTokens(tokenizer, probability, generator)
    columns = ["input_ids", "attention_mask", "units"]
    found: dict[str, list[np.ndarray]] = {"input_ids": [], "labels": []}
    while not any((labels != IGNORED).any() for labels in found["labels"]):
        found = {"input_ids": [], "labels": []}
        for start in range(0, len(dataset), _ROWS):
            rows = dataset.select_columns(columns)[start : start + _ROWS]
            features = [dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)]
            batch = collator(features)
            for name, kept in found.items():
                values = batch[name].numpy()
                kept += [row[: len(one["input_ids"])] for row, one in zip(values, features, strict=True)]
    table = dataset.data.table.drop_columns(["input_ids"])
    for name, rows_of_ids in found.items():
        table = table.append_column(name, pa.array(rows_of_ids, type=pa.list_(pa.int32())))
    return Dataset(table)


def _filled(features: list[dict[str, Any]], name: str, value: int) -> torch.Tensor:
    rows = [torch.as_tensor(row[name], dtype=torch.long) for row in features]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)
