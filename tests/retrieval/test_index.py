"""The nearest vectors: exact, in blocks, and the same with and without faiss."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
import torch

from easytx.errors import ArgumentError, MissingExtraError
from easytx.retrieval import index as module
from easytx.retrieval.index import PassageIndex, nearest, surprise

CPU = torch.device("cpu")


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)


@pytest.fixture
def queries() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(7, 8)).astype(np.float32)


@pytest.fixture(params=["faiss", "torch"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "faiss":
        pytest.importorskip("faiss")
    else:
        found = importlib.util.find_spec
        without: Any = lambda name: None if name == "faiss" else found(name)  # noqa: E731
        monkeypatch.setattr(module.importlib.util, "find_spec", without)
    return str(request.param)


@pytest.mark.parametrize("block", [3, 50, 65536])
def test_the_nearest_are_found_whatever_the_blocks(
    engine: str, block: int, vectors: np.ndarray, queries: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    similarities = queries @ vectors.T
    expected = np.argsort(-similarities, axis=1)[:, :5]
    index = PassageIndex(vectors, device=CPU)
    assert (index._faiss is not None) == (engine == "faiss")
    for batch in (2, 100):
        scores, places = index.search(queries, 5, batch=batch)
        np.testing.assert_array_equal(places, expected)
        np.testing.assert_allclose(scores, np.take_along_axis(similarities, expected, axis=1), rtol=1e-5)


def test_no_more_is_found_than_there_is(engine: str, vectors: np.ndarray, queries: np.ndarray) -> None:
    scores, places = PassageIndex(vectors[:3]).search(queries, 10)
    assert scores.shape == places.shape == (7, 3)
    assert sorted(places[0]) == [0, 1, 2], engine


def test_torch_keeps_the_best_of_all_blocks(
    vectors: np.ndarray, queries: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = nearest(queries, vectors, 20, device=CPU)
    monkeypatch.setattr(module, "_BLOCK", 7)
    for first, second in zip(whole, nearest(queries, vectors, 20, device=CPU), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-5)


def test_surprise_is_that_of_a_softmax_over_everything(
    vectors: np.ndarray, queries: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK", 11)
    places = np.arange(7)
    scores = torch.from_numpy(3.0 * queries @ vectors.T)
    expected = torch.nn.functional.cross_entropy(scores, torch.from_numpy(places), reduction="none")
    np.testing.assert_allclose(surprise(queries, vectors, places, 3.0, device=CPU), expected, rtol=1e-4, atol=1e-5)


def test_other_kinds_of_index_need_faiss(vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"^faiss_index_type='HNSW32' needs the package 'faiss-cpu'\. Install"):
        PassageIndex(vectors, kind="HNSW32")


def test_other_kinds_of_index_are_those_of_faiss(vectors: np.ndarray, queries: np.ndarray) -> None:
    pytest.importorskip("faiss")
    found = PassageIndex(vectors, kind="HNSW32").search(queries, 3)[1]
    exact = PassageIndex(vectors).search(queries, 3)[1]
    assert (found == exact).mean() > 0.9
    with pytest.raises(
        ArgumentError, match=r"^faiss_index_type is 'Nothing', which faiss\.index_factory does not take"
    ):
        PassageIndex(vectors, kind="Nothing")
