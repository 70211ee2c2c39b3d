"""A head that chooses among candidates, over any causal language model.

As in Wolf et al. 2019, "TransferTransfo", https://arxiv.org/abs/1901.08149: the last token of each candidate is scored,
and of the candidates of a reply the true one, which is the last, is to score highest.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import AutoModelForCausalLM

_DROPOUT = 0.1

# The heads of transformers' own classes of this kind, which it no longer keeps up, by the names of ours.
_FORMER = {"multiple_choice_head.summary": "choice_head"}


@functools.cache
def with_choices(kind: Any) -> Any:
    """Return a class of causal language models with `choice_head` besides.

    Where it is told `labels`, its output has `choice_logits`, of shape (sequences,). Where it is told `candidates` too,
    its loss is the sum of two, weighted: that of the tokens of the true replies, and that of choosing them.

    Args:
        kind: A class of transformers. Ours has its name, so that a configuration names one that transformers knows.
    """

    class Choosing(kind):  # type: ignore[misc]
        def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
            super().__init__(config, *args, **kwargs)
            self.choice_dropout = nn.Dropout(_DROPOUT)
            self.choice_head = nn.Linear(config.get_text_config().hidden_size, 1)

        # It is called, and looked at, as that of transformers is.
        @functools.wraps(kind.forward)
        def forward(
            self,
            *args: Any,
            labels: torch.Tensor | None = None,
            candidates: torch.Tensor | None = None,
            loss_weights: torch.Tensor | None = None,
            **kwargs: Any,
        ) -> Any:
            if labels is None:
                return super().forward(*args, **kwargs)
            outputs = super().forward(*args, output_hidden_states=True, **kwargs)
            outputs["choice_logits"] = self._choice_logits(outputs, kwargs["attention_mask"])
            if candidates is not None and loss_weights is not None:
                true = candidates.cumsum(0) - 1
                reply_weight, choice_weight, *smoothing = loss_weights.unbind()
                told = reply_loss(outputs.logits[true], labels[true])
                if smoothing:
                    told = torch.lerp(told, reply_loss(outputs.logits[true], labels[true], smoothing=1.0), smoothing[0])
                chosen = choice_loss(outputs["choice_logits"], candidates)
                outputs["loss"] = reply_weight * told + choice_weight * chosen
            return outputs

        def _choice_logits(self, outputs: Any, attention_mask: torch.Tensor) -> torch.Tensor:
            last = outputs.hidden_states[-1]
            outputs["hidden_states"] = None
            ends = attention_mask.sum(dim=1) - 1
            states = last[torch.arange(len(ends), device=ends.device), ends]
            scores: torch.Tensor = self.choice_head(self.choice_dropout(states)).squeeze(-1)
            return scores

    Choosing.__name__ = Choosing.__qualname__ = kind.__name__
    return Choosing


class AutoModelForCausalLMWithChoices:
    """Opens causal language models as transformers' Auto class does, with a head that chooses besides."""

    _model_mapping: Any = AutoModelForCausalLM._model_mapping

    @classmethod
    def from_pretrained(cls, name: str, *, config: Any, **options: Any) -> Any:
        """Return the model of a folder or hub name; where it has no such head, one that is new."""
        return with_choices(cls._model_mapping[type(config)]).from_pretrained(name, config=config, **options)


def reply_loss(logits: torch.Tensor, labels: torch.Tensor, *, smoothing: float = 0.0) -> torch.Tensor:
    """Return the mean cross entropy of the labelled tokens, each told by what is before it.

    Args:
        logits: Of shape (sequences, tokens, vocabulary).
        labels: Of shape (sequences, tokens); -100 where there is none.
        smoothing: Share of the truth that is spread over all tokens.
    """
    return functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), label_smoothing=smoothing
    )


def choice_loss(logits: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
    """Return the mean cross entropy of choosing the last of each row's candidates; 0 where no row has a choice.

    Args:
        logits: Of shape (sequences,), the candidates of the first row first.
        candidates: How many each row has, of shape (rows,).
    """
    asked, true, scores = candidates > 1, candidates.cumsum(0) - 1, logits.float()
    # Without a look at the numbers, which would have compiled code stop here.
    place = torch.arange(len(scores), device=scores.device)
    own = (place <= true[:, None]) & (place > (true - candidates)[:, None])
    losses = torch.where(own, scores, float("-inf")).logsumexp(dim=1) - scores[true]
    return (losses * asked).sum() / asked.sum().clamp(min=1)


def has_choices(config: Any) -> bool:
    """Tell whether a checkpoint has a head that chooses: one of ours, or one that transformers calls double."""
    return bool(getattr(config, "choice_head", False)) or is_former(config)


def is_former(config: Any) -> bool:
    """Tell whether a checkpoint is of transformers' own classes with two heads."""
    return any(name.endswith("DoubleHeadsModel") for name in config.architectures or [])


def loading_options(config: Any) -> dict[str, Any]:
    """Return what `from_pretrained` needs to know of a checkpoint with a head that chooses."""
    return {"key_mapping": dict(_FORMER)} if is_former(config) else {}


def converted(network: Any, *, seed: int) -> Any:
    """Return a network that may have been trained with a new head that chooses; its own weights stay.

    Args:
        network: A causal language model of transformers.
        seed: What the head is drawn with.
    """
    network.config.choice_head = True
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        kind: Any = type(network)
        changed = with_choices(kind)(network.config)
    changed.load_state_dict(network.state_dict(), strict=False)
    changed.generation_config = network.generation_config
    return changed.to(network.device).train(network.training)
