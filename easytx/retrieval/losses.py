"""What a dual encoder learns from the similarities of a batch.

Labels have the shape (queries, passages, 2). The first of the two numbers says what a passage is to a query, the second
is a teacher's score of the pair, or NaN.

Sources:
    Karpukhin et al. 2020, "Dense Passage Retrieval for Open-Domain Question Answering", https://arxiv.org/abs/2004.04906
    Hofstätter et al. 2020, "Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge Distillation",
    https://arxiv.org/abs/2010.02666
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from easytx.config.model_args import ModelArgs
from easytx.errors import ArgumentError
from easytx.training.losses import LossFunction

# What a passage is to a query. The same text as the gold passage, in another row's place, is neither right nor wrong.
GOLD, OTHER, OWN_NEGATIVE, OTHER_NEGATIVE, SAME = 1.0, 0.0, 2.0, 3.0, -1.0

Part = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def scale_of(args: ModelArgs) -> float:
    """Return what similarities are multiplied by in a softmax."""
    if args["similarity_scale"] is not None:
        return float(args["similarity_scale"])
    # With several vectors they are a sum of cosines, which is large enough.
    several = args["multi_vector_query"] or (args["multi_head_vectors"] and args["multi_head_vector_strategy"] != "max")
    return 20.0 if args["similarity_function"] == "cosine" and not several else 1.0


def needs_negatives(args: ModelArgs) -> list[str]:
    """Return the losses asked for that compare with hard negatives."""
    wanted = ("include_triplet_loss", "include_margin_mse_loss", "include_kl_div_loss")
    return [name for name in wanted if args[name]]


def needs_teacher(args: ModelArgs) -> list[str]:
    """Return the losses asked for that need the scores of a teacher."""
    wanted = ("include_margin_mse_loss", "mse_loss", "include_kl_div_loss")
    return [name for name in wanted if args[name]]


def retrieval_loss(args: ModelArgs) -> LossFunction:
    """Return the weighted sum of the losses that the arguments include.

    Raises:
        ArgumentError: If they include none.
    """
    scale, smoothing = scale_of(args), args.label_smoothing_factor
    skips = args["skip_hard_negatives_for_nll"] or args["include_hard_negatives_for_triplets_only"]
    parts: list[tuple[bool, float, Part]] = [
        (
            args["include_nll_loss"],
            args["nll_lambda"],
            lambda s, kind, _: nll(s * scale, kind, skips=skips, smoothing=smoothing),
        ),
        (args["include_triplet_loss"], args["triplet_lambda"], lambda s, k, _: triplet(s, k, args["triplet_margin"])),
        (args["include_margin_mse_loss"], args["margin_mse_lambda"], margin_mse),
        (args["mse_loss"], 1.0, lambda s, _, teacher: mse(s, teacher)),
        (args["include_kl_div_loss"], args["kl_div_lambda"], lambda s, kind, t: kl_divergence(s * scale, kind, t)),
    ]
    included = [(weight, part) for is_in, weight, part in parts if is_in]
    if not included:
        raise ArgumentError("No loss is included: set include_nll_loss=True or another one.")

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        kind, teacher = labels[..., 0], labels[..., 1]
        return torch.stack([weight * part(logits.float(), kind, teacher) for weight, part in included]).sum()

    return loss


def nll(scores: torch.Tensor, kind: torch.Tensor, *, skips: bool = False, smoothing: float = 0.0) -> torch.Tensor:
    """Return the mean cross entropy of each query's passage among all passages of the batch.

    Args:
        scores: Of shape (queries, passages).
        kind: What each passage is to each query.
        skips: Whether hard negatives are left out.
        smoothing: Share of the probability that is spread over all passages.
    """
    left_out = kind == SAME
    if skips:
        left_out = left_out | (kind == OWN_NEGATIVE) | (kind == OTHER_NEGATIVE)
    surprises = -functional.log_softmax(scores.masked_fill(left_out, -torch.inf), dim=1)
    lost = _of_gold(surprises, kind).squeeze(1)
    if smoothing > 0:
        spread = surprises.masked_fill(left_out, 0.0).sum(dim=1) / (~left_out).sum(dim=1)
        lost = (1 - smoothing) * lost + smoothing * spread
    return lost.mean()


def triplet(scores: torch.Tensor, kind: torch.Tensor, margin: float) -> torch.Tensor:
    """Return the mean, over queries and their hard negatives, of what is lacking of the margin."""
    return _mean((margin - _of_gold(scores, kind) + scores).relu(), kind == OWN_NEGATIVE)


def margin_mse(scores: torch.Tensor, kind: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return the mean squared difference of the leads over hard negatives from the teacher's."""
    wanted = _of_gold(teacher, kind) - teacher
    error = (_of_gold(scores, kind) - scores - wanted.nan_to_num()) ** 2
    return _mean(error, (kind == OWN_NEGATIVE) & wanted.isfinite())


def mse(scores: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return the mean squared difference of similarities from the teacher's scores."""
    return _mean((scores - teacher.nan_to_num()) ** 2, teacher.isfinite())


def kl_divergence(scores: torch.Tensor, kind: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return the mean divergence, over queries, from the teacher's softmax over the passage and its negatives."""
    known = teacher.isfinite() & ((kind == GOLD) | (kind == OWN_NEGATIVE))
    of_row = known.any(dim=1)
    if not bool(of_row.any()):
        return scores.sum() * 0.0
    ours = functional.log_softmax(scores.masked_fill(~known, -torch.inf)[of_row], dim=1).masked_fill(~known[of_row], 0)
    theirs = functional.softmax(teacher.masked_fill(~known, -torch.inf)[of_row], dim=1)
    return functional.kl_div(ours, theirs, reduction="batchmean")


def _of_gold(scores: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
    """Return the score of each query's passage, of shape (queries, 1)."""
    return scores.gather(1, (kind == GOLD).int().argmax(dim=1, keepdim=True))


def _mean(values: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    return (values * counted).sum() / counted.sum().clamp(min=1)
