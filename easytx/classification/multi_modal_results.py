"""What the evaluation of texts and images returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from easytx.core.results import Restorable

if TYPE_CHECKING:
    import pandas as pd


class _Eval(NamedTuple):
    result: dict[str, Any]
    model_outputs: Any


class MultiModalEvalResult(Restorable, _Eval):
    """What `eval_model` returns: `result, model_outputs`.

    Attributes:
        table: Scores per class or label, as a DataFrame; None for regression.
    """

    frame: pd.DataFrame
    table: pd.DataFrame | None

    def __new__(
        cls, result: dict[str, Any], model_outputs: Any, frame: pd.DataFrame, table: pd.DataFrame | None
    ) -> MultiModalEvalResult:
        """Keep the tuple's fields, and the frame and table behind them."""
        self = super().__new__(cls, result, model_outputs)
        self.frame, self.table = frame, table
        return self

    def to_frame(self) -> pd.DataFrame:
        """Return one row per row of the evaluation data, in its order and under its index."""
        return self.frame.copy()
