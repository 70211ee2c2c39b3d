"""What `predict` of a classifier returns, with the hidden states behind it where they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from easytx.classification.data import Answers
from easytx.core.results import Prediction, PredictionWithStates
from easytx.core.running import run_model
from easytx.data.prepared import TaskData
from easytx.training.inference import trimmed

if TYPE_CHECKING:
    from easytx.classification.model import ClassificationModel


def prediction(model: ClassificationModel, answers: Answers, data: TaskData) -> Prediction | PredictionWithStates:
    """Return the answers, with hidden states where the model's configuration asks for them.

    They take a second run over the rows.
    """
    frame = model.answer_frame(answers, data)
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
