"""A checkpoint of two encoders: where each comes from, and how both are read and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset

from easytx.core import loading, saving
from easytx.data.cache import fingerprint
from easytx.data.checks import warn_about_truncation
from easytx.data.tokenise import encode, truncated_rows
from easytx.errors import ArgumentError
from easytx.retrieval.args import check_refused
from easytx.retrieval.dpr import bert_config, bert_of_dpr
from easytx.retrieval.encoders import check_encoder, usual_pooling, without_decoder
from easytx.retrieval.extra_tokens import NOTHING, ExtraTokens, WideVectors, extra_tokens
from easytx.retrieval.late import SeveralVectors, heads_of, kind_of_vectors
from easytx.retrieval.network import DualEncoder, DualEncoderConfig
from easytx.retrieval.sentence_folder import stated_pooling, write_sentence_files

if TYPE_CHECKING:
    from easytx.core.base_model import BaseModel

# The parts of the network, and the folders that they are saved in.
QUERY, CONTEXT = "query_encoder", "context_encoder"


@dataclass
class Tower:
    """One of the two encoders, before its weights are loaded.

    Attributes:
        source: Where it comes from, a folder or a hub name.
        config: Its configuration.
        dpr_class: The class that wrote it, of a checkpoint of DPR.
        tokenizer: Its tokenizer.
        tokenizer_name: Where that comes from, if from elsewhere.
        extra: The tokens that its texts get besides.
    """

    source: str
    config: Any
    dpr_class: str | None
    tokenizer_name: str | None
    tokenizer: Any = None
    extra: ExtraTokens = NOTHING


class Towers(dict[str, Tower]):
    """The two encoders of a model, by part: where each comes from, and how both are read and written."""

    def __init__(
        self,
        model: BaseModel,
        model_name: str | Path | None,
        names: Mapping[str, str | Path | None],
        tokenizers: Mapping[str, str | None],
    ) -> None:
        """Take the names of both encoders and their tokenizers.

        Args:
            model: Whose encoders they are.
            model_name: A folder that its class wrote, or one encoder to start both from.
            names: Names of encoders, by part; None for the model's.
            tokenizers: Names of tokenizers, by part; None for the encoder's own.
        """
        super().__init__()
        self.model = model
        self._sources = _sources(model_name, names)
        self._tokenizers = dict(tokenizers)

    def load_config(self, model_type: str | None) -> DualEncoderConfig:
        """Read the configurations, and return what the network needs besides."""
        args = self.model.args
        check_refused(args)
        changes = {QUERY: args["query_config"], CONTEXT: args["context_config"]}
        for part, source in self._sources.items():
            self[part] = self._tower(part, source, {**args.config, **changes[part]})
        if model_type != "custom":
            tower = self[QUERY]
            loading.check_type(
                None if model_type == "dpr" and tower.dpr_class else model_type, tower.config, tower.source
            )
        if args["tie_encoders"] and self._sources[QUERY] != self._sources[CONTEXT] and not self._is_own():
            raise ArgumentError(
                f"tie_encoders makes one encoder of both, but they come from '{self._sources[QUERY]}' and "
                f"'{self._sources[CONTEXT]}'. Name one of them only."
            )
        kind = kind_of_vectors(args)
        return DualEncoderConfig(
            pooling=self._pooling(),
            similarity=args["similarity_function"],
            tied=args["tie_encoders"],
            vectors=kind,
            heads=heads_of(self[QUERY].config, self._sources[QUERY]) if kind == "head" else 1,
            query_vectors=args["query_vector_count"],
            first_tokens=1 + args["extra_cls_token_count"],
            strategy=args["multi_head_vector_strategy"] if kind == "head" else "maxsim",
        )

    def load_tokenizers(self) -> None:
        """Read the tokenizers."""
        for part, tower in self.items():
            name = tower.tokenizer_name or self.model.args.tokenizer_name
            tower.tokenizer = self.model.tokenizer_from(
                loading.resolve_name(name) if name else tower.source, tower.config
            )
            tower.extra = extra_tokens(tower.tokenizer, self.model.args, of_query=part == QUERY)

    def load_network(self) -> DualEncoder:
        """Return the network with its weights."""
        for kind in ("bos_token_id", "eos_token_id", "pad_token_id"):
            # The Trainer would set them, and say so.
            setattr(self.model.config, kind, getattr(self.model.tokenizer, kind))
        sources = {part: tower.source for part, tower in self.items()}
        return self._network(sources, {part: tower.dpr_class for part, tower in self.items()})

    def write_network(self, folder: Path) -> None:
        """Write the network, each encoder with its tokenizer into a folder of its own."""
        self.model.config.architectures = [type(self.model.model).__name__]
        self.model.config.save_pretrained(folder)
        for part, tower in self.items():
            encoder = getattr(self.model.model, part)
            place = folder / part
            with loading.quiet():
                encoder.save_pretrained(place)
            saving.write_tokenizer(tower.tokenizer, place)
            write_sentence_files(
                place,
                pooling=self.model.config.pooling,
                width=encoder.config.hidden_size,
                max_length=self.model.args.max_seq_length,
                cosine=self.model.config.similarity == "cosine",
                whole=self.model.config.vectors == "one",
            )

    def weights_in(self, folder: Path) -> Mapping[str, torch.Tensor]:
        """Return the weights that were written into a folder."""
        read = self._network({part: str(Path(folder) / part) for part in self}, {}).state_dict()
        # A pooler that nothing needs is there or not, as the checkpoint had it.
        return {name: read[name] for name in self.model.model.state_dict()}

    def frozen_names(self) -> Sequence[str]:
        """Return the beginnings of the names of parameters that are not trained."""
        trained = {QUERY: self.model.args["train_query_encoder"], CONTEXT: self.model.args["train_context_encoder"]}
        if not any(trained.values()):
            raise ArgumentError(
                "train_query_encoder and train_context_encoder are both False: nothing would be trained."
            )
        if self.model.config.tied and not all(trained.values()):
            raise ArgumentError("tie_encoders makes one encoder of both, so that both are trained or none.")
        # Vectors are made of tokens. What has no gradients keeps several processes waiting.
        poolers = [f"{part}.pooler" for part in trained if getattr(getattr(self.model.model, part), "pooler", None)]
        return [*self.model.args.freeze, *poolers, *(part for part, is_trained in trained.items() if not is_trained)]

    def tokenised(self, part: str, texts: list[list[str]], *, split: str, name: str, warns: bool = True) -> Dataset:
        """Return tokenised texts as the encoder of a part takes them, and warn about cut ones.

        Args:
            part: Whose texts.
            texts: One list of texts, or two for titles and texts.
            split: "train", "eval" or "predict".
            name: What to call them in messages.
            warns: False cuts long texts without a word.
        """
        tower, length = self[part], self.model.args.max_seq_length
        loading.check_max_length(length, tower.config, tower.tokenizer, tower.source)
        room = tower.extra.room(length)
        dataset = self.model.cached(
            lambda: tower.extra.put_into(encode(tower.tokenizer, *texts, max_length=room)),
            split,
            fingerprint(tower.tokenizer),
            repr(tower.extra),
            *texts,
        )
        remedy = "Set a higher max_seq_length, or cut long texts into several."
        cut = truncated_rows(dataset) if warns else 0
        warn_about_truncation(cut, len(texts[0]), length, name=name, remedy=remedy)
        # Of a title and a text, too, both are told by their order alone, as DPR was trained.
        return dataset.select_columns(["input_ids", "attention_mask", "row", "length"])

    def _tower(self, part: str, source: str, changes: Mapping[str, Any]) -> Tower:
        config = loading.load_config(source, options=self.model._options, changes=changes)
        dpr_class = None
        if config.model_type == "dpr":
            dpr_class = (config.architectures or ["DPRContextEncoder" if part == CONTEXT else "DPRQuestionEncoder"])[0]
            config = bert_config(config, source)
        check_encoder(config, source)
        return Tower(source, config, dpr_class, self._tokenizers.get(part))

    def _pooling(self) -> str:
        args = self.model.args
        if args["larger_representations"]:
            return "cls"
        if args["mean_pooling"]:
            return "mean"
        if args["pooling"] != "auto":
            return str(args["pooling"])
        tower = self[QUERY]
        stated = None if tower.dpr_class else stated_pooling(tower.source, self.model._options)
        return stated or usual_pooling(tower.config)

    def _is_own(self) -> bool:
        """Tell whether both encoders come from one folder that this class wrote."""
        return all(Path(source).name == part for part, source in self._sources.items())

    def _network(self, sources: Mapping[str, str], dpr: Mapping[str, str | None]) -> DualEncoder:
        parts = [QUERY] if self.model.config.tied else [QUERY, CONTEXT]
        loaded = {part: self._encoder(part, sources[part], dpr.get(part)) for part in parts}
        kind = {"one": DualEncoder, "long": WideVectors}.get(self.model.config.vectors, SeveralVectors)
        return kind(self.model.config, loaded[QUERY], loaded.get(CONTEXT))

    def _encoder(self, part: str, source: str, dpr_class: str | None) -> Any:
        tower = self[part]
        if dpr_class is not None:
            encoder = bert_of_dpr(dpr_class, source, tower.config, options=self.model._options)
        else:
            encoder = loading.load_weights(
                self.model.auto_class, source, tower.config, seed=self.model.head_seed, options=self.model._options
            )
        if len(tower.tokenizer) > encoder.get_input_embeddings().num_embeddings:
            with torch.random.fork_rng():
                torch.manual_seed(self.model.head_seed)
                encoder.resize_token_embeddings(len(tower.tokenizer), mean_resizing=False)
        return without_decoder(encoder)


def _sources(model_name: str | Path | None, names: Mapping[str, str | Path | None]) -> dict[str, str]:
    """Return where each part comes from: its own name, its folder in the model's, the model, or the other part."""
    if model_name is None and not any(names.values()):
        raise ArgumentError(
            'RetrievalModel needs a model name, such as "starter" or a folder; or context_encoder_name and '
            "query_encoder_name."
        )
    found = {}
    for part, other in ((QUERY, CONTEXT), (CONTEXT, QUERY)):
        own = None if model_name is None else Path(model_name) / part
        inside = own if own is not None and (own / "config.json").is_file() else None
        found[part] = loading.resolve_name(str(names[part] or inside or model_name or names[other]))
    return found
