"""Tiny encoders with decoders, and rows to turn into other texts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from easytx import Seq2SeqModel
from easytx.testing import CORPUS, tiny_checkpoint

ARGS = {"silent": True, "manual_seed": 3, "fp16": False, "no_save": True, "max_length": 12, "learning_rate": 5e-3}


def rows(number: int = 12) -> pd.DataFrame:
    """Return lines of the corpus with their first words, in another order."""
    targets = [" ".join(reversed(text.lower().split()[:4])) for text in CORPUS[:number]]
    return pd.DataFrame({"input_text": CORPUS[:number], "target_text": targets})


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return what makes a tiny checkpoint of an architecture, once; not to be written to."""
    folder = tmp_path_factory.mktemp("seq2seq")
    return functools.cache(lambda architecture: tiny_checkpoint(folder / architecture, architecture))


@pytest.fixture
def model(checkpoint: Callable[[str], Path]) -> Callable[..., Seq2SeqModel]:
    """Return what makes a model of an architecture, or of two put together, with these arguments."""

    def make(*architectures: str, given: dict[str, Any] | None = None, **args: Any) -> Seq2SeqModel:
        options = {"args": {**ARGS, **args}, **(given or {})}
        if len(architectures) == 2:
            encoder, decoder = (checkpoint(name) for name in architectures)
            return Seq2SeqModel(architectures[0], encoder, decoder, **options)
        name = checkpoint(architectures[0])
        return Seq2SeqModel(encoder_decoder_type=architectures[0], encoder_decoder_name=name, **options)

    return make
