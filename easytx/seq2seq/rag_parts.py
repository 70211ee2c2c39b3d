"""What a model that looks up passages is made of: its configuration, tokenizers, and the encoder of passages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from easytx.core import loading
from easytx.data.checks import with_article
from easytx.errors import ArgumentError, CheckpointError
from easytx.seq2seq.names import RAG_TYPES

# Where transformers keeps the tokenizers of questions and of the generator.
TOKENIZERS = ("question_encoder_tokenizer", "generator_tokenizer")

_CLASSES = {"RagTokenForGeneration": "rag-token", "RagSequenceForGeneration": "rag-sequence"}
_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "vocab_size")
_HUB = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "token")


@dataclass(frozen=True)
class Given:
    """What the constructor was told of passages, and of what encodes them and questions."""

    index_name: str | None = None
    knowledge_dataset: Any = None
    index_path: str | Path | None = None
    context_encoder: str | None = None
    question_encoder: str | None = None

    def check(self) -> None:
        """Raise if passages are asked for that cannot be had.

        Raises:
            ArgumentError: Saying what stands in the way.
        """
        if self.index_name not in (None, "custom"):
            raise ArgumentError(
                f"index_name is '{self.index_name}', but only passages of your own are searched: those of Wikipedia "
                "(wiki_dpr) are made by a script, or kept in pickles, and neither is run. Give knowledge_dataset."
            )
        if self.index_path is not None and self.knowledge_dataset is None:
            raise ArgumentError("index_path was given without knowledge_dataset, the passages it is an index of.")


def load_config(
    source: str, question_encoder: str | None, *, options: Mapping[str, Any], changes: Mapping[str, Any]
) -> tuple[Any, bool]:
    """Return the configuration of a model that looks up passages, and whether its weights are in one checkpoint.

    Args:
        source: Such a model, or a generator; a folder or hub name.
        question_encoder: The encoder of questions of a generator, or another one than the model has.
        options: For `from_pretrained`.
        changes: Fields to set, such as `n_docs`.

    Raises:
        ArgumentError: If a generator comes without an encoder of questions, or a field is wrong.
        CheckpointError: If one of the two is of a kind that cannot serve.
    """
    from transformers import RagConfig

    config = loading.load_config(source, options=options, changes={})
    is_whole = config.model_type == RagConfig.model_type
    question = None if question_encoder is None else dpr_config(question_encoder, "DPRQuestionEncoder", options)
    if not is_whole:
        if question is None:
            raise ArgumentError(
                f"'{source}' is {with_article(config.model_type)} model, which writes but looks up nothing. Give its "
                "encoder of questions, of DPR, as rag_question_encoder_model_name."
            )
        if not config.is_encoder_decoder:
            raise CheckpointError(
                f"'{source}' is {with_article(config.model_type)} model, which is an encoder or a decoder alone. "
                "What writes with passages is both, such as BART or T5."
            )
        config = RagConfig.from_question_encoder_generator_configs(question, config)
    elif question is not None:
        config.question_encoder = question
    for name in _IDS:
        if getattr(config, name, None) is None:
            setattr(config, name, getattr(config.generator, name, None))
    config.retrieval_vector_size = width(config.question_encoder)
    loading.changed(config, {"index_name": "custom", **changes})
    _check_numbers(config, source)
    return config, is_whole


def _check_numbers(config: Any, name: str) -> None:
    limit = loading.positions(config.generator)
    for field, most in {"n_docs": None, "max_combined_length": limit}.items():
        value = getattr(config, field)
        if not isinstance(value, int) or value < 1 or (most is not None and value > most):
            bound = "" if most is None else f" and at most {most}, which is what '{name}' reads"
            raise ArgumentError(f"args.config sets {field} to {value!r}, but it must be at least 1{bound}.")


def width(config: Any) -> int:
    """Return how many numbers a vector of an encoder of DPR has."""
    return int(config.projection_dim or config.hidden_size)


def kind_of(model_type: str | None, config: Any, name: str) -> str:
    """Return "rag-token" or "rag-sequence": what the caller asked for, or else what the checkpoint was.

    Raises:
        ArgumentError: If neither says so.
    """
    if model_type in RAG_TYPES:
        return str(model_type)
    loading.check_type(model_type, config, name)
    known = [_CLASSES[each] for each in config.architectures or () if each in _CLASSES]
    if not known:
        raise ArgumentError(
            f"'{name}' does not say how it makes use of passages. Set encoder_decoder_type to "
            f"{' or '.join(map(repr, RAG_TYPES))}."
        )
    return known[0]


def dpr_config(name: str, wanted: str, options: Mapping[str, Any]) -> Any:
    """Return the configuration of an encoder of DPR.

    Raises:
        CheckpointError: If the checkpoint is of another class than `wanted`.
    """
    config = loading.load_config(loading.resolve_name(name), options=options, changes={})
    found = config.architectures or [wanted]
    if config.model_type != "dpr" or wanted not in found:
        what = found[0] if config.model_type == "dpr" else f"{with_article(config.model_type)} model"
        raise CheckpointError(f"'{name}' is {what}, where a {wanted} of DPR is needed.")
    return config


def generation_config(network: Any, source: str | None, options: Mapping[str, Any]) -> Any:
    """Return how a network writes unless it is told otherwise: as is saved with it, or as its generator says.

    Args:
        network: With a generator.
        source: Where a model in one checkpoint comes from; None for one put together.
        options: For `from_pretrained`.
    """
    from transformers import GenerationConfig

    own = network.rag.generator.generation_config
    if source is not None:
        try:
            with loading.quiet():
                own = GenerationConfig.from_pretrained(source, **{k: v for k, v in options.items() if k in _HUB})
        except OSError:
            # Older checkpoints have none.
            pass
    for name in _IDS[:-1]:
        if getattr(own, name, None) is None:
            setattr(own, name, getattr(network.config, name))
    return own


def load_context_encoder(name: str, config: Any, options: Mapping[str, Any]) -> Any:
    """Return the encoder of passages, in float32."""
    import torch
    from transformers import DPRContextEncoder

    source = loading.resolve_name(name)
    with loading.quiet(), loading.named_errors(name):
        return DPRContextEncoder.from_pretrained(source, config=config, dtype=torch.float32, **options).eval()
