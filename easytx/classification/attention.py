"""Longformer and its kin: which tokens attend to all others, and all others to them, where the caller decides it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from typing_extensions import override

from easytx.config.warn import warn_user
from easytx.core.layout import LayoutModel, network_inputs
from easytx.data.checks import counted
from easytx.data.padding import TokenColumns
from easytx.data.tokenise import column, lengths_of, with_column
from easytx.errors import ArgumentError

if TYPE_CHECKING:
    import torch
    from datasets import Dataset

_MASK = "global_attention_mask"

# Rows for each call of the caller's function.
_CHUNK = 1000


class AttentiveModel(LayoutModel):
    """A class whose caller may say which tokens have global attention; otherwise it is the first one of each text."""

    def __init__(
        self,
        model_type: str | None = None,
        model_name: str | Path | None = None,
        *,
        global_attention_fn: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Take a function besides what `LabelledModel` takes.

        Args:
            model_type: As for `BaseModel`.
            model_name: As for `BaseModel`.
            global_attention_fn: Takes the token ids of some rows, a list each, and their texts, a list, or for pairs
                two lists; returns for each row a 1 for every token with global attention and a 0 for every other. It is
                not saved: give it again to a model that is opened.
            **kwargs: As for `LabelledModel`.

        Raises:
            ArgumentError: If the network has no global attention.
        """
        super().__init__(model_type, model_name, **kwargs)
        self.global_attention_fn = global_attention_fn
        trained_with = getattr(self.config, "global_attention_fn", None)
        if global_attention_fn is None:
            if trained_with:
                warn_user(f"'{self._name}' was trained with global_attention_fn={trained_with}; give it again.")
            return
        if _MASK not in network_inputs(self.auto_class, self.config):
            raise ArgumentError(
                f"global_attention_fn is for models with global attention, such as longformer, but '{self._name}' is "
                f"of the type {self.config.model_type}."
            )
        self.config.global_attention_fn = getattr(global_attention_fn, "__name__", type(global_attention_fn).__name__)

    @override
    def encoded(self, texts: Sequence[list[Any]], *, overlap: int | None, split: str, name: str) -> Dataset:
        dataset = super().encoded(texts, overlap=overlap, split=split, name=name)
        if self.global_attention_fn is None:
            return dataset
        return _with_global_attention(dataset, texts, self.global_attention_fn)

    @override
    def collator(self) -> Callable[[list[dict[str, Any]]], Mapping[str, torch.Tensor]]:
        pad = super().collator()
        return pad if self.global_attention_fn is None else TokenColumns(pad, **{_MASK: 1})


def _with_global_attention(dataset: Dataset, texts: Sequence[list[Any]], choose: Callable[..., Any]) -> Dataset:
    """Return features with the caller's choice of tokens."""
    row, length = column(dataset, "row"), lengths_of(dataset)
    masks: list[np.ndarray] = []
    for start in range(0, len(dataset), _CHUNK):
        part = slice(start, start + _CHUNK)
        found = list(choose(dataset[part]["input_ids"], *([of[i] for i in row[part]] for of in texts)))
        if len(found) != len(row[part]):
            raise ArgumentError(
                f"global_attention_fn returned {counted(len(found), 'list')} for {counted(len(row[part]), 'row')}; "
                "one for each is needed."
            )
        masks += [np.asarray(mask) for mask in found]
    for number, mask in enumerate(masks):
        if mask.shape != (length[number],) or not np.isin(mask, (0, 1)).all():
            raise ArgumentError(
                f"global_attention_fn must return a 0 or 1 for each token, {length[number]} for row {row[number]}, but "
                f"returned {mask.tolist()}."
            )
    limits = pa.array(np.append(0, np.cumsum(length)), type=pa.int32())
    values = pa.array(np.concatenate(masks).astype(np.int8))
    return with_column(dataset, _MASK, pa.ListArray.from_arrays(limits, values))
