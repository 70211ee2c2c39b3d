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
    "stsb_vectors": {"spearman": 0.867},
    "squad_retrieval": {"recall_at_10 by hand": 0.919},
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


def stsb_vectors(_seed: int, _folder: str) -> Scores:
    """Similarities of vectors as the checkpoint gives them, without training."""
    from scipy.stats import spearmanr

    from easytx import RepresentationModel

    _, held_out = frames("stsb", {})
    model = RepresentationModel("starter", args={"silent": True})
    first, second = (
        model.encode_sentences(held_out[name], "mean", normalize=True) for name in ("sentence1", "sentence2")
    )
    return {"spearman": float(spearmanr(held_out["score"], (first * second).sum(axis=1))[0])}


def questions(name: str, *, once: bool = False) -> pd.DataFrame:
    """Return the questions of a file of SQuAD with their paragraphs; with `once`, one question of each paragraph."""
    with gzip.open(DATA / "squad" / f"{name}.json.gz", "rt", encoding="utf-8") as file:
        articles = json.load(file)["data"]
    frame = pd.DataFrame(
        [(qa["question"], part["context"]) for a in articles for part in a["paragraphs"] for qa in part["qas"]],
        columns=["query_text", "gold_passage"],
    )
    return frame.drop_duplicates("gold_passage" if once else ["query_text", "gold_passage"], ignore_index=True)


def hand_written_recall(frame: pd.DataFrame, *, at: int, max_length: int) -> float:
    """Recall of the starter checkpoint by a mean over tokens and a dot product, with torch and transformers alone."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    from easytx.core.loading import resolve_name

    name = resolve_name("starter")
    tokenizer, network = AutoTokenizer.from_pretrained(name), AutoModel.from_pretrained(name).eval()

    def vectors(texts: list[str]) -> torch.Tensor:
        parts = []
        with torch.no_grad():
            for start in range(0, len(texts), 16):
                batch = tokenizer(
                    texts[start : start + 16], padding=True, truncation=True, max_length=max_length, return_tensors="pt"
                )
                mask = batch["attention_mask"].unsqueeze(-1)
                parts.append((network(**batch).last_hidden_state * mask).sum(1) / mask.sum(1))
        return torch.cat(parts)

    passages = frame["gold_passage"].drop_duplicates().tolist()
    place = {text: number for number, text in enumerate(passages)}
    found = (vectors(frame["query_text"].tolist()) @ vectors(passages).T).topk(at, dim=1).indices
    own = torch.tensor([place[text] for text in frame["gold_passage"]]).unsqueeze(1)
    return float((found == own).any(dim=1).float().mean())


def squad_retrieval(seed: int, folder: str) -> Scores:
    """Question to paragraph: without training, beside the same by hand, and after an epoch on other articles."""
    from easytx import RetrievalModel

    held_out = questions("squad_v1_dev_sample")
    train = pd.concat([questions(f"squad_v1_train_{kind}4k", once=True) for kind in ("", "detok_")], ignore_index=True)
    args = {**RECIPE, "learning_rate": 2e-5, "train_batch_size": 32, "max_seq_length": 256, "manual_seed": seed}
    model = RetrievalModel("starter", args=args)
    before = model.eval_model(held_out, output_dir=folder).result
    model.train_model(train, output_dir=folder)
    after = model.eval_model(held_out, output_dir=folder).result
    by_hand = hand_written_recall(held_out, at=10, max_length=256)
    names = ("recall_at_10", "mrr_at_10")
    return {
        **{f"{name} before": before[name] for name in names},
        **{f"{name} after": after[name] for name in names},
        "recall_at_10 by hand": by_hand,
    }


SETS: dict[str, Callable[[int, str], Scores]] = {
    "mrpc": mrpc,
    "sst2": sst2,
    "goemotions": goemotions,
    "conll2003": conll2003,
    "squad": squad,
    "stsb": stsb,
    "stsb_vectors": stsb_vectors,
    "squad_retrieval": squad_retrieval,
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
