"""Texts that are written with passages at hand: RAG, of an encoder of DPR and any generator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from typing_extensions import override

from easytx.core import loading, saving
from easytx.core.running import run_network, write_texts
from easytx.data.checks import warn_about_truncation
from easytx.data.padding import RightPadding
from easytx.data.tokenise import encode, lengths_of, truncated_rows, with_column
from easytx.errors import ArgumentError
from easytx.seq2seq import knowledge as passages
from easytx.seq2seq import networks, rag_networks, rag_parts, tokenizers
from easytx.seq2seq.args import Seq2SeqArgs
from easytx.seq2seq.lookup import CONTEXTS, ContextPadding, Found, Lookup
from easytx.seq2seq.model import Seq2SeqModel
from easytx.seq2seq.results import RagAnswers, RagOutputs, RagPrediction

if TYPE_CHECKING:
    from datasets import Dataset

    from easytx.data.prepared import TaskData
    from easytx.training.inference import Outputs


class RagSeq2SeqModel(Seq2SeqModel):
    """A `Seq2SeqModel` of the type "rag-token" or "rag-sequence": it looks up passages, and writes with them.

    `Seq2SeqModel(...)` makes it where a type, or the folder to open, says so.

    Attributes:
        kind: "rag-token", where each token may come from another passage, or "rag-sequence".
    """

    def __init__(
        self,
        *given: Any,
        index_name: str | None = None,
        knowledge_dataset: Any = None,
        index_path: str | Path | None = None,
        dpr_ctx_encoder_model_name: str | Path | None = None,
        rag_question_encoder_model_name: str | Path | None = None,
        **kwargs: Any,
    ) -> None:
        """Read arguments, configuration, tokenizers and passages; see `Seq2SeqModel`.

        Passages get their vectors when the weights are loaded.

        Args:
            *given: As for `Seq2SeqModel`; `encoder_decoder_name` is such a model, or a generator.
            index_name: None or "custom".
            knowledge_dataset: Passages: a frame with the columns `title` and `text`, or a file, list or
                `datasets.Dataset` of such rows; or a folder of a data set that has `embeddings` besides. None for
                those that the model was saved with.
            index_path: A file of faiss, the index of such a data set; None for the one in its folder, or a new one.
            dpr_ctx_encoder_model_name: What encodes passages: a DPRContextEncoder.
            rag_question_encoder_model_name: What encodes questions: a DPRQuestionEncoder; None for the model's own.
            **kwargs: As for `Seq2SeqModel`.

        Raises:
            ArgumentError: If there are no passages, or nothing to encode them with.
            DataError: If something is wrong with the passages.
            MissingExtraError: If faiss is not installed.
        """
        names = (dpr_ctx_encoder_model_name, rag_question_encoder_model_name)
        encoders = (None if name is None else str(name) for name in names)
        self._given = rag_parts.Given(index_name, knowledge_dataset, index_path, *encoders)
        self._given.check()
        super().__init__(*given, **kwargs)
        self._lookup: Lookup | None = None
        passages.check_options(self.args, self.config.retrieval_vector_size)
        self._take_passages()

    @property
    def class_name(self) -> str:
        """What users, messages and saved folders call the class."""
        return Seq2SeqModel.__name__

    @property
    def lookup(self) -> Lookup:
        """What finds passages; they get their vectors when it is first asked for."""
        if self._lookup is None:
            both = (self.tokenizer, self.target_tokenizer)
            self._lookup = Lookup(self._knowledge(), self.config, both)
        return self._lookup

    # From a folder, and to one

    @override
    def load_config(self, model_type: str | None) -> Any:
        if self._decoder_source is not None or self._given_tokenizer is not None:
            what = "tokenizer" if self._decoder_source is None else "decoder_name"
            raise ArgumentError(
                f"{self.class_name} does not take {what} for a model that looks up passages. Name the generator as "
                "encoder_decoder_name, and what encodes questions as rag_question_encoder_model_name."
            )
        encoder = self._given.question_encoder
        config, self._is_whole = rag_parts.load_config(
            self.source(), encoder, options=self._options, changes=self.args.config
        )
        self.kind = rag_parts.kind_of(model_type, config, self._name)
        return config

    @override
    def load_tokenizer(self) -> Any:
        folders = rag_parts.TOKENIZERS if self._is_whole else (None, None)
        encoder = self._given.question_encoder
        places = [(self.source(), folders[0]) if encoder is None else (loading.resolve_name(encoder), None)]
        places.append((self.source(), folders[1]))
        both: list[Any] = []
        for (name, folder), added in zip(places, self._added, strict=True):
            config = networks.writer(self.config) if both else networks.reader(self.config)
            self.tokenizer_options = {"config": config, **({} if folder is None else {"subfolder": folder})}
            both.append(self.tokenizer_from(name, config))
            tokenizers.add_tokens(both[-1], added)
        self._target_tokenizer = both[1]
        tokenizers.set_languages(both[1], self.args)
        return both[0]

    @override
    def load_network(self) -> Any:
        # What is wrong with passages and their index is said before the weights are loaded.
        lookup, encoder, options, seed = self.lookup, self._given.question_encoder, self._options, self.head_seed
        name = None if encoder is None else loading.resolve_name(encoder)
        if self._is_whole:
            kind = rag_networks.NETWORKS[self.kind]
            network = loading.load_weights(kind, self.source(), self.config, seed=seed, options=options)
            if name is not None:
                network.rag.question_encoder = rag_networks.question_encoder(
                    self.config, name, seed=seed, options=options
                )
        else:
            names = (str(name), self.source())
            network = rag_networks.put_together(self.kind, self.config, names, seed=seed, options=options)
        networks.fit_vocabulary(network, self.tokenizer, self.target_tokenizer)
        network.config.question_encoder, network.config.generator = (
            part.config for part in (network.rag.question_encoder, network.rag.generator)
        )
        network.generation_config = rag_parts.generation_config(
            network, self.source() if self._is_whole else None, options
        )
        network.lookup = lookup
        return network

    @override
    def write_network(self, folder: Path) -> None:
        with loading.quiet():
            self.model.save_pretrained(folder)
            self.model.generation_config.save_pretrained(folder)
        for tokenizer, name in zip((self.tokenizer, self.target_tokenizer), rag_parts.TOKENIZERS, strict=True):
            saving.write_tokenizer(tokenizer, folder / name)
        args, is_checkpoint = self.args, folder.name.startswith("checkpoint-")
        if args["save_knowledge_dataset_with_checkpoints"] if is_checkpoint else args["save_knowledge_dataset"]:
            self.lookup.knowledge.write(folder / passages.FOLDER)

    # Passages

    def _take_passages(self) -> None:
        """Read the passages, and what encodes them where they have no vectors."""
        data = self._given.knowledge_dataset
        if data is None:
            data = Path(self.source()) / passages.FOLDER
            if not data.is_dir():
                raise ArgumentError(
                    f"'{self._name}' comes without passages. Give knowledge_dataset: rows with the columns title and "
                    "text."
                )
        self._embedded = passages.read_embedded(data)
        folder = None if self._embedded is None else self._embedded[1]
        self._index_file = passages.index_file(folder, self._given.index_path)
        self._rows: pd.DataFrame | None = None
        if self._embedded is not None:
            return
        self._rows = passages.split(passages.read_rows(data, self.args), self.args)
        name = self._given.context_encoder
        if name is None:
            raise ArgumentError(
                "Passages need vectors. Give dpr_ctx_encoder_model_name, the encoder of passages that goes with the "
                "one of questions."
            )
        config = rag_parts.dpr_config(name, "DPRContextEncoder", self._options)
        if rag_parts.width(config) != self.config.retrieval_vector_size:
            raise ArgumentError(
                f"The vectors of '{name}' have {rag_parts.width(config)} numbers, and those of questions "
                f"{self.config.retrieval_vector_size}. Take encoders that were trained together."
            )
        self._context_encoder = (name, config)

    def _knowledge(self) -> passages.Knowledge:
        dataset, folder = (self._embed(), None) if self._embedded is None else self._embedded
        index = passages.made_index(dataset, self.args) if self._index_file is None else None
        index = passages.read_index(self._index_file) if self._index_file is not None else index
        return passages.Knowledge(dataset, index, folder=folder, width=self.config.retrieval_vector_size)

    def _embed(self) -> Dataset:
        """Return the passages with their vectors, which the encoder of passages makes of titles and texts."""
        rows: Any = self._rows
        name, config = self._context_encoder
        tokenizer = loading.with_padding(loading.load_tokenizer(loading.resolve_name(name), options=self._options))
        most = loading.max_tokens(config, tokenizer) or self.args.max_seq_length
        dataset = encode(tokenizer, rows["title"].tolist(), rows["text"].tolist(), max_length=most)
        remedy = "Set a lower split_text_n."
        warn_about_truncation(
            truncated_rows(dataset), len(rows), most, name=passages.FOLDER, remedy=remedy, what="a passage's"
        )
        network = rag_parts.load_context_encoder(name, config, self._options).to(self.device)
        number = self.args["rag_embed_batch_size"]
        return passages.embedded(
            rows,
            self._vectors(
                network, dataset, tokenizer, None if number == Seq2SeqArgs().rag_embed_batch_size else number * most
            ),
        )

    def _vectors(self, network: Any, dataset: Dataset, tokenizer: Any, budget: int | None = None) -> np.ndarray:
        """Return the vectors that an encoder of DPR gives to texts, of shape (texts, width)."""
        outputs = run_network(
            self,
            network,
            # Both encoders were trained without types of tokens.
            dataset.select_columns(["input_ids", "attention_mask", "length"]),
            collator=RightPadding(tokenizer.pad_token_id),
            reduce=lambda found, _: found.pooler_output,
            show=not self.args.silent,
            budget=budget,
        )
        return np.stack(outputs.values)

    # The hooks

    @override
    def prepare(self, frame: pd.DataFrame, split: str, name: str) -> Dataset:
        dataset = super().prepare(frame, split, name)
        # What the generator reads and writes for a row: a context, and the text, for each passage.
        each = lengths_of(dataset) + self.config.max_combined_length
        return with_column(dataset.remove_columns("length"), "length", each * self.config.n_docs)

    @override
    def outputs(self, data: TaskData, *, show: bool) -> RagOutputs:
        found = None
        if data.options.get("writes", not data.labelled):
            found = self._found(data)
            data = replace(data, options={**data.options, "found": found})
        written = super().outputs(data, show=show)
        return RagOutputs(written.values, written.loss, written.tokens, found)

    @override
    def prompts(self, data: TaskData) -> Dataset:
        found: Found = data.options["found"]
        return found.dataset()

    @override
    def written(self, data: TaskData, *, show: bool, **extras: Any) -> list[list[np.ndarray]]:
        options = self.generation_options(labelled=data.labelled)
        collator = ContextPadding(self.lookup.pad_id)
        return write_texts(
            self, self.prompts(data), options, show=show, collator=collator, prompt_columns=CONTEXTS, **extras
        )

    @override
    def decode(self, outputs: Outputs, data: TaskData) -> RagAnswers:
        answers = super().decode(outputs, data)
        return RagAnswers(answers.texts, answers.tokens, answers.losses, getattr(outputs, "found", None))

    @override
    def prediction(self, answers: Any, data: TaskData) -> Any:
        return RagPrediction(super().prediction(answers, data), answers.found)

    def _found(self, data: TaskData) -> Found:
        network = self.model
        ids = data.dataset.data.column("input_ids").to_pylist()
        rows = with_column(data.dataset.remove_columns("length"), "length", np.array([*map(len, ids)]))
        return self.lookup.found(self._vectors(network.question_encoder, rows, self.tokenizer), ids)
