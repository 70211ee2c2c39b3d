"""The nearest of many vectors, by dot product."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from easytx.errors import ArgumentError, MissingExtraError
from easytx.retrieval.late import blocks_of_similarities

EXACT = "IndexFlatIP"

# Vectors that are compared with a batch of queries at once: bounds memory, whatever there is to search.
_BLOCK = 65536


class PassageIndex:
    """Vectors that can be searched.

    With faiss installed it searches; otherwise torch does, exactly, block by block, with the same results.
    """

    def __init__(
        self, vectors: np.ndarray, *, kind: str = EXACT, device: torch.device | None = None, strategy: str = "maxsim"
    ) -> None:
        """Take vectors.

        Args:
            vectors: Float32 of shape (passages, width); or of each passage several, as `stacked` gives them.
            kind: "IndexFlatIP", or what `faiss.index_factory` takes.
            device: Where torch searches; on a GPU it does, with faiss installed too.
            strategy: How several vectors compare, as for `late.similarities`.

        Raises:
            MissingExtraError: If another kind is asked for and faiss is not installed.
            ArgumentError: If faiss has no such index.
        """
        several = vectors.dtype == object
        self.vectors = vectors if several else np.ascontiguousarray(vectors, dtype=np.float32)
        self.device, self.strategy = device or torch.device("cpu"), strategy
        there = importlib.util.find_spec("faiss") is not None
        if kind != EXACT and not there:
            raise MissingExtraError.of("faiss-cpu", "retrieval", f"faiss_index_type='{kind}'")
        uses_faiss = there and not several and (kind != EXACT or self.device.type == "cpu")
        self._faiss = _faiss_index(self.vectors, kind) if uses_faiss else None

    def search(self, queries: np.ndarray, number: int, *, batch: int = 2048) -> tuple[np.ndarray, np.ndarray]:
        """Return the similarities and the places of the nearest vectors, each of shape (queries, number), best first.

        Args:
            queries: Of shape (queries, width), or of each several vectors.
            number: How many to find; fewer where there are fewer.
            batch: Queries that are searched for at once.
        """
        number = min(number, len(self.vectors))
        parts = [self._search(queries[start : start + batch], number) for start in range(0, len(queries), batch)]
        return np.concatenate([scores for scores, _ in parts]), np.concatenate([places for _, places in parts])

    def _search(self, queries: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
        if self._faiss is None:
            return nearest(queries, self.vectors, number, device=self.device, strategy=self.strategy)
        scores, places = self._faiss.search(np.ascontiguousarray(queries, dtype=np.float32), number)
        return scores, places


def stacked(values: Sequence[np.ndarray]) -> np.ndarray:
    """Return the vectors of texts as an array of shape (texts, width); of several each, as an array of arrays."""
    if values[0].ndim == 1:
        return np.stack(values)
    several = np.empty(len(values), dtype=object)
    for place, vectors in enumerate(values):
        several[place] = vectors
    return several


def centres(vectors: np.ndarray) -> np.ndarray:
    """Return one vector of each text, of shape (texts, width): where it has several, their mean."""
    return np.stack([several.mean(axis=0) for several in vectors]) if vectors.dtype == object else vectors


def compared(queries: np.ndarray, vectors: np.ndarray, *, device: torch.device, strategy: str = "maxsim") -> np.ndarray:
    """Return how near each passage is to each query, of shape (queries, passages), from their vectors."""
    parts = [scores.cpu().numpy() for _, scores in _similarities(queries, vectors, device, strategy)]
    return np.concatenate(parts, axis=1)


def nearest(
    queries: np.ndarray, vectors: np.ndarray, number: int, *, device: torch.device, strategy: str = "maxsim"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the similarities and the places of the nearest vectors, found exactly, as `PassageIndex.search` does."""
    best: torch.Tensor | None = None
    places: torch.Tensor | None = None
    for start, scores in _similarities(queries, vectors, device, strategy):
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
    queries: np.ndarray,
    vectors: np.ndarray,
    places: np.ndarray,
    scale: float,
    *,
    device: torch.device,
    strategy: str = "maxsim",
) -> np.ndarray:
    """Return, per query, minus the logarithm of the probability of one vector in a softmax over all.

    Args:
        queries: Of shape (queries, width), or of each several vectors.
        vectors: Of shape (passages, width), or of each several.
        places: Which vector is asked for, of shape (queries,).
        scale: What similarities are multiplied by.
        device: Where to compute.
        strategy: How several vectors compare.
    """
    totals = []
    asked = torch.from_numpy(places).to(device)
    own = torch.zeros(len(places), device=device)
    for start, scores in _similarities(queries, vectors, device, strategy):
        totals.append(torch.logsumexp(scores * scale, dim=1))
        here = ((asked >= start) & (asked < start + scores.shape[1])).nonzero().squeeze(1)
        own[here] = scores[here, asked[here] - start]
    lost: np.ndarray = (torch.logsumexp(torch.stack(totals), dim=0) - scale * own).cpu().numpy()
    return lost.clip(min=0.0)


def _similarities(
    queries: np.ndarray, vectors: np.ndarray, device: torch.device, strategy: str
) -> Iterator[tuple[int, torch.Tensor]]:
    if vectors.dtype == object:
        yield from blocks_of_similarities([*queries], [*vectors], strategy, device)
        return
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
