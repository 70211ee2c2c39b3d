"""Tiny models under the names that the scripts give, in the folder that they run in."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from easytx.testing import tiny_checkpoint

ARCHITECTURES = {
    "bert-base-cased": "bert",
    "distilbert-base-distilled-squad": "distilbert",
    "roberta-base": "roberta",
}


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    for name, architecture in ARCHITECTURES.items():
        tiny_checkpoint(folder / name, architecture)
    return folder


@pytest.fixture(autouse=True)
def _models_at_hand(checkpoints: Path, _own_folder: None) -> None:
    shutil.copytree(checkpoints, ".", dirs_exist_ok=True)
