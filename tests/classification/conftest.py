"""A tiny pretrained model in a folder, and models on top of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from easytx.testing import tiny_checkpoint

SETTINGS = {
    "manual_seed": 1,
    "max_seq_length": 16,
    "overwrite_output_dir": True,
    "save_model_every_epoch": False,
    "save_steps": -1,
    "silent": True,
    "train_batch_size": 4,
}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare encoder, as a checkpoint that was only pretrained; not to be written to."""
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def make(checkpoint: Path) -> Callable[..., Any]:
    """Return what makes a model of a class from the tiny checkpoint, for quick training on a CPU."""

    def make(kind: Any, *, args: dict[str, Any] | None = None, **options: Any) -> Any:
        return kind("bert", checkpoint, use_cuda=False, args={**SETTINGS, **(args or {})}, **options)

    return make
