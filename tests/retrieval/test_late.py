"""Texts with several vectors: of their tokens, or of the heads of their vector."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import easytx
from easytx import RepresentationModel, RetrievalModel
from easytx.errors import ArgumentError, CheckpointError
from easytx.retrieval import late
from easytx.retrieval.index import PassageIndex, centres, stacked
from easytx.testing import tiny_checkpoint

from .conftest import PASSAGES, QUERIES

Make = Callable[..., RetrievalModel]

TOKENS = {"multi_vector_query": True}
HEADS = {"multi_head_vectors": True, "pooling": "mean"}


def _compared(queries: list[np.ndarray], passages: list[np.ndarray], strategy: str) -> np.ndarray:
    """Return the similarities, one pair of texts at a time."""

    def of_pair(query: np.ndarray, passage: np.ndarray) -> float:
        pairs = query @ passage.T
        added = {"max": pairs.max(), "maxsim": pairs.max(axis=1).sum()}
        return float((added | {"minmax": (pairs.max(axis=1) + pairs.min(axis=1)).sum()})[strategy])

    return np.array([[of_pair(query, passage) for passage in passages] for query in queries])


def _of_tokens(checkpoint: Path, texts: list[str], *, normalize: bool) -> list[np.ndarray]:
    encoder = RepresentationModel("bert", checkpoint, use_cuda=False, args={"fp16": False, "max_seq_length": 32})
    return [encoder.encode_sentences([text], None, normalize=normalize)[0] for text in texts]


@pytest.mark.parametrize("similarity", ["dot_product", "cosine"])
def test_each_token_of_a_query_meets_the_nearest_of_a_passage(make: Make, checkpoint: Path, similarity: str) -> None:
    args = {**TOKENS, "similarity_function": similarity, "query_vector_count": 5}
    model = make(args=args, prediction_passages=PASSAGES)
    queries, passages = (
        _of_tokens(checkpoint, texts, normalize=similarity == "cosine") for texts in (QUERIES, PASSAGES)
    )
    assert {len(query) > 5 for query in queries} == {True}
    expected = _compared([query[:5] for query in queries], passages, "maxsim")
    order = np.argsort(-expected, axis=1)
    found = model.predict(QUERIES)
    np.testing.assert_array_equal(found.doc_ids, order)
    np.testing.assert_allclose(found.scores, np.take_along_axis(expected, order, axis=1), rtol=1e-3, atol=1e-4)
    assert [vectors.shape for vectors in model.encode_queries(QUERIES)] == [(5, 32)] * 4
    for ours, theirs in zip(model.encode_passages(PASSAGES), passages, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(found.doc_vectors[0, 0], model.encode_passages(PASSAGES)[order[0, 0]])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found)).scores, found.scores)


@pytest.mark.parametrize("strategy", ["maxsim", "minmax", "max"])
def test_each_head_of_a_query_meets_those_of_a_passage(make: Make, strategy: str) -> None:
    plain = make(args={"pooling": "mean"})
    queries, passages = plain.encode_queries(QUERIES), plain.encode_passages(PASSAGES)
    expected = _compared([*queries.reshape(4, 4, 8)], [*passages.reshape(6, 4, 8)], strategy)
    model = make(args={**HEADS, "multi_head_vector_strategy": strategy}, prediction_passages=PASSAGES)
    found = model.predict(QUERIES)
    order = np.argsort(-expected, axis=1)
    np.testing.assert_array_equal(found.doc_ids, order)
    np.testing.assert_allclose(found.scores, np.take_along_axis(expected, order, axis=1), rtol=1e-3, atol=1e-4)


@pytest.mark.real
@pytest.mark.parametrize("args", [TOKENS, HEADS], ids=["tokens", "heads"])
def test_it_learns_what_it_searches_with_and_opens_again(
    make: Make, rows: pd.DataFrame, tmp_path: Path, args: dict[str, Any]
) -> None:
    model = make(args={**args, "num_train_epochs": 30, "similarity_function": "cosine"})
    before = model.eval_model(rows).result
    model.train_model(rows, output_dir=tmp_path / "trained")
    evaluation = model.eval_model(rows)
    assert evaluation.result["mrr_at_10"] == 1
    assert evaluation.result["eval_loss"] < 0.7 * before["eval_loss"]
    # Training, evaluation and search know one similarity.
    features = list(model.prepared(rows, name="train_df", split="train", renames={}).dataset)
    batch = model.collator()(features)
    with torch.no_grad():
        logits = model.model.eval()(**{key: value for key, value in batch.items() if key != "labels"}).logits.numpy()
    queries, passages = model.encode_queries(QUERIES), model.encode_passages(PASSAGES[:4])
    np.testing.assert_allclose(logits, _compared([*queries], [*passages], "maxsim"), rtol=1e-3, atol=1e-3)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert evaluation.result["eval_loss"] == pytest.approx(-np.log(shares.diagonal()).mean(), rel=1e-2)
    reopened = easytx.load(tmp_path / "trained", args={"silent": True})
    assert (reopened.config.vectors, reopened.config.pooling) == (model.config.vectors, model.config.pooling)
    np.testing.assert_allclose(reopened.predict(QUERIES).scores, model.predict(QUERIES).scores, rtol=1e-4)
    assert not (tmp_path / "trained" / "query_encoder" / "modules.json").exists()


def test_the_pooling_that_a_checkpoint_states_is_kept(make: Make, tmp_path: Path) -> None:
    make(args={"pooling": "mean"}).save_model(tmp_path / "plain")
    model = make(tmp_path / "plain" / "query_encoder", args={"multi_head_vectors": True})
    model.save_model(tmp_path / "heads")
    assert easytx.load(tmp_path / "heads").config.pooling == model.config.pooling == "mean"


def test_the_nearest_are_found_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(0)
    queries, passages = (
        [chance.normal(size=(length, 8)).astype(np.float32) for length in chance.integers(1, 6, size=number)]
        for number in (7, 50)
    )
    expected = _compared(queries, passages, "maxsim")
    for pairs in (1, 7 * 5 * 5 * 3, 2**26):
        monkeypatch.setattr(late, "_PAIRS", pairs)
        index = PassageIndex(stacked(passages))
        scores, places = index.search(stacked(queries), 5, batch=4)
        np.testing.assert_array_equal(places, np.argsort(-expected, axis=1)[:, :5])
        np.testing.assert_allclose(scores, -np.sort(-expected, axis=1)[:, :5], rtol=1e-5, atol=1e-5)


def test_what_cannot_be_is_said(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError) as refused:
        make(args={**TOKENS, **HEADS})
    assert str(refused.value) == (
        "multi_vector_query and multi_head_vectors are two ways of comparing texts. Set one of them."
    )
    with pytest.raises(ArgumentError) as refused:
        make(args={**TOKENS, "faiss_index_type": "HNSW32"})
    assert str(refused.value) == (
        "faiss_index_type is 'HNSW32', but with multi_vector_query a text has several vectors, which are searched "
        "exactly. Leave it out."
    )
    odd = tiny_checkpoint(tmp_path / "t5", "t5", num_attention_heads=3)
    with pytest.raises(CheckpointError) as unfit:
        RetrievalModel(odd, args={"multi_head_vectors": True})
    assert str(unfit.value) == (
        f"multi_head_vectors splits a vector by attention heads, but '{odd}' has 3 heads and a width of 32. Leave "
        "multi_head_vectors out, or take another checkpoint."
    )


def test_several_vectors_are_searched_clustered_and_taught(make: Make, rows: pd.DataFrame, tmp_path: Path) -> None:
    teacher = make(args=TOKENS)
    teacher.save_model(tmp_path / "teacher")
    args = {**TOKENS, "ance_training": True, "reranking_kl_div_loss": True, "teacher_type": "bi_encoder"}
    model = make(args={**args, "train_batch_size": 2}, teacher_model_name=str(tmp_path / "teacher"))
    assert model.train_model(rows, clustered_training=True).global_step == 2
    ours, theirs = teacher.encode_queries(QUERIES), teacher.encode_passages(PASSAGES)
    scores = model.teacher.scores(QUERIES, PASSAGES, np.ones((4, 6), dtype=bool))
    np.testing.assert_allclose(scores, _compared([*ours], [*theirs], "maxsim"), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(centres(ours)[0], ours[0].mean(axis=0), rtol=1e-6)


def test_dropout_of_vectors_is_for_training_alone(make: Make, rows: pd.DataFrame) -> None:
    model = make(args={**TOKENS, "output_dropout": 0.5})
    before = model.encode_queries(QUERIES)[0]
    network, batch = model.model, model.collator()([*model.prepared(rows, name="", split="train", renames={}).dataset])
    network.output_dropout = 0.5
    inputs = {key: value for key, value in batch.items() if key != "labels"}
    with torch.no_grad():
        network.eval()
        quiet = [network(**inputs).logits for _ in range(2)]
        network.training = True
        np.testing.assert_array_equal(model.encode_queries(QUERIES)[0], before)
        loud = network(**inputs).logits
    torch.testing.assert_close(*quiet)
    assert not torch.allclose(loud, quiet[0], rtol=1e-2)
