"""Tiny models that look up passages."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from easytx import Seq2SeqModel
from easytx.testing import tiny_checkpoint, tiny_dpr_checkpoint

KINDS = ("rag-token", "rag-sequence")
KNOWLEDGE = pd.DataFrame(
    {
        "title": ["Paris", "Rome", None, "Bonn"],
        "text": ["Paris is big", "Rome is old and large", "it is cold in the north", "Bonn is small"],
    },
    index=[3, 1, 4, 2],
)
ROWS = pd.DataFrame(
    {
        "input_text": ["where is paris", "is rome old or is it new", "what of the north"],
        "target_text": ["big one", "old", "cold and wet it is"],
    },
    index=["c", "a", "b"],
)
ARGS: dict[str, Any] = {
    "silent": True,
    "manual_seed": 3,
    "fp16": False,
    "max_length": 8,
    "learning_rate": 1e-2,
    "config": {"n_docs": 3, "max_combined_length": 64},
}

_OTHERS = ("index_name", "index_path", "encoder_name", "decoder_name")

Parts = Callable[..., Path]
Make = Callable[..., Any]


def parts_in(folder: Path) -> Parts:
    """Return what makes an encoder of questions or passages, or a generator, once."""

    @functools.cache
    def part(kind: str, seed: int = 1, **config: Any) -> Path:
        place = folder / f"{kind}-{seed}-{len(config)}"
        if kind in ("questions", "passages"):
            return tiny_dpr_checkpoint(place, kind, seed=seed, **config)
        # Large weights: texts for different passages are to differ.
        return tiny_checkpoint(place, kind, seed=seed, **({"init_std": 0.4} if kind == "bart" else {}))

    return part


def put_together(part: Parts, kind: str = "rag-token", /, **given: Any) -> Any:
    """Return a model of three parts, with these further arguments of the constructor and of `args`."""
    options = {
        "encoder_decoder_name": part("bart", 0),
        "knowledge_dataset": KNOWLEDGE,
        "dpr_ctx_encoder_model_name": part("passages", 2),
        "rag_question_encoder_model_name": part("questions"),
    }
    mine = {name: given.pop(name) for name in [*given] if name in options or name in _OTHERS}
    return Seq2SeqModel(encoder_decoder_type=kind, args={**ARGS, **given}, **{**options, **mine})
