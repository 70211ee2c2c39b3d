"""The course of a training: negatives that are searched anew, batches of like rows, a teacher, weights that fall."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from transformers import TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

from easytx.config.model_args import ModelArgs
from easytx.data.prepared import TaskData
from easytx.errors import ArgumentError
from easytx.retrieval import data as rules
from easytx.retrieval.clusters import ClusteredRows, agreed, clustered_order, clusters_of, mixed_share, write_clusters
from easytx.retrieval.index import centres
from easytx.retrieval.losses import RetrievalLoss, needs_teacher
from easytx.retrieval.negatives import BalancedNegatives, SearchedNegatives
from easytx.retrieval.passages import numbered, together
from easytx.retrieval.rankers import Teaching, read_texts
from easytx.retrieval.towers import CONTEXT, QUERY
from easytx.training.course import Course, HighLosses

if TYPE_CHECKING:
    from easytx.retrieval.searching import Searcher

_CLUSTERED = ("cluster_queries", "cluster_concatenated", "tas_clustering")


def check_course(args: ModelArgs, *, taught: bool) -> None:
    """Raise if arguments of a training contradict each other.

    Args:
        args: The arguments.
        taught: Whether there is a teacher.

    Raises:
        ArgumentError: Saying what to set.
    """
    if args["repeat_high_loss_n"] and args.gradient_accumulation_steps > 1:
        raise ArgumentError("repeat_high_loss_n repeats a step of one batch: set gradient_accumulation_steps=1.")
    if args["kmeans_k"] == 0:
        raise ArgumentError("kmeans_k must be a number of clusters, or -1 for as many as whole batches, but is 0.")
    if args["reranking_kl_div_loss"] and not taught:
        raise ArgumentError(
            "reranking_kl_div_loss learns from a teacher that scores all passages of a batch: name one when the model "
            "is made, with teacher_model_name."
        )
    if not taught:
        return
    if args.dataloader_num_workers:
        raise ArgumentError(
            "teacher_model_name scores batches where they are trained on: set dataloader_num_workers=0."
        )
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        raise ArgumentError(
            "teacher_model_name works in a training of one process. For several, score the passages beforehand, in the "
            "column teacher_scores."
        )
    if not (args["reranking_kl_div_loss"] or needs_teacher(args)):
        raise ArgumentError(
            "teacher_model_name is set, but no loss learns from a teacher. Include one, for example "
            "reranking_kl_div_loss=True."
        )


class RetrievalCourse(Course):
    """What a RetrievalModel changes as its training goes on."""

    def __init__(self, model: Searcher, data: TaskData, collator: rules.PairCollator, loss: RetrievalLoss) -> None:
        """Take what is trained, the rows, what makes batches of them, and the loss."""
        args, self.model, self.data, self.loss = model.args, model, data, loss
        gold = rules.gold_passages(data.frame, name=data.name)
        passages, used = numbered(gold, rules.hard_negatives(data.frame, args, name=data.name))
        self.passages, self.own = passages, np.array([first for first, *_ in used])
        self.balanced = BalancedNegatives(model.head_seed) if args["tas_clustering"] else None
        self.searched: SearchedNegatives | None = None
        if args["ance_training"]:
            # The passages of the rows keep their numbers, because they come first.
            known = model.prediction_passages
            self.passages = together([passages] if known is None else [passages, known])
            self.tokens = model.tokenised_passages(self.passages, split="predict", name="passages", warns=False)
            ids = self.tokens.data.column("input_ids").combine_chunks()
            self.searched = SearchedNegatives(ids, args["n_hard_negatives"], model.head_seed)
        collator.changes = [change for change in (self.balanced, self.searched) if change is not None]
        if model.teacher is not None:
            collator.teaching = Teaching(
                model.teacher,
                data.frame["query_text"].tolist(),
                read_texts(self.passages, args),
                all_pairs=args["reranking_kl_div_loss"],
            )
        if args["repeat_high_loss_n"]:
            self.repeats = HighLosses(args["repeat_high_loss_n"], args["moving_average_loss_count"])
        self.clusters: np.ndarray | None = None
        self.rows: ClusteredRows | None = None
        if data.options.get("clustered_training") or any(args[name] for name in _CLUSTERED):
            self.sampler = self.rows = ClusteredRows(len(data.frame))

    @override
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.model.model.output_dropout = self.model.args["output_dropout"]

    @override
    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.loss.at(state.global_step, state.max_steps)

    @override
    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        epoch = math.floor((state.epoch or 0.0) + 1e-6)
        if self.balanced is not None:
            self.balanced.epoch = epoch
        if self.searched is not None:
            self.searched.epoch = epoch
            if not len(self.searched.found) or epoch % self.model.args["ance_refresh_n_epochs"] == 0:
                self.searched.found = self._nearest(self.tokens)
        if self.rows is not None:
            self._order(self.rows, epoch, state, args)

    def _nearest(self, tokens: Any) -> np.ndarray:
        """Return the passages that the present weights find for each row, of shape (rows, found)."""
        model, args = self.model, self.model.args
        index = model.indexed(model.vectors(CONTEXT, tokens))
        # More, because the best may be the right ones.
        number = args["retrieve_n_docs"] + max(map(len, self.data.dataset["right_keys"]))
        vectors = self._vectors(QUERY, self.data.frame["query_text"].tolist())
        return index.search(vectors, number, batch=args["retrieval_batch_size"])[1]

    def _order(self, rows: ClusteredRows, epoch: int, state: TrainerState, settings: TrainingArguments) -> None:
        """Give the rows the order of an epoch."""
        args, seed = self.model.args, self.model.head_seed
        due = epoch % args["cluster_every_n_epochs"] == 0 and not args["tas_clustering"]
        if self.clusters is None or due:
            self.clusters = clusters_of(self._alike(), args, seed=seed)
        mixed = mixed_share(epoch, state.num_train_epochs) if args["curriculum_clustering"] else 0.0
        draw = np.random.default_rng([seed, epoch])
        size = args.train_batch_size
        rows.order = agreed(clustered_order(self.clusters, size, draw, mixed=mixed))
        if args["save_clustering_idx"] and settings.should_save and not args.no_save:
            write_clusters(Path(str(settings.output_dir)), epoch, self.clusters, rows.order, size)

    def _alike(self) -> np.ndarray:
        """Return the vectors by which rows are alike, of shape (rows, width)."""
        model, args = self.model, self.model.args
        gold = self.passages.iloc[self.own]
        queries = self.data.frame["query_text"].tolist()
        part, texts = CONTEXT, read_texts(gold, args)
        if args["cluster_concatenated"]:
            texts = [f"{query} {text}" for query, text in zip(queries, texts, strict=True)]
        elif args["cluster_queries"] or args["tas_clustering"]:
            part, texts = QUERY, queries
        if model.clustering_model is None:
            return centres(self._vectors(part, texts))
        once = pd.unique(np.array(texts, dtype=object))
        vectors: np.ndarray = model.clustering_model.encode_sentences(once.tolist(), "mean")
        found: np.ndarray = vectors[pd.Index(once).get_indexer(texts)]
        return found

    def _vectors(self, part: str, texts: list[str]) -> np.ndarray:
        """Return the vectors of texts, each of which is encoded once, of shape (texts, width)."""
        once = pd.unique(np.array(texts, dtype=object))
        tokens = self.model.tokenised(part, [once.tolist()], split="predict", name="texts", warns=False)
        vectors: np.ndarray = self.model.vectors(part, tokens)[pd.Index(once).get_indexer(texts)]
        return vectors
