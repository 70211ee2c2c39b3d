"""A tiny T5, and rows of two tasks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from easytx.testing import CORPUS, tiny_checkpoint

ARGS = {"silent": True, "manual_seed": 3, "fp16": False, "no_save": True, "max_length": 10}


def rows(number: int = 12) -> pd.DataFrame:
    """Return lines of the corpus: every other one to be cut to one word, the rest to two."""
    words = [text.lower().split() for text in CORPUS[:number]]
    return pd.DataFrame(
        {
            "prefix": [("one", "two")[row % 2] for row in range(number)],
            "input_text": CORPUS[:number],
            "target_text": [" ".join(line[: 1 + row % 2]) for row, line in enumerate(words)],
        }
    )


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny T5; not to be written to."""
    return tiny_checkpoint(tmp_path_factory.mktemp("t5") / "t5", "t5")
