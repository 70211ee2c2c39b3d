"""Two encoders, or one twice, as one network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from easytx.training.pooling import mean_of_tokens, token_at


class DualEncoderConfig(PreTrainedConfig):
    """What the two encoders have in common; each has its own configuration beside."""

    model_type = "dual_encoder"

    def __init__(
        self, pooling: str = "cls", similarity: str = "dot_product", tied: bool = False, **kwargs: Any
    ) -> None:
        """Take how a text gets its vector, how vectors compare, and whether the encoders are one."""
        self.pooling, self.similarity, self.tied = pooling, similarity, tied
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
        queries = self._encoded(self.query_encoder, query_input_ids, query_attention_mask)
        passages = self._encoded(self.context_encoder, passage_input_ids, passage_attention_mask)
        # In half precision a long product of two vectors would keep two digits.
        with torch.autocast(queries.device.type, enabled=False):
            return SequenceClassifierOutput(logits=queries @ passages.T)

    def vectors(self, outputs: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the vectors of a batch of texts, float32 of shape (texts, width), from an encoder's output."""
        return self._scaled(self._pooled(outputs.last_hidden_state, batch["attention_mask"]))

    def _pooled(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self.config.pooling == "mean":
            return mean_of_tokens(states, mask)
        return token_at(states, mask, 0 if self.config.pooling == "cls" else -1)

    def _scaled(self, vectors: torch.Tensor) -> torch.Tensor:
        return functional.normalize(vectors, dim=-1) if self.config.similarity == "cosine" else vectors

    def _encoded(self, encoder: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        states = encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        pooled = self._pooled(states, attention_mask)
        return self._scaled(functional.dropout(pooled, self.output_dropout, self.training))
