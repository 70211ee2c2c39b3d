"""Batches of rows that are alike, whose passages are hard to tell apart.

Source:
    Hofstätter et al. 2021, "Efficiently Teaching an Effective Dense Retriever with Balanced Topic Aware Sampling",
    https://arxiv.org/abs/2104.06967
"""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Sampler

from easytx.config.model_args import ModelArgs

# Rounds of k-means.
_ROUNDS = 20

# The share of the epochs in which a curriculum still has rows at random.
_MIXED_EPOCHS = 0.75


class ClusteredRows(Sampler[int]):
    """An order of rows in which those of a batch are alike.

    Attributes:
        order: The present one, of shape (rows,).
    """

    def __init__(self, rows: int) -> None:
        """Take the number of rows."""
        self.order = np.arange(rows)

    def __iter__(self) -> Iterator[int]:
        """Return the row numbers in their order."""
        return iter(self.order.tolist())

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.order)


def number_of_clusters(args: ModelArgs, rows: int) -> int:
    """Return `kmeans_k`, or else as many clusters as there are whole batches of these rows."""
    wanted = args["kmeans_k"] if args["kmeans_k"] > 0 else rows // args.train_batch_size
    return max(min(wanted, rows), 1)


def clusters_of(vectors: np.ndarray, args: ModelArgs, *, seed: int) -> np.ndarray:
    """Return the cluster of each vector, by k-means, of shape (rows,).

    Args:
        vectors: Of shape (rows, width).
        args: For `kmeans_k`, `cluster_train_size` and `faiss_clustering`.
        seed: Of the first centres, and of which rows the clusters are looked for among.
    """
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    looked_at = vectors
    if args["cluster_train_size"] is not None:
        size = args["cluster_train_size"]
        size = max(int(size * len(vectors) if size < 1 else min(size, len(vectors))), 1)
        looked_at = vectors[np.random.default_rng(seed).permutation(len(vectors))[:size]]
    # There are no more clusters than there are different vectors.
    number = min(number_of_clusters(args, len(vectors)), len(np.unique(looked_at, axis=0)))
    if args["faiss_clustering"] and importlib.util.find_spec("faiss") is not None:
        return _by_faiss(vectors, looked_at, number, seed)
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    means = MiniBatchKMeans(number, batch_size=max(1024, 3 * number), max_iter=_ROUNDS, n_init=1, random_state=seed)
    with warnings.catch_warnings():
        # Said where vectors are equal but for their last digits.
        warnings.simplefilter("ignore", ConvergenceWarning)
        found: np.ndarray = means.fit(looked_at).predict(vectors)
    return found


def _by_faiss(vectors: np.ndarray, looked_at: np.ndarray, number: int, seed: int) -> np.ndarray:
    import faiss

    means = faiss.Kmeans(vectors.shape[1], number, niter=_ROUNDS, seed=seed, min_points_per_centroid=1)
    means.train(looked_at)
    _, found = means.index.search(vectors, 1)
    clusters: np.ndarray = found[:, 0]
    return clusters


def clustered_order(
    clusters: np.ndarray, batch_size: int, draw: np.random.Generator, *, mixed: float = 0.0
) -> np.ndarray:
    """Return a random order of the rows in which the rows of a batch are of one cluster.

    What of a cluster does not fill a batch shares batches with what is left over of others. An incomplete batch, if
    there is one, comes last.

    Args:
        clusters: The cluster of each row, of shape (rows,).
        batch_size: Rows of a batch.
        draw: The source of randomness.
        mixed: The share of the rows, chosen at random, that change places among themselves.
    """
    shuffled = draw.permutation(len(clusters))
    parts = [shuffled[clusters[shuffled] == cluster] for cluster in draw.permutation(np.unique(clusters))]
    whole = [part[: len(part) - len(part) % batch_size] for part in parts]
    left_over = [part[len(part) - len(part) % batch_size :] for part in parts]
    order = np.concatenate([*whole, *left_over])
    moved = draw.permutation(len(order))[: round(mixed * len(order))]
    order[moved] = order[draw.permutation(moved)]
    filled = len(order) - len(order) % batch_size
    batches = draw.permutation(order[:filled].reshape(-1, batch_size))
    return np.concatenate([batches.ravel(), order[filled:]])


def mixed_share(epoch: int, epochs: int) -> float:
    """Return which share of the rows has places at random in an epoch, counted from 0, of a curriculum.

    It falls evenly from all of them to none in the first three quarters of the epochs.
    """
    last = int(_MIXED_EPOCHS * epochs) - 1
    return max(1 - epoch / last, 0.0) if last > 0 else 0.0


def agreed(order: np.ndarray) -> np.ndarray:
    """Return the order that the first process has, where several train together."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return order
    theirs = [order]
    torch.distributed.broadcast_object_list(theirs)
    return theirs[0]


def write_clusters(folder: Path, epoch: int, clusters: np.ndarray, order: np.ndarray, batch_size: int) -> None:
    """Write the cluster of each row, and the row numbers of each batch, as `clustering_idx/epoch_<n>.json`."""
    batches = [order[start : start + batch_size].tolist() for start in range(0, len(order), batch_size)]
    path = folder / "clustering_idx" / f"epoch_{epoch + 1}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"clusters": clusters.tolist(), "batches": batches}) + "\n", encoding="utf-8")
