"""Batches of rows that are alike."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from easytx import RetrievalArgs
from easytx.retrieval.clusters import (
    ClusteredRows,
    clustered_order,
    clusters_of,
    mixed_share,
    number_of_clusters,
    write_clusters,
)

# Four heaps of ten points each, far from each other.
HEAPS = np.repeat(np.arange(4), 10)
POINTS = (np.eye(4)[HEAPS] * 9 + np.random.default_rng(0).normal(size=(40, 4)) * 0.1).astype(np.float32)


def _are_the_heaps(found: np.ndarray) -> bool:
    return len(set(zip(found.tolist(), HEAPS.tolist(), strict=True))) == len(set(found.tolist())) == 4


@pytest.mark.parametrize("by_faiss", [True, False])
@pytest.mark.parametrize("size", [None, 30, 0.75])
def test_heaps_are_found(by_faiss: bool, size: Any) -> None:
    if by_faiss:
        pytest.importorskip("faiss")
    args = RetrievalArgs(kmeans_k=4, faiss_clustering=by_faiss, cluster_train_size=size)
    # A bad start may leave two heaps together.
    assert any(_are_the_heaps(clusters_of(POINTS, args, seed=seed)) for seed in range(5))
    np.testing.assert_array_equal(clusters_of(POINTS, args, seed=3), clusters_of(POINTS, args, seed=3))


def test_without_faiss_scikit_learn_clusters(monkeypatch: Any) -> None:
    args = RetrievalArgs(kmeans_k=4)
    expected = clusters_of(POINTS, args.merged({"faiss_clustering": False}), seed=1)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    np.testing.assert_array_equal(clusters_of(POINTS, args, seed=1), expected)


def test_equal_vectors_make_no_more_clusters_than_there_are_of_them() -> None:
    for by_faiss in (True, False):
        args = RetrievalArgs(kmeans_k=20, faiss_clustering=by_faiss)
        found = clusters_of(np.eye(3, dtype=np.float32)[np.arange(30) % 3], args, seed=1)
        assert set(found) == {0, 1, 2}


def test_the_number_of_clusters_is_that_of_whole_batches_unless_said() -> None:
    assert number_of_clusters(RetrievalArgs(train_batch_size=8), 39) == 4
    assert number_of_clusters(RetrievalArgs(train_batch_size=8), 7) == 1
    assert number_of_clusters(RetrievalArgs(kmeans_k=9), 39) == 9
    assert number_of_clusters(RetrievalArgs(kmeans_k=9), 5) == 5


def _purity(order: np.ndarray, clusters: np.ndarray, size: int) -> float:
    """Return in which share of the whole batches all rows are of one cluster."""
    whole = clusters[order[: len(order) // size * size]].reshape(-1, size)
    return float(np.mean([len(set(batch)) == 1 for batch in whole.tolist()]))


def test_each_row_comes_once_and_batches_are_of_one_cluster() -> None:
    clusters = np.repeat([0, 1, 2], [8, 5, 9])
    order = clustered_order(clusters, 4, np.random.default_rng(0))
    assert sorted(order.tolist()) == list(range(22))
    # Two batches of the first and the last cluster, one of the second; two rows are left over.
    assert sorted(len(set(clusters[order[start : start + 4]].tolist())) for start in range(0, 20, 4)) == [1] * 5
    assert _purity(order, clusters, 4) == 1.0
    other = clustered_order(clusters, 4, np.random.default_rng(1))
    assert other.tolist() != order.tolist()
    np.testing.assert_array_equal(clustered_order(clusters, 4, np.random.default_rng(1)), other)


def test_what_is_left_over_shares_batches() -> None:
    clusters = np.repeat(np.arange(6), 2)
    order = clustered_order(clusters, 4, np.random.default_rng(0))
    assert sorted(order.tolist()) == list(range(12))
    # Two whole clusters in each batch.
    assert [len(set(clusters[order[start : start + 4]].tolist())) for start in range(0, 12, 4)] == [2, 2, 2]
    assert sorted(clustered_order(clusters[:3], 8, np.random.default_rng(0)).tolist()) == [0, 1, 2]


def test_a_curriculum_begins_with_rows_at_random() -> None:
    assert [mixed_share(epoch, 8) for epoch in range(8)] == pytest.approx([1, 0.8, 0.6, 0.4, 0.2, 0, 0, 0])
    assert [mixed_share(epoch, 4) for epoch in range(4)] == [1, 0.5, 0, 0]
    assert [mixed_share(epoch, 2) for epoch in range(2)] == [0, 0]
    clusters = np.repeat(np.arange(50), 4)
    shares = [
        _purity(clustered_order(clusters, 4, np.random.default_rng(0), mixed=mixed), clusters, 4)
        for mixed in (0.0, 0.3, 1.0)
    ]
    assert shares[0] == 1.0
    assert shares[0] > shares[1] > shares[2]
    assert shares[2] < 0.1
    assert sorted(clustered_order(clusters, 4, np.random.default_rng(0), mixed=0.3).tolist()) == list(range(200))


def test_clusters_are_written(tmp_path: Path) -> None:
    write_clusters(tmp_path, 2, np.array([1, 0, 1]), np.array([0, 2, 1]), 2)
    written = json.loads((tmp_path / "clustering_idx" / "epoch_3.json").read_text("utf-8"))
    assert written == {"clusters": [1, 0, 1], "batches": [[0, 2], [1]]}


def test_an_order_is_a_sampler() -> None:
    rows = ClusteredRows(3)
    assert (list(rows), len(rows)) == ([0, 1, 2], 3)
    rows.order = np.array([2, 0, 1])
    assert list(rows) == [2, 0, 1]
