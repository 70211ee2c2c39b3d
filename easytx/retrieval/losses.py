"""What a dual encoder learns from the similarities of a batch.

Labels have the shape (queries, passages, 2). The first of the two numbers says what a passage is to a query, the second
is a teacher's score of the pair, or NaN.

Sources:
    Karpukhin et al. 2020, "Dense Passage Retrieval for Open-Domain Question Answering", https://arxiv.org/abs/2004.04906
    Hofstätter et al. 2020, "Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge Distillation",
    https://arxiv.org/abs/2010.02666
    Zhai et al. 2023, "Sigmoid Loss for Language Image Pre-Training", https://arxiv.org/abs/2303.15343
    Lin et al. 2021, "In-Batch Negatives for Knowledge Distillation with Tightly-Coupled Teachers for Dense Retrieval",
    https://aclanthology.org/2021.repl4nlp-1.17
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from easytx.config.model_args import ModelArgs
from easytx.errors import ArgumentError

# What a passage is to a query. One that is right too, or the row's own in another row's place, is neither right nor
# wrong.
GOLD, OTHER, OWN_NEGATIVE, OTHER_NEGATIVE, SAME = 1.0, 0.0, 2.0, 3.0, -1.0

# What losses compare.
_OF_NEGATIVES = ("include_triplet_loss", "include_multi_negatives_loss")
_OF_BOTH = ("include_margin_mse_loss", "include_kl_div_loss", "include_quartet_loss")

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
    return [name for name in (*_OF_NEGATIVES, *_OF_BOTH) if args[name]]


def needs_teacher(args: ModelArgs) -> list[str]:
    """Return the losses asked for that need the scores of a teacher, for a row's own passages."""
    return [name for name in (*_OF_BOTH, "mse_loss") if args[name]]


class RetrievalLoss:
    """The weighted sum of the losses that the arguments include.

    Attributes:
        weight: That of the cross entropy at the present step.
    """

    def __init__(self, args: ModelArgs) -> None:
        """Take the arguments.

        Raises:
            ArgumentError: If they include none, or leave open when a weight is to fall.
        """
        self.args = args
        self.parts = [(weight, part) for is_in, weight, part in _parts(args) if is_in]
        if not self.parts and not args["include_nll_loss"]:
            raise ArgumentError("No loss is included: set include_nll_loss=True or another one.")
        if args["nll_lambda_min"] is not None and args["nll_lambda_start_decay"] is None:
            raise ArgumentError(
                "nll_lambda_min is set, but not from which step on nll_lambda is to fall: set nll_lambda_start_decay."
            )
        self.scale, self.smoothing = scale_of(args), args.label_smoothing_factor
        self.skips = args["skip_hard_negatives_for_nll"] or args["include_hard_negatives_for_triplets_only"]
        self.weight = float(args["nll_lambda"])

    def at(self, step: int, steps: int) -> None:
        """Take the weights of a step, counted from 0, of a training of so many steps."""
        self.weight = nll_weight(self.args, step, steps)

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of a batch, a scalar."""
        scores, kind, teacher = logits.float(), labels[..., 0], labels[..., 1]
        losses = [weight * part(scores, kind, teacher) for weight, part in self.parts]
        if self.args["include_nll_loss"]:
            surprise = nll(scores * self.scale, kind, skips=self.skips, smoothing=self.smoothing)
            losses.append(self.weight * surprise)
        return torch.stack(losses).sum()


def _parts(args: ModelArgs) -> list[tuple[bool, float, Part]]:
    """Return all losses but the cross entropy: whether each is included, and its weight."""
    scale = scale_of(args)
    return [
        (
            args["include_triplet_loss"],
            args["triplet_lambda"],
            lambda s, kind, _: triplet(s, kind, args["triplet_margin"]),
        ),
        (args["include_margin_mse_loss"], args["margin_mse_lambda"], margin_mse),
        (args["mse_loss"], 1.0, lambda s, _, teacher: mse(s, teacher)),
        (args["include_kl_div_loss"], args["kl_div_lambda"], lambda s, kind, t: kl_divergence(s * scale, kind, t)),
        (args["reranking_kl_div_loss"], args["kl_div_lambda"], lambda s, _, t: batch_divergence(s * scale, t)),
        (args["include_quartet_loss"], args["quartet_lambda"], lambda s, kind, t: quartet(s * scale, kind, t)),
        (args["include_bce_loss"], 1.0, lambda s, kind, _: pair_bce(s * scale, kind)),
        (args["include_multi_negatives_loss"], 1.0, lambda s, kind, _: pair_bce(s * scale, kind, own=True)),
    ]


def nll_weight(args: ModelArgs, step: int, steps: int) -> float:
    """Return the weight of the cross entropy at a step, counted from 0.

    It is nll_lambda up to the step nll_lambda_start_decay, and falls evenly from there, to nll_lambda_min at the end.
    """
    start, first, last = args["nll_lambda_start_decay"], args["nll_lambda"], args["nll_lambda_min"] or 0.0
    if start is None:
        return float(first)
    return float(np.interp(step, (start, max(steps - 1, start + 1)), (first, last)))


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
    known = teacher.isfinite() & _is_own(kind)
    return _divergence(scores, teacher, ours=known, theirs=known)


def batch_divergence(scores: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return the mean divergence, over queries, from the teacher's softmax over all passages of the batch.

    So Lin et al. 2021 learn from a teacher's view of the negatives in the batch.
    """
    known = teacher.isfinite()
    return _divergence(scores, teacher, ours=known, theirs=known)


def quartet(scores: torch.Tensor, kind: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return the mean divergence, over queries, of the softmax over the batch from what a teacher gives a row's own.

    The teacher's softmax is over the passage and its hard negatives; all other passages of the batch have nothing of
    it: `kl_divergence` and the cross entropy among the batch in one. Of a quartet, two queries and two passages with
    four scores, each query is a row of its own; see `quartets`.
    """
    return _divergence(scores, teacher, ours=kind != SAME, theirs=teacher.isfinite() & _is_own(kind))


def pair_bce(scores: torch.Tensor, kind: torch.Tensor, *, own: bool = False) -> torch.Tensor:
    """Return the mean binary cross entropy of pairs, of which those of a query and its passage belong together.

    That is the loss of Zhai et al. 2023 without its bias.

    Args:
        scores: Of shape (queries, passages).
        kind: What each passage is to each query.
        own: Whether only the passage and the hard negatives of a query are its pairs, in place of the whole batch.
    """
    lost = functional.binary_cross_entropy_with_logits(scores, (kind == GOLD).to(scores), reduction="none")
    return _mean(lost, _is_own(kind) if own else kind != SAME)


def _divergence(
    scores: torch.Tensor, teacher: torch.Tensor, *, ours: torch.Tensor, theirs: torch.Tensor
) -> torch.Tensor:
    """Return the mean divergence of a softmax over `ours` from the teacher's over `theirs`, where there is one."""
    of_row = theirs.any(dim=1)
    if not bool(of_row.any()):
        return scores.sum() * 0.0
    ours, theirs = ours[of_row], theirs[of_row]
    logs = functional.log_softmax(scores[of_row].masked_fill(~ours, -torch.inf), dim=1).masked_fill(~ours, 0)
    wanted = functional.softmax(teacher[of_row].masked_fill(~theirs, -torch.inf), dim=1)
    return functional.kl_div(logs, wanted, reduction="batchmean")


def _is_own(kind: torch.Tensor) -> torch.Tensor:
    return (kind == GOLD) | (kind == OWN_NEGATIVE)


def _of_gold(scores: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
    """Return the score of each query's passage, of shape (queries, 1)."""
    return scores.gather(1, (kind == GOLD).int().argmax(dim=1, keepdim=True))


def _mean(values: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    return (values * counted).sum() / counted.sum().clamp(min=1)
