"""The picture of a run is drawn from what the run's folder holds."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import wandb

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_a_run_is_read_back_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("draw_tracking", DOCS / "draw_tracking.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, "PICTURE", tmp_path / "run.svg")
    options = {"mode": "offline", "dir": str(tmp_path), "settings": wandb.Settings(silent=True, console="off")}
    with wandb.init(project="tests", **options) as run:
        for step in (1, 2):
            run.log({"train/global_step": step, "train/loss": 1 / step, "eval/loss": 2 / step})
        run.log({"train/global_step": 2, "eval/mcc": 0.5, "eval/f1_macro": 0.6})
        columns = ["text", "truth", "prediction", "probability"]
        rows = [["never shown as wrong", "a", "a", 0.9], ["shown first", "a", "b", 0.4]]
        run.log({"eval/predictions": wandb.Table(columns=columns, data=rows)})
    (folder,) = tmp_path.glob("wandb/offline-run-*")
    found = script.history(folder)
    assert [row["train/loss"] for row in found if "train/loss" in row] == [1.0, 0.5]
    table = script.table(folder, "eval/predictions")
    assert table["data"] == rows
    script.draw(found, table)
    first = (tmp_path / "run.svg").read_text("utf-8")
    script.draw(found, table)
    assert (tmp_path / "run.svg").read_text("utf-8") == first
