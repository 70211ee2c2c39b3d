"""Losses over the similarities of a batch, against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from easytx.errors import ArgumentError
from easytx.retrieval.args import RetrievalArgs
from easytx.retrieval.losses import (
    RetrievalLoss,
    batch_divergence,
    kl_divergence,
    margin_mse,
    mse,
    nll,
    nll_weight,
    pair_bce,
    quartet,
    scale_of,
    triplet,
)

# Two queries, their passages, and a hard negative of the first one.
SCORES = torch.tensor([[2.0, 1.0, 0.5], [0.0, 3.0, 1.0]])
KIND = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 3.0]])
TEACHER = torch.tensor([[5.0, math.nan, 1.0], [math.nan, 4.0, math.nan]])


def _surprise(right: float, *others: float) -> float:
    return math.log(sum(math.exp(score) for score in (right, *others))) - right


def test_nll_is_cross_entropy_among_the_passages_of_the_batch() -> None:
    expected = (_surprise(2.0, 1.0, 0.5) + _surprise(3.0, 0.0, 1.0)) / 2
    assert float(nll(SCORES, KIND)) == pytest.approx(expected)
    without = (_surprise(2.0, 1.0) + _surprise(3.0, 0.0)) / 2
    assert float(nll(SCORES, KIND, skips=True)) == pytest.approx(without)


def test_the_same_passage_in_another_row_is_no_negative() -> None:
    kind = torch.tensor([[1.0, -1.0, 2.0], [-1.0, 1.0, 3.0]])
    assert float(nll(SCORES, kind)) == pytest.approx((_surprise(2.0, 0.5) + _surprise(3.0, 1.0)) / 2)


def test_smoothing_spreads_probability_over_what_counts() -> None:
    kind = torch.tensor([[1.0, -1.0, 2.0], [-1.0, 1.0, 3.0]])
    first = 0.9 * _surprise(2.0, 0.5) + 0.1 * (_surprise(2.0, 0.5) + _surprise(0.5, 2.0)) / 2
    second = 0.9 * _surprise(3.0, 1.0) + 0.1 * (_surprise(3.0, 1.0) + _surprise(1.0, 3.0)) / 2
    assert float(nll(SCORES, kind, smoothing=0.1)) == pytest.approx((first + second) / 2)


def test_triplet_asks_for_a_margin_over_hard_negatives() -> None:
    assert float(triplet(SCORES, KIND, 1.0)) == 0.0
    assert float(triplet(SCORES, KIND, 2.0)) == pytest.approx(0.5)
    assert float(triplet(SCORES, KIND.clamp(max=1), 2.0)) == 0.0


def test_distillation() -> None:
    assert float(margin_mse(SCORES, KIND, TEACHER)) == pytest.approx((1.5 - 4.0) ** 2)
    assert float(mse(SCORES, TEACHER)) == pytest.approx(((2 - 5) ** 2 + (0.5 - 1) ** 2 + (3 - 4) ** 2) / 3)
    theirs = [math.exp(5) / (math.exp(5) + math.exp(1)), math.exp(1) / (math.exp(5) + math.exp(1))]
    ours = [math.exp(2) / (math.exp(2) + math.exp(0.5)), math.exp(0.5) / (math.exp(2) + math.exp(0.5))]
    # The second query has its passage alone, of which both are sure.
    expected = sum(t * math.log(t / o) for t, o in zip(theirs, ours, strict=True)) / 2
    assert float(kl_divergence(SCORES, KIND, TEACHER)) == pytest.approx(expected)


def _divergence(theirs: list[float], ours: list[float]) -> float:
    """Return the divergence of the softmax over `ours` from that over `theirs`, which may have fewer passages."""
    wanted = [math.exp(score) for score in theirs]
    mine = [math.exp(score) for score in ours]
    return sum(
        t / sum(wanted) * math.log((t / sum(wanted)) / (o / sum(mine))) for t, o in zip(wanted, mine, strict=False)
    )


def test_a_teacher_of_the_whole_batch() -> None:
    teacher = torch.tensor([[5.0, 2.0, 1.0], [0.0, 4.0, 3.0]])
    expected = (_divergence([5, 2, 1], [2, 1, 0.5]) + _divergence([0, 4, 3], [0, 3, 1])) / 2
    assert float(batch_divergence(SCORES, teacher)) == pytest.approx(expected)
    assert float(batch_divergence(SCORES, torch.full_like(SCORES, math.nan))) == 0


def test_a_quartet_gives_the_rest_of_the_batch_nothing() -> None:
    # Of the first query the passage and the negative have scores; what is another row's counts in our softmax alone.
    first, second = _divergence([5, 1], [2, 0.5, 1.0]), _divergence([4], [3, 0, 1])
    assert float(quartet(SCORES, KIND, TEACHER)) == pytest.approx((first + second) / 2)
    assert second == pytest.approx(_surprise(3, 0, 1))
    repeated = torch.tensor([[1.0, -1.0, 2.0], [0.0, 1.0, 3.0]])
    expected = (_divergence([5, 1], [2, 0.5]) + second) / 2
    assert float(quartet(SCORES, repeated, TEACHER)) == pytest.approx(expected)


def test_pairs_belong_together_or_do_not() -> None:
    def lost(score: float, *, together: bool) -> float:
        return math.log(1 + math.exp(-score if together else score))

    gold = lost(2, together=True) + lost(3, together=True)
    others = lost(1, together=False) + lost(0, together=False) + lost(1, together=False)
    negative = lost(0.5, together=False)
    assert float(pair_bce(SCORES, KIND)) == pytest.approx((gold + others + negative) / 6)
    assert float(pair_bce(SCORES, KIND, own=True)) == pytest.approx((gold + negative) / 3)
    same = torch.tensor([[1.0, -1.0, 2.0], [0.0, 1.0, 3.0]])
    assert float(pair_bce(SCORES, same)) == pytest.approx((gold + others - lost(1, together=False) + negative) / 5)


def test_the_weight_of_the_cross_entropy_falls() -> None:
    args = RetrievalArgs(nll_lambda=2.0, nll_lambda_start_decay=4, nll_lambda_min=0.5)
    assert [nll_weight(args, step, 11) for step in (0, 4, 6, 7, 10)] == [2.0, 2.0, 1.5, 1.25, 0.5]
    assert nll_weight(RetrievalArgs(nll_lambda=2.0, nll_lambda_start_decay=0), 5, 11) == 1.0
    assert nll_weight(RetrievalArgs(nll_lambda=2.0), 5, 11) == 2.0
    assert nll_weight(RetrievalArgs(nll_lambda_start_decay=20), 10, 11) == 1.0
    loss = RetrievalLoss(args)
    labels = torch.stack([KIND, TEACHER], dim=-1)
    assert float(loss(SCORES, labels)) == pytest.approx(2 * float(nll(SCORES, KIND)))
    loss.at(10, 11)
    assert float(loss(SCORES, labels)) == pytest.approx(0.5 * float(nll(SCORES, KIND)))
    with pytest.raises(ArgumentError) as refused:
        RetrievalLoss(RetrievalArgs(nll_lambda_min=0.1))
    assert str(refused.value) == (
        "nll_lambda_min is set, but not from which step on nll_lambda is to fall: set nll_lambda_start_decay."
    )


@pytest.mark.parametrize("loss", ["nll", "triplet", "margin_mse", "mse", "kl", "batch", "quartet", "bce", "own_bce"])
def test_every_loss_has_finite_derivatives(loss: str) -> None:
    scores = SCORES.clone().requires_grad_()
    for teacher in (TEACHER, torch.full_like(TEACHER, math.nan)):
        value = {
            "nll": lambda t: nll(scores, KIND),  # noqa: ARG005
            "triplet": lambda t: triplet(scores, KIND, 2.0),  # noqa: ARG005
            "margin_mse": lambda t: margin_mse(scores, KIND, t),
            "mse": lambda t: mse(scores, t),
            "kl": lambda t: kl_divergence(scores, KIND, t),
            "batch": lambda t: batch_divergence(scores, t),
            "quartet": lambda t: quartet(scores, KIND, t),
            "bce": lambda t: pair_bce(scores, KIND),  # noqa: ARG005
            "own_bce": lambda t: pair_bce(scores, KIND, own=True),  # noqa: ARG005
        }[loss](teacher)
        (gradient,) = torch.autograd.grad(value, scores)
        assert torch.isfinite(value)
        assert gradient.isfinite().all()


def test_losses_are_weighted_and_added_up() -> None:
    labels = torch.stack([KIND, TEACHER], dim=-1)
    args = RetrievalArgs(nll_lambda=2.0, include_triplet_loss=True, triplet_margin=2.0, triplet_lambda=3.0)
    expected = 2 * nll(SCORES, KIND) + 3 * triplet(SCORES, KIND, 2.0)
    assert float(RetrievalLoss(args)(SCORES, labels)) == pytest.approx(float(expected))
    with pytest.raises(ArgumentError, match=r"^No loss is included: set include_nll_loss=True or another one\.$"):
        RetrievalLoss(RetrievalArgs(include_nll_loss=False))


def test_the_scale_sharpens_softmaxes_alone() -> None:
    assert scale_of(RetrievalArgs()) == 1
    assert scale_of(RetrievalArgs(similarity_function="cosine")) == 20
    args = RetrievalArgs(similarity_scale=5.0, include_triplet_loss=True, triplet_margin=2.0)
    labels = torch.stack([KIND, TEACHER], dim=-1)
    expected = nll(SCORES * 5, KIND) + triplet(SCORES, KIND, 2.0)
    assert float(RetrievalLoss(args)(SCORES, labels)) == pytest.approx(float(expected))
    args = RetrievalArgs(similarity_scale=5.0, include_nll_loss=False, include_quartet_loss=True, include_bce_loss=True)
    expected = quartet(SCORES * 5, KIND, TEACHER) + pair_bce(SCORES * 5, KIND)
    assert float(RetrievalLoss(args)(SCORES, labels)) == pytest.approx(float(expected))
