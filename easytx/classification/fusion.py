"""The network that reads a text and an image together, as a model of transformers."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTextEncoding,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import SequenceClassifierOutput

__all__ = [
    "TextImageConfig",
    "TextImageForSequenceClassification",
    "encoder_class",
    "encoder_options",
    "network_class",
    "width_of",
]


class TextImageConfig(PreTrainedConfig):
    """Configuration of a text encoder, a vision encoder and what joins them.

    Args:
        text_config: Of the text encoder; any of transformers.
        vision_config: Of the vision encoder; any of transformers that reads `pixel_values`.
        num_image_embeds: Regions that an image is summed up in, from top to bottom.
        classifier_dropout: Dropout before the last layer.
        initializer_range: Standard deviation of the new weights.
        **kwargs: For `PreTrainedConfig`, such as `num_labels`.
    """

    model_type = "text-image"
    sub_configs: ClassVar[dict[str, Any]] = {"text_config": AutoConfig, "vision_config": AutoConfig}

    def __init__(
        self,
        text_config: PreTrainedConfig | Mapping[str, Any] | None = None,
        vision_config: PreTrainedConfig | Mapping[str, Any] | None = None,
        num_image_embeds: int = 1,
        classifier_dropout: float = 0.1,
        initializer_range: float = 0.02,
        **kwargs: Any,
    ) -> None:
        self.text_config = _config(text_config, "bert")
        self.vision_config = _config(vision_config, "vit")
        self.num_image_embeds = num_image_embeds
        self.classifier_dropout = classifier_dropout
        self.initializer_range = initializer_range
        super().__init__(**kwargs)


class TextImageForSequenceClassification(PreTrainedModel):
    """A text encoder and a vision encoder side by side, and a head that reads what both have found.

    The text is the mean over its tokens. The image is the mean over each of `num_image_embeds` regions, taken to the
    width of the text by a linear layer. The head reads both and their product, number by number, which was the strong
    baseline of visual question answering (Antol et al. 2015, "VQA: Visual Question Answering").
    """

    config_class = TextImageConfig
    base_model_prefix = ""
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True

    def __init__(self, config: TextImageConfig, text_model: Any = None, vision_model: Any = None) -> None:
        super().__init__(config)
        self.num_labels = int(config.num_labels or 2)
        self.text_model = _encoder(config.text_config) if text_model is None else text_model
        self.vision_model = _encoder(config.vision_config) if vision_model is None else vision_model
        width, seen = width_of(config.text_config), width_of(config.vision_config)
        self.image_norm = nn.LayerNorm(seen)
        self.image_projection = nn.Linear(seen * config.num_image_embeds, width)
        self.dense = nn.Linear(3 * width, width)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(width, self.num_labels)
        self.post_init()  # type: ignore[no-untyped-call]

    def get_input_embeddings(self) -> nn.Module:
        """Return the text encoder's table of token embeddings."""
        embeddings: nn.Module = self.text_model.get_input_embeddings()
        return embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Give the text encoder another table of token embeddings."""
        self.text_model.set_input_embeddings(value)

    def image_features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Return what is seen in each image, of shape (rows, width)."""
        seen = self.vision_model(pixel_values=pixel_values).last_hidden_state
        # Convolutional encoders give (rows, channels, height, width), transformers (rows, patches, channels).
        regions = seen.flatten(2) if seen.dim() == 4 else seen.transpose(1, 2)
        regions = nn.functional.adaptive_avg_pool1d(regions, self.config.num_image_embeds)
        features: torch.Tensor = self.image_projection(self.image_norm(regions.transpose(1, 2)).flatten(1))
        return features

    def text_features(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **inputs: Any) -> torch.Tensor:
        """Return the mean over the tokens of each text, padding left out, of shape (rows, width)."""
        hidden = self.text_model(input_ids=input_ids, attention_mask=attention_mask, **inputs).last_hidden_state
        kept = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean: torch.Tensor = (hidden * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1)
        return mean

    def forward(
        self,
        input_ids: torch.Tensor,
        pixel_values: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Return logits of shape (rows, labels), and with labels the loss that `problem_type` asks for.

        Args:
            input_ids: Of shape (rows, tokens).
            pixel_values: Of shape (rows, channels, height, width).
            attention_mask: 1 for tokens, 0 for padding, of shape (rows, tokens).
            token_type_ids: For text encoders that have them, of shape (rows, tokens).
            labels: Label ids of shape (rows,), or 0 and 1 of shape (rows, labels), or numbers of shape (rows,).
        """
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        text, image = self.text_features(input_ids, mask, **types), self.image_features(pixel_values)
        both = torch.cat([text, image, text * image], dim=-1)
        logits = self.classifier(self.dropout(nn.functional.gelu(self.dense(both))))
        loss = None if labels is None else self._loss(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if self.config.problem_type == "regression":
            return nn.functional.mse_loss(logits.squeeze(-1), labels.to(logits.dtype))
        if self.config.problem_type == "multi_label_classification":
            return nn.functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
        return nn.functional.cross_entropy(logits, labels)


def encoder_class(config: PreTrainedConfig) -> Any:
    """Return the Auto class that gives an encoder of this configuration, without a decoder where it has one."""
    return AutoModelForTextEncoding if type(config) in AutoModelForTextEncoding._model_mapping else AutoModel


def encoder_options(config: PreTrainedConfig) -> dict[str, Any]:
    """Return what leaves out a pooling layer that nothing would read."""
    kind = network_class(config)
    takes = kind is not None and "add_pooling_layer" in inspect.signature(kind.__init__).parameters
    return {"add_pooling_layer": False} if takes else {}


def network_class(config: PreTrainedConfig) -> Any:
    """Return the class of transformers that is the encoder of this configuration, or None where there is none."""
    found = encoder_class(config)._model_mapping.get(type(config), None)
    return found[0] if isinstance(found, (list, tuple)) else found


def _encoder(config: PreTrainedConfig) -> Any:
    return encoder_class(config).from_config(config, **encoder_options(config))


def _config(given: PreTrainedConfig | Mapping[str, Any] | None, default: str) -> PreTrainedConfig:
    if isinstance(given, PreTrainedConfig):
        return given
    values = dict(given or {})
    config: PreTrainedConfig = AutoConfig.for_model(values.pop("model_type", default), **values)
    return config


def width_of(config: PreTrainedConfig) -> int:
    """Return the channels of what an encoder gives last; 0 where its configuration does not say."""
    sizes = getattr(config, "hidden_sizes", None)
    return int(sizes[-1] if sizes else getattr(config, "hidden_size", 0))


AutoConfig.register(TextImageConfig.model_type, TextImageConfig)
AutoModelForSequenceClassification.register(TextImageConfig, TextImageForSequenceClassification)
