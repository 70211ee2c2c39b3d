"""A tiny pretrained encoder, rows, and models on top of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from easytx import RetrievalModel
from easytx.testing import tiny_checkpoint

SETTINGS = {
    "fp16": False,
    "learning_rate": 1e-3,
    "manual_seed": 1,
    "max_seq_length": 32,
    "overwrite_output_dir": True,
    "save_model_every_epoch": False,
    "save_steps": -1,
    "silent": True,
    "train_batch_size": 4,
}

PASSAGES = [
    "John lives in London and works for Acme in Paris.",
    "Mary Smith flew from New York to Berlin on Monday.",
    "The train left at six in the morning.",
    "Paris is the capital and the largest city of France.",
    "The soup was cold and the bread was old.",
    "Anna wrote the letter when she was ten years old.",
]
QUERIES = [
    "Where does John live?",
    "Who flew to Berlin?",
    "When did the train leave?",
    "What is the capital of France?",
]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("retrieval") / "bert")


@pytest.fixture
def rows() -> pd.DataFrame:
    """Four queries with their passages."""
    return pd.DataFrame({"query_text": QUERIES, "gold_passage": PASSAGES[:4]})


@pytest.fixture
def make(checkpoint: Path) -> Callable[..., RetrievalModel]:
    """Return what makes a model, for quick training on a CPU."""

    def make(name: Any = checkpoint, *, args: dict[str, Any] | None = None, **options: Any) -> RetrievalModel:
        return RetrievalModel("bert", name, use_cuda=False, args={**SETTINGS, **(args or {})}, **options)

    return make
