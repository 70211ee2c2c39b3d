"""The nearest of many vectors, by dot product."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from easytx.errors import ArgumentError, MissingExtraError

EXACT = "IndexFlatIP"

# Vectors that are compared with a batch of queries at once: bounds memory, whatever there is to search.
_BLOCK = 65536


class PassageIndex:
    """Vectors that can be searched.

    With faiss installed it searches; otherwise torch does, exactly, block by block, with the same results.
    """

    def __init__(self, vectors: np.ndarray, *, kind: str = EXACT, device: torch.device | None = None) -> None:
        """Take vectors, float32 of shape (passages, width).

        Args:
            vectors: The vectors.
            kind: "IndexFlatIP", or what `faiss.index_factory` takes.
            device: Where torch searches; on a GPU it does, with faiss installed too.

        Raises:
            MissingExtraError: If another kind is asked for and faiss is not installed.
            ArgumentError: If faiss has no such index.
        """
        self.vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        self.device = device or torch.device("cpu")
        there = importlib.util.find_spec("faiss") is not None
        if kind != EXACT and not there:
            raise MissingExtraError.of("faiss-cpu", "retrieval", f"faiss_index_type='{kind}'")
        uses_faiss = there and (kind != EXACT or self.device.type == "cpu")
        self._faiss = _faiss_index(self.vectors, kind) if uses_faiss else None

    def search(self, queries: np.ndarray, number: int, *, batch: int = 2048) -> tuple[np.ndarray, np.ndarray]:
        """Return the similarities and the places of the nearest vectors, each of shape (queries, number), best first.

        Args:
            queries: Of shape (queries, width).
            number: How many to find; fewer where there are fewer.
            batch: Queries that are searched for at once.
        """
        number = min(number, len(self.vectors))
        parts = [self._search(queries[start : start + batch], number) for start in range(0, len(queries), batch)]
        return np.concatenate([scores for scores, _ in parts]), np.concatenate([places for _, places in parts])

    def _search(self, queries: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
        if self._faiss is None:
            return nearest(queries, self.vectors, number, device=self.device)
        scores, places = self._faiss.search(np.ascontiguousarray(queries, dtype=np.float32), number)
        return scores, places


def nearest(
    queries: np.ndarray, vectors: np.ndarray, number: int, *, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """Return the similarities and the places of the nearest vectors, found exactly, as `PassageIndex.search` does."""
    best: torch.Tensor | None = None
    places: torch.Tensor | None = None
    for start, scores in _similarities(queries, vectors, device):
        top = scores.topk(min(number, scores.shape[1]), dim=1)
        found = top.indices + start
        best = top.values if best is None else torch.cat([best, top.values], dim=1)
        places = found if places is None else torch.cat([places, found], dim=1)
        kept = best.topk(min(number, best.shape[1]), dim=1)
        best, places = kept.values, places.gather(1, kept.indices)
    if best is None or places is None:
        return np.zeros((len(queries), 0), dtype=np.float32), np.zeros((len(queries), 0), dtype=np.int64)
    return best.cpu().numpy(), places.cpu().numpy()


def surprise(
    queries: np.ndarray, vectors: np.ndarray, places: np.ndarray, scale: float, *, device: torch.device
) -> np.ndarray:
    """Return, per query, minus the logarithm of the probability of one vector in a softmax over all.

    Args:
        queries: Of shape (queries, width).
        vectors: Of shape (passages, width).
        places: Which vector is asked for, of shape (queries,).
        scale: What similarities are multiplied by.
        device: Where to compute.
    """
    totals = [torch.logsumexp(scores * scale, dim=1) for _, scores in _similarities(queries, vectors, device)]
    total = torch.logsumexp(torch.stack(totals), dim=0).cpu().numpy()
    lost: np.ndarray = total - scale * (queries * vectors[places]).sum(axis=1)
    return lost.clip(min=0.0)


def _similarities(queries: np.ndarray, vectors: np.ndarray, device: torch.device) -> Iterator[tuple[int, torch.Tensor]]:
    ours = torch.from_numpy(np.ascontiguousarray(queries, dtype=np.float32)).to(device)
    for start in range(0, len(vectors), _BLOCK):
        yield start, ours @ torch.from_numpy(vectors[start : start + _BLOCK]).to(device).T


def _faiss_index(vectors: np.ndarray, kind: str) -> Any:
    import faiss

    try:
        wanted = "Flat" if kind == EXACT else kind
        index = faiss.index_factory(vectors.shape[1], wanted, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise ArgumentError(f"faiss_index_type is '{kind}', which faiss.index_factory does not take.") from error
    if not index.is_trained:
        index.train(vectors)
    index.add(vectors)
    return index
