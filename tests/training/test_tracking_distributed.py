"""Under torchrun the first of the processes alone has a run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import rows
from .wandb_runs import runs

SCRIPT = """
import json, os, sys
import pandas as pd, torch
from easytx.classification import ClassificationModel

rank = os.environ["RANK"]
args = {
    "evaluate_during_training": True, "logging_steps": 1, "num_train_epochs": 2, "silent": True, "train_batch_size": 3,
    "wandb_kwargs": {"dir": sys.argv[2], "mode": "offline", "settings": {"silent": True, "console": "off"}},
    "wandb_log_predictions": 2, "wandb_project": "tests",
}
model = ClassificationModel("bert", sys.argv[1], num_labels=2, use_cuda=False, args=args)
train_df, eval_df = pd.read_json("train.jsonl", lines=True), pd.read_json("eval.jsonl", lines=True)
model.train_model(train_df, eval_data=eval_df)
model.eval_model(eval_df)
with open(f"found-{rank}.json", "w") as file:
    json.dump({"id": model.wandb_run_id, "wandb": "wandb" in sys.modules}, file)
torch.distributed.destroy_process_group()
"""


@pytest.mark.real
def test_two_processes_have_one_run(checkpoint: Path, tmp_path: Path) -> None:
    rows(6).to_json("train.jsonl", orient="records", lines=True)
    rows(7, start=100).to_json("eval.jsonl", orient="records", lines=True)
    Path("script.py").write_text(SCRIPT, encoding="utf-8")
    (tmp_path / "tracking").mkdir()
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "script.py"]
    root = Path(__file__).resolve().parents[2]
    command = ["env", f"PYTHONPATH={root}", "OMP_NUM_THREADS=1", *launch, str(checkpoint), str(tmp_path / "tracking")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
    found = [json.loads(Path(f"found-{rank}.json").read_text("utf-8")) for rank in range(2)]
    training, evaluation = runs("tracking")
    assert training.id == evaluation.id == found[0]["id"]
    assert found[1] == {"id": None, "wandb": False}
    assert (training.exit_code, evaluation.exit_code) == (0, 0)
    # Two steps, each the whole of an epoch.
    assert training.column("train/epoch") == [1, 2]
    assert len(training.column("eval/mcc")) == 2
    assert len(evaluation.column("test/mcc")) == 1
