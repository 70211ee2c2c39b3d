"""What a language model learns: to fill in masked tokens, to predict the next one, or to tell replaced ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from datasets import Dataset
from torch.nn import functional

from easytx.errors import ArgumentError
from easytx.language_modeling.masking import IGNORED, MaskedTokens, NextTokens, masked_once
from easytx.training.losses import LossFunction

Collator = Callable[[list[dict[str, Any]]], Mapping[str, torch.Tensor]]


class Objective:
    """What is learnt, and how it is scored.

    Attributes:
        auto_class: The Auto class of transformers for its head.
        causal: Whether a token's label is the next token.
    """

    auto_class: ClassVar[str]
    causal: ClassVar[bool] = False

    def collator(self, tokenizer: Any, probability: float) -> Collator:
        """Return what makes a batch of blocks, with labels."""
        return MaskedTokens(tokenizer, probability)

    def for_evaluation(self, tokenizer: Any, dataset: Dataset, probability: float) -> Dataset:
        """Return blocks that ask for the same tokens each time."""
        return masked_once(tokenizer, dataset, probability)

    def loss(self, smoothing: float) -> LossFunction | None:
        """Return the loss of training, or None for the network's own.

        Args:
            smoothing: Share of the target that is spread over all tokens.
        """

        def mean_over_labelled(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            found, wanted = self.labelled(logits, labels)
            total = functional.cross_entropy(found.float(), wanted, reduction="sum", label_smoothing=smoothing)
            # A small batch may have no masked token, of which torch's own mean would be NaN.
            return total / max(len(wanted), 1)

        return mean_over_labelled

    def labelled(self, logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits and labels of the tokens that are asked for, of shape (tokens, ...)."""
        if self.causal:
            logits, labels = logits[..., :-1, :], labels[..., 1:]
        asked = labels != IGNORED
        return logits[asked], labels[asked]

    def reduce(self, outputs: Any, batch: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        """Return, for each block, cross entropy, label and prediction of each token asked for."""
        return [self._scored(*pair) for pair in zip(outputs.logits, batch["labels"], strict=True)]

    def _scored(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        # One block at a time: the vocabulary in float32 for all tokens of a batch would be large.
        found, wanted = self.labelled(logits, labels)
        losses = functional.cross_entropy(found.float(), wanted, reduction="none")
        # In float32 the numbers of tokens are exact up to 16 million.
        return torch.stack([losses, wanted.float(), found.argmax(dim=-1).float()], dim=-1)


class Masked(Objective):
    """Fill in masked tokens."""

    auto_class: ClassVar[str] = "AutoModelForMaskedLM"


class Causal(Objective):
    """Predict the next token."""

    auto_class: ClassVar[str] = "AutoModelForCausalLM"
    causal: ClassVar[bool] = True

    def collator(self, tokenizer: Any, probability: float) -> Collator:
        """Return what makes a batch of blocks, with labels."""
        return NextTokens(tokenizer)

    def for_evaluation(self, tokenizer: Any, dataset: Dataset, probability: float) -> Dataset:
        """Return blocks that ask for the same tokens each time."""
        return dataset


class Replaced(Objective):
    """Fill in masked tokens with a small network, and have a large one tell which were replaced (ELECTRA)."""

    auto_class: ClassVar[str] = "AutoModelForMaskedLM"

    def loss(self, smoothing: float) -> LossFunction | None:
        """Return None: the network adds up the losses of its two parts.

        Raises:
            ArgumentError: If the target is to be smoothed.
        """
        if smoothing:
            raise ArgumentError("label_smoothing_factor is not for ELECTRA, which adds up two losses. Leave it out.")
        return None

    def reduce(self, outputs: Any, batch: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        """Return besides, for each block, a row of NaN, and the discriminator's loss and success for each token."""
        found = []
        rows = zip(outputs.replaced_logits.float(), outputs.replaced, batch["attention_mask"].bool(), strict=True)
        for scores, (logits, replaced, kept) in zip(super().reduce(outputs, batch), rows, strict=True):
            losses = functional.binary_cross_entropy_with_logits(logits, replaced.float(), reduction="none")
            right = (logits > 0) == replaced
            told = torch.stack([torch.full_like(losses, torch.nan), losses, right.float()], dim=-1)[kept]
            found.append(torch.cat([scores, told]))
        return found
