"""Two encoders, or one twice, as one network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from easytx.retrieval.encoders import reading_part
from easytx.training.pooling import mean_of_tokens, token_at


class DualEncoderConfig(PreTrainedConfig):
    """What the two encoders have in common; each has its own configuration beside."""

    model_type = "dual_encoder"

    def __init__(
        self,
        pooling: str = "cls",
        similarity: str = "dot_product",
        tied: bool = False,
        vectors: str = "one",
        heads: int = 1,
        query_vectors: int | None = None,
        first_tokens: int = 1,
        strategy: str = "maxsim",
        **kwargs: Any,
    ) -> None:
        """Take how a text gets its vector, or several, how they compare, and whether the encoders are one."""
        self.pooling, self.similarity, self.tied = pooling, similarity, tied
        self.vectors, self.heads, self.strategy = vectors, heads, strategy
        self.query_vectors, self.first_tokens = query_vectors, first_tokens
        super().__init__(**kwargs)


class DualEncoder(PreTrainedModel):
    """Encodes queries and passages; its logits are the similarities of each query with each passage.

    Attributes:
        output_dropout: Probability of the dropout of vectors while training.
    """

    config_class = DualEncoderConfig
    base_model_prefix = ""
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    output_dropout: float = 0.0

    def __init__(self, config: DualEncoderConfig, query_encoder: Any, context_encoder: Any) -> None:
        """Take the encoders with their weights; of a tied network the second is the first."""
        super().__init__(config)
        self.query_encoder = query_encoder
        self.context_encoder = query_encoder if config.tied else context_encoder

    def forward(
        self,
        query_input_ids: torch.Tensor,
        query_attention_mask: torch.Tensor,
        passage_input_ids: torch.Tensor,
        passage_attention_mask: torch.Tensor,
    ) -> SequenceClassifierOutput:
        """Return the similarities, of shape (queries, passages), as logits."""
        queries = self._encoded("query_encoder", query_input_ids, query_attention_mask)
        passages = self._encoded("context_encoder", passage_input_ids, passage_attention_mask)
        # In half precision a long product of two vectors would keep two digits.
        with torch.autocast(queries.device.type, enabled=False):
            return SequenceClassifierOutput(logits=self.similarities(queries, passages))

    def kept(self, part: str, outputs: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor | Sequence[torch.Tensor]:
        """Return the vectors of a batch of a part's texts, float32, of shape (texts, width) or without padding."""
        return self.scaled(self.pooled(part, outputs, batch))

    def similarities(self, queries: torch.Tensor, passages: torch.Tensor) -> torch.Tensor:
        """Return how near each passage is to each query, of shape (queries, passages), from their vectors."""
        return queries @ passages.T

    def pooled(self, part: str, outputs: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the vector of each text, or its vectors, of any length."""
        states, mask = outputs.last_hidden_state, batch["attention_mask"]
        if self.config.pooling == "mean":
            return mean_of_tokens(states, mask)
        return token_at(states, mask, 0 if self.config.pooling == "cls" else -1)

    def scaled(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return vectors with the length 1, where it is cosines that compare them."""
        return functional.normalize(vectors, dim=-1) if self.config.similarity == "cosine" else vectors

    def padded(self, part: str, vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return vectors with what `similarities` needs in place of padding."""
        return vectors

    def reader(self, part: str) -> Any:
        """Return what reads the texts of a part, "query_encoder" or "context_encoder"."""
        return reading_part(getattr(self, part))

    def _encoded(self, part: str, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        batch = {"input_ids": input_ids, "attention_mask": attention_mask}
        pooled = self.pooled(part, self.reader(part)(**batch), batch)
        scaled = self.scaled(functional.dropout(pooled, self.output_dropout, self.training))
        return self.padded(part, scaled, attention_mask)
