"""Losses for rare classes: class weights, label smoothing, focal, dice and tversky.

A loss function here is any callable `(logits, labels) -> scalar`. Tokens count as rows. Rows with the label
-100 take no part. A batch in which no row has a label gives a loss of zero (torch's own mean would be NaN and
end the training).

Sources:
    Lin et al. 2017, "Focal Loss for Dense Object Detection", https://arxiv.org/abs/1708.02002
    Li et al. 2020, "Dice Loss for Data-imbalanced NLP Tasks", https://arxiv.org/abs/1911.02855
    Salehi et al. 2017, "Tversky loss function for image segmentation", https://arxiv.org/abs/1706.05721
    Abraham & Khan 2018, "A Novel Focal Tversky loss function", https://arxiv.org/abs/1810.07842
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from types import MappingProxyType
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.nn import functional

from easytx.errors import ArgumentError
from easytx.training.weights import Weights, class_weights, fitted, weight_tensor

__all__ = ["DiceLoss", "FocalLoss", "LossFunction", "TverskyLoss", "Weights", "build_loss", "class_weights"]

logger = logging.getLogger(__name__)

LossFunction: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

IGNORED = -100
KINDS = ("single_label", "multi_label", "regression", "token")

# Keeps the derivative of x ** gamma finite at x = 0 for gamma below 1.
_TINY = 1e-12
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class FocalLoss(nn.Module):
    """Cross entropy in which a row counts less the surer the model is of it (Lin et al. 2017, equation 5).

    A row of label y has the loss `-alpha_y * (1 - p_y) ** gamma * log(p_y)`. Gamma 0 is cross entropy.

    Args:
        alpha: One number per class, like the weights of cross entropy (the mean divides by their sum); or one
            number from 0 to 1, the weight of class 0, while all other classes get 1 - alpha (the mean divides
            by the number of rows).
        gamma: How fast sure rows lose their influence; 0 or more.
        reduction: "mean", "sum" or "none" (one loss per row, zero where ignored).
        ignore_index: The label of rows that take no part.
        weight: Another name for an `alpha` with one number per class.

    Raises:
        ArgumentError: An argument is out of its bounds, or both `alpha` and `weight` are given.

    Example:
        >>> loss = FocalLoss(gamma=2.0)
        >>> round(loss(torch.tensor([[0.0, 0.0]]), torch.tensor([1])).item(), 4)
        0.1733
    """

    weight: torch.Tensor | None

    def __init__(
        self,
        alpha: float | Weights | None = None,
        gamma: float = 2.0,
        reduction: str = "mean",
        ignore_index: int = IGNORED,
        *,
        weight: Weights | None = None,
    ) -> None:
        super().__init__()
        if alpha is not None and weight is not None:
            raise ArgumentError(
                "FocalLoss got both alpha and weight, which both say how much each class counts. Give one."
            )
        self.alpha: float | None = None
        if isinstance(alpha, (int, float)):
            self.alpha = _number("alpha", alpha, high=1.0)
        elif alpha is not None:
            weight = alpha
        values = None if weight is None else weight_tensor("weight", weight)
        self.register_buffer("weight", values, persistent=False)
        self.gamma = _number("gamma", gamma)
        self.reduction = _choice("reduction", reduction, ("mean", "sum", "none"))
        self.ignore_index = ignore_index

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of `logits`, of shape (rows, classes), for `labels`, of shape (rows,)."""
        logits, labels, kept = _rows(logits, labels, self.ignore_index)
        log_p = functional.log_softmax(logits, dim=-1).gather(1, labels[:, None]).squeeze(1)
        doubt = (-torch.expm1(log_p)).clamp(min=_TINY)
        counted = shares = kept
        if self.weight is not None:
            self.weight = fitted("weight", self.weight, logits)
            counted = shares = kept * self.weight[labels]
        elif self.alpha is not None:
            shares = kept * torch.where(labels > 0, 1.0 - self.alpha, self.alpha)
        return _reduce(-log_p * doubt**self.gamma * shares, counted, self.reduction)


class _OverlapLoss(nn.Module):
    """What dice and tversky share: weighted probabilities, one-hot labels, the axis of the sums."""

    def __init__(
        self,
        gamma: float,
        scale: float,
        reduction: str,
        ignore_index: int,
        eps: float,
        smooth: float,
        level: str,
    ) -> None:
        super().__init__()
        self.gamma = _number("gamma", gamma)
        self.scale = _number("scale", scale)
        self.reduction = _choice("reduction", reduction, ("mean", "sum", "none"))
        self.ignore_index = ignore_index
        self.eps = _number("eps", eps)
        self.smooth = _number("smooth", smooth)
        self.level = _choice("level", level, ("row", "class"))

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of `logits`, of shape (rows, classes), for `labels`, of shape (rows,)."""
        logits, labels, kept = _rows(logits, labels, self.ignore_index)
        found = functional.softmax(logits, dim=-1)
        found = self.scale * found * (1.0 - found).clamp(min=_TINY) ** self.gamma * kept[:, None]
        true = functional.one_hot(labels, logits.shape[-1]) * kept[:, None]
        if self.level == "row":
            return _reduce(self._losses(found, true, 1) * kept, kept, self.reduction)
        present = (true.sum(0) > 0).to(found.dtype)
        return _reduce(self._losses(found, true, 0) * present, present, self.reduction)

    def _losses(self, found: torch.Tensor, true: torch.Tensor, axis: int) -> torch.Tensor:
        """Return one loss per row (axis 1) or per class (axis 0)."""
        raise NotImplementedError


class DiceLoss(_OverlapLoss):
    """One minus the Sørensen-Dice coefficient of probabilities and labels (Li et al. 2020, section 3).

    The coefficient is `(2 * sum(q * t) + smooth) / (sum(q) + sum(t) + smooth + eps)`, where t is the one-hot
    label and `q = scale * (1 - p) ** gamma * p`. At level "row" the sums run over the classes of a row; with
    gamma 0 its loss is then close to 1 - p of the true class. At level "class" they run over the rows of the
    batch, once for each class that occurs in it, so that a rare class counts as much as a frequent one.

    Args:
        gamma: How fast sure rows lose their influence (alpha in the paper); 0 or more. Above 0, q falls again
            where p exceeds 1 / (1 + gamma), so the loss is least there and not at p = 1.
        scale: Factor on the weighted probabilities.
        reduction: "mean", "sum" or "none" (one loss per row or class, zero where nothing counts).
        ignore_index: The label of rows that take no part.
        eps: Added to the denominator.
        smooth: Added to the numerator and the denominator (gamma in the paper).
        square_denominator: Square q and t in the denominator, as the paper's DL does.
        level: "row" or "class".

    Example:
        >>> loss = DiceLoss()
        >>> round(loss(torch.tensor([[0.0, 0.0]]), torch.tensor([1])).item(), 4)
        0.5
    """

    def __init__(
        self,
        gamma: float = 0.0,
        scale: float = 1.0,
        reduction: str = "mean",
        ignore_index: int = IGNORED,
        eps: float = 1e-6,
        smooth: float = 0.0,
        *,
        square_denominator: bool = False,
        level: str = "row",
    ) -> None:
        super().__init__(gamma, scale, reduction, ignore_index, eps, smooth, level)
        self.square_denominator = square_denominator

    def _losses(self, found: torch.Tensor, true: torch.Tensor, axis: int) -> torch.Tensor:
        both = (found * true).sum(axis)
        total = (found.square() + true.square() if self.square_denominator else found + true).sum(axis)
        return 1.0 - (2.0 * both + self.smooth) / (total + self.smooth + self.eps)


class TverskyLoss(_OverlapLoss):
    """One minus the Tversky index: dice with a price for each kind of mistake (Salehi et al. 2017).

    The index is `(TP + smooth) / (TP + alpha * FP + beta * FN + smooth + eps)` over the probabilities
    `q = scale * (1 - p) ** gamma * p`. At level "row" the sums run over the classes of a row, where FP equals
    FN while gamma is 0, so that only alpha + beta matters. At level "class" they run over the rows of the
    batch, once for each class that occurs in it: there a beta above alpha favours recall.

    Args:
        alpha: Price of a false positive; the paper's best is 0.3.
        beta: Price of a false negative; the paper's best is 0.7.
        gamma, scale, reduction, ignore_index, eps, smooth, level: As in `DiceLoss`.
        focal_gamma: The loss is raised to 1 / focal_gamma (Abraham & Khan 2018, who advise 4/3).

    Example:
        >>> loss = TverskyLoss(alpha=0.3, beta=0.7)
        >>> round(loss(torch.tensor([[0.0, 0.0]]), torch.tensor([1])).item(), 4)
        0.5
    """

    def __init__(
        self,
        alpha: float = 0.3,
        beta: float = 0.7,
        gamma: float = 0.0,
        scale: float = 1.0,
        reduction: str = "mean",
        ignore_index: int = IGNORED,
        eps: float = 1e-6,
        smooth: float = 0.0,
        *,
        focal_gamma: float = 1.0,
        level: str = "row",
    ) -> None:
        super().__init__(gamma, scale, reduction, ignore_index, eps, smooth, level)
        self.alpha = _number("alpha", alpha)
        self.beta = _number("beta", beta)
        self.focal_gamma = _number("focal_gamma", focal_gamma, low=_TINY)

    def _losses(self, found: torch.Tensor, true: torch.Tensor, axis: int) -> torch.Tensor:
        both = (found * true).sum(axis)
        invented = (found * (1 - true)).sum(axis)
        missed = ((1.0 - found) * true).sum(axis)
        mistakes = self.alpha * invented + self.beta * missed
        losses = 1.0 - (both + self.smooth) / (both + mistakes + self.smooth + self.eps)
        return losses if self.focal_gamma == 1.0 else losses.clamp(min=_TINY) ** (1.0 / self.focal_gamma)


LOSS_TYPES: Mapping[str, type[nn.Module]] = {"dice": DiceLoss, "focal": FocalLoss, "tversky": TverskyLoss}


def build_loss(
    *,
    kind: str,
    loss_type: str | None = None,
    loss_args: Mapping[str, Any] = _NOTHING,
    weight: Weights | None = None,
    pos_weight: Weights | None = None,
    label_smoothing: float = 0.0,
) -> LossFunction | None:
    """Return the loss function that these arguments ask for, or None where the model's own will do.

    `weight` with `loss_type="focal"` becomes the focal loss's alpha. Dice and tversky have no class weights:
    there `weight` wins, with a warning, and the loss is weighted cross entropy.

    Args:
        kind: "single_label" (logits of shape (rows, classes)), "token" (logits of shape (rows, tokens,
            classes)), "multi_label" (logits and labels of shape (rows, labels)) or "regression".
        loss_type: "dice", "focal" or "tversky".
        loss_args: Keyword arguments of that loss's class.
        weight: One number per class.
        pos_weight: For "multi_label", how much the positives of each label count.
        label_smoothing: Share of the target that is spread over all classes, from 0 to 1.

    Raises:
        ArgumentError: An argument is unknown, out of its bounds, or has no meaning for this kind.
    """
    _choice("kind", kind, KINDS)
    smoothing = _number("label_smoothing", label_smoothing, high=1.0)
    if kind in ("multi_label", "regression"):
        given = {"loss_type": loss_type, "weight": weight, "label_smoothing": smoothing or None}
        for name, value in given.items():
            if value is not None:
                hint = " or use pos_weight" if (name, kind) == ("weight", "multi_label") else ""
                raise ArgumentError(
                    f"{name} is for labels that exclude each other, but this model is {kind}. Leave it out{hint}."
                )
    if pos_weight is not None:
        if kind != "multi_label":
            raise ArgumentError(f"pos_weight is for multi_label models, but this one is {kind}. Use weight.")
        return _BinaryCrossEntropy(weight_tensor("pos_weight", pos_weight))
    if loss_type is None:
        if loss_args:
            logger.warning("loss_args %s have no effect without a loss_type.", dict(loss_args))
    else:
        special = _special_loss(loss_type, loss_args, weight, smoothing)
        if special is not None:
            return special
    if weight is None and not smoothing:
        return None
    return _CrossEntropy(None if weight is None else weight_tensor("weight", weight), smoothing)


class _CrossEntropy(nn.Module):
    """Cross entropy for rows or tokens, with class weights and label smoothing."""

    weight: torch.Tensor | None

    def __init__(self, weight: torch.Tensor | None, label_smoothing: float) -> None:
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self.label_smoothing = label_smoothing

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        logits, labels, counted = _rows(logits, labels, IGNORED)
        if self.weight is not None:
            self.weight = fitted("weight", self.weight, logits)
        shares = counted if self.weight is None else counted * self.weight[labels]
        losses = functional.cross_entropy(
            logits, labels, self.weight, reduction="none", label_smoothing=self.label_smoothing
        )
        return _reduce(losses * counted, shares, "mean")


class _BinaryCrossEntropy(nn.Module):
    """Binary cross entropy of each label on its own, its positives weighted."""

    pos_weight: torch.Tensor

    def __init__(self, pos_weight: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("pos_weight", pos_weight, persistent=False)

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        logits = _full(logits)
        self.pos_weight = fitted("pos_weight", self.pos_weight, logits)
        return functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), pos_weight=self.pos_weight)


def _special_loss(
    loss_type: str, loss_args: Mapping[str, Any], weight: Weights | None, smoothing: float
) -> LossFunction | None:
    """Return the loss named `loss_type`, or None where `weight` overrules it."""
    chosen = LOSS_TYPES[_choice("loss_type", loss_type, tuple(LOSS_TYPES))]
    accepted = list(inspect.signature(chosen).parameters)
    unknown = [name for name in loss_args if name not in accepted]
    if unknown:
        raise ArgumentError(
            f"loss_args has {unknown}, which the {loss_type} loss does not know. It knows {', '.join(accepted)}."
        )
    if loss_args.get("reduction") == "none":
        raise ArgumentError("loss_args['reduction'] must be 'mean' or 'sum' for training, but is 'none'.")
    if smoothing:
        raise ArgumentError(f"label_smoothing does not work with the {loss_type} loss. Leave one out.")
    if weight is not None and chosen is not FocalLoss:
        message = "weight and loss_type=%r are both given: weight wins, the loss is weighted cross entropy."
        logger.warning(message, loss_type)
        return None
    loss: LossFunction = chosen(**loss_args) if weight is None else chosen(**{**loss_args, "weight": weight})
    return loss


def _rows(
    logits: torch.Tensor, labels: torch.Tensor, ignore_index: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return flat logits in full precision, flat labels safe to index with, 1 for each row that counts."""
    if logits.ndim < 2 or labels.shape != logits.shape[:-1]:
        raise ArgumentError(
            "The loss needs logits of shape (rows, classes) and labels of shape (rows,), or (rows, tokens, "
            f"classes) and (rows, tokens), but got shapes {tuple(logits.shape)} and {tuple(labels.shape)}."
        )
    logits, labels = _full(logits.reshape(-1, logits.shape[-1])), labels.reshape(-1).long()
    ignored = labels == ignore_index
    return logits, labels.masked_fill(ignored, 0), (~ignored).to(logits.dtype)


def _full(logits: torch.Tensor) -> torch.Tensor:
    """Return half-precision logits in float32, others as they are."""
    return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits


def _reduce(values: torch.Tensor, counted: torch.Tensor, reduction: str) -> torch.Tensor:
    if reduction == "none":
        return values
    return values.sum() if reduction == "sum" else values.sum() / counted.sum().clamp(min=_TINY)


def _number(name: str, value: Any, *, low: float = 0.0, high: float = math.inf) -> float:
    number = math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    if not low <= number <= high:
        bounds = f"of {low:g} or more" if high == math.inf else f"from {low:g} to {high:g}"
        raise ArgumentError(f"{name} must be a number {bounds}, but is {value!r}.")
    return number


def _choice(name: str, value: str, choices: Sequence[str]) -> str:
    if value not in choices:
        raise ArgumentError(f"{name} must be one of {', '.join(map(repr, choices))}, but is {value!r}.")
    return value
