"""Every class shows its predictions, its mistakes and its scores per label to the tracker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb

from tests.training.wandb_runs import runs

from .conftest import Case

SETTINGS = {"silent": True, "console": "off", "x_disable_stats": True, "x_disable_meta": True}
TABLES = {
    "classification": {"test/per_class"},
    "pairs": {"test/per_class"},
    "sliding_window": {"test/per_class"},
    "multi_label_vectors": {"test/per_label"},
    "multi_label_names": {"test/per_label"},
    "ner": {"test/per_entity"},
    "multi_modal": {"test/per_class"},
    "multi_modal_labels": {"test/per_label"},
}
CHARTS = {
    "classification": {"confusion_matrix", "roc", "pr"},
    "pairs": {"confusion_matrix", "roc", "pr"},
    "sliding_window": {"confusion_matrix", "roc", "pr"},
    "multi_label_vectors": {"roc", "pr"},
    "multi_label_names": {"roc", "pr"},
    "ner": {"confusion_matrix", "roc", "pr"},
    "multi_modal": {"confusion_matrix", "roc", "pr"},
    "multi_modal_labels": {"roc", "pr"},
}
# Their answers are not right or wrong.
WITHOUT_TABLES = {"causal_language_model", "masked_language_model"}
WITHOUT_PROBABILITY = {
    "conversation",
    "conversation_of_blenderbot",
    "conversation_with_choices",
    "rag-sequence",
    "rag-token",
    "regression",
    "seq2seq",
    "t5",
}

# What the metric of a sweep is called.
PLAIN = {
    "classification": {"mcc"},
    "multi_label_names": {"LRAP"},
    "multi_label_vectors": {"LRAP"},
    "ner": {"f1_score"},
    "question_answering": {"correct", "similar", "incorrect"},
}


@pytest.fixture(autouse=True)
def _finished() -> Iterator[None]:
    yield
    if wandb.run is not None:
        wandb.finish()


def test_a_class_is_tracked(case: Case, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    options: dict[str, Any] = {"dir": str(tmp_path), "settings": wandb.Settings(**SETTINGS)}
    args = {"evaluate_during_training": True, "wandb_log_predictions": 4, "no_save": True}
    model = case.model(checkpoint, wandb_project="p", wandb_kwargs=options, **args)
    model.train_model(case.train, eval_data=case.held_out)
    result = model.eval_model(case.held_out, output_dir="scores").result
    training, evaluation = runs(tmp_path)
    assert training.id == evaluation.id == model.wandb_run_id
    for name, value in result.items():
        assert evaluation.column(name) == pytest.approx([value], nan_ok=True), name
        assert evaluation.column(f"test/{name.removeprefix('eval_')}") == evaluation.column(name)
    logged = {name.removesuffix(".path") for row in evaluation.history for name in row if name.endswith(".path")}
    charts = {f"{name}_table" for name in CHARTS.get(case.name, set())}
    if case.name in WITHOUT_TABLES:
        assert logged == set()
        return
    assert logged == {"test/wrong_predictions"} | TABLES.get(case.name, set()) | charts
    (shown,) = training.tables("eval/predictions")
    columns = shown["columns"]
    assert {"truth", "prediction", "loss", "epoch", "global_step"} <= set(columns)
    assert ("probability" in columns) == (case.name not in WITHOUT_PROBABILITY)
    assert len(shown["data"]) == 4
    assert all(row[columns.index("loss")] >= 0 for row in shown["data"])
    for name in {"train_loss", "eval_loss", *PLAIN.get(case.name, set()), *result}:
        assert training.column(name) != [], name
    (wrong,) = evaluation.tables("test/wrong_predictions")
    losses = [row[wrong["columns"].index("loss")] for row in wrong["data"]]
    assert losses == sorted(losses, reverse=True)
    at = [wrong["columns"].index(name) for name in ("truth", "prediction")]
    assert all(row[at[0]] != row[at[1]] for row in wrong["data"])
