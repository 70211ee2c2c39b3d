"""Small texts, and what a language model starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from easytx.language_modeling import LanguageModelingModel
from easytx.testing import CORPUS, tiny_checkpoint

ARGS: dict[str, Any] = {
    "manual_seed": 1,
    "fp16": False,
    "silent": True,
    "learning_rate": 1e-3,
    "max_seq_length": 32,
    "save_model_every_epoch": False,
}
# What a new model of these architectures needs in order to be tiny.
TINY: dict[str, dict[str, Any]] = {
    "bert": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32},
    "distilbert": {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32},
    "gpt2": {"n_embd": 16, "n_layer": 1, "n_head": 2},
    "llama": {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "intermediate_size": 32,
    },
    "roberta": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32},
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="session")
def bert(folder: Path) -> str:
    return str(tiny_checkpoint(folder / "bert", "bert", head="AutoModelForMaskedLM"))


@pytest.fixture(scope="session")
def gpt2(folder: Path) -> str:
    return str(tiny_checkpoint(folder / "gpt2", "gpt2"))


@pytest.fixture(scope="session")
def llama(folder: Path) -> str:
    return str(tiny_checkpoint(folder / "llama", "llama"))


@pytest.fixture
def train_file(tmp_path: Path) -> str:
    path = tmp_path / "train.txt"
    path.write_text("\n".join(CORPUS) + "\n\n", encoding="utf-8")
    return str(path)


@pytest.fixture
def eval_file(tmp_path: Path) -> str:
    path = tmp_path / "eval.txt"
    path.write_text("\n".join(" ".join(reversed(text.split())) for text in CORPUS[:8]), encoding="utf-8")
    return str(path)


def model(model_type: str | None, name: str | None, *, given: dict[str, Any] | None = None, **args: Any) -> Any:
    """Return a language model with small arguments."""
    return LanguageModelingModel(model_type, name, args={**ARGS, **args}, use_cuda=False, **(given or {}))
