"""Which tokens of a Longformer have global attention, where the caller decides it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import easytx
from easytx.classification import ClassificationModel, MultiLabelClassificationModel
from easytx.errors import ArgumentError
from easytx.testing import tiny_checkpoint

ARGS: dict[str, Any] = {"fp16": False, "manual_seed": 1, "silent": True, "overwrite_output_dir": True}
TEXTS = ["The cat sat on the mat and the dog ran after the ball " * 3, "John lives in London"]


def last(ids: list[list[int]], texts: list[str]) -> list[list[int]]:
    """Return a mask with the last two tokens of each row."""
    assert len(ids) == len(texts)
    return [[0] * (len(row) - 2) + [1, 1] for row in ids]


@pytest.fixture(scope="module")
def longformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("attention"), "longformer")


def _model(folder: Path, choose: Any = None, **args: Any) -> ClassificationModel:
    return ClassificationModel("longformer", folder, num_labels=2, args={**ARGS, **args}, global_attention_fn=choose)


def test_the_tokens_of_the_callers_choice_attend_to_all(longformer: Path, tmp_path: Path) -> None:
    model = _model(longformer, last)
    outputs = model.predict(TEXTS).raw_outputs
    model.save_model(tmp_path)
    network = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    for text, found in zip(TEXTS, outputs, strict=True):
        inputs = AutoTokenizer.from_pretrained(tmp_path)(text, return_tensors="pt")
        mask = torch.zeros_like(inputs["input_ids"])
        mask[0, -2:] = 1
        with torch.no_grad():
            expected = network(**inputs, global_attention_mask=mask).logits[0].numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(_model(longformer).predict(TEXTS).raw_outputs - outputs).max() > 1e-3
    several: Any = MultiLabelClassificationModel("longformer", longformer, 2, args=ARGS, global_attention_fn=last)
    np.testing.assert_allclose(several.predict(TEXTS)[1], 1 / (1 + np.exp(-outputs)), atol=1e-5)


def test_a_model_trains_with_it_and_says_when_it_is_opened_without(longformer: Path, tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": TEXTS, "labels": [0, 1]})
    model = _model(longformer, last, num_train_epochs=2, max_seq_length=16, sliding_window=True)
    model.train_model(frame, output_dir=tmp_path)
    with pytest.warns(UserWarning, match=rf"^'{tmp_path}' was trained with global_attention_fn=last; give it again\.$"):
        easytx.load(tmp_path)
    again = ClassificationModel("longformer", tmp_path, global_attention_fn=last)
    for array, same in zip(again.predict(TEXTS).raw_outputs, model.predict(TEXTS).raw_outputs, strict=True):
        np.testing.assert_array_equal(array, same)


def test_a_function_for_pairs_gets_both_texts(longformer: Path) -> None:
    seen = []

    def first(ids: list[list[int]], texts: list[str], others: list[str]) -> list[list[int]]:
        seen.extend(zip(texts, others, strict=True))
        return [[1] + [0] * (len(row) - 1) for row in ids]

    found = _model(longformer, first).predict([["John", "Mary"], ["Rome", "Paris"]]).raw_outputs
    assert seen == [("John", "Mary"), ("Rome", "Paris")]
    # It is what transformers does by itself.
    np.testing.assert_allclose(found, _model(longformer).predict([["John", "Mary"], ["Rome", "Paris"]]).raw_outputs)


@pytest.mark.parametrize(
    ("choose", "message"),
    [
        (lambda ids, _: ids[:1], "global_attention_fn returned 1 list for 2 rows; one for each is needed."),
        (
            lambda ids, _: [[1] for _ in ids],
            "global_attention_fn must return a 0 or 1 for each token, 4 for row 0, but returned [1].",
        ),
        (
            lambda ids, _: [[2] * len(row) for row in ids],
            "global_attention_fn must return a 0 or 1 for each token, 4 for row 0, but returned [2, 2, 2, 2].",
        ),
    ],
)
def test_a_choice_that_does_not_fit_is_refused(choose: Any, message: str, longformer: Path) -> None:
    model = _model(longformer, choose)
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        model.predict(["Rome", "Paris"])
    assert model._model is None


def test_other_networks_have_no_global_attention(checkpoint: Path) -> None:
    message = (
        f"global_attention_fn is for models with global attention, such as longformer, but '{checkpoint}' is of the "
        "type bert."
    )
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        ClassificationModel("bert", checkpoint, global_attention_fn=last)
