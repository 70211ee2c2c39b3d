"""Quality of classes that stand on an encoder: classification, tags, answers, vectors, retrieval."""

from __future__ import annotations

import gzip
import json
import warnings
from typing import Any

import pandas as pd
from quality_data import DATA, RECIPE, Scores, emotions, frames, questions


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

    train, held_out, names = emotions()
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
