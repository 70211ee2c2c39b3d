"""Losses over the similarities of a batch, against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from easytx.errors import ArgumentError
from easytx.retrieval.args import RetrievalArgs
from easytx.retrieval.losses import kl_divergence, margin_mse, mse, nll, retrieval_loss, scale_of, triplet

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


@pytest.mark.parametrize("loss", ["nll", "triplet", "margin_mse", "mse", "kl"])
def test_every_loss_has_finite_derivatives(loss: str) -> None:
    scores = SCORES.clone().requires_grad_()
    for teacher in (TEACHER, torch.full_like(TEACHER, math.nan)):
        value = {
            "nll": lambda t: nll(scores, KIND),  # noqa: ARG005
            "triplet": lambda t: triplet(scores, KIND, 2.0),  # noqa: ARG005
            "margin_mse": lambda t: margin_mse(scores, KIND, t),
            "mse": lambda t: mse(scores, t),
            "kl": lambda t: kl_divergence(scores, KIND, t),
        }[loss](teacher)
        (gradient,) = torch.autograd.grad(value, scores)
        assert torch.isfinite(value)
        assert gradient.isfinite().all()


def test_losses_are_weighted_and_added_up() -> None:
    labels = torch.stack([KIND, TEACHER], dim=-1)
    args = RetrievalArgs(nll_lambda=2.0, include_triplet_loss=True, triplet_margin=2.0, triplet_lambda=3.0)
    expected = 2 * nll(SCORES, KIND) + 3 * triplet(SCORES, KIND, 2.0)
    assert float(retrieval_loss(args)(SCORES, labels)) == pytest.approx(float(expected))
    with pytest.raises(ArgumentError, match=r"^No loss is included: set include_nll_loss=True or another one\.$"):
        retrieval_loss(RetrievalArgs(include_nll_loss=False))


def test_the_scale_sharpens_softmaxes_alone() -> None:
    assert scale_of(RetrievalArgs()) == 1
    assert scale_of(RetrievalArgs(similarity_function="cosine")) == 20
    args = RetrievalArgs(similarity_scale=5.0, include_triplet_loss=True, triplet_margin=2.0)
    labels = torch.stack([KIND, TEACHER], dim=-1)
    expected = nll(SCORES * 5, KIND) + triplet(SCORES, KIND, 2.0)
    assert float(retrieval_loss(args)(SCORES, labels)) == pytest.approx(float(expected))
