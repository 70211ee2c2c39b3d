"""Quality on real data with the starter checkpoint or from scratch, beside reference points of the bare Trainer.

    python tests/benchmarks/quality.py                      # every set
    python tests/benchmarks/quality.py mrpc stsb --seeds 0  # some sets, one seed
    python tests/benchmarks/quality.py stsb --bare          # measure the bare Trainer on it as well
    python tests/benchmarks/quality.py wikitext --bare      # a new language model; below the unigram perplexity

Reads the folder named by EASYTX_DATA, by default `../shared/data` beside the project. Prints a table and writes
`quality.json` into the current folder.
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import json
import os
import random
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
    # Of five candidates one is right by chance in 0.2; perplexity is to fall below that of single tokens.
    "persona_chat": {"hits@1": 0.2},
    # The bare Trainer with seed 0; a unigram model has 644.
    "wikitext": {"perplexity": 300.2},
    # From scratch: at least so much.
    "dates": {"exact_match": 0.99},
    "multi30k": {"bleu": 90.0},
    # The most frequent answer to each question, which is all that a text alone can know.
    "easy_vqa": {"text_alone": 0.667},
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


def emotions() -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Return 20,000 training rows of GoEmotions, its validation rows, and the names of its labels."""
    train, held_out = frames("goemotions", {})
    train = train.sample(20_000, random_state=0)
    names = (DATA / "goemotions/labels.txt").read_text().split()
    for frame in (train, held_out):
        frame["labels"] = [[int(i in row) for i in range(len(names))] for row in frame["labels"]]
    return train, held_out, names


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


def bare_classifier(
    sets: list[pd.DataFrame], seed: int, folder: str, *, epochs: int, labels: int, problem: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the truth and the logits of the Trainer of transformers alone, with the same recipe.

    Args:
        sets: Rows to train on and to evaluate on, with our column names.
        seed: Of the head, the order of rows and dropout.
        folder: To write in.
        epochs: Passes over the rows.
        labels: Outputs of the head.
        problem: The `problem_type` of the model's configuration.
    """
    import torch
    from datasets import Dataset
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
    data = []
    for frame in sets:
        texts = (frame[column].tolist() for column in ("text", "text_a", "text_b") if column in frame)
        encoded = tokenizer(*texts, truncation=True, max_length=128)
        kept = frame["labels"].tolist()
        given = kept if problem == "single_label_classification" else np.asarray(kept, dtype="float32").tolist()
        data.append(Dataset.from_dict({**encoded, "labels": given}))
    set_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(name, num_labels=labels, problem_type=problem)
    settings = TrainingArguments(
        output_dir=folder, num_train_epochs=epochs, learning_rate=5e-5, per_device_train_batch_size=16,
        warmup_steps=0.06, per_device_eval_batch_size=64, bf16=True, use_cpu=not torch.cuda.is_available(), seed=seed,
        save_strategy="no", report_to=[], disable_tqdm=True, logging_strategy="no",
    )  # fmt: skip
    trainer = Trainer(model, settings, DataCollatorWithPadding(tokenizer), data[0], data[1], tokenizer)
    trainer.train()
    return np.asarray(data[1]["labels"]), np.asarray(trainer.predict(data[1]).predictions)


def bare_mrpc(seed: int, folder: str) -> Scores:
    from sklearn.metrics import accuracy_score, f1_score

    sets = frames("mrpc", {"sentence1": "text_a", "sentence2": "text_b", "label": "labels"})
    problem = "single_label_classification"
    truth, logits = bare_classifier([*sets], seed, folder, epochs=3, labels=2, problem=problem)
    predicted = logits.argmax(axis=1)
    return {"accuracy": float(accuracy_score(truth, predicted)), "f1": float(f1_score(truth, predicted))}


def bare_sst2(seed: int, folder: str) -> Scores:
    sets = frames("sst2_sentences", {"sentence": "text", "label": "labels"})
    problem = "single_label_classification"
    truth, logits = bare_classifier([*sets], seed, folder, epochs=2, labels=2, problem=problem)
    return {"accuracy": float((truth == logits.argmax(axis=1)).mean())}


def bare_goemotions(seed: int, folder: str) -> Scores:
    from sklearn.metrics import f1_score, label_ranking_average_precision_score

    train, held_out, names = emotions()
    problem = "multi_label_classification"
    truth, logits = bare_classifier([train, held_out], seed, folder, epochs=2, labels=len(names), problem=problem)
    chosen = 1 / (1 + np.exp(-logits)) >= 0.3
    return {
        "LRAP": float(label_ranking_average_precision_score(truth, logits)),
        "f1_micro": float(f1_score(truth, chosen, average="micro")),
    }


def bare_stsb(seed: int, folder: str) -> Scores:
    from scipy.stats import pearsonr, spearmanr

    sets = frames("stsb", {"sentence1": "text_a", "sentence2": "text_b", "score": "labels"})
    truth, logits = bare_classifier([*sets], seed, folder, epochs=3, labels=1, problem="regression")
    predicted = logits[:, 0]
    return {"pearson": float(pearsonr(truth, predicted)[0]), "spearman": float(spearmanr(truth, predicted)[0])}


def chat_rows() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return replies of both speakers, beside four of other conversations; one in five conversations is held out."""
    chance = random.Random(0)
    chats = pd.read_parquet(DATA / "persona_chat_synthetic/validation.parquet")
    parts: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for number, chat in enumerate(chats.itertuples()):
        said = [str(text) for text in chat.utterances]
        for place in range(1, len(said)):
            persona = chat.persona1 if chat.speakers[place] == 1 else chat.persona2
            row = {"personality": list(persona), "history": said[:place], "reply": said[place], "chat": number}
            parts[number % 5 == 0].append(row)
    train, held_out = (chance.sample(part, size) for part, size in zip(parts, (15000, 1000), strict=True))
    for part in (train, held_out):
        for row in part:
            others = [other["reply"] for other in chance.sample(part, 12) if other["chat"] != row["chat"]]
            row["candidates"] = [*[text for text in others if text != row["reply"]][:4], row["reply"]]
    return pd.DataFrame(train).drop(columns="chat"), pd.DataFrame(held_out).drop(columns="chat")


def small_gpt2(texts: list[str], folder: str, seed: int) -> str:
    """Return the folder of a GPT-2 of two layers with new weights, and a vocabulary learnt from these texts."""
    import torch
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    place = _learnt_tokenizer(texts, folder)
    words = AutoTokenizer.from_pretrained(place)
    torch.manual_seed(seed)
    ids = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    config = GPT2Config(vocab_size=len(words), n_positions=256, n_embd=128, n_layer=2, n_head=4, **ids)
    GPT2LMHeadModel(config).save_pretrained(place)
    return place


def persona_chat(seed: int, folder: str) -> Scores:
    from easytx import ConvAIModel

    train, held_out = chat_rows()
    new = small_gpt2([*train["reply"], *(line for lines in train["personality"] for line in lines)], folder, seed)
    # Of an exchange and a personality little is left out at this length. A new model of this size does not learn to
    # choose in so few steps, so candidates are ranked by their likelihood.
    size = {"max_seq_length": 112, "max_history": 1, "num_train_epochs": 2}
    args = {**RECIPE, **size, "learning_rate": 3e-3, "mc_coef": 0.0}
    model = ConvAIModel("gpt2", new, args={**args, "manual_seed": seed})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.train_model(train, output_dir=f"{folder}/trained")
        result = model.eval_model(held_out, output_dir=folder)
    replies = [model.chat.replies(frame["reply"].tolist()) for frame in (train, held_out)]
    unigram = _unigram_perplexity(*replies, len(model.tokenizer))
    return {name: result[name] for name in ("perplexity", "hits@1", "f1_score")} | {"unigram": unigram}


# A new GPT-2 of 2 layers of width 64, on the lines of Wikipedia articles.
_NEW_GPT2 = {"n_layer": 2, "n_head": 4, "n_embd": 64}
_BLOCK, _LM_EPOCHS, _LM_BATCH, _LM_RATE = 128, 2, 16, 2e-3


def _wikitext() -> list[list[str]]:
    """Return the lines of the training and of the held-out articles."""
    return [
        [line for line in pd.read_parquet(DATA / "wikitext2_raw" / f"test_{part}.parquet")["text"] if line.strip()]
        for part in ("train80", "eval20")
    ]


def _unigram_perplexity(train: list[list[int]], held_out: list[list[int]], vocabulary: int) -> float:
    """Return the perplexity of guessing each token by how often it occurs in the training texts, one added to each."""
    counts = np.bincount(np.concatenate(train), minlength=vocabulary) + 1.0
    return float(np.exp(-np.log(counts / counts.sum())[np.concatenate(held_out)].mean()))


def _learnt_tokenizer(train: list[str], folder: str) -> str:
    from easytx.language_modeling import LanguageModelingArgs
    from easytx.language_modeling.scratch import new_tokenizer, write_tokenizer_to

    path = Path(folder) / "train.txt"
    path.write_text("\n".join(train), encoding="utf-8")
    args = LanguageModelingArgs(vocab_size=2000)
    write_tokenizer_to(new_tokenizer(str(path), model_type="gpt2", args=args, masked=False), Path(folder) / "words")
    return str(Path(folder) / "words")


def wikitext(seed: int, folder: str) -> Scores:
    from easytx import LanguageModelingModel

    train, held_out = _wikitext()
    settings = {"learning_rate": _LM_RATE, "num_train_epochs": _LM_EPOCHS, "train_batch_size": _LM_BATCH}
    args = {**RECIPE, **settings, "max_seq_length": _BLOCK, "mlm": False, "config": _NEW_GPT2, "manual_seed": seed}
    model = LanguageModelingModel("gpt2", None, tokenizer_name=_learnt_tokenizer(train, folder), args=args)
    steps = model.train_model(train, output_dir=folder).global_step
    perplexity = model.eval_model(held_out, output_dir=folder)["perplexity"]
    ids = [
        [[*own, model.tokenizer.eos_token_id] for own in model.tokenizer(part)["input_ids"]]
        for part in (train, held_out)
    ]
    unigram = _unigram_perplexity(ids[0], [own[1:] for own in ids[1]], len(model.tokenizer))
    return {"perplexity": perplexity, "unigram": unigram, "margin": unigram / perplexity, "steps": steps}


def bare_wikitext(seed: int, folder: str) -> Scores:
    """The Trainer of transformers alone: the same size, seed and passes, on texts run together into blocks.

    Its steps are fewer and fuller, as its blocks hold texts of several documents. The perplexity is measured on the
    documents one by one, as `eval_model` measures it.
    """
    import torch
    from datasets import Dataset
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        AutoTokenizer,
        DataCollatorForLanguageModeling,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    train, held_out = _wikitext()
    tokenizer = AutoTokenizer.from_pretrained(_learnt_tokenizer(train, folder))
    ids = [[[*own, tokenizer.eos_token_id] for own in tokenizer(part)["input_ids"]] for part in (train, held_out)]
    stream = np.concatenate(ids[0])
    blocks = [stream[start : start + _BLOCK].tolist() for start in range(0, len(stream) - _BLOCK + 1, _BLOCK)]
    set_seed(seed)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("gpt2", vocab_size=len(tokenizer), **_NEW_GPT2))
    settings = TrainingArguments(
        output_dir=folder, learning_rate=_LM_RATE, per_device_train_batch_size=_LM_BATCH, warmup_steps=0.06,
        num_train_epochs=_LM_EPOCHS, bf16=True, use_cpu=True, seed=seed, save_strategy="no", report_to=[],
        disable_tqdm=True, logging_strategy="no",
    )  # fmt: skip
    data = Dataset.from_dict({"input_ids": blocks})
    trainer = Trainer(model, settings, DataCollatorForLanguageModeling(tokenizer, mlm=False), data)
    steps = trainer.train().global_step
    model.eval()
    total, number = 0.0, 0
    with torch.no_grad():
        for own in ids[1]:
            # Blocks that share a token, so that each but the first is predicted once.
            for start in range(0, len(own) - 1, _BLOCK - 1):
                part = torch.tensor([own[start : start + _BLOCK]])
                logits = model(input_ids=part).logits[0, :-1].float()
                total += float(torch.nn.functional.cross_entropy(logits, part[0, 1:], reduction="sum"))
                number += part.shape[1] - 1
    perplexity = float(np.exp(total / number))
    unigram = _unigram_perplexity(ids[0], [own[1:] for own in ids[1]], len(tokenizer))
    return {"perplexity": perplexity, "unigram": unigram, "margin": unigram / perplexity, "steps": steps}


MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
          "December"]  # fmt: skip
# Ways of writing a date, by the names of its parts.
FORMS = [
    "{day} {month} {year}", "{month} {day}, {year}", "{day} {short} {year}", "{short}. {day}, {year}",
    "the {nth} of {month}, {year}", "{day:02}.{number:02}.{year}", "{number}/{day}/{year}",
    "{year}/{number:02}/{day:02}", "{weekday}, {day} {month} {year}", "{day:02}-{upper}-{year}",
]  # fmt: skip


def dated(rows: int, seed: int) -> pd.DataFrame:
    """Return dates of 1900 to 2036, each written in one of many ways, and as the standard has them."""
    chance, first = random.Random(seed), datetime.date(1900, 1, 1)
    texts, days = [], []
    for _ in range(rows):
        day = first + datetime.timedelta(days=chance.randrange(50_000))
        month, tens = MONTHS[day.month - 1], day.day % 100 // 10
        ending = "th" if tens == 1 else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th")
        parts = {"day": day.day, "number": day.month, "year": day.year, "month": month, "short": month[:3]}
        parts |= {"upper": month[:3].upper(), "nth": f"{day.day}{ending}", "weekday": f"{day:%A}"}
        texts.append(chance.choice(FORMS).format(**parts))
        days.append(day.isoformat())
    return pd.DataFrame({"input_text": texts, "target_text": days})


def from_scratch(tokenizer: Any, size: int, seed: int, **args: Any) -> Any:
    """Return a small T5 with random weights."""
    from easytx import T5Model

    config = {
        "d_model": size,
        "num_layers": 2,
        "num_heads": 4,
        "d_kv": size // 4,
        "d_ff": 2 * size,
        "dropout_rate": 0.0,
    }
    recipe = {"optimizer": "AdamW", "scheduler": "linear_schedule_with_warmup", "learning_rate": 3e-3, "silent": True}
    given = {**recipe, "no_save": True, "manual_seed": seed, "evaluate_generated_text": True, "config": config}
    return T5Model("t5", tokenizer=tokenizer, args={**given, **args})


def dates(seed: int, folder: str) -> Scores:
    """Dates that training has not seen, written as the standard has them, a byte at a time."""
    from transformers import ByT5Tokenizer

    train, held_out = dated(8000, seed), dated(1000, seed + 1000)
    held_out = held_out[~held_out["target_text"].isin(train["target_text"])]
    args = {"num_train_epochs": 10, "train_batch_size": 64, "max_seq_length": 48, "max_length": 12}
    model = from_scratch(ByT5Tokenizer(), 64, seed, **args)
    model.train_model(train, output_dir=folder)
    return {"exact_match": model.eval_model(held_out, output_dir=folder)["exact_match"]}


def multi30k(seed: int, folder: str) -> Scores:
    """200 captions and their German translations, learnt by heart."""
    from easytx.testing import tiny_tokenizer

    train, _ = frames("multi30k", {"en": "input_text", "de": "target_text"})
    train = train.head(200)
    texts = [*train["input_text"], *train["target_text"]]
    tokenizer = tiny_tokenizer("t5").train_new_from_iterator(texts, vocab_size=1500, show_progress=False)
    args = {"num_train_epochs": 60, "train_batch_size": 16, "max_length": 60, "learning_rate": 2e-3}
    model = from_scratch(tokenizer, 128, seed, **args)
    model.train_model(train, output_dir=folder)
    result = model.eval_model(train, output_dir=folder)
    return {name: result[name] for name in ("bleu", "exact_match")}


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
    "persona_chat": persona_chat,
    "wikitext": wikitext,
    "dates": dates,
    "multi30k": multi30k,
    "easy_vqa": easy_vqa,
    "stsb_vectors": stsb_vectors,
    "squad_retrieval": squad_retrieval,
}
# The Trainer of transformers alone, where it is measured beside ours.
BARE: dict[str, Callable[[int, str], Scores]] = {
    "mrpc": bare_mrpc,
    "sst2": bare_sst2,
    "goemotions": bare_goemotions,
    "stsb": bare_stsb,
    "wikitext": bare_wikitext,
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
    parser.add_argument("--bare", action="store_true", help=f"measure the bare Trainer as well, on {', '.join(BARE)}")
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
    for name in [name for name in options.sets or BARE if options.bare and name in BARE]:
        records += measure(f"{name}, bare Trainer", BARE[name], options.seeds)
    Path(options.out).write_text(json.dumps(records, indent=2) + "\n", encoding="utf-8")
    table = pd.DataFrame(records).groupby("set", sort=False).mean(numeric_only=True).drop(columns="seed")
    print(table.round(4).to_string())
    print("reference:", json.dumps(REFERENCE))


if __name__ == "__main__":
    main()
