"""What a model that looks up passages reads: the texts of passages with a question behind each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset

from easytx.data.padding import padded
from easytx.data.tables import as_dataset
from easytx.seq2seq.knowledge import Knowledge

# Questions that are searched for at once, so that the vectors of all their passages are never in memory together.
_AT_ONCE = 1024

# Columns of a dataset of contexts.
CONTEXTS = ("input_ids", "sizes", "doc_scores")


@dataclass(frozen=True)
class Found:
    """What was found for each question.

    Attributes:
        passages: Title and text of the passages, as lists, best first.
        scores: Their dot products with the question, of shape (questions, found).
        contexts: The ids of each passage with the question behind it, all those of a question one after the other.
    """

    passages: list[dict[str, list[str]]]
    scores: np.ndarray
    contexts: list[list[int]]

    def dataset(self) -> Dataset:
        """Return one row per question: the ids of its contexts one behind the other, their sizes, and the scores."""
        number = self.scores.shape[1]
        own = [self.contexts[start : start + number] for start in range(0, len(self.contexts), number)]
        return as_dataset(
            pa.table(
                {
                    "input_ids": pa.array([[*chain(*contexts)] for contexts in own], type=pa.list_(pa.int32())),
                    "sizes": pa.array([[*map(len, contexts)] for contexts in own], type=pa.list_(pa.int32())),
                    "doc_scores": pa.array([*self.scores.astype(np.float32)], type=pa.list_(pa.float32())),
                }
            )
        )


class ContextPadding:
    """Makes batches of the rows of `Found.dataset`."""

    def __init__(self, pad_id: int) -> None:
        """Take the id to pad with."""
        self.pad_id = pad_id

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Return ids and masks of shape (questions x passages, tokens), and scores of shape (questions, passages)."""
        contexts = []
        for row in features:
            ends = np.cumsum(row["sizes"]).tolist()
            contexts += [row["input_ids"][end - size : end] for end, size in zip(ends, row["sizes"], strict=True)]
        scores = torch.tensor([row["doc_scores"] for row in features], dtype=torch.float32)
        return {**batched(contexts, self.pad_id), "doc_scores": scores}


def batched(contexts: Sequence[Sequence[int]], pad_id: int) -> dict[str, torch.Tensor]:
    """Return ids of contexts, and a mask, of shape (contexts, tokens)."""
    mask = padded([[1] * len(ids) for ids in contexts], 0)
    return {"input_ids": padded(contexts, pad_id), "attention_mask": mask}


class Lookup:
    """Finds passages for questions, and puts both together as transformers' RagRetriever does.

    A context that is too long loses the end of its passage, not of the question, as it would there.

    Attributes:
        knowledge: What is searched.
    """

    def __init__(self, knowledge: Knowledge, config: Any, tokenizers: tuple[Any, Any]) -> None:
        """Take passages, the configuration of the model, and the tokenizers of questions and of the generator."""
        self.knowledge, self._config, self._tokenizers = knowledge, config, tokenizers

    def __deepcopy__(self, memo: dict[int, Any]) -> Lookup:
        """Return itself: copies of a network look up the same passages."""
        return self

    @property
    def number(self) -> int:
        """How many passages are found for a question."""
        return min(int(self._config.n_docs), len(self.knowledge.passages))

    @property
    def pad_id(self) -> int:
        """What contexts are padded with."""
        return int(self._tokenizers[1].pad_token_id)

    def found(self, vectors: np.ndarray, questions: Sequence[Any]) -> Found:
        """Return what is found for questions, however many there are; see `search`."""
        starts = range(0, len(vectors), _AT_ONCE)
        parts = [self.search(vectors[i : i + _AT_ONCE], questions[i : i + _AT_ONCE])[0] for i in starts]
        return Found(
            [*chain.from_iterable(part.passages for part in parts)],
            np.concatenate([part.scores for part in parts]),
            [*chain.from_iterable(part.contexts for part in parts)],
        )

    def search(self, vectors: np.ndarray, questions: Sequence[Any]) -> tuple[Found, np.ndarray]:
        """Return what is found for questions, and the vectors of the passages, of shape (questions, found, width).

        Args:
            vectors: Of the questions, of shape (questions, width).
            questions: Their ids.
        """
        places, theirs = self.knowledge.search(vectors, self.number)
        passages = self.knowledge.texts(places)
        scores = np.einsum("qw,qfw->qf", vectors.astype(np.float32), theirs)
        return Found(passages, scores, self._contexts(passages, questions)), theirs

    def _contexts(self, passages: Sequence[dict[str, list[str]]], questions: Sequence[Any]) -> list[list[int]]:
        config, (reading, writing) = self._config, self._tokenizers
        texts = reading.batch_decode(questions, skip_special_tokens=True)
        prefix = getattr(config.generator, "prefix", None) or ""
        fronts = [
            prefix + (title or "").removeprefix('"').removesuffix('"') + config.title_sep + text
            for found in passages
            for title, text in zip(found["title"], found["text"], strict=True)
        ]
        ends = [config.doc_sep + text for text, found in zip(texts, passages, strict=True) for _ in found["text"]]
        whole = [(front + end).replace("  ", " ") for front, end in zip(fronts, ends, strict=True)]
        ids = writing(whole, add_special_tokens=True, verbose=False)["input_ids"]
        return [self._cut(own, end) for own, end in zip(ids, ends, strict=True)]

    def _cut(self, ids: list[int], end: str) -> list[int]:
        most = self._config.max_combined_length
        if len(ids) <= most:
            return ids
        writing = self._tokenizers[1]
        behind = len(writing(end, add_special_tokens=False, verbose=False)["input_ids"])
        # What ends a text stays too.
        kept = min(behind + writing.num_special_tokens_to_add(), most)
        return ids[: most - kept] + ids[-kept:]
