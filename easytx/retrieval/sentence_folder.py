"""The folder format of sentence-transformers: how an encoder's tokens become a vector, and what it compares with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers.utils.hub import cached_file

_MODES = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token", "last": "pooling_mode_lasttoken"}
_PLACE = "1_Pooling/config.json"


def stated_pooling(name: str, options: Mapping[str, Any]) -> str | None:
    """Return "mean", "cls" or "last" where a checkpoint says so, else None.

    Args:
        name: A folder or a hub name.
        options: For the hub, such as `revision`.
    """
    known = {key: value for key, value in options.items() if key in ("cache_dir", "revision", "token")}
    path = cached_file(
        name,
        _PLACE,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        **known,
    )
    if path is None:
        return None
    stated = json.loads(Path(path).read_text("utf-8"))
    if stated.get("pooling_mode") in _MODES:
        return str(stated["pooling_mode"])
    return next((name for name, key in _MODES.items() if stated.get(key)), None)


def write_sentence_files(
    folder: Path, *, pooling: str, width: int, max_length: int, cosine: bool, whole: bool = True
) -> None:
    """Write what makes an encoder's folder one that sentence-transformers opens.

    Args:
        folder: Holds the encoder and its tokenizer.
        pooling: "mean", "cls" or "last".
        width: Of a vector.
        max_length: Tokens of a text.
        cosine: Whether vectors have length 1.
        whole: Whether a text gets one vector. Where it gets several, which sentence-transformers does not know, only
            the pooling is written, for `stated_pooling`.
    """
    modes = {key: name == pooling for name, key in _MODES.items()}
    _write(folder / _PLACE, {"word_embedding_dimension": width, **modes, "include_prompt": True})
    if not whole:
        return
    steps = ["Transformer", "Pooling", *(["Normalize"] if cosine else [])]
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{step}"}
        for i, (step, path) in enumerate(zip(steps, paths, strict=False))
    ]
    _write(folder / "modules.json", modules)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": max_length, "do_lower_case": False})
    _write(folder / "config_sentence_transformers.json", {"similarity_fn_name": "cosine" if cosine else "dot"})
    if cosine:
        (folder / "2_Normalize").mkdir(exist_ok=True)


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
