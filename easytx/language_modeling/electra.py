"""ELECTRA: a generator that fills in masked tokens, and a discriminator that tells which tokens it has replaced.

Clark et al. 2020, "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators",
https://arxiv.org/abs/2003.10555
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import AutoConfig, ElectraConfig, ElectraForMaskedLM, ElectraForPreTraining, PreTrainedModel
from transformers.utils.generic import ModelOutput

from easytx.core import loading
from easytx.errors import ArgumentError
from easytx.language_modeling.masking import IGNORED

GENERATOR, DISCRIMINATOR = "generator_model", "discriminator_model"
_TABLES = ("word_embeddings", "position_embeddings", "token_type_embeddings")


@dataclass
class PairOutput(ModelOutput):
    """What the two networks say.

    Attributes:
        loss: The generator's loss plus the weighted one of the discriminator.
        logits: The generator's, of shape (rows, tokens, vocabulary).
        replaced_logits: The discriminator's, of shape (rows, tokens).
        replaced: Which tokens the discriminator did not see as they were, of shape (rows, tokens).
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    replaced_logits: torch.Tensor | None = None
    replaced: torch.Tensor | None = None


class ElectraPair(PreTrainedModel):
    """Generator and discriminator as one network.

    Args:
        generator: Of transformers.
        discriminator: Of transformers.
        weight: Of the discriminator's loss.
        tied: Whether the two share their embeddings.

    Raises:
        ArgumentError: If the two do not fit together.
    """

    config_class = ElectraConfig
    base_model_prefix = "discriminator_model"
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(
        self, generator: ElectraForMaskedLM, discriminator: ElectraForPreTraining, *, weight: float, tied: bool
    ) -> None:
        super().__init__(discriminator.config)
        self.generator_model, self.discriminator_model = generator, discriminator
        self.weight = weight
        if tied:
            self._share_embeddings()

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> PairOutput:
        """Return the loss of both, and what each says.

        Args:
            input_ids: With masked tokens, of shape (rows, tokens).
            attention_mask: 1 for tokens, 0 for padding.
            token_type_ids: As the tokenizer gives them.
            labels: The masked tokens, and -100 elsewhere; None gives no loss.
        """
        rest = {"attention_mask": attention_mask, "token_type_ids": token_type_ids}
        logits = self.generator_model(input_ids=input_ids, **rest).logits
        if labels is None:
            return PairOutput(logits=logits)
        asked = labels != IGNORED
        true_ids = torch.where(asked, labels, input_ids)
        shown = self._filled_in(logits.detach(), true_ids, asked)
        replaced = shown != true_ids
        replaced_logits = self.discriminator_model(input_ids=shown, **rest).logits
        # The sum over no token, which is 0, and not torch's mean, which is NaN.
        guessed = functional.cross_entropy(logits[asked].float(), labels[asked], reduction="sum")
        told = functional.binary_cross_entropy_with_logits(replaced_logits.float(), replaced.float(), reduction="none")
        seen = torch.ones_like(told) if attention_mask is None else attention_mask.to(told.dtype)
        loss = guessed / asked.sum().clamp(min=1) + self.weight * (told * seen).sum() / seen.sum()
        return PairOutput(loss, logits, replaced_logits, replaced)

    def get_input_embeddings(self) -> nn.Module:
        """Return the discriminator's embeddings."""
        return self.discriminator_model.get_input_embeddings()

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> Any:
        """Give both networks so many tokens, and share the embeddings again where they were shared."""
        tied = self.generator_model.get_input_embeddings().weight is self.get_input_embeddings().weight
        self.generator_model.resize_token_embeddings(*args, **kwargs)
        embeddings = self.discriminator_model.resize_token_embeddings(*args, **kwargs)
        if tied:
            self._share_embeddings()
        return embeddings

    def _init_weights(self, module: nn.Module) -> None:
        """Leave the weights of the two networks as they are."""

    def _filled_in(self, logits: torch.Tensor, true_ids: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
        """Return the tokens with a draw from the generator's distribution where it was asked (Gumbel's trick)."""
        chosen = logits[asked].float()
        noise = -torch.log(-torch.log(self._uniform(chosen, true_ids, asked).clamp(1e-9, 1 - 1e-7)))
        return true_ids.masked_scatter(asked, (chosen + noise).argmax(dim=-1))

    def _uniform(self, like: torch.Tensor, true_ids: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
        """Return random numbers; in evaluation the same ones for the same row, whatever its batch."""
        if self.training:
            return torch.rand_like(like)
        parts = []
        for ids, places in zip(true_ids.cpu(), asked.cpu(), strict=True):
            generator = torch.Generator().manual_seed(int(ids[places].sum()))
            parts.append(torch.rand((int(places.sum()), like.shape[-1]), generator=generator))
        return torch.cat(parts).to(like.device)

    def _share_embeddings(self) -> None:
        mine, theirs = (part.electra.embeddings for part in (self.generator_model, self.discriminator_model))
        for name in _TABLES:
            if getattr(mine, name).weight.shape != getattr(theirs, name).weight.shape:
                shapes = [tuple(getattr(part, name).weight.shape) for part in (mine, theirs)]
                raise ArgumentError(
                    f"Generator and discriminator cannot share their {name}, which are of the shapes {shapes[0]} and "
                    f"{shapes[1]}. Give both the same embedding_size, vocabulary and positions, or set "
                    "tie_generator_and_discriminator_embeddings=False."
                )
            getattr(theirs, name).weight = getattr(mine, name).weight
        # The generator's output layer is its table of words.
        self.generator_model.tie_weights()


def part_names(source: str | None, generator: str | None, discriminator: str | None) -> tuple[str, str] | None:
    """Return where generator and discriminator come from; None for a model of one network.

    Raises:
        ArgumentError: If one of the two is not named.
    """
    if source is not None and all(
        (Path(source) / part / "config.json").is_file() for part in (GENERATOR, DISCRIMINATOR)
    ):
        return str(Path(source) / GENERATOR), str(Path(source) / DISCRIMINATOR)
    if generator is None and discriminator is None:
        return None
    if generator is None or discriminator is None:
        missing = "generator_name" if generator is None else "discriminator_name"
        raise ArgumentError(f"ELECTRA trains a generator and a discriminator, but {missing} is missing.")
    return loading.resolve_name(generator), loading.resolve_name(discriminator)


def load_pair(
    names: tuple[str, str] | None,
    configs: tuple[ElectraConfig, ElectraConfig],
    *,
    weight: float,
    tied: bool,
    seed: int,
    options: Mapping[str, Any],
) -> ElectraPair:
    """Return generator and discriminator as one network, in float32.

    Args:
        names: Where the two come from; None for new ones.
        configs: Their configurations.
        weight: Of the discriminator's loss.
        tied: Whether they share their embeddings.
        seed: New weights are drawn with it.
        options: For `from_pretrained`.
    """
    kinds = ("AutoModelForMaskedLM", "AutoModelForPreTraining")
    networks = [
        loading.new_network(kind, config, seed=seed)
        if name is None
        else loading.load_weights(kind, name, config, seed=seed, options=options)
        for kind, name, config in zip(kinds, names or (None, None), configs, strict=True)
    ]
    return ElectraPair(*networks, weight=weight, tied=tied)


def part_configs(
    names: tuple[str, str] | None, changes: tuple[Mapping[str, Any], Mapping[str, Any]], options: Mapping[str, Any]
) -> tuple[Any, Any]:
    """Return the configurations of generator and discriminator, with the changes that the arguments ask for."""
    found = []
    for name, change in zip(names or (None, None), changes, strict=True):
        if name is None:
            found.append(loading.changed(AutoConfig.for_model("electra"), change))
        else:
            found.append(loading.load_config(name, options=options, changes=change))
    return found[0], found[1]
