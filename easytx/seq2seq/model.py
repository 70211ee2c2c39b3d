"""One text from another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd
from typing_extensions import override

from easytx.config.model_args import ModelArgs
from easytx.core import loading
from easytx.core.generative_model import GenerativeModel
from easytx.data.checks import texts_of
from easytx.data.frames import Columns
from easytx.seq2seq import data as rules
from easytx.seq2seq import networks, tokenizers
from easytx.seq2seq.args import Seq2SeqArgs
from easytx.seq2seq.names import asks_for_passages, named, rag_class
from easytx.training.generation import token_loss
from easytx.training.losses import LossFunction, build_loss

if TYPE_CHECKING:
    import torch
    from datasets import Dataset


class Seq2SeqModel(GenerativeModel):
    """Turn one text into another, with any encoder and decoder of transformers, or with two that you put together.

    Example:
        >>> model = Seq2SeqModel(encoder_decoder_type="bart", encoder_decoder_name="facebook/bart-base")
        >>> model.train_model(train_df)  # columns input_text and target_text
        >>> model.predict(["Where is the station?"])
        ['Wo ist der Bahnhof?']
    """

    args_class: ClassVar[type[ModelArgs]] = Seq2SeqArgs
    auto_class: ClassVar[str] = "AutoModelForSeq2SeqLM"
    columns: Columns = Columns(texts=(("input_text",),), labels=("target_text",))
    may_be_new: ClassVar[bool] = True

    def __new__(cls, *given: Any, **kwargs: Any) -> Any:
        """Return a new object: where it is to look up passages, of the class that does."""
        is_rag = cls is Seq2SeqModel and asks_for_passages(given, kwargs)
        return object.__new__(rag_class() if is_rag else cls)

    def __init__(
        self,
        encoder_type: str | None = None,
        encoder_name: str | Path | None = None,
        decoder_name: str | Path | None = None,
        encoder_decoder_type: str | None = None,
        encoder_decoder_name: str | Path | None = None,
        additional_special_tokens_encoder: Any = None,
        additional_special_tokens_decoder: Any = None,
        *,
        tokenizer: Any = None,
        **kwargs: Any,
    ) -> None:
        """Read arguments, configuration and tokenizers; see `CheckpointedModel`.

        Args:
            encoder_type: The architecture of `encoder_name`.
            encoder_name: The encoder to go with `decoder_name`; without one, both in one.
            decoder_name: The decoder.
            encoder_decoder_type: The architecture of `encoder_decoder_name`.
            encoder_decoder_name: Encoder and decoder in one: a local folder or a hub name.
            additional_special_tokens_encoder: Tokens of the inputs that are never split.
            additional_special_tokens_decoder: Tokens of the targets that are never split.
            tokenizer: A tokenizer object; with a type and no name, for a new model as `args.config` says.
            **kwargs: As for `CheckpointedModel`; for "rag-token" and "rag-sequence" see `RagSeq2SeqModel`.
        """
        apart, whole = (encoder_type, encoder_name, decoder_name), (encoder_decoder_type, encoder_decoder_name)
        found = named(self.class_name, apart, whole, kwargs, is_new=tokenizer is not None)
        self._decoder_source = found[2]
        self._given_tokenizer = tokenizers.copied(tokenizer)
        self._added = (additional_special_tokens_encoder, additional_special_tokens_decoder)
        super().__init__(*found[:2], **kwargs)

    @property
    @override
    def target_tokenizer(self) -> Any:
        return self._target_tokenizer

    @override
    def load_config(self, model_type: str | None) -> Any:
        if self._source is None:
            return networks.new_config(str(model_type), self._given_tokenizer, self.args.config)
        names, changes = (self._source, self._decoder_source), self.args.config
        config = networks.load_config(names, options=self._options, changes=changes)
        loading.check_type(model_type, networks.reader(config), self._name)
        return config

    @override
    def load_tokenizer(self) -> Any:
        tokenizer = self._given_tokenizer if self._given_tokenizer is not None else super().load_tokenizer()
        name = tokenizers.target_name(self._source, self._decoder_source)
        self._target_tokenizer = tokenizer if name is None else tokenizers.load(name, options=self._options)
        for its, added in zip((tokenizer, self._target_tokenizer), self._added, strict=True):
            tokenizers.add_tokens(its, added)
        tokenizers.set_languages(tokenizer, self.args)
        if networks.is_pair(self.config):
            networks.start_and_end(self.config, self._target_tokenizer)
        return tokenizer

    @override
    def tokenizer_source(self) -> str:
        return tokenizers.source_name(self.source())

    @override
    def load_network(self) -> Any:
        names, seed = (self._source, self._decoder_source), self.head_seed
        network = networks.load_network(self.auto_class, self.config, names, seed=seed, options=self._options)
        networks.fit_vocabulary(network, self.tokenizer, self.target_tokenizer)
        return network

    @override
    def write_network(self, folder: Path) -> None:
        super().write_network(folder)
        tokenizers.write_target((self.tokenizer, self.target_tokenizer), folder)

    # The hooks

    def inputs(self, frame: pd.DataFrame, name: str) -> list[str]:
        """Return the texts that the model reads."""
        return texts_of(frame, "input_text", name=name)

    @override
    def prepare(self, frame: pd.DataFrame, split: str, name: str) -> Dataset:
        texts = self.inputs(frame, name)
        targets = None if split == "predict" else texts_of(frame, self.target_column, name=name)
        return rules.features(self, texts, targets, split, name)

    @override
    def collator(self) -> Callable[[list[dict[str, Any]]], Mapping[str, torch.Tensor]]:
        from transformers import DataCollatorForSeq2Seq

        return DataCollatorForSeq2Seq(self.tokenizer, model=networks.shifting(self.model))

    @override
    def loss(self) -> LossFunction:
        return build_loss(kind="token", label_smoothing=self.args.label_smoothing_factor) or token_loss

    @override
    def generation_options(self, *, labelled: bool) -> dict[str, Any]:
        return super().generation_options(labelled=labelled) | tokenizers.language_start(self.target_tokenizer)
