"""Two processes under torchrun train one model, and each has all the answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from easytx.training.checkpoints import newest

from .conftest import NO_DROPOUT, changed, rows, weights

# One step an epoch; the batches of the two processes together are those of one process with a batch of 6.
ARGS: dict[str, Any] = {
    "config": NO_DROPOUT,
    "evaluate_during_training": True,
    "fp16": False,
    "learning_rate": 0.1,
    "manual_seed": 3,
    "max_grad_norm": 0.0,
    "num_train_epochs": 3,
    "optimizer": "sgd",
    "early_stopping_metric": "scripted",
    "silent": True,
}

SCRIPT = """
import json, os, sys
import pandas as pd, torch
from easytx.classification import ClassificationModel

rank = int(os.environ["RANK"])
args, checkpoint = json.loads(sys.argv[1]), sys.argv[2]
train_df, eval_df = pd.read_json("train.jsonl", lines=True), pd.read_json("eval.jsonl", lines=True)
texts = eval_df["text"].tolist()
model = ClassificationModel("bert", checkpoint, num_labels=2, use_cuda=False, args={**args, "train_batch_size": 3})
# An evaluation before the training must not keep it from sharing gradients.
before = model.eval_model(eval_df, output_dir="before").result["eval_loss"]
scores = iter([2, 1, 3])
details = model.train_model(train_df, eval_data=eval_df, scripted=lambda truth, predictions: next(scores))
predictions, logits = model.predict(texts)
found = {
    "details": details.training_details, "best_step": details.info["best_step"], "global_step": details.global_step,
    "before": before, "after": model.eval_model(eval_df, output_dir="after").result["eval_loss"],
    "logits": logits.tolist(), "ranks": torch.distributed.get_world_size(),
}
torch.save(model.model.state_dict(), f"weights-{rank}.pt")
other = ClassificationModel("bert", checkpoint, num_labels=2, use_cuda=False, args={"silent": True, "max_steps": 2})
found["drawn seed"] = other.train_model(train_df, output_dir="other").info["seed"]
torch.save(other.model.state_dict(), f"others-{rank}.pt")
with open(f"found-{rank}.json", "w") as file:
    json.dump(found, file)
torch.distributed.destroy_process_group()
"""


@pytest.mark.real
def test_two_processes_train_one_model(checkpoint: Path, tmp_path: Path) -> None:
    from easytx.classification import ClassificationModel

    train_df, eval_df = rows(6), rows(7, start=100)
    train_df.to_json("train.jsonl", orient="records", lines=True)
    eval_df.to_json("eval.jsonl", orient="records", lines=True)
    Path("script.py").write_text(SCRIPT, encoding="utf-8")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "script.py"]
    root = Path(__file__).resolve().parents[2]
    command = ["env", f"PYTHONPATH={root}", "OMP_NUM_THREADS=1", *launch, json.dumps(ARGS), str(checkpoint)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-5000:]

    single = ClassificationModel(
        "bert", str(checkpoint), num_labels=2, use_cuda=False, args={**ARGS, "train_batch_size": 6}
    )
    before = single.eval_model(eval_df, output_dir="single").result["eval_loss"]
    scores = iter([2, 1, 3])
    details = single.train_model(
        train_df, eval_data=eval_df, output_dir="single/model", scripted=lambda *_given: next(scores)
    )
    logits = torch.tensor(single.predict(eval_df["text"].tolist()).raw_outputs)
    found = [json.loads(Path(f"found-{rank}.json").read_text("utf-8")) for rank in range(2)]
    for rank, of_rank in enumerate(found):
        assert of_rank["ranks"] == 2
        assert of_rank["global_step"] == details.global_step == 3
        assert of_rank["best_step"] == 2
        assert of_rank["before"] == pytest.approx(before, rel=1e-5)
        assert of_rank["details"]["train_loss"] == pytest.approx(details.training_details["train_loss"], rel=1e-4)
        assert of_rank["details"]["eval_loss"] == pytest.approx(details.training_details["eval_loss"], rel=1e-4)
        assert of_rank["after"] == pytest.approx(details.training_details["eval_loss"][1], rel=1e-4)
        torch.testing.assert_close(torch.tensor(of_rank["logits"]), logits, rtol=1e-3, atol=1e-4)
        for name, value in torch.load(f"weights-{rank}.pt", weights_only=True).items():
            torch.testing.assert_close(value, weights(single)[name], rtol=1e-3, atol=1e-5)
    for kind in ("weights", "others"):
        first, second = (torch.load(f"{kind}-{rank}.pt", weights_only=True) for rank in range(2))
        assert changed(first, second) == set()
    assert found[0]["drawn seed"] == found[1]["drawn seed"]
    assert newest("outputs") == Path("outputs/checkpoint-3")
    names = {path.name for path in Path("outputs/checkpoint-3").iterdir()}
    assert {"rng_state_0.pth", "rng_state_1.pth"} <= names
    assert [path.name for path in Path("before").iterdir()] == [path.name for path in Path("after").iterdir()]
