"""Retrievers that learn from passages alone."""

from easytx.pretrain_retrieval.model import PretrainRetrievalModel
from easytx.retrieval.args import RetrievalArgs

__all__ = ["PretrainRetrievalModel", "RetrievalArgs"]
