"""Checkpoints of DPR, as the encoders that they hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from easytx.core import loading
from easytx.errors import CheckpointError

_CLASSES = ("DPRContextEncoder", "DPRQuestionEncoder")


def bert_config(config: Any, name: str) -> Any:
    """Return the configuration of the BERT inside a checkpoint of DPR.

    A vector of DPR is that of BERT's first token. Alone, and as BERT, the encoder opens everywhere.

    Raises:
        CheckpointError: If the vector is projected, or the checkpoint is a reader.
    """
    from transformers import BertConfig

    wrong = [kind for kind in config.architectures or () if kind not in _CLASSES]
    if wrong or config.projection_dim > 0:
        reason = f"a {wrong[0]}" if wrong else f"one with a projection to {config.projection_dim} dimensions"
        raise CheckpointError(
            f"'{name}' is a checkpoint of DPR, but {reason}. RetrievalModel takes {' and '.join(_CLASSES)} without one."
        )
    known = BertConfig().to_dict()
    values = {key: value for key, value in config.to_dict().items() if key in known and key != "model_type"}
    return BertConfig(**{**values, "architectures": ["BertModel"]})


def bert_of_dpr(class_name: str, name: str, config: Any, *, options: Mapping[str, Any]) -> Any:
    """Return the BERT inside a checkpoint of DPR, in float32.

    Args:
        class_name: What the checkpoint is.
        name: A folder or a hub name.
        config: The configuration of the BERT.
        options: For `from_pretrained`.
    """
    import transformers

    with loading.quiet():
        encoder = getattr(transformers, class_name).from_pretrained(name, dtype=torch.float32, **options)
    inner = getattr(encoder, encoder.base_model_prefix).bert_model
    bert = transformers.BertModel(config, add_pooling_layer=False)
    bert.load_state_dict(inner.state_dict())
    return bert.eval()
