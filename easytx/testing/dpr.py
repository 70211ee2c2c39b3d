"""Tiny encoders of DPR, of questions and of passages, as `tiny_checkpoint` makes other encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers
from transformers import DPRConfig

from easytx.core.loading import quiet
from easytx.errors import ArgumentError
from easytx.testing.seeds import seeded_on_cpu
from easytx.testing.tokenizers import tiny_tokenizer

__all__ = ["DPR_ENCODERS", "tiny_dpr_checkpoint"]

_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    # At this width the usual 0.02 would leave all texts with nearly the same vector.
    "initializer_range": 0.2,
}
DPR_ENCODERS: dict[str, str] = {"questions": "DPRQuestionEncoder", "passages": "DPRContextEncoder"}


def tiny_dpr_checkpoint(folder: str | Path, encodes: str, *, seed: int = 0, **config_overrides: Any) -> Path:
    """Write a tiny encoder of DPR and its tokenizer to a folder that `from_pretrained` opens.

    Encoders of one seed have the same weights, so that a text is nearest to itself.

    Args:
        folder: Where to write; made if it is not there.
        encodes: "questions" or "passages".
        seed: Seed of the weights.
        **config_overrides: Values for the config, such as `hidden_size`.

    Returns:
        The folder.

    Raises:
        ArgumentError: If it is to encode anything else.
    """
    if encodes not in DPR_ENCODERS:
        raise ArgumentError(f"encodes must be one of {sorted(DPR_ENCODERS)}, but is '{encodes}'.")
    tokenizer = tiny_tokenizer("bert")
    ids = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    with seeded_on_cpu(seed):
        model: Any = getattr(transformers, DPR_ENCODERS[encodes])(DPRConfig(**{**ids, **_SIZES, **config_overrides}))
    with quiet():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Path(folder)
