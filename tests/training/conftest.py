"""Tiny classifiers and their rows, for tests that train."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import torch

from easytx.testing import CORPUS, tiny_checkpoint

if TYPE_CHECKING:
    from datasets import Dataset

    from easytx.training.inference import Outputs

CPU = torch.device("cpu")
WORDS = " ".join(CORPUS).lower().split()[:32]
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}

# Two steps an epoch would hide what happens in the middle of one: 24 rows in batches of 6 are four.
ROWS, STEPS = 24, 4


def rows(number: int, start: int = 0) -> pd.DataFrame:
    """Return texts of 4 to 19 words, with the labels 0 and 1."""
    texts = [" ".join(["the", *WORDS[: 1 + (row * 5) % 16], "of", str(start + row)]) for row in range(number)]
    return pd.DataFrame({"text": texts, "labels": [row % 2 for row in range(number)]})


def weights(model: Any) -> dict[str, torch.Tensor]:
    """Return a copy of a model's weights."""
    return {name: value.detach().clone() for name, value in model.model.state_dict().items()}


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """Return the names of the weights that differ in any bit."""
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def features(tokenizer: Any, number: int) -> Dataset:
    """Return the features of rows of different lengths, with labels 0, 1 and 2."""
    from easytx.data.tokenise import encode

    labels = [row % 3 for row in range(number)]
    return encode(tokenizer, rows(number)["text"].tolist(), max_length=64).add_column("labels", labels)


def run_rows(network: Any, dataset: Dataset, tokenizer: Any, **options: Any) -> Outputs:
    """Return what the inference loop makes of features on a CPU: their logits, unless the options say otherwise."""
    from transformers import DataCollatorWithPadding

    from easytx.training.inference import run

    given: dict[str, Any] = {
        "reduce": lambda outputs, _batch: outputs.logits,
        "device": CPU,
        "dtype": None,
        "token_budget": 60,
    }
    return run(network, dataset, DataCollatorWithPadding(tokenizer), **{**given, **options})


@pytest.fixture(scope="package", autouse=True)
def _many_trainings(_imports_are_no_garbage: None) -> None:
    """Train without long searches for garbage."""


@pytest.fixture(scope="package")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("training") / "bert", "bert")


@pytest.fixture(scope="package")
def tokenizer(checkpoint: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(checkpoint)


@pytest.fixture
def network(checkpoint: Path) -> Any:
    """Return a network that classifies rows, with three labels."""
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_pretrained(checkpoint, num_labels=3).eval()


@pytest.fixture
def classifier(checkpoint: Path) -> Callable[..., Any]:
    """Return what makes a classifier with these arguments; by default in float32, and without checkpoints."""
    from easytx.classification import ClassificationModel

    quiet = {"silent": True, "save_model_every_epoch": False, "save_eval_checkpoints": False, "save_steps": -1}
    small = {"max_seq_length": 64, "train_batch_size": 6, "fp16": False, "manual_seed": 3, "learning_rate": 1e-3}

    def make(*, num_labels: int | None = 2, **args: Any) -> Any:
        return ClassificationModel("bert", str(checkpoint), num_labels=num_labels, args={**quiet, **small, **args})

    return make


@pytest.fixture
def train_df() -> pd.DataFrame:
    return rows(ROWS)


@pytest.fixture
def eval_df() -> pd.DataFrame:
    return rows(10, start=100)
