"""Int8 weights and compiled networks serve every class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from easytx.training import compiling

from .conftest import Trained, numbers, outputs

# A class each of what networks take and return: tokens, two encoders, an encoder with a decoder, a loss of its own.
COMPILED = {"conversation_with_choices", "ner", "retrieval", "t5"}


def test_int8_weights_answer_nearly_the_same_and_can_be_earned(trained: Trained) -> None:
    case, plain = trained.case, trained.model
    model = trained.reopened(silent=True)
    result = model.quantize(case.held_out, bound=1e9)
    assert model.args.dynamic_quantize
    assert result.metric == case.model_class().args_class().early_stopping_metric
    assert set(result.before) == set(result.after)
    assert result.before["eval_loss"] == pytest.approx(plain.eval_model(case.held_out).result["eval_loss"], rel=1e-4)
    assert result.after["eval_loss"] == pytest.approx(result.before["eval_loss"], rel=0.1)
    assert result.after["eval_loss"] != result.before["eval_loss"]
    evaluated = model.eval_model(case.held_out)
    assert evaluated.to_frame().index.tolist() == case.held_out.index.tolist()
    assert evaluated.result["eval_loss"] == pytest.approx(result.after["eval_loss"], rel=1e-4)
    if case.answers and case.writes:
        found, expected = (np.array(list(numbers(outputs(case, each)))) for each in (model, plain))
        assert found.shape == expected.shape
    elif case.writes:
        assert len(outputs(case, model)) == len(case.inputs)


@pytest.mark.real
def test_a_compiled_model_trains_and_answers_as_ever(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    case = trained.case
    if case.name not in COMPILED:
        pytest.skip(f"{case.name} is like another one")
    graphs: list[Any] = []

    def backend(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(compiling, "BACKEND", backend)
    args = {"torch_compile": True, "silent": True}
    again = trained.reopened(**args, no_save=True, num_train_epochs=1, evaluate_during_training=True)
    plain = trained.reopened(silent=True, no_save=True, num_train_epochs=1, evaluate_during_training=True)
    # Each has random numbers of its own.
    for module in (*plain.model.modules(), *again.model.modules()):
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    losses = [
        each.train_model(case.train, eval_data=case.held_out).training_details["eval_loss"] for each in (plain, again)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    trainings = len(graphs)
    assert 2 <= trainings <= 6
    model = trained.reopened(**args)
    np.testing.assert_allclose(
        list(numbers(outputs(case, model))), list(numbers(outputs(case, trained.model))), rtol=1e-4, atol=1e-5
    )
    assert len(graphs) - trainings <= 4
