"""Passages that answer a query, found by their vectors."""

from easytx.retrieval.args import RetrievalArgs
from easytx.retrieval.model import RetrievalModel

__all__ = ["RetrievalArgs", "RetrievalModel"]
