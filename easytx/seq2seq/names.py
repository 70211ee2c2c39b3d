"""Which of a constructor's many names means which model."""

from __future__ import annotations

import json
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from easytx.core.loading import resolve_name
from easytx.errors import ArgumentError

# Types of models that look up passages.
RAG_TYPES = ("rag-token", "rag-sequence")

_RAG = "rag"
_ORDER = ("encoder_type", "encoder_name", "decoder_name", "encoder_decoder_type", "encoder_decoder_name")
_RETRIEVAL = (
    "index_name",
    "knowledge_dataset",
    "index_path",
    "dpr_ctx_encoder_model_name",
    "rag_question_encoder_model_name",
)

Name = str | Path | None


def asks_for_passages(given: tuple[Any, ...], named: Mapping[str, Any]) -> bool:
    """Tell whether the arguments of `Seq2SeqModel` mean a model that looks up passages.

    Args:
        given: By position.
        named: By name.
    """
    arguments = {**dict(zip(_ORDER, given, strict=False)), **named}
    values = [arguments.get(name) for name in _ORDER]
    # One name alone may be given as a type.
    return any(value in RAG_TYPES or _is_rag_folder(value) for value in values)


def rag_class() -> Any:
    """Return the class of models that look up passages; it is a child of the one that asks for it."""
    from easytx.seq2seq.rag import RagSeq2SeqModel

    return RagSeq2SeqModel


def _is_rag_folder(name: Any) -> bool:
    path = Path(name) / "config.json" if isinstance(name, (str, Path)) else None
    if path is None or not path.is_file():
        return False
    return bool(json.loads(path.read_text("utf-8")).get("model_type") == _RAG)


def named(
    class_name: str,
    separate: tuple[str | None, Name, Name],
    whole: tuple[str | None, Name],
    kwargs: MutableMapping[str, Any],
    *,
    is_new: bool,
) -> tuple[str | None, Name, str | None]:
    """Return the architecture, the model's or the encoder's name, and the decoder's where there are two.

    Args:
        class_name: For messages.
        separate: encoder_type, encoder_name and decoder_name.
        whole: encoder_decoder_type and encoder_decoder_name.
        kwargs: Further arguments of the constructor; the ones of retrieval are taken out where they are None, and
            `config` goes into args.
        is_new: Whether there is a tokenizer for a model from scratch.

    Raises:
        ArgumentError: If they contradict each other, or name passages for a model that looks up none.
    """
    encoder_type, encoder, decoder = separate
    kind, name = whole
    asked = [option for option in _RETRIEVAL if kwargs.pop(option, None) is not None]
    if asked:
        raise ArgumentError(
            f"{class_name} uses '{asked[0]}' in models that look up passages only. Set encoder_decoder_type to "
            f"{' or '.join(map(repr, RAG_TYPES))}."
        )
    _move_config(class_name, kwargs)
    if name is not None and (encoder is not None or decoder is not None):
        raise ArgumentError(
            f"{class_name} was given encoder_decoder_name='{name}', and encoder_name or decoder_name too. "
            "Give one model, or an encoder and a decoder."
        )
    name = encoder if name is None else name
    kind = encoder_type if kind is None else kind
    if decoder is not None and name is None:
        raise ArgumentError(f"{class_name} was given decoder_name='{decoder}', but no encoder_name. Give both.")
    if name is None and not is_new:
        # One name alone, whatever it was given as, is the model's.
        kind, name = None, kind
        if name is None:
            raise ArgumentError(f"{class_name} needs a model name, such as a folder, or a tokenizer to start from.")
    return kind, name, None if decoder is None else resolve_name(decoder)


def _move_config(class_name: str, kwargs: MutableMapping[str, Any]) -> None:
    config = kwargs.pop("config", None)
    if config is None:
        return
    if not isinstance(config, dict):
        raise ArgumentError(
            f"{class_name} takes config as a dict of the fields to change, but it is a {type(config).__name__}."
        )
    args = kwargs.get("args") or {}
    given = args.given() if hasattr(args, "given") else dict(args)
    kwargs["args"] = {**given, "config": {**given.get("config", {}), **config}}
