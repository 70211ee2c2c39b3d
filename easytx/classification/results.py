"""What `eval_model` and `predict` of a classifier return, with hidden states where they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from easytx.classification.data import Answers, targets_of, wrong_examples
from easytx.core.results import EvalResult, Prediction, PredictionWithStates
from easytx.core.running import run_model
from easytx.data.prepared import TaskData
from easytx.training.inference import trimmed

if TYPE_CHECKING:
    from easytx.classification.model import ClassificationModel


def answer_frame(model: ClassificationModel, answers: Answers, data: TaskData) -> pd.DataFrame:
    """Return the rows with their prediction and, for classes, its probability."""
    certain = {} if model.args["regression"] else {"probability": answers.probabilities.max(axis=1)}
    return data.frame.assign(prediction=list(model.answer_labels(answers)), **certain)


def evaluation(model: ClassificationModel, result: dict[str, Any], answers: Answers, data: TaskData) -> EvalResult:
    """Return scores and answers, the wrong ones among them, and the scores of each label."""
    frame = answer_frame(model, answers, data)
    if model.args["regression"]:
        return EvalResult(result, model.raw(answers), [], frame)
    truth = targets_of(data)
    differs = (truth != answers.predicted).reshape(len(truth), -1).any(axis=1)
    wrong = wrong_examples(frame, model.columns.texts_in(frame), np.flatnonzero(differs))
    return EvalResult(result, model.raw(answers), wrong, frame, model.kind.table(model, answers, truth))


def prediction(model: ClassificationModel, answers: Answers, data: TaskData) -> Prediction | PredictionWithStates:
    """Return the answers, with hidden states where the model's configuration asks for them.

    They take a second run over the rows.
    """
    frame = answer_frame(model, answers, data)
    found = Prediction(model.answer_labels(answers), model.raw(answers), frame)
    if not model.config.output_hidden_states:
        return found
    states = run_model(model, data, show=False, reduce=_of_tokens).values
    # One array for all, as long as the longest row; what stands behind a shorter one is zero, not what padding gave.
    padded = np.zeros((len(states), max(map(len, states)), *states[0].shape[1:]), dtype=np.float32)
    for row, state in zip(padded, states, strict=True):
        row[: len(state)] = state
    layers = np.moveaxis(padded, 2, 0)
    return PredictionWithStates(found, layers[0], layers[1:])


def _of_tokens(outputs: Any, batch: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
    """Return the states of each row's tokens, of shape (tokens, layers, width), the embeddings first."""
    return trimmed(torch.stack(outputs.hidden_states, dim=2), batch["attention_mask"])
