"""Tiny checkpoints, made once, and two sentences in the usual form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from easytx.ner import NERModel
from easytx.testing import tiny_checkpoint

WORDS = ["John", "lives", "in", "New", "York", "Anna", "met", "Mary"]
LABELS = ["B-PER", "O", "O", "B-LOC", "I-LOC", "B-PER", "O", "B-PER"]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of a tiny checkpoint of an architecture."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def made(architecture: str) -> Path:
        place = folder / architecture
        return place if place.is_dir() else tiny_checkpoint(place, architecture)

    return made


@pytest.fixture
def tagger(checkpoint: Callable[[str], Path]) -> Callable[..., NERModel]:
    """Return a model on the CPU."""

    def made(architecture: str = "bert", labels: list[Any] | None = None, **args: Any) -> NERModel:
        return NERModel(architecture, checkpoint(architecture), labels=labels, use_cuda=False, args=args)

    return made


@pytest.fixture
def frame() -> pd.DataFrame:
    """Two sentences, one row a word."""
    return pd.DataFrame({"sentence_id": [7, 7, 7, 7, 7, "b", "b", "b"], "words": WORDS, "labels": LABELS})
