"""What the methods return: tuples that unpack as ever, and that know their rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True)
class InputExample:
    """A row that was predicted wrongly.

    Attributes:
        guid: The row's position in the frame.
        text_a: Its text, or the first of a pair.
        text_b: The second text of a pair.
        label: The true label.
        prediction: What was predicted instead.
    """

    guid: int
    text_a: str
    text_b: str | None
    label: Any
    prediction: Any


class _Train(NamedTuple):
    global_step: int
    training_details: float | dict[str, list[Any]]


class TrainResult(_Train):
    """What `train_model` returns: `global_step, training_details`.

    `training_details` is the mean training loss, or with evaluation while training a dict of lists, one entry per
    evaluation. `info` tells what was chosen: device, precision, seed, seconds, best step and score.
    """

    info: Mapping[str, Any]

    def __new__(cls, global_step: int, training_details: Any, info: Mapping[str, Any] | None = None) -> TrainResult:
        """Keep the tuple's fields, and what is known of the run."""
        self = super().__new__(cls, global_step, training_details)
        self.info = dict(info or {})
        return self

    def to_frame(self) -> pd.DataFrame:
        """Return one row per evaluation, or one row with the mean training loss."""
        import pandas as pd

        if isinstance(self.training_details, dict):
            return pd.DataFrame(self.training_details)
        return pd.DataFrame({"global_step": [self.global_step], "train_loss": [self.training_details]})


class QuantizeResult(NamedTuple):
    """What `quantize` returns: the scores before and after, and what was compared.

    Attributes:
        before: All scores with the weights as they are.
        after: All scores with int8 weights.
        metric: The score that was compared.
        drop: How much worse it has become, as a share of what it was; below 0 if it is better.
    """

    before: dict[str, Any]
    after: dict[str, Any]
    metric: str
    drop: float

    def to_frame(self) -> pd.DataFrame:
        """Return one row per score, with the columns before and after."""
        import pandas as pd

        return pd.DataFrame({"before": self.before, "after": self.after})


class _Eval(NamedTuple):
    result: dict[str, Any]
    model_outputs: Any
    wrong_predictions: list[Any]


class EvalResult(_Eval):
    """What `eval_model` returns: `result, model_outputs, wrong_predictions`.

    Attributes:
        table: Scores per class, label or entity, as a DataFrame.
    """

    frame: pd.DataFrame
    table: pd.DataFrame | None

    def __new__(
        cls,
        result: dict[str, Any],
        model_outputs: Any,
        wrong_predictions: list[Any],
        frame: pd.DataFrame,
        table: pd.DataFrame | None = None,
    ) -> EvalResult:
        """Keep the tuple's fields, and the frame and table behind them."""
        self = super().__new__(cls, result, model_outputs, wrong_predictions)
        self.frame, self.table = frame, table
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:
        """Return what a copy is made from."""
        return (*self, self.frame, self.table)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per row of the evaluation data, in its order and under its index."""
        return self.frame.copy()


class _Prediction(NamedTuple):
    predictions: Any
    raw_outputs: Any


class Prediction(_Prediction):
    """What `predict` returns: `predictions, raw_outputs`, one answer per row."""

    frame: pd.DataFrame

    def __new__(cls, predictions: Any, raw_outputs: Any, frame: pd.DataFrame) -> Prediction:
        """Keep the tuple's fields, and the frame behind them."""
        self = super().__new__(cls, predictions, raw_outputs)
        self.frame = frame
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:
        """Return what a copy is made from."""
        return (*self, self.frame)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per input, in its order and under its index."""
        return self.frame.copy()


class _PredictionWithStates(NamedTuple):
    predictions: Any
    raw_outputs: Any
    all_embedding_outputs: np.ndarray
    all_layer_hidden_states: np.ndarray


class PredictionWithStates(_PredictionWithStates):
    """What `predict` returns of a classifier whose `config.output_hidden_states` is set.

    `all_embedding_outputs` is of shape (rows, tokens, width) and `all_layer_hidden_states` of shape (layers, rows,
    tokens, width), with windows in place of rows where there are any. Behind the last token of a row stand zeros.
    """

    frame: pd.DataFrame

    def __new__(cls, prediction: Prediction, embeddings: np.ndarray, layers: np.ndarray) -> PredictionWithStates:
        """Keep the tuple's fields, and the frame behind them."""
        self = super().__new__(cls, prediction.predictions, prediction.raw_outputs, embeddings, layers)
        self.frame = prediction.frame
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:
        """Return what a copy is made from."""
        return (Prediction(*self[:2], self.frame), *self[2:])

    def to_frame(self) -> pd.DataFrame:
        """Return one row per input, in its order and under its index."""
        return self.frame.copy()


class Scores(dict[str, Any]):
    """What `eval_model` of a class that writes or models texts returns: a dict of scores."""

    frame: pd.DataFrame

    def __init__(self, result: Mapping[str, Any], frame: pd.DataFrame) -> None:
        """Keep the scores, and the frame behind them."""
        super().__init__(result)
        self.frame = frame

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what a copy is made from."""
        return type(self), (dict(self), self.frame)

    @property
    def result(self) -> dict[str, Any]:
        """The scores, under the name they have in what other classes return."""
        return dict(self)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per row of the evaluation data, in its order and under its index."""
        return self.frame.copy()


class TextPrediction(list[Any]):
    """What `predict` of a class that writes texts returns: a list of one text per row, or of one list of texts.

    Attributes:
        raw_outputs: The token ids of each row's texts.
    """

    frame: pd.DataFrame
    raw_outputs: list[Any]

    def __init__(self, texts: list[Any], raw_outputs: list[Any], frame: pd.DataFrame) -> None:
        """Keep the texts, their token ids, and the frame behind them."""
        super().__init__(texts)
        self.raw_outputs, self.frame = raw_outputs, frame

    @property
    def predictions(self) -> list[Any]:
        """The texts, under the name they have in what other classes return."""
        return list(self)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per input, in its order and under its index."""
        return self.frame.copy()
