"""Passages as questions: a piece of a passage stands for a query, and the rest of it is what is to be found.

Source: Lee, Chang and Toutanova 2019, "Latent Retrieval for Weakly Supervised Open Domain Question Answering",
https://arxiv.org/abs/1906.00300, the inverse cloze task. A piece there is a sentence; here, as with the crops of
Izacard et al. 2022, https://arxiv.org/abs/2112.09118, it is a run of tokens of random length, which needs no sentences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from typing_extensions import override

from easytx.config.model_args import ModelArgs
from easytx.errors import ArgumentError
from easytx.retrieval.data import PairCollator


def random_span(size: int, args: ModelArgs, chance: torch.Generator | None = None) -> slice:
    """Return a random part of a passage of so many tokens, not more than a half of it but one token at least."""
    longest = max(min(args["max_span_length"], size // 2), 1)
    length = _number(min(args["min_span_length"], longest), longest, chance)
    start = _number(0, size - length, chance)
    return slice(start, start + length)


def cloze_texts(passages: Sequence[str], args: ModelArgs) -> tuple[list[str], list[str]]:
    """Return a few words of each passage, and the passage without them: the same ones at each call."""
    chance = torch.Generator().manual_seed(args.manual_seed or 0)
    queries, rests = [], []
    for passage in passages:
        words = passage.split()
        span = random_span(len(words), args, chance)
        queries.append(" ".join(words[span]))
        rests.append(" ".join(words[: span.start] + words[span.stop :]) or passage)
    return queries, rests


class ClozeCollator(PairCollator):
    """Makes a query of a piece of each passage, another one each time the passage comes up."""

    def __init__(self, query_tokenizer: Any, passage_tokenizer: Any, args: ModelArgs) -> None:
        """Take the tokenizers of both encoders.

        Raises:
            ArgumentError: If they differ, or spans cannot be as long as the arguments ask for.
        """
        if query_tokenizer.get_vocab() != passage_tokenizer.get_vocab():
            raise ArgumentError(
                "Pre-training makes queries of pieces of passages, but the two encoders have different tokenizers. "
                "Start both from one checkpoint."
            )
        if args["min_span_length"] > args["max_span_length"]:
            raise ArgumentError(
                f"min_span_length is {args['min_span_length']}, more than max_span_length, "
                f"{args['max_span_length']}. Set it to that or less."
            )
        super().__init__(query_tokenizer.pad_token_id, passage_tokenizer.pad_token_id)
        self.args = args
        # A token that is not known is a part of a text like others.
        self.special = {*query_tokenizer.all_special_ids} - {query_tokenizer.unk_token_id}

    @override
    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        return super().__call__([self._cloze(feature) for feature in features])

    def _cloze(self, feature: Mapping[str, Any]) -> dict[str, Any]:
        """Return a training row whose query is a piece of its passage, which mostly lacks it then."""
        ids = list(feature["query_input_ids"])
        passage, *negatives = feature["passage_input_ids"]
        places = [place for place, token in enumerate(ids) if token not in self.special] or [0]
        first, stop = places[0], places[-1] + 1
        span = random_span(stop - first, self.args)
        piece = ids[first:stop][span]
        if stop - first > len(piece) and float(torch.rand(())) >= self.args["span_kept"]:
            passage = _without(list(passage), piece)
        query = [*ids[:first], *piece, *ids[stop:]]
        return {**feature, "query_input_ids": query, "passage_input_ids": [passage, *negatives]}


def _without(passage: list[int], piece: list[int]) -> list[int]:
    """Return a passage without a piece of it, or as it is where its end, and with it the piece, was cut off."""
    size = len(piece)
    # From the end, because a title stands in front.
    for start in range(len(passage) - size, -1, -1):
        if passage[start : start + size] == piece:
            return passage[:start] + passage[start + size :]
    return passage


def _number(low: int, high: int, chance: torch.Generator | None) -> int:
    return int(torch.randint(low, high + 1, (), generator=chance))
