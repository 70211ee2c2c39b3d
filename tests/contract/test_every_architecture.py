"""Each class works with each architecture, and padding changes no answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import easytx
from easytx.testing import ARCHITECTURES, tiny_checkpoint

from .conftest import CASES, Case, numbers

_NAMES = {"classification", "pairs", "ner", "question_answering", "multi_modal", "retrieval"}
TASKS = [case for case in CASES if case.name in _NAMES]


@pytest.fixture(scope="module", params=[*ARCHITECTURES, "gpt2", "llama"])
def architecture(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("architectures") / request.param, request.param)


@pytest.mark.parametrize("case", TASKS, ids=lambda case: case.name)
def test_it_trains_saves_and_predicts_alike_in_batches_and_alone(
    case: Case, architecture: Path, tmp_path: Path
) -> None:
    model = case.model(architecture, output_dir=str(tmp_path / "model"), save_model_every_epoch=False)
    assert model.train_model(case.train).global_step == 2
    rows = case.inputs[:5]
    together = numbers(model.predict(rows).raw_outputs)
    alone = numbers([model.predict([row]).raw_outputs for row in rows])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)
    reopened = easytx.load(tmp_path / "model", args={"silent": True})
    assert numbers(reopened.predict(rows).raw_outputs) == pytest.approx(together, rel=1e-5, abs=1e-6)
