"""Other models beside a retriever: one that ranks again what was found, a teacher, one that says what is alike."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from transformers.utils.hub import cached_file

from easytx.config.args_object import read_saved
from easytx.config.model_args import ModelArgs
from easytx.core import loading
from easytx.core.registry import model_class
from easytx.errors import ArgumentError, MissingExtraError
from easytx.retrieval.index import compared
from easytx.retrieval.losses import GOLD, OWN_NEGATIVE, scale_of
from easytx.retrieval.passages import titles_and_texts
from easytx.retrieval.results import Found


class Ranker(Protocol):
    """What scores pairs."""

    def scores(self, queries: Sequence[str], passages: Sequence[str], wanted: np.ndarray) -> np.ndarray:
        """Return how well passages fit queries, of shape (queries, passages).

        Args:
            queries: Texts.
            passages: Texts.
            wanted: Which pairs are asked for, of the same shape; the others may be anything.
        """


class _Model:
    """A model of ours."""

    def __init__(self, model: Any) -> None:
        """Take the model."""
        self.model = model
        self.has_answered = False

    @contextlib.contextmanager
    def warned_once(self) -> Iterator[Any]:
        """Give the model; what it warns of, such as texts that are cut, is said once, and not with every batch."""
        with warnings.catch_warnings():
            if self.has_answered:
                warnings.simplefilter("ignore", UserWarning)
            yield self.model
        self.has_answered = True


class CrossEncoder(_Model):
    """A model with `rerank`, which reads query and passage together."""

    def listed(self, queries: Sequence[str], passages: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Return how well the passages of each query fit it, in the order in which they stand."""
        with self.warned_once() as model:
            ranked = model.rerank(list(queries), [list(texts) for texts in passages])
        # Where each passage went.
        return [scores[np.argsort(order)] for scores, order in zip(ranked.scores, ranked.order, strict=True)]

    def scores(self, queries: Sequence[str], passages: Sequence[str], wanted: np.ndarray) -> np.ndarray:
        """Return the scores of the pairs that are wanted, as `Ranker` says."""
        found = np.full(wanted.shape, np.nan)
        rows = np.flatnonzero(wanted.any(axis=1)).tolist()
        texts = [[passages[place] for place in np.flatnonzero(wanted[row]).tolist()] for row in rows]
        for row, scores in zip(rows, self.listed([queries[row] for row in rows], texts), strict=True):
            found[row, wanted[row]] = scores
        return found


class BiEncoder(_Model):
    """Another RetrievalModel."""

    def scores(self, queries: Sequence[str], passages: Sequence[str], wanted: np.ndarray) -> np.ndarray:
        """Return all similarities, as its softmax has them and as `Ranker` says."""
        places = {text: place for place, text in enumerate(dict.fromkeys(passages))}
        with self.warned_once() as model:
            vectors = model.encode_passages(list(places))[[places[text] for text in passages]]
            how = {"device": model.device, "strategy": model.config.strategy}
            found: np.ndarray = scale_of(model.args) * compared(model.encode_queries(list(queries)), vectors, **how)
        return found


class LateInteraction:
    """A ColBERT, as sentence-transformers opens it: each token of a query is compared with each of a passage."""

    def __init__(self, model: Any) -> None:
        """Take the model."""
        self.model = model

    def scores(self, queries: Sequence[str], passages: Sequence[str], wanted: np.ndarray) -> np.ndarray:
        """Return all sums of the best similarities, as `Ranker` says."""
        options = {"show_progress_bar": False}
        ours = self.model.encode_query(list(queries), **options)
        theirs = self.model.encode_document(list(passages), **options)
        found: np.ndarray = self.model.similarity(ours, theirs).float().cpu().numpy()
        return found


def opened_reranker(name: str | Path, args: ModelArgs, **options: Any) -> CrossEncoder:
    """Return the model that ranks again what was found.

    Raises:
        ArgumentError: If it is no cross-encoder.
    """
    changes = {"config": args["reranking_config"]} if args["reranking_config"] else {}
    return CrossEncoder(_cross_encoder(name, args, "reranking_model_name", changes, **options))


def opened_teacher(
    name: str | Path, args: ModelArgs, *, tokenizer_name: str | None, device: torch.device, **options: Any
) -> Ranker:
    """Return the teacher, which is what `teacher_type` says.

    Raises:
        ArgumentError: If the checkpoint is something else, or a tokenizer is named for a ColBERT.
        MissingExtraError: If a ColBERT is wanted and sentence-transformers is not installed.
    """
    changes = {} if tokenizer_name is None else {"tokenizer_name": tokenizer_name}
    if args["teacher_type"] == "cross_encoder":
        return CrossEncoder(_cross_encoder(name, args, "teacher_model_name", changes, **options))
    if args["teacher_type"] == "colbert":
        if changes:
            raise ArgumentError("teacher_tokenizer_name is not for a teacher_type of 'colbert', which has its own.")
        return LateInteraction(_colbert(name, args, device))
    kind = read_saved(loading.resolve_name(name)).get("model_class", "RetrievalModel")
    if kind != "RetrievalModel":
        raise ArgumentError(f"teacher_type is 'bi_encoder', but '{name}' was written by {kind}, not by RetrievalModel.")
    return BiEncoder(model_class(kind)(None, str(name), args={**_quietly(args), **changes}, **options))


def opened_clustering_model(name: str | Path, args: ModelArgs, **options: Any) -> Any:
    """Return another encoder, whose vectors say which rows are alike."""
    given = {"silent": True, "fp16": args.fp16, "max_seq_length": args.max_seq_length}
    return model_class("RepresentationModel")(None, str(name), args=given, **options)


def _cross_encoder(name: str | Path, args: ModelArgs, role: str, changes: Mapping[str, Any], **options: Any) -> Any:
    source = loading.resolve_name(name)
    saved = read_saved(source)
    kind = model_class(saved.get("model_class", "ClassificationModel"))
    if not hasattr(kind, "rerank"):
        raise ArgumentError(
            f"{role} is '{name}', which {kind.__name__} wrote. It takes a cross-encoder: the folder of a "
            "ClassificationModel or T5Model, or another checkpoint for the classification of pairs."
        )
    given = {**_quietly(args), **changes}
    if args.is_set("rerank_batch_size"):
        given["eval_batch_size"] = args["rerank_batch_size"]
    if not saved:
        given["max_seq_length"] = args.max_seq_length
    model = kind(None, str(name), args=given, **options)
    heads = model.config.architectures or []
    if not saved and not any(head.endswith("ForSequenceClassification") for head in heads):
        raise ArgumentError(
            f"{role} is '{name}', a checkpoint of {heads} without a head that scores pairs. Train one first, with "
            "ClassificationModel."
        )
    return model


def _colbert(name: str | Path, args: ModelArgs, device: torch.device) -> Any:
    try:
        from sentence_transformers import MultiVectorEncoder
    except ImportError as error:
        raise MissingExtraError(
            "teacher_type='colbert' needs the package 'sentence-transformers', version 6 or later. Install it with: "
            "pip install 'sentence-transformers>=6'"
        ) from error
    source = loading.resolve_name(name)
    config = loading.load_config(source, options={"trust_remote_code": args.trust_remote_code}, changes={})
    theirs = cached_file(source, "modules.json", _raise_exceptions_for_missing_entries=False)
    if theirs is None and "HF_ColBERT" not in (config.architectures or []):
        raise ArgumentError(
            f"teacher_type is 'colbert', but '{name}' is a checkpoint of {config.architectures}. Set "
            "teacher_type='cross_encoder' for a ClassificationModel, or 'bi_encoder' for a RetrievalModel."
        )
    with loading.quiet():
        return MultiVectorEncoder(source, device=str(device), trust_remote_code=args.trust_remote_code)


def _quietly(args: ModelArgs) -> dict[str, Any]:
    return {"silent": True, "fp16": args.fp16, "thread_count": args.thread_count}


class Teaching:
    """Fills in a teacher's scores of a batch.

    Args:
        teacher: Scores pairs.
        queries: The query of each row.
        passages: The passages, under their keys.
        all_pairs: Whether each query is scored with all passages of the batch, in place of what rows say; otherwise
            with those of its own that have no score, which is then remembered.
    """

    def __init__(self, teacher: Ranker, queries: Sequence[str], passages: Sequence[str], *, all_pairs: bool) -> None:
        self.teacher, self.queries, self.passages, self.all_pairs = teacher, queries, passages, all_pairs
        self.known: dict[tuple[str, int], float] = {}

    def __call__(self, rows: Sequence[int], keys: Sequence[int], labels: torch.Tensor) -> torch.Tensor:
        """Return the labels with scores.

        Args:
            rows: The numbers of the rows.
            keys: Those of the passages.
            labels: As in `losses`, of shape (queries, passages, 2).
        """
        labels = labels.clone()
        scores = labels[..., 1].numpy()
        queries = [self.queries[row] for row in rows]
        if self.all_pairs:
            wanted = np.ones(scores.shape, dtype=bool)
        else:
            wanted = np.isnan(scores) & np.isin(labels[..., 0].numpy(), (GOLD, OWN_NEGATIVE))
            for i, j in np.argwhere(wanted):
                scores[i, j] = self.known.get((queries[i], keys[j]), np.nan)
            wanted &= np.isnan(scores)
        if wanted.any():
            found = self.teacher.scores(queries, [self.passages[key] for key in keys], wanted)
            scores[wanted] = found[wanted]
            if not self.all_pairs:
                self.known |= {(queries[i], keys[j]): float(found[i, j]) for i, j in np.argwhere(wanted)}
        return labels


def ranked_again(found: Found, queries: Sequence[str], reranker: CrossEncoder, args: ModelArgs) -> Found:
    """Return what was found in the reranker's order, with its scores in place of the similarities."""
    texts = np.array(read_texts(found.passages, args), dtype=object)[found.places]
    scores = np.stack(reranker.listed(queries, texts.tolist()))
    order = np.argsort(-scores, axis=1, kind="stable")
    places, scores = (np.take_along_axis(values, order, axis=1) for values in (found.places, scores))
    return Found(found.passages, found.vectors, places, scores, found.truth)


def read_texts(passages: pd.DataFrame, args: ModelArgs) -> list[str]:
    """Return passages as one text each, behind their titles where these are read."""
    return [" ".join(filter(None, parts)) for parts in zip(*titles_and_texts(passages, args), strict=True)]
