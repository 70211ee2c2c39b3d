"""Tokens that texts get besides: in front for longer vectors, and behind queries for more of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

import easytx
from easytx import RetrievalModel
from easytx.errors import ArgumentError
from easytx.testing import tiny_checkpoint

from .conftest import PASSAGES, QUERIES, SETTINGS

Make = Callable[..., RetrievalModel]

LONG = {"larger_representations": True, "extra_cls_token_count": 2}


def _states(folder: Path, ids: list[int]) -> np.ndarray:
    with torch.no_grad():
        states = AutoModel.from_pretrained(folder).eval()(input_ids=torch.tensor([ids])).last_hidden_state[0]
    array: np.ndarray = states.numpy()
    return array


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_a_long_vector_is_that_of_several_first_tokens(tmp_path: Path, architecture: str) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "model", architecture)
    model = RetrievalModel(checkpoint, use_cuda=False, args={**SETTINGS, **LONG})
    vectors = model.encode_passages(PASSAGES)
    assert vectors.shape == (6, 96)
    model.save_model(tmp_path / "saved")
    folder = tmp_path / "saved" / "context_encoder"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    first, *rest = tokenizer(PASSAGES[0])["input_ids"]
    extra = tokenizer.convert_tokens_to_ids(["[unused0]", "[unused1]"])
    assert len({*extra, tokenizer.unk_token_id}) == 3
    expected = _states(folder, [first, *extra, *rest])[:3].ravel()
    np.testing.assert_allclose(vectors[0], expected, rtol=1e-3, atol=1e-5)
    # Embeddings that are new are the same each time.
    again = RetrievalModel(checkpoint, use_cuda=False, args={**SETTINGS, **LONG})
    np.testing.assert_array_equal(again.encode_passages(PASSAGES), vectors)
    assert not (folder / "modules.json").exists()


@pytest.mark.real
def test_long_vectors_learn_and_open_again(make: Make, rows: pd.DataFrame, tmp_path: Path) -> None:
    model = make(args={**LONG, "num_train_epochs": 60, "similarity_function": "cosine"})
    before = model.eval_model(rows).result["eval_loss"]
    model.train_model(rows, output_dir=tmp_path / "trained")
    assert model.eval_model(rows).result["eval_loss"] < 0.6 * before
    reopened = easytx.load(tmp_path / "trained", args={"silent": True})
    np.testing.assert_allclose(reopened.predict(QUERIES).scores, model.predict(QUERIES).scores, rtol=1e-4)


def test_masks_behind_a_query_have_vectors_too(make: Make, checkpoint: Path) -> None:
    model = make(args={"multi_vector_query": True, "extra_mask_token_count": 3})
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    vectors = model.encode_queries(QUERIES)
    for query, found in zip(QUERIES, vectors, strict=True):
        *ids, end = tokenizer(query)["input_ids"]
        expected = _states(checkpoint, [*ids, *[tokenizer.mask_token_id] * 3, end])
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    # Passages get none.
    assert [len(found) for found in model.encode_passages(PASSAGES)] == [
        len(tokenizer(text)["input_ids"]) for text in PASSAGES
    ]


def test_extra_tokens_leave_less_room_for_the_text(make: Make, warned: Any) -> None:
    model = make(args={"multi_vector_query": True, "extra_mask_token_count": 3, "max_seq_length": 8})
    vectors, messages = warned(lambda: model.encode_queries(QUERIES))
    assert [len(found) for found in vectors] == [8] * 4
    assert [message.split(" are longer")[0] for message in messages] == ["4 of 4 rows of queries"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            {"larger_representations": True},
            "larger_representations puts the vectors of several first tokens in a row, but there is one. Set "
            "extra_cls_token_count to 1 or more.",
        ),
        (
            {**LONG, "pooling": "mean"},
            "larger_representations takes the vectors of the first tokens: leave out pooling and mean_pooling.",
        ),
        (
            {**LONG, "max_seq_length": 4},
            "max_seq_length is 4, but extra_cls_token_count and extra_mask_token_count take 2 of these tokens. Set it "
            "to 5 or more.",
        ),
    ],
    ids=["without tokens", "with a mean", "without room"],
)
def test_what_cannot_be_is_said(make: Make, args: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as refused:
        make(args=args).encode_queries(QUERIES)
    assert str(refused.value) == message


def test_a_tokenizer_without_such_tokens_is_refused(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "model", "gpt2")
    for name, kind in (("extra_cls_token_count", "cls_token"), ("extra_mask_token_count", "mask_token")):
        with pytest.raises(ArgumentError) as refused:
            RetrievalModel(checkpoint, args={name: 1})
        assert str(refused.value) == (
            f"{name} is 1, but the tokenizer has no {kind}. Set it to 0, or take another checkpoint."
        )
