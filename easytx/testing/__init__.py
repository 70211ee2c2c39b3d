"""Tiny checkpoints that are made in an instant, for tests without a download.

They have the files, the classes, the special tokens and the quirks of the real architectures, but two layers,
random weights and a few hundred tokens. A model made from one opens like any other:

    folder = tiny_checkpoint("tiny", "roberta")
    AutoTokenizer.from_pretrained(folder)
    AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3)
"""

from __future__ import annotations

from easytx.testing.checkpoints import (
    ARCHITECTURES,
    DECODER_ARCHITECTURES,
    LAYOUT_ARCHITECTURES,
    SEQ2SEQ_ARCHITECTURES,
    tiny_checkpoint,
    tiny_config,
)
from easytx.testing.dpr import DPR_ENCODERS, tiny_dpr_checkpoint
from easytx.testing.tokenizers import CORPUS, tiny_tokenizer
from easytx.testing.vision import VISION_ARCHITECTURES, tiny_vision_checkpoint

__all__ = [
    "ARCHITECTURES",
    "CORPUS",
    "DECODER_ARCHITECTURES",
    "DPR_ENCODERS",
    "LAYOUT_ARCHITECTURES",
    "SEQ2SEQ_ARCHITECTURES",
    "VISION_ARCHITECTURES",
    "tiny_checkpoint",
    "tiny_config",
    "tiny_dpr_checkpoint",
    "tiny_tokenizer",
    "tiny_vision_checkpoint",
]
