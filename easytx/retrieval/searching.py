"""Vectors of queries and passages, and the search among them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from typing_extensions import override

from easytx.config.model_args import ModelArgs
from easytx.core.base_model import BaseModel
from easytx.core.running import run_network
from easytx.data.padding import RightPadding
from easytx.data.prepared import TaskData
from easytx.errors import ArgumentError, DataError
from easytx.retrieval import data as rules
from easytx.retrieval.collection import read_collection
from easytx.retrieval.index import PassageIndex, stacked, surprise
from easytx.retrieval.losses import scale_of
from easytx.retrieval.network import DualEncoder, DualEncoderConfig
from easytx.retrieval.passages import (
    as_passages,
    keys_of,
    numbered,
    numbers_of,
    read_passages,
    titles_and_texts,
    together,
    write_passages,
)
from easytx.retrieval.quartets import has_quartets, rows_of_quartets
from easytx.retrieval.rankers import CrossEncoder, Ranker, opened_clustering_model, opened_reranker, opened_teacher
from easytx.retrieval.relevance import cuts_of, places_of, relevant_docs, right_of_queries, texts_beside
from easytx.retrieval.results import Found, Truth
from easytx.retrieval.towers import CONTEXT, QUERY, Towers
from easytx.training.inference import Outputs


class Searcher(BaseModel):
    """A model of two encoders, with passages to search.

    Attributes:
        towers: The two encoders, by part.
        given_passages: The passages that the constructor was given.
        seen_passages: Those of the trainings so far, or those that the model was saved with.
        teacher: What scores passages while training; None for nothing.
        reranker: What `predict` orders by what it has found; None for nothing.
        clustering_model: Whose vectors say which rows are alike; None for the model's own.
    """

    auto_class: ClassVar[str] = "AutoModel"
    may_be_new: ClassVar[bool] = True

    def __init__(
        self,
        model_type: str | None = None,
        model_name: str | Path | None = None,
        context_encoder_name: str | Path | None = None,
        query_encoder_name: str | Path | None = None,
        context_encoder_tokenizer: str | None = None,
        query_encoder_tokenizer: str | None = None,
        reranking_model_name: Any = None,
        prediction_passages: Any = None,
        teacher_model_name: Any = None,
        teacher_tokenizer_name: Any = None,
        autoencoder_model: Any = None,
        clustering_model: Any = None,
        args: Mapping[str, Any] | ModelArgs | None = None,
        use_cuda: bool | None = None,
        cuda_device: int = -1,
        **kwargs: Any,
    ) -> None:
        """Read arguments, configurations and tokenizers of both encoders, and the passages to search.

        Args:
            model_type: The architecture, such as "bert" or "dpr"; "custom" or None reads it from the checkpoint.
            model_name: A folder that this class wrote, or one checkpoint to start both encoders from.
            context_encoder_name: The checkpoint of the passage encoder.
            query_encoder_name: The checkpoint of the query encoder.
            context_encoder_tokenizer: A tokenizer other than that encoder's own.
            query_encoder_tokenizer: The same for queries.
            reranking_model_name: A cross-encoder, by which `predict` orders what it has found: the folder of a
                ClassificationModel or T5Model, or a checkpoint for the classification of pairs. It is not saved: name
                it again when the model is opened.
            prediction_passages: What `predict` searches: texts, a frame with a column `passages`, or the path of one.
            teacher_model_name: What scores passages while training, where rows have no `teacher_scores`; see
                `args.teacher_type`. It is not saved either.
            teacher_tokenizer_name: A tokenizer other than the teacher's own.
            autoencoder_model: Refused: vectors are as long as the encoder makes them.
            clustering_model: An encoder, as for RepresentationModel, whose vectors say which rows are alike; by default
                those of the model are taken.
            args: Arguments as a dict or `RetrievalArgs`.
            use_cuda: As for `CheckpointedModel`.
            cuda_device: As for `CheckpointedModel`.
            **kwargs: As for `CheckpointedModel`.

        Raises:
            ArgumentError: For unknown arguments and methods that there are not.
            DataError: If something is wrong with the passages.
            MissingExtraError: If the teacher needs a package that is not installed.
        """
        if autoencoder_model is not None:
            raise ArgumentError(
                "RetrievalModel cannot use 'autoencoder_model': vectors are as long as the encoder makes them."
            )
        names = {QUERY: query_encoder_name, CONTEXT: context_encoder_name}
        tokenizers = {QUERY: query_encoder_tokenizer, CONTEXT: context_encoder_tokenizer}
        if model_name is None and not any(names.values()):
            model_type, model_name = None, model_type
        self.towers = Towers(self, model_name, names, tokenizers)
        super().__init__(model_type, model_name, args, use_cuda, cuda_device, **kwargs)
        self.given_passages: pd.DataFrame | None = None
        if prediction_passages is not None:
            self.given_passages = as_passages(prediction_passages, name="prediction_passages", args=self.args)
        self.seen_passages = None if self._source is None else read_passages(self._source)
        self._index: tuple[Any, PassageIndex] | None = None
        place: dict[str, Any] = {"use_cuda": use_cuda, "cuda_device": cuda_device}
        self.teacher: Ranker | None = None
        if teacher_model_name is not None:
            named = {"tokenizer_name": teacher_tokenizer_name, "device": self.device}
            self.teacher = opened_teacher(teacher_model_name, self.args, **named, **place)
        self.reranker: CrossEncoder | None = None
        if reranking_model_name is not None:
            self.reranker = opened_reranker(reranking_model_name, self.args, **place)
        self.clustering_model: Any = None
        if clustering_model is not None:
            self.clustering_model = opened_clustering_model(clustering_model, self.args, **place)

    @property
    def prediction_passages(self) -> pd.DataFrame | None:
        """The passages that `predict` searches: those given, or else those of the trainings."""
        return self.seen_passages if self.given_passages is None else self.given_passages

    @override
    def predict(
        self, to_predict: Any, prediction_passages: Any = None, retrieve_n_docs: int | None = None, **kwargs: Any
    ) -> Any:
        """Return what is found for each query; see `BaseModel.predict`.

        Args:
            to_predict: Queries.
            prediction_passages: What is searched in this call; by default what the constructor was given, or else the
                passages of the trainings.
            retrieve_n_docs: How many passages to find; instead of `args.retrieve_n_docs`.
            **kwargs: `passages_only=True` for the texts alone, `doc_ids_only=True` for ids and similarities.
        """
        searched = {"prediction_passages": prediction_passages, "retrieve_n_docs": retrieve_n_docs}
        return super().predict(to_predict, **searched, **kwargs)

    def encode_queries(self, queries: Any) -> np.ndarray:
        """Return the vectors of queries, of shape (queries, width); or of each an array, where it has several."""
        data = self.prepared(queries, name="queries", split="predict", renames={})
        return stacked(self.outputs(data, show=True).values)

    def encode_passages(self, passages: Any) -> np.ndarray:
        """Return the vectors of passages, each once, of shape (passages, width); or of each an array, as of queries."""
        return self._embedded(as_passages(passages, name="passages", args=self.args))

    @override
    def prepared(
        self,
        rows: Any,
        *,
        name: str,
        split: str,
        renames: Mapping[str, str],
        options: Mapping[str, Any] | None = None,
    ) -> TaskData:
        kind = self.args["data_format"]
        if isinstance(rows, (str, Path)) and split != "predict" and kind != "st":
            read = read_collection(rows, kind, split, name=name)
            rows = read.pairs() if split == "train" else read.best_pairs()
            options = {**({} if split == "train" else read.searched()), **(options or {})}
        if split == "train" and has_quartets(self.args):
            rows = rows_of_quartets(rows, self.args, name=name)
        data = super().prepared(rows, name=name, split=split, renames=renames, options=options)
        if split == "eval":
            # What is wrong with them is said before anything is computed.
            cuts_of(data.options)
            relevant_docs(data.options.get("relevant_docs"), len(data.frame))
        return data

    @override
    def outputs(self, data: TaskData, *, show: bool) -> Outputs:
        return self._run(QUERY, data.dataset, show=show and not self.args.silent)

    @override
    def load_config(self, model_type: str | None) -> DualEncoderConfig:
        return self.towers.load_config(model_type)

    @property
    @override
    def text_config(self) -> Any:
        return self.towers[QUERY].config

    @override
    def load_tokenizer(self) -> Any:
        self.towers.load_tokenizers()
        return self.towers[QUERY].tokenizer

    @override
    def load_network(self) -> DualEncoder:
        return self.towers.load_network()

    @override
    def weights_in(self, folder: Path) -> Mapping[str, torch.Tensor]:
        return self.towers.weights_in(folder)

    @override
    def frozen_names(self) -> Sequence[str]:
        return self.towers.frozen_names()

    def tokenised(self, part: str, texts: list[list[str]], *, split: str, name: str, warns: bool = True) -> Dataset:
        """Return tokenised texts as the encoder of a part takes them; see `Towers.tokenised`."""
        return self.towers.tokenised(part, texts, split=split, name=name, warns=warns)

    @override
    def write_network(self, folder: Path) -> None:
        self.towers.write_network(folder)
        if self.args["save_passage_dataset"] and self.prediction_passages is not None:
            write_passages(self.prediction_passages, folder)

    def learn_passages(
        self, gold: pd.DataFrame, negatives: Sequence[list[str]]
    ) -> tuple[pd.DataFrame, list[list[int]]]:
        """Return the passages of training rows, each once, and which of them each row uses.

        From now on they are searched, unless others were given.

        Args:
            gold: The passage of each row.
            negatives: The hard negatives of each row.
        """
        passages, used = numbered(gold, negatives)
        # Weights are about to change, and with them all vectors.
        self._index = None
        self.seen_passages = together([passages] if self.seen_passages is None else [self.seen_passages, passages])
        return passages, used

    def tokenised_passages(self, passages: pd.DataFrame, *, split: str, name: str, warns: bool = True) -> Dataset:
        """Return passages as the encoder takes them; `warns` says whether a word is lost on cut ones."""
        return self.tokenised(CONTEXT, titles_and_texts(passages, self.args), split=split, name=name, warns=warns)

    def found_for(self, queries: np.ndarray, options: Mapping[str, Any]) -> Found:
        """Return what is found for queries of a call with these options.

        Raises:
            DataError: If there is nothing to search.
        """
        wanted = options.get("prediction_passages")
        passages = self.prediction_passages
        if wanted is not None:
            passages = as_passages(wanted, name="prediction_passages", args=self.args)
        if passages is None:
            raise DataError(
                "There are no passages to search. Give prediction_passages to predict or to the constructor, or train "
                "the model."
            )
        index = self._index_of(passages)
        number = options.get("retrieve_n_docs") or self.args["retrieve_n_docs"]
        scores, places = index.search(queries, number, batch=self.args["retrieval_batch_size"])
        return Found(passages, index.vectors, places, scores)

    def found_for_labelled(self, queries: np.ndarray, data: TaskData) -> Found:
        """Return what is found for queries among the passages of all of them, and how well."""
        args, frame, options = self.args, data.frame, data.options
        gold = rules.gold_passages(frame, name=data.name)
        judged = relevant_docs(options.get("relevant_docs"), len(frame))
        passages = self._searched_for(frame, gold, judged, options, name=data.name)
        # What is cut of them was said when the rows were read.
        index = self.indexed(self._embedded(passages, warns=False))
        cuts = cuts_of(options)
        number = max(*cuts, options.get("retrieve_n_docs") or args["retrieve_n_docs"])
        scores, places = index.search(queries, number, batch=args["retrieval_batch_size"])
        place = numbers_of(passages)
        own = np.array([place[key] for key in keys_of(gold)])
        shared = right_of_queries(frame["query_text"].tolist(), keys_of(gold))
        right = places_of([{**theirs, **more} for theirs, more in zip(shared, judged, strict=True)], place)
        how: Any = {"device": self.device, "strategy": index.strategy}
        lost = [surprise(queries, index.vectors, which, scale_of(args), **how) for which in (own, places[:, 0])]
        truth = Truth(right, lost[0], np.exp(-lost[1]), level=args["relevance_level"], cuts=cuts)
        return Found(passages, index.vectors, places, scores, truth)

    def _searched_for(
        self,
        frame: pd.DataFrame,
        gold: pd.DataFrame,
        judged: Sequence[Mapping[Any, float]],
        options: Mapping[str, Any],
        *,
        name: str,
    ) -> pd.DataFrame:
        """Return the passages that labelled rows are searched among, each once: other ones first, which have ids."""
        args, parts = self.args, [gold]
        if options.get("additional_passages") is not None:
            parts.insert(0, as_passages(options["additional_passages"], name="additional_passages", args=args))
        if args["hard_negatives_in_eval"]:
            known = rules.hard_negatives(frame, args.merged({"hard_negatives": True}), name=name)
            parts.append(pd.DataFrame({"passages": [text for texts in known for text in texts]}, dtype=object))
        passages = together([part for part in parts if len(part)])
        more = texts_beside(judged, passages)
        return together([passages, more]) if len(more) else passages

    def _index_of(self, passages: pd.DataFrame) -> PassageIndex:
        """Return an index of passages, kept until others are searched or the model is trained."""
        args = self.args
        key = (_digest(passages), id(self.model), args["faiss_index_type"], args.max_seq_length, args["include_title"])
        if self._index is None or self._index[0] != key:
            self._index = (key, self.indexed(self._embedded(passages)))
        return self._index[1]

    def indexed(self, vectors: np.ndarray) -> PassageIndex:
        """Return an index of vectors, as the arguments want it."""
        kind = self.args["faiss_index_type"]
        return PassageIndex(vectors, kind=kind, device=self.device, strategy=self.config.strategy)

    def _embedded(self, passages: pd.DataFrame, *, warns: bool = True) -> np.ndarray:
        dataset = self.tokenised_passages(passages, split="predict", name="passages", warns=warns)
        return self.vectors(CONTEXT, dataset)

    def vectors(self, part: str, dataset: Dataset) -> np.ndarray:
        """Return the vectors of tokenised texts of a part, of shape (texts, width); or of each several."""
        return stacked(self._run(part, dataset, show=not self.args.silent).values)

    def _run(self, part: str, dataset: Dataset, *, show: bool) -> Outputs:
        network, args = self.model, self.args
        return run_network(
            self,
            network.reader(part),
            dataset,
            collator=RightPadding(self.towers[part].tokenizer.pad_token_id),
            reduce=functools.partial(network.kept, part),
            show=show,
            rows=args["embed_batch_size"] if args.is_set("embed_batch_size") else None,
        )


def _digest(passages: pd.DataFrame) -> str:
    return hashlib.sha256(repr(keys_of(passages)).encode("utf-8", "surrogatepass")).hexdigest()
