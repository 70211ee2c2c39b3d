"""Tokens that stand in texts for vectors of their own: behind the first token, and at the end of queries.

Sources: Chang et al. 2023, "Multi-CLS BERT", https://arxiv.org/abs/2210.05043, for several tokens in front that stand
for all; and ColBERT (see `late`) for [MASK] tokens behind a query, which find words that it might have had as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset
from typing_extensions import override

from easytx.config.model_args import ModelArgs
from easytx.data.tables import as_dataset, lists_of
from easytx.data.tokenise import lengths_of
from easytx.errors import ArgumentError
from easytx.retrieval.network import DualEncoder


@dataclass(frozen=True)
class ExtraTokens:
    """What is put into each text of a part.

    Attributes:
        front: Ids that stand behind the first token.
        back: Ids that stand before the token that ends a text, or where there is none at the end.
        ends: The ids that end texts.
    """

    front: tuple[int, ...]
    back: tuple[int, ...]
    ends: tuple[int, ...]

    def room(self, length: int) -> int:
        """Return how many of so many tokens are left for the text.

        Raises:
            ArgumentError: If that is none but the first and the last one.
        """
        left = length - len(self.front) - len(self.back)
        if left < 3:
            raise ArgumentError(
                f"max_seq_length is {length}, but extra_cls_token_count and extra_mask_token_count take "
                f"{length - left} of these tokens. Set it to {length - left + 3} or more."
            )
        return left

    def put_into(self, dataset: Dataset) -> Dataset:
        """Return tokenised texts that have these tokens."""
        more = len(self.front) + len(self.back)
        if not more:
            return dataset
        lengths = lengths_of(dataset)
        ids = np.asarray(dataset.data.column("input_ids").combine_chunks().flatten())
        stops = np.cumsum(lengths)
        ended = np.isin(ids[stops - 1], self.ends)
        places = [np.repeat(stops - lengths + 1, len(self.front)), np.repeat(stops - ended, len(self.back))]
        put = [np.tile(part, len(lengths)) for part in (self.front, self.back)]
        filled = np.insert(ids, np.concatenate(places), np.concatenate(put).astype(ids.dtype))
        columns = {name: dataset.data.column(name) for name in ("row", "cut")}
        tokens = {"input_ids": lists_of(filled, lengths + more)}
        tokens["attention_mask"] = lists_of(np.ones(len(filled), dtype=np.int8), lengths + more)
        return as_dataset(pa.table({**tokens, **columns, "length": (lengths + more).astype(np.int32)}))


NOTHING = ExtraTokens((), (), ())


def extra_tokens(tokenizer: Any, args: ModelArgs, *, of_query: bool) -> ExtraTokens:
    """Return the extra tokens that the arguments ask for, of which the tokenizer gets those that it does not have.

    Raises:
        ArgumentError: If the tokenizer has no tokens of this kind.
    """
    front, back = args["extra_cls_token_count"], args["extra_mask_token_count"] if of_query else 0
    for name, number, kind in (
        ("extra_cls_token_count", front, "cls_token"),
        ("extra_mask_token_count", back, "mask_token"),
    ):
        if number and getattr(tokenizer, f"{kind}_id") is None:
            raise ArgumentError(
                f"{name} is {number}, but the tokenizer has no {kind}. Set it to 0, or take another checkpoint."
            )
    names = [f"[unused{place}]" for place in range(front)]
    # BERT has tokens of these names, which it was trained without.
    tokenizer.add_tokens(names, special_tokens=True)
    ends = (tokenizer.sep_token_id, tokenizer.eos_token_id)
    return ExtraTokens(tuple(tokenizer.convert_tokens_to_ids(names)), (tokenizer.mask_token_id,) * back, ends)


class WideVectors(DualEncoder):
    """Two encoders that put the vectors of the first tokens in a row, as one long vector."""

    @override
    def pooled(self, part: str, outputs: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        first: torch.Tensor = outputs.last_hidden_state[:, : self.config.first_tokens]
        return first.float().flatten(start_dim=1)
