"""Losses, against hand-computed values and against torch's own functions."""

from __future__ import annotations

import logging
import math
import re
from typing import Any

import pytest
import torch
from torch.nn import functional

from easytx.errors import ArgumentError
from easytx.training.losses import DiceLoss, FocalLoss, TverskyLoss, build_loss

LOSSES = [
    FocalLoss(),
    FocalLoss(gamma=0.5),
    FocalLoss(alpha=0.25),
    FocalLoss(weight=[1.0, 2.0, 3.0]),
    DiceLoss(),
    DiceLoss(gamma=0.5, smooth=1.0, square_denominator=True),
    DiceLoss(level="class"),
    TverskyLoss(),
    TverskyLoss(gamma=1.0, focal_gamma=4 / 3),
    TverskyLoss(level="class", focal_gamma=4 / 3),
]

# One row with the probabilities 1/4, 1/4, 1/2.
ROW = torch.tensor([[0.25, 0.25, 0.5]]).log()
# Two rows of two classes with the probabilities (0.8, 0.2) and (0.4, 0.6).
TWO = torch.tensor([[0.8, 0.2], [0.4, 0.6]]).log()


def _batch(rows: int = 12, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, classes, generator=generator), torch.arange(rows) % classes


def test_focal_of_one_row() -> None:
    assert FocalLoss(gamma=2.0)(ROW, torch.tensor([2])).item() == pytest.approx(0.5**2 * math.log(2))
    assert FocalLoss(gamma=1.0)(ROW, torch.tensor([0])).item() == pytest.approx(0.75 * math.log(4))


def test_focal_with_gamma_0_is_cross_entropy() -> None:
    logits, labels = _batch()
    labels[3] = -100
    weight = torch.tensor([0.5, 1.0, 4.0])
    assert torch.allclose(FocalLoss(gamma=0)(logits, labels), functional.cross_entropy(logits, labels))
    assert torch.allclose(
        FocalLoss(gamma=0, weight=weight)(logits, labels), functional.cross_entropy(logits, labels, weight)
    )
    assert torch.allclose(
        FocalLoss(gamma=0, reduction="sum")(logits, labels),
        functional.cross_entropy(logits, labels, reduction="sum"),
    )
    assert torch.allclose(
        FocalLoss(gamma=0, reduction="none")(logits, labels),
        functional.cross_entropy(logits, labels, reduction="none"),
    )


def test_a_single_alpha_is_the_weight_of_class_0() -> None:
    loss = FocalLoss(alpha=0.25, gamma=0.0)
    expected = (0.25 * -math.log(0.8) + 0.75 * -math.log(0.6)) / 2
    assert loss(TWO, torch.tensor([0, 1])).item() == pytest.approx(expected)


def test_alpha_and_weight_are_the_same_for_a_list() -> None:
    logits, labels = _batch()
    assert torch.equal(FocalLoss([1.0, 2.0, 3.0])(logits, labels), FocalLoss(weight=[1.0, 2.0, 3.0])(logits, labels))
    with pytest.raises(ArgumentError, match=r"^FocalLoss got both alpha and weight, "):
        FocalLoss([1.0, 2.0, 3.0], weight=[1.0, 2.0, 3.0])


def test_dice_of_one_row() -> None:
    # Numerator 2 * 1/2, denominator 1 + 1.
    assert DiceLoss(eps=0.0)(ROW, torch.tensor([2])).item() == pytest.approx(1 / 2)
    # (2 * 1/2 + 1) / (1 + 1 + 1).
    assert DiceLoss(eps=0.0, smooth=1.0)(ROW, torch.tensor([2])).item() == pytest.approx(1 / 3)
    # The squares 1/16, 1/16 and 1/4 sum to 3/8: 1 / (3/8 + 1).
    squared = DiceLoss(eps=0.0, square_denominator=True)
    assert squared(ROW, torch.tensor([2])).item() == pytest.approx(1 - 8 / 11)
    # (1 - p) * p is 3/16, 3/16, 1/4: 2 * 1/4 / (5/8 + 1).
    assert DiceLoss(gamma=1.0, eps=0.0)(ROW, torch.tensor([2])).item() == pytest.approx(1 - 4 / 13)


def test_dice_by_class() -> None:
    loss = DiceLoss(eps=0.0, level="class", reduction="none")(TWO, torch.tensor([0, 1]))
    # Class 0: 2 * 0.8 / (1.2 + 1). Class 1: 2 * 0.6 / (0.8 + 1).
    assert loss.tolist() == pytest.approx([1 - 1.6 / 2.2, 1 - 1.2 / 1.8])


def test_by_class_leaves_out_classes_that_do_not_occur() -> None:
    loss = DiceLoss(eps=0.0, level="class")(TWO, torch.tensor([0, 0]))
    assert loss.item() == pytest.approx(1 - 2 * 1.2 / (1.2 + 2))


def test_tversky_of_one_row() -> None:
    loss = TverskyLoss(alpha=1.0, beta=2.0, eps=0.0)
    # TP 1/2, FP 1/2, FN 1/2.
    assert loss(ROW, torch.tensor([2])).item() == pytest.approx(1 - 0.5 / (0.5 + 0.5 + 1.0))
    focal = TverskyLoss(alpha=1.0, beta=2.0, eps=0.0, focal_gamma=2.0)
    assert focal(ROW, torch.tensor([2])).item() == pytest.approx(0.75**0.5)


def test_tversky_by_class() -> None:
    loss = TverskyLoss(0.3, 0.7, eps=0.0, level="class", reduction="none")(TWO, torch.tensor([0, 1]))
    # Class 0: TP 0.8, FP 0.4, FN 0.2. Class 1: TP 0.6, FP 0.2, FN 0.4.
    expected = [1 - 0.8 / (0.8 + 0.12 + 0.14), 1 - 0.6 / (0.6 + 0.06 + 0.28)]
    assert loss.tolist() == pytest.approx(expected)


def test_tversky_with_halves_is_dice() -> None:
    logits, labels = _batch()
    halves = TverskyLoss(alpha=0.5, beta=0.5, gamma=2.0, eps=0.0)(logits, labels)
    assert torch.allclose(halves, DiceLoss(gamma=2.0, eps=0.0)(logits, labels))


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_ignored_rows_change_nothing(loss: torch.nn.Module) -> None:
    logits, labels = _batch()
    more = torch.cat([logits, 9 * torch.ones(2, 3)]), torch.cat([labels, torch.tensor([-100, -100])])
    assert torch.allclose(loss(logits, labels), loss(*more))


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_nothing_but_ignored_rows_gives_zero_with_a_gradient(loss: torch.nn.Module) -> None:
    logits = torch.randn(2, 3, requires_grad=True)
    value = loss(logits, torch.tensor([-100, -100]))
    value.backward()
    assert value.item() == 0.0
    assert logits.grad is not None
    assert logits.grad.tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_gradients_stay_finite_where_the_model_is_sure(loss: torch.nn.Module) -> None:
    logits = torch.tensor([[80.0, -80.0, 0.0], [80.0, -80.0, 0.0], [0.0, 0.0, 0.0]], requires_grad=True)
    loss(logits, torch.tensor([0, 1, 2])).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if isinstance(loss, FocalLoss) or loss.gamma == 0], ids=str)
def test_a_better_model_has_a_lower_loss(loss: torch.nn.Module) -> None:
    labels = torch.tensor([0, 1, 2])
    right = 3.0 * functional.one_hot(labels, 3).float()
    assert loss(right, labels) < loss(torch.zeros(3, 3), labels) < loss(-right, labels)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_half_precision_is_computed_in_full(loss: torch.nn.Module) -> None:
    logits, labels = _batch()
    half = logits.bfloat16()
    value = loss(half, labels)
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(half.float(), labels))


def test_tokens_count_as_rows() -> None:
    logits, labels = _batch()
    assert torch.equal(DiceLoss()(logits.view(3, 4, 3), labels.view(3, 4)), DiceLoss()(logits, labels))


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ArgumentError, match=r"but got shapes \(2, 3\) and \(3,\)\.$"):
        FocalLoss()(torch.zeros(2, 3), torch.zeros(3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FocalLoss(gamma=-1), "gamma must be a number of 0 or more, but is -1."),
        (lambda: FocalLoss(gamma="2"), "gamma must be a number of 0 or more, but is '2'."),
        (lambda: FocalLoss(alpha=1.5), "alpha must be a number from 0 to 1, but is 1.5."),
        (lambda: DiceLoss(smooth=math.nan), "smooth must be a number of 0 or more, but is nan."),
        (lambda: TverskyLoss(level="batch"), "level must be one of 'row', 'class', but is 'batch'."),
        (
            lambda: DiceLoss(reduction="avg"),
            "reduction must be one of 'mean', 'sum', 'none', but is 'avg'.",
        ),
    ],
)
def test_bounds_of_the_options(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        make()


@pytest.mark.parametrize("kind", ["single_label", "multi_label", "regression", "token"])
def test_nothing_special_leaves_the_loss_to_the_model(kind: str) -> None:
    assert build_loss(kind=kind) is None


@pytest.mark.parametrize(("smoothing", "weight"), [(0.1, None), (0.0, [0.5, 1.0, 4.0]), (0.1, [0.5, 1.0, 4.0])])
def test_cross_entropy_is_torchs(smoothing: float, weight: list[float] | None) -> None:
    logits, labels = _batch()
    labels[:2] = -100
    expected = functional.cross_entropy(
        logits, labels, None if weight is None else torch.tensor(weight), label_smoothing=smoothing
    )
    for kind, shape in [("single_label", (12,)), ("token", (3, 4))]:
        loss = build_loss(kind=kind, weight=weight, label_smoothing=smoothing)
        assert loss is not None
        assert torch.allclose(loss(logits.view(*shape, 3), labels.view(shape)), expected)
        assert loss(logits, torch.full((12,), -100)).item() == 0.0
        assert loss(logits.bfloat16(), labels).dtype == torch.float32


def test_weights_may_be_an_array_or_a_tensor() -> None:
    logits, labels = _batch()
    weight = torch.tensor([1.0, 2.0, 3.0])
    from_tensor = build_loss(kind="single_label", weight=weight)
    from_array = build_loss(kind="single_label", weight=weight.numpy())
    assert from_tensor is not None
    assert from_array is not None
    assert torch.equal(from_tensor(logits, labels), from_array(logits, labels))


def test_the_callers_weights_are_copied() -> None:
    weight = torch.tensor([1.0, 2.0, 3.0])
    loss = build_loss(kind="single_label", weight=weight)
    assert loss is not None
    logits, labels = _batch()
    before = loss(logits, labels)
    weight[0] = 100.0
    assert torch.equal(loss(logits, labels), before)


def test_multi_label_is_torchs_with_pos_weight() -> None:
    logits, _ = _batch()
    labels = torch.tensor([[1, 0, 1]] * 12)
    loss = build_loss(kind="multi_label", pos_weight=[1.0, 2.0, 3.0])
    assert loss is not None
    expected = functional.binary_cross_entropy_with_logits(
        logits, labels.float(), pos_weight=torch.tensor([1.0, 2.0, 3.0])
    )
    assert torch.allclose(loss(logits, labels), expected)


def test_weights_of_another_length_than_the_logits() -> None:
    loss = build_loss(kind="single_label", weight=[1.0, 2.0])
    assert loss is not None
    message = "weight needs one number per label, here 3, but has 2. Give 3 numbers."
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        loss(*_batch())


@pytest.mark.parametrize("kind", ["single_label", "token"])
def test_loss_types_take_their_options(kind: str) -> None:
    logits, labels = _batch()
    loss = build_loss(kind=kind, loss_type="tversky", loss_args={"alpha": 0.2, "beta": 0.8, "smooth": 1.0})
    assert loss is not None
    expected = TverskyLoss(alpha=0.2, beta=0.8, smooth=1.0)(logits, labels)
    assert torch.equal(loss(logits, labels), expected)


def test_weight_becomes_the_alpha_of_focal(caplog: pytest.LogCaptureFixture) -> None:
    logits, labels = _batch()
    options = {"gamma": 1.0}
    loss = build_loss(kind="single_label", loss_type="focal", loss_args=options, weight=[1.0, 2.0, 3.0])
    assert loss is not None
    assert torch.equal(loss(logits, labels), FocalLoss([1.0, 2.0, 3.0], gamma=1.0)(logits, labels))
    assert options == {"gamma": 1.0}
    assert not caplog.records


@pytest.mark.parametrize("loss_type", ["dice", "tversky"])
def test_weight_wins_over_the_other_types(loss_type: str, caplog: pytest.LogCaptureFixture) -> None:
    logits, labels = _batch()
    weight = torch.tensor([1.0, 2.0, 3.0])
    with caplog.at_level(logging.WARNING, logger="easytx"):
        loss = build_loss(kind="single_label", loss_type=loss_type, weight=weight)
    assert loss is not None
    assert torch.allclose(loss(logits, labels), functional.cross_entropy(logits, labels, weight))
    assert caplog.messages == [
        f"weight and loss_type='{loss_type}' are both given: weight wins, the loss is weighted cross entropy."
    ]


def test_options_without_a_type_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="easytx"):
        assert build_loss(kind="single_label", loss_args={"gamma": 1.0}) is None
    assert caplog.messages == ["loss_args {'gamma': 1.0} have no effect without a loss_type."]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"kind": "ranking"},
            "kind must be one of 'single_label', 'multi_label', 'regression', 'token', but is 'ranking'.",
        ),
        (
            {"kind": "single_label", "loss_type": "focale"},
            "loss_type must be one of 'dice', 'focal', 'tversky', but is 'focale'.",
        ),
        (
            {"kind": "token", "loss_type": "focal", "loss_args": {"gama": 2}},
            "loss_args has ['gama'], which the focal loss does not know. "
            "It knows alpha, gamma, reduction, ignore_index, weight.",
        ),
        (
            {"kind": "token", "loss_type": "focal", "loss_args": {"reduction": "none"}},
            "loss_args['reduction'] must be 'mean' or 'sum' for training, but is 'none'.",
        ),
        (
            {"kind": "token", "loss_type": "dice", "label_smoothing": 0.1},
            "label_smoothing does not work with the dice loss. Leave one out.",
        ),
        (
            {"kind": "regression", "loss_type": "focal"},
            "loss_type is for labels that exclude each other, but this model is regression. Leave it out.",
        ),
        (
            {"kind": "multi_label", "loss_type": "dice"},
            "loss_type is for labels that exclude each other, but this model is multi_label. Leave it out.",
        ),
        (
            {"kind": "multi_label", "weight": [1.0]},
            "weight is for labels that exclude each other, but this model is multi_label. "
            "Leave it out or use pos_weight.",
        ),
        (
            {"kind": "regression", "label_smoothing": 0.1},
            "label_smoothing is for labels that exclude each other, but this model is regression. Leave it out.",
        ),
        (
            {"kind": "single_label", "pos_weight": [1.0]},
            "pos_weight is for multi_label models, but this one is single_label. Use weight.",
        ),
        ({"kind": "token", "label_smoothing": 2}, "label_smoothing must be a number from 0 to 1, but is 2."),
    ],
)
def test_what_cannot_be_built(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        build_loss(**arguments)
