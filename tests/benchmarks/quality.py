"""Quality on real data with the starter checkpoint, beside reference points of the bare Trainer.

    python tests/benchmarks/quality.py                      # every set
    python tests/benchmarks/quality.py mrpc stsb --seeds 0  # some sets, one seed
    python tests/benchmarks/quality.py stsb --bare          # measure the bare Trainer on stsb as well

Reads the folder named by EASYTX_DATA, by default `../shared/data` beside the project. Prints a table and writes
`quality.json` into the current folder.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

DATA = Path(os.environ.get("EASYTX_DATA", Path(__file__).parents[2] / "../shared/data")).resolve()

# 6 % warm-up, linear decay and no weight decay are the defaults.
RECIPE = {"learning_rate": 5e-5, "train_batch_size": 16, "max_seq_length": 128, "no_save": True, "silent": True}

REFERENCE = {
    "mrpc": {"accuracy": 0.806, "f1": 0.866},
    "sst2": {"accuracy": 0.885},
    "goemotions": {"LRAP": 0.543, "f1_micro": 0.383},
    "conll2003": {"f1_score": 0.904, "precision": 0.897, "recall": 0.912},
    "squad": {"exact_match": 55.0, "f1": 67.2},
    "stsb": {},
    # The most frequent answer to each question, which is all that a text alone can know.
    "easy_vqa": {"text_alone": 0.667},
}

Scores = dict[str, float]


def frames(folder: str, renames: dict[str, str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the training and validation rows of a set with our column names."""
    train, held_out = (pd.read_parquet(DATA / folder / f"{split}.parquet") for split in ("train", "validation"))
    return train.rename(columns=renames), held_out.rename(columns=renames)


def mrpc(seed: int, folder: str) -> Scores:
    from sklearn.metrics import f1_score

    from easytx import ClassificationModel

    train, held_out = frames("mrpc", {"sentence1": "text_a", "sentence2": "text_b", "label": "labels"})
    model = ClassificationModel("starter", args={**RECIPE, "num_train_epochs": 3, "manual_seed": seed})
    model.train_model(train, output_dir=folder)
    result, *_ = model.eval_model(held_out, output_dir=folder, f1=f1_score)
    return {name: float(result[name]) for name in ("accuracy", "f1")}


def sst2(seed: int, folder: str) -> Scores:
    from easytx import ClassificationModel

    train, held_out = frames("sst2_sentences", {"sentence": "text", "label": "labels"})
    model = ClassificationModel("starter", args={**RECIPE, "num_train_epochs": 2, "manual_seed": seed})
    model.train_model(train, output_dir=folder)
    result, *_ = model.eval_model(held_out, output_dir=folder)
    return {"accuracy": result["accuracy"]}


def goemotions(seed: int, folder: str) -> Scores:
    from easytx import MultiLabelClassificationModel

    train, held_out = frames("goemotions", {})
    train = train.sample(20_000, random_state=0)
    names = (DATA / "goemotions/labels.txt").read_text().split()
    for frame in (train, held_out):
        frame["labels"] = [[int(i in row) for i in range(len(names))] for row in frame["labels"]]
    args = {**RECIPE, "num_train_epochs": 2, "manual_seed": seed, "threshold": 0.3, "labels_list": names}
    model = MultiLabelClassificationModel("starter", args=args)
    model.train_model(train, output_dir=folder)
    result, *_ = model.eval_model(held_out, output_dir=folder)
    return {name: result[name] for name in ("LRAP", "f1_micro")}


def conll2003(seed: int, folder: str) -> Scores:
    from easytx import NERModel

    train, held_out = frames("conll2003", {})
    model = NERModel("starter", args={**RECIPE, "num_train_epochs": 3, "manual_seed": seed})
    model.train_model(list(zip(train["tokens"], train["tags"], strict=True)), output_dir=folder)
    result, *_ = model.eval_model(list(zip(held_out["tokens"], held_out["tags"], strict=True)), output_dir=folder)
    return {name: result[name] for name in ("f1_score", "precision", "recall")}


def squad(seed: int, folder: str) -> Scores:
    from easytx import QuestionAnsweringModel

    def read(name: str) -> list[Any]:
        with gzip.open(DATA / "squad" / f"{name}.json.gz", "rt", encoding="utf-8") as file:
            articles: list[Any] = json.load(file)["data"]
        return articles

    # Windows of 384 that move on by 240 share about 128 tokens.
    args = {**RECIPE, "num_train_epochs": 2, "manual_seed": seed, "max_seq_length": 384, "doc_stride": 240}
    model = QuestionAnsweringModel("starter", args={**args, "max_answer_length": 30})
    model.train_model(read("squad_v1_train_4k") + read("squad_v1_train_detok_4k"), output_dir=folder)
    result, _ = model.eval_model(read("squad_v1_dev_sample"), output_dir=folder)
    return {name: result[name] for name in ("exact_match", "f1")}


def stsb(seed: int, folder: str) -> Scores:
    from easytx import ClassificationModel

    train, held_out = frames("stsb", {"sentence1": "text_a", "sentence2": "text_b", "score": "labels"})
    args = {**RECIPE, "num_train_epochs": 3, "manual_seed": seed, "regression": True}
    model = ClassificationModel("starter", num_labels=1, args=args)
    model.train_model(train, output_dir=folder)
    result, *_ = model.eval_model(held_out, output_dir=folder)
    return {name: result[name] for name in ("pearson", "spearman")}


def easy_vqa(seed: int, folder: str) -> Scores:
    """Text and image against the text alone; the vision encoder is new, and the images held out are others."""
    from easytx import ClassificationModel, MultiModalClassificationModel

    questions, images = (
        pd.read_parquet(DATA / "easy_vqa" / f"train_{part}.parquet") for part in ("questions", "images")
    )
    rows = questions.merge(images, on="image_id").rename(columns={"question": "text", "png": "images"})
    rows = rows.drop(columns="labels", errors="ignore").rename(columns={"answer": "labels"})
    train = rows[rows["image_id"] < 3600].sample(6000, random_state=0)
    held_out = rows[rows["image_id"] >= 3600].sample(2000, random_state=0)
    args = {**RECIPE, "train_batch_size": 32, "manual_seed": seed}
    # A hundred short questions have nothing to teach the text encoder; all else is new.
    joint = {**args, "freeze": ["text_model"], "learning_rate": 1e-3, "num_train_epochs": 6}
    with warnings.catch_warnings():
        # There is one image to many questions, and no vision encoder is named.
        warnings.simplefilter("ignore", UserWarning)
        both = MultiModalClassificationModel("bert", "starter", args=joint)
        both.train_model(train, output_dir=folder)
        text = ClassificationModel("starter", args={**args, "learning_rate": 1e-4, "num_train_epochs": 3})
        text.train_model(train[["text", "labels"]], output_dir=folder)
    scores = {
        "text_and_image": both.eval_model(held_out, output_dir=folder)[0]["accuracy"],
        "text_alone": text.eval_model(held_out[["text", "labels"]], output_dir=folder)[0]["accuracy"],
    }
    return {**scores, "gain": scores["text_and_image"] - scores["text_alone"]}


def bare_stsb(seed: int, folder: str) -> Scores:
    """The Trainer of transformers alone, with the same recipe."""
    from datasets import Dataset
    from scipy.stats import pearsonr, spearmanr
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    from easytx.core.loading import resolve_name

    name = resolve_name("starter")
    tokenizer = AutoTokenizer.from_pretrained(name)
    sets = []
    for frame in frames("stsb", {}):
        encoded = tokenizer(list(frame["sentence1"]), list(frame["sentence2"]), truncation=True, max_length=128)
        sets.append(Dataset.from_dict({**encoded, "labels": frame["score"].astype("float32").tolist()}))
    set_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(name, num_labels=1, problem_type="regression")
    settings = TrainingArguments(
        output_dir=folder, num_train_epochs=3, learning_rate=5e-5, per_device_train_batch_size=16, warmup_steps=0.06,
        per_device_eval_batch_size=64, bf16=True, use_cpu=True, seed=seed, save_strategy="no", report_to=[],
        disable_tqdm=True, logging_strategy="no",
    )  # fmt: skip
    trainer = Trainer(model, settings, DataCollatorWithPadding(tokenizer), sets[0], sets[1], tokenizer)
    trainer.train()
    predicted = np.asarray(trainer.predict(sets[1]).predictions)[:, 0]
    truth = np.asarray(sets[1]["labels"])
    return {"pearson": float(pearsonr(truth, predicted)[0]), "spearman": float(spearmanr(truth, predicted)[0])}


SETS: dict[str, Callable[[int, str], Scores]] = {
    "mrpc": mrpc,
    "sst2": sst2,
    "goemotions": goemotions,
    "conll2003": conll2003,
    "squad": squad,
    "stsb": stsb,
    "easy_vqa": easy_vqa,
}


def measure(name: str, run: Callable[[int, str], Scores], seeds: list[int]) -> list[dict[str, Any]]:
    """Return one record per seed."""
    records = []
    for seed in seeds:
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            scores = run(seed, folder)
        records.append({"set": name, "seed": seed, "seconds": round(time.monotonic() - started), **scores})
        print(json.dumps(records[-1]), flush=True)
    return records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("sets", nargs="*", help=f"some of {', '.join(SETS)}; all by default")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--bare", action="store_true", help="measure the bare Trainer on stsb as well")
    parser.add_argument("--out", default="quality.json")
    options = parser.parse_args()
    unknown = set(options.sets) - set(SETS)
    if unknown:
        parser.error(f"there is no set {sorted(unknown)}")
    if not DATA.is_dir():
        sys.exit(f"Skipped: there is no data at {DATA}. Set EASYTX_DATA.")
    records = []
    for name in options.sets or SETS:
        records += measure(name, SETS[name], options.seeds)
    if options.bare:
        records += measure("stsb, bare Trainer", bare_stsb, options.seeds)
    Path(options.out).write_text(json.dumps(records, indent=2) + "\n", encoding="utf-8")
    table = pd.DataFrame(records).groupby("set", sort=False).mean(numeric_only=True).drop(columns="seed")
    print(table.round(4).to_string())
    print("reference:", json.dumps(REFERENCE))


if __name__ == "__main__":
    main()
