"""Texts with several vectors each, which are compared one by one: late interaction.

Sources:
    Khattab and Zaharia 2020, "ColBERT: Efficient and Effective Passage Search via Contextualized Late Interaction over
    BERT", https://arxiv.org/abs/2004.12832: each vector of a query with the nearest of a passage, added up (maxsim)
    Luan et al. 2021, "Sparse, Dense, and Attentional Representations for Text Retrieval",
    https://arxiv.org/abs/2005.00181: the nearest of all (max)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from typing_extensions import override

from easytx.config.model_args import ModelArgs
from easytx.errors import ArgumentError, CheckpointError
from easytx.retrieval.network import DualEncoder
from easytx.training.inference import trimmed

# Similarities of single vectors that are computed at once: a quarter of a gigabyte.
_PAIRS = 2**26


def kind_of_vectors(args: ModelArgs) -> str:
    """Return what vectors a text gets: "one", a "long" one, or one per "token" or "head".

    Raises:
        ArgumentError: If two of these are asked for, or one that something else does not fit.
    """
    kinds = {"multi_vector_query": "token", "multi_head_vectors": "head", "larger_representations": "long"}
    wanted = [name for name in kinds if args[name]]
    if len(wanted) > 1:
        raise ArgumentError(f"{wanted[0]} and {wanted[1]} are two ways of comparing texts. Set one of them.")
    if wanted == ["larger_representations"]:
        _check_long(args)
    elif wanted and args["faiss_index_type"] != "IndexFlatIP":
        raise ArgumentError(
            f"faiss_index_type is '{args['faiss_index_type']}', but with {wanted[0]} a text has several vectors, which "
            "are searched exactly. Leave it out."
        )
    return kinds[wanted[0]] if wanted else "one"


def _check_long(args: ModelArgs) -> None:
    if not args["extra_cls_token_count"]:
        raise ArgumentError(
            "larger_representations puts the vectors of several first tokens in a row, but there is one. Set "
            "extra_cls_token_count to 1 or more."
        )
    if args["mean_pooling"] or args["pooling"] not in ("auto", "cls"):
        raise ArgumentError(
            "larger_representations takes the vectors of the first tokens: leave out pooling and mean_pooling."
        )


def heads_of(config: Any, name: str) -> int:
    """Return into how many vectors that of a text is split.

    Raises:
        CheckpointError: If they would not be of one width.
    """
    heads = int(config.num_attention_heads)
    if config.hidden_size % heads:
        raise CheckpointError(
            f"multi_head_vectors splits a vector by attention heads, but '{name}' has {heads} heads and a width of "
            f"{config.hidden_size}. Leave multi_head_vectors out, or take another checkpoint."
        )
    return heads


def similarities(queries: torch.Tensor, passages: torch.Tensor, strategy: str) -> torch.Tensor:
    """Return how near each passage is to each query, of shape (queries, passages).

    Args:
        queries: Of shape (queries, vectors, width); zeros count for nothing.
        passages: Of shape (passages, vectors, width); a vector may stand there twice.
        strategy: "maxsim": the sum, over the vectors of a query, of the similarity with the nearest of a passage;
            "minmax": of that and of the similarity with the farthest one; "max": that of the nearest pair.
    """
    (number, several, width), found = queries.shape, passages.shape[:2]
    pairs = (queries.reshape(-1, width) @ passages.reshape(-1, width).T).view(number, several, *found)
    nearest = pairs.amax(dim=3)
    if strategy == "max":
        return nearest.amax(dim=1)
    return (nearest + pairs.amin(dim=3) if strategy == "minmax" else nearest).sum(dim=1)


def blocks_of_similarities(
    queries: Sequence[np.ndarray], passages: Sequence[np.ndarray], strategy: str, device: torch.device
) -> Iterator[tuple[int, torch.Tensor]]:
    """Return the similarities of queries with a part of the passages at a time, and where the part begins.

    Args:
        queries: Of each, its vectors, of shape (vectors, width).
        passages: The same.
        strategy: As for `similarities`.
        device: Where to compute.
    """
    ours = pad_sequence([torch.from_numpy(query) for query in queries], batch_first=True).to(device)
    of_a_query = ours.shape[1] * max(map(len, passages))
    rows = max(_PAIRS // of_a_query, 1)
    step = max(_PAIRS // (min(rows, len(ours)) * of_a_query), 1)
    for start in range(0, len(passages), step):
        part = [torch.from_numpy(passage) for passage in passages[start : start + step]]
        theirs = pad_sequence(part, batch_first=True)
        sizes = torch.tensor([len(passage) for passage in part])
        there = torch.arange(theirs.shape[1]) < sizes[:, None]
        theirs = repeated(theirs, there).to(device)
        yield start, torch.cat([similarities(some, theirs, strategy) for some in ours.split(rows)])


def repeated(passages: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """Return passages with their first vector in place of padding, which changes neither the nearest nor the farthest.

    Args:
        passages: Of shape (passages, vectors, width).
        there: Which vectors are no padding, of shape (passages, vectors).
    """
    return torch.where(there.bool().unsqueeze(-1), passages, passages[:, :1])


class SeveralVectors(DualEncoder):
    """Two encoders that give a text one vector per token, or that split its vector into one per head."""

    @override
    def pooled(self, part: str, outputs: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        if self.config.vectors == "head":
            whole = super().pooled(part, outputs, batch)
            return whole.view(len(whole), self.config.heads, -1)
        states: torch.Tensor = outputs.last_hidden_state
        return states[:, : self.config.query_vectors if part == "query_encoder" else None].float()

    @override
    def padded(self, part: str, vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self.config.vectors == "head":
            return vectors
        there = mask[:, : vectors.shape[1]]
        return vectors * there.unsqueeze(-1) if part == "query_encoder" else repeated(vectors, there)

    @override
    def kept(self, part: str, outputs: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor | Sequence[torch.Tensor]:
        vectors = super().kept(part, outputs, batch)
        if self.config.vectors == "head" or not isinstance(vectors, torch.Tensor):
            return vectors
        return trimmed(vectors, batch["attention_mask"][:, : vectors.shape[1]])

    @override
    def similarities(self, queries: torch.Tensor, passages: torch.Tensor) -> torch.Tensor:
        return similarities(queries, passages, self.config.strategy)
