"""Draw docs/pages/how-to/tracking.svg from an offline run made on the spot: `python docs/draw_tracking.py`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

PICTURE = Path(__file__).parent / "pages" / "how-to" / "tracking.svg"

# Rows of the table that are shown: so many that are wrong and so many that are right; characters of a text.
_WRONG, _RIGHT, _WIDTH = 3, 2, 75


def main() -> None:
    """Train, read the run back, and draw what is in it."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update({f"WANDB_{name}_DIR": str(Path(folder, name)) for name in ("CACHE", "CONFIG", "DATA")})
        _train(Path(folder))
        (run,) = Path(folder).glob("wandb/offline-run-*")
        draw(history(run), table(run, "eval/predictions"))


def _train(folder: Path) -> None:
    from easytx import ClassificationModel, samples

    train_df, eval_df = samples.load("support_tickets")
    args = {
        "evaluate_during_training": True,
        "evaluate_during_training_steps": 25,
        "learning_rate": 1e-4,
        "logging_steps": 5,
        "manual_seed": 0,
        "no_save": True,
        "num_train_epochs": 3,
        "silent": True,
        "wandb_kwargs": {"dir": str(folder), "mode": "offline", "settings": {"silent": True}},
        "wandb_log_predictions": 40,
        "wandb_project": "tickets",
    }
    ClassificationModel("starter", args=args).train_model(train_df, eval_df=eval_df)


def history(run: Path) -> list[dict[str, Any]]:
    """Return the rows of a run's history, as wandb itself reads them from its folder."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(run)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    records = [json.loads(line) for line in lines]
    return [record["history"]["item"] for record in records if record["type"] == "history"]


def table(run: Path, name: str) -> dict[str, Any]:
    """Return the last table that was logged under a name."""
    paths = [row[f"{name}.path"] for row in history(run) if f"{name}.path" in row]
    found: dict[str, Any] = json.loads((run / "files" / paths[-1]).read_text("utf-8"))
    return found


def draw(rows: list[dict[str, Any]], predictions: dict[str, Any]) -> None:
    """Draw losses, scores and a part of a table, and write the picture."""
    import matplotlib as mpl

    mpl.use("agg")
    # So that the same numbers give the same file.
    mpl.rcParams.update({"svg.hashsalt": "easytx", "font.size": 9})
    from matplotlib import pyplot as plt

    figure, axes = plt.subplot_mosaic(
        [["loss", "score"], ["table", "table"]], figsize=(9, 5.6), height_ratios=[3, 2], layout="constrained"
    )
    _lines(axes["loss"], rows, {"train/loss": "tab:gray", "eval/loss": "tab:red"})
    _lines(axes["score"], rows, {"eval/mcc": "tab:blue", "eval/f1_macro": "tab:green"})
    _table(axes["table"], predictions)
    figure.savefig(PICTURE, metadata={"Date": None, "Creator": None})
    plt.close(figure)


def _lines(axes: Any, rows: list[dict[str, Any]], colours: dict[str, str]) -> None:
    for name, colour in colours.items():
        points = [(row["train/global_step"], row[name]) for row in rows if name in row]
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, color=colour, label=name)
    axes.set_xlabel("train/global_step")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()


def _table(axes: Any, predictions: dict[str, Any]) -> None:
    columns = ["text", "truth", "prediction", "probability"]
    places = [predictions["columns"].index(name) for name in columns]
    cells = [[row[place] for place in places] for row in predictions["data"]]
    cells = [row for row in cells if row[1] != row[2]][:_WRONG] + [row for row in cells if row[1] == row[2]][:_RIGHT]
    shown = [[textwrap.shorten(row[0], _WIDTH, placeholder=" ..."), *row[1:3], f"{row[3]:.2f}"] for row in cells]
    axes.axis("off")
    axes.set_title("eval/predictions, at the last evaluation", fontsize=9, loc="left")
    drawn = axes.table(
        cellText=shown,
        colLabels=columns,
        colWidths=[0.6, 0.15, 0.15, 0.1],
        cellLoc="left",
        colLoc="left",
        loc="upper left",
    )
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(8)
    drawn.scale(1, 1.35)
    for (line, _), cell in drawn.get_celld().items():
        cell.PAD = 0.02
        cell.set_edgecolor("lightgray")
        wrong = line > 0 and shown[line - 1][1] != shown[line - 1][2]
        cell.set_facecolor("whitesmoke" if line == 0 else "mistyrose" if wrong else "white")


if __name__ == "__main__":
    main()
