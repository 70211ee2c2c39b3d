"""T5 as a reranker, as monoT5 is: it reads a query and a passage, and the odds of its first word say how well they fit.

The model reads "Query: ... Document: ... Relevant:", and the score is the log-odds of writing "true", not "false".
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from easytx.core.generative_model import TextAnswers
from easytx.core.ranking import PAIR, Reranked, pairs_to_rank, ranked, scores_per_query
from easytx.core.running import run_network
from easytx.data.checks import rows as in_rows
from easytx.data.checks import texts_of
from easytx.data.frames import Columns, as_frame, as_texts
from easytx.data.prepared import TaskData
from easytx.errors import ArgumentError, DataError
from easytx.seq2seq import networks
from easytx.training.generation import prompt_collator

if TYPE_CHECKING:
    from easytx.t5.model import T5Model

_COLUMNS = Columns(texts=(PAIR,), labels=("labels",))

# As in monoT5 (Nogueira, Jiang, Pradeep and Lin 2020, "Document Ranking with a Pretrained Sequence-to-Sequence Model").
_INPUT = "Query: {} Document: {} Relevant:"
_RIGHT, _WRONG = "true", "false"

# True and False are 1 and 0.
_TARGETS: dict[Any, str] = {0: _WRONG, 1: _RIGHT, _WRONG: _WRONG, _RIGHT: _RIGHT}


class Words(NamedTuple):
    """The two words as token ids.

    Attributes:
        right: The ids of "true".
        place: The first place where "false" has another one.
        other: The one it has.
    """

    right: list[int]
    place: int
    other: int

    def odds(self, logits: torch.Tensor) -> torch.Tensor:
        """Return log p("true") - log p("false") of each row, of shape (rows,).

        The softmax is over these two, so that it is the difference of their logits.
        """
        # The targets of rows that are no pairs may be shorter.
        two = logits[:, min(self.place, logits.shape[1] - 1)].float()
        return two[:, self.right[self.place]] - two[:, self.other]


@dataclass(frozen=True)
class RankedAnswers(TextAnswers):
    """What a model writes for each row, and how well its passage fits its query.

    Attributes:
        relevance: Of shape (rows,); more is better.
    """

    relevance: np.ndarray = field(kw_only=True)


def words_of(model: T5Model) -> Words:
    """Return "true" and "false" as token ids.

    Raises:
        ArgumentError: If the tokenizer cannot tell one from the other.
    """
    right, wrong = (list(model.target_tokenizer(text_target=word)["input_ids"]) for word in (_RIGHT, _WRONG))
    for place, (ours, other) in enumerate(zip(right, wrong, strict=False)):
        if ours != other:
            return Words(right, place, other)
    raise ArgumentError(
        f"The tokenizer cannot tell '{_RIGHT}' from '{_WRONG}', the words that say whether a passage is relevant. "
        "Take a model whose vocabulary has them."
    )


def rerank(model: T5Model, queries: Any, passages: Any = None, *, top_k: int | None = None) -> Reranked:
    """Return the passages of each query in a new order, the best first.

    Args:
        model: One that was trained as monoT5 is.
        queries: One query, several, or a frame with the columns `query_text` and `passage`, such as the `hits()` of a
            RetrievalModel's prediction.
        passages: For one query its passages; for several one list of passages each, or one for all. Of a frame, None.
        top_k: How many passages of a query to return; None for all.

    Raises:
        DataError: If queries and passages do not go together, or texts are missing.
        ArgumentError: If the tokenizer cannot tell "true" from "false".
    """
    words_of(model)
    frame = pairs_to_rank(queries, passages)
    texts = frame.assign(input_text=_inputs(frame, name="queries"))
    data = model.prepared(texts, name="queries", split="predict", renames={})
    return ranked(frame, relevance(model, data), top_k)


def relevance(model: T5Model, data: TaskData) -> np.ndarray:
    """Return how well each passage fits its query, of shape (rows,); more is better.

    Args:
        model: What says so.
        data: Rows without targets.
    """
    words, padded = words_of(model), prompt_collator(model.tokenizer, left=False)
    # What the decoder reads before the place of the word, as in training.
    shifted = networks.shifting(model.model).prepare_decoder_input_ids_from_labels(torch.tensor([words.right]))
    begun = shifted[:, : words.place + 1]

    def collate(features: list[dict[str, Any]]) -> Mapping[str, torch.Tensor]:
        return {**padded(features), "decoder_input_ids": begun.repeat(len(features), 1)}

    found = run_network(
        model,
        model.model,
        data.dataset,
        collator=collate,
        reduce=lambda outputs, _: words.odds(outputs.logits),
        show=not model.args.silent,
    )
    return np.array(found.values)


def are_pairs(model: T5Model, rows: Any, renames: Mapping[str, str]) -> bool:
    """Tell whether rows are to be read as pairs of a query and a passage, and not as texts."""
    if not model.args["as_reranker"]:
        return False
    if isinstance(rows, pd.DataFrame):
        has = {*rows.columns, *renames}
        return "input_text" not in has or set(PAIR) <= has
    return not isinstance(rows, (list, tuple, pd.Series)) or not all(isinstance(text, str) for text in rows)


def read_pairs(model: T5Model, rows: Any, *, name: str, split: str, renames: Mapping[str, str]) -> pd.DataFrame:
    """Return pairs as a frame with the texts that the model reads, and for labelled ones writes."""
    words_of(model)
    read: dict[str, Any] = {"name": name, "args": model.args, "renames": renames}
    if split == "predict":
        frame = as_texts(rows, _COLUMNS, **read)
        return frame.assign(input_text=_inputs(frame, name=name))
    frame = as_frame(rows, _COLUMNS, **read)
    return frame.assign(input_text=_inputs(frame, name=name), target_text=_targets(frame["labels"], name=name))


def scores_of_ranking(answers: TextAnswers, data: TaskData) -> dict[str, float]:
    """Return how well the passages of each query are ranked; of rows that are no pairs, nothing."""
    if not isinstance(answers, RankedAnswers) or not set(PAIR) <= set(data.frame.columns):
        return {}
    truth = (data.frame["target_text"] == _RIGHT).to_numpy()
    return scores_per_query(data.frame["query_text"], answers.relevance, truth)


def _inputs(frame: pd.DataFrame, *, name: str) -> list[str]:
    queries, passages = (texts_of(frame, column, name=name) for column in PAIR)
    return [_INPUT.format(query, passage) for query, passage in zip(queries, passages, strict=True)]


def _targets(labels: pd.Series, *, name: str) -> list[str]:
    values = [label.lower() if isinstance(label, str) else label for label in labels.tolist()]
    targets = [_TARGETS.get(value) if isinstance(value, Hashable) else None for value in values]
    wrong = [row for row, target in enumerate(targets) if target is None]
    if wrong:
        raise DataError(
            f"{name} needs labels that say whether a passage is relevant, 1 or 0, or 'true' or 'false', but has "
            f"{labels.tolist()[wrong[0]]!r} in {in_rows(wrong)}."
        )
    return [target for target in targets if target is not None]
