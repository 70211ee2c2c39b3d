"""Simple Transformers in the race: its environment, and the driver of its worker."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from race_clock import Run, SkippedError
from race_ours import LEARNING_RATE, SEED, inputs_of
from race_work import Work

VERSION = "0.70.8"
_ROOT = Path(__file__).parents[2]
_HERE = Path(__file__).parent

# Seconds after which an answer is no longer waited for.
_PATIENCE = 300

# What it imports for the classes of the race; its list names a web framework too, which needs an older pandas.
_NEEDS = [
    "accelerate",
    "datasets",
    "pandas",
    "regex",
    "requests",
    "scikit-learn",
    "scipy",
    "sentencepiece",
    "seqeval",
    "tensorboard",
    "tensorboardX",
    "tokenizers",
    "transformers",
    "wandb",
]


def environment(folder: Path) -> Path:
    """Return the Python of an environment with Simple Transformers, made on first use.

    torch comes first and alone, and must be the same build afterwards.
    """
    python = folder / "bin" / "python"
    ready = folder / ".ready"
    if ready.is_file():
        return python
    print(f"making an environment for simpletransformers {VERSION} in {folder} ...", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "-c", str(_ROOT / "constraints.txt")]
    subprocess.run([*pip, "torch==2.13.0"], check=True)
    build = _torch_build(python)
    subprocess.run([*pip, *_NEEDS], check=True)
    subprocess.run([*pip, "--no-deps", f"simpletransformers=={VERSION}"], check=True)
    if _torch_build(python) != build:
        raise RuntimeError(f"another build of torch took the place of {build}: {_torch_build(python)}")
    ready.touch()
    return python


def _torch_build(python: Path) -> str:
    done = subprocess.run(
        [str(python), "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


class Worker:
    """The process that runs Simple Transformers, alive for the whole race."""

    def __init__(self, python: Path, folder: Path, log: Path) -> None:
        self.folder = folder
        self.log = log.open("w", encoding="utf-8")
        # It forks processes to tokenise in, which wait for ever where tokenizers is told to use threads all the same.
        settings = {name: value for name, value in os.environ.items() if name != "TOKENIZERS_PARALLELISM"}
        self.process = subprocess.Popen(
            [str(python), str(_HERE / "race_simple_worker.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, cwd=folder, env=settings,
        )  # fmt: skip

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            SkippedError: If Simple Transformers cannot do it, does not answer, or the process has ended.
        """
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("the worker has no pipes")
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise SkippedError(f"its process has ended, see {self.log.name}") from error
        limit = threading.Timer(_PATIENCE, self.process.kill)
        limit.start()
        try:
            line = self.process.stdout.readline()
        finally:
            limit.cancel()
        if not line:
            raise SkippedError(f"its process has ended, see {self.log.name}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise SkippedError(f"simpletransformers {VERSION} failed: {answer['error'][:160]}")
        return answer

    def close(self) -> None:
        """End the process."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait(timeout=30)
        self.log.close()


class Simple:
    """Simple Transformers on one work, with its defaults but for saving, caching and bars."""

    def __init__(self, worker: Worker, work: Work, model: str, options: argparse.Namespace) -> None:
        self.worker, self.work = worker, work
        rows = worker.folder / f"{work.name}.json"
        texts = inputs_of(work, work.held_out)
        rows.write_text(json.dumps({"train": work.train, "held_out": work.held_out, "inputs": texts}), "utf-8")
        args = {
            "learning_rate": LEARNING_RATE, "manual_seed": SEED, "max_seq_length": work.max_length,
            "train_batch_size": options.batch_size, "no_cache": True, "no_save": True, "silent": True,
            "save_model_every_epoch": False, "save_steps": -1, "overwrite_output_dir": True,
            "output_dir": str(worker.folder / "outputs"), "tensorboard_dir": str(worker.folder / "runs"),
        }  # fmt: skip
        self.load = {
            "do": "load", "kind": work.kind, "labels": work.labels, "model": model, "rows": str(rows), "args": args,
            "threads": options.threads, "clock": options.clock,
        }  # fmt: skip

    def prepare(self) -> None:
        """Have the worker read the rows and the model.

        Raises:
            SkippedError: If it cannot.
        """
        self.worker.ask(**self.load)

    def train(self) -> Run:
        """One epoch over the work's training rows."""
        answer = self.worker.ask(do="train")
        return Run(answer["seconds"], len(self.work.train), {"call": answer["call"]})

    def evaluate(self) -> Run:
        """`eval_model` on the held-out rows."""
        return Run(self.worker.ask(do="evaluate")["seconds"], len(self.work.held_out))

    def predict(self) -> Run:
        """`predict` on the held-out rows."""
        return Run(self.worker.ask(do="predict")["seconds"], len(self.work.held_out))

    def answers(self) -> Any:
        """Return predictions of the held-out rows."""
        return self.worker.ask(do="predict", answers=True)["predicted"]

    def weights(self) -> dict[str, Any]:
        """Return the weights of the last training."""
        from safetensors.torch import load_file

        folder = self.worker.folder / "weights"
        self.worker.ask(do="save", folder=str(folder))
        return load_file(folder / "model.safetensors")
