"""Longformer and its kin: which tokens attend to all others, and all others to them, where the caller decides it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from easytx.config.warn import warn_user
from easytx.core.layout import network_inputs
from easytx.data.checks import counted
from easytx.data.tokenise import column, lengths_of, with_column
from easytx.errors import ArgumentError

if TYPE_CHECKING:
    from datasets import Dataset

    from easytx.classification.model import ClassificationModel

_MASK = "global_attention_mask"

# Rows for each call of the caller's function.
_CHUNK = 1000


def check_global_attention(model: ClassificationModel) -> None:
    """Have the configuration say which function chooses the tokens, and warn where it says so but none was given.

    Raises:
        ArgumentError: If there is a function, but the network has no global attention.
    """
    choose, config, name = model.global_attention_fn, model.config, model.args.model_name
    trained_with = getattr(config, "global_attention_fn", None)
    if choose is None:
        if trained_with:
            warn_user(f"'{name}' was trained with global_attention_fn={trained_with}; give it again.")
        return
    if _MASK not in network_inputs(model.auto_class, config):
        raise ArgumentError(
            f"global_attention_fn is for models with global attention, such as longformer, but '{name}' is of the type "
            f"{config.model_type}."
        )
    config.global_attention_fn = getattr(choose, "__name__", type(choose).__name__)


def with_global_attention(dataset: Dataset, texts: Sequence[list[Any]], choose: Callable[..., Any] | None) -> Dataset:
    """Return features that say which of their tokens have global attention; without a choice, features as they are.

    Args:
        dataset: The features.
        texts: What they were made from: one list of texts, or two for pairs.
        choose: Takes the token ids of some features, a list each, and their texts, a list, or for pairs two lists;
            returns for each feature a 1 for every token with global attention and a 0 for every other. It is not saved:
            give it again to a model that is opened.

    Raises:
        ArgumentError: If the choice is not a 0 or 1 for each token.
    """
    if choose is None:
        return dataset
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
