"""The Trainer of transformers alone, with the same rows and recipe."""

from __future__ import annotations

import numpy as np
import pandas as pd
from quality_data import Scores, emotions, frames
from quality_writers import (
    BLOCK,
    LM_BATCH,
    LM_EPOCHS,
    LM_RATE,
    NEW_GPT2,
    learnt_tokenizer,
    unigram_perplexity,
    wikitext_articles,
)


def classifier(
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


def mrpc(seed: int, folder: str) -> Scores:
    from sklearn.metrics import accuracy_score, f1_score

    sets = frames("mrpc", {"sentence1": "text_a", "sentence2": "text_b", "label": "labels"})
    problem = "single_label_classification"
    truth, logits = classifier([*sets], seed, folder, epochs=3, labels=2, problem=problem)
    predicted = logits.argmax(axis=1)
    return {"accuracy": float(accuracy_score(truth, predicted)), "f1": float(f1_score(truth, predicted))}


def sst2(seed: int, folder: str) -> Scores:
    sets = frames("sst2_sentences", {"sentence": "text", "label": "labels"})
    problem = "single_label_classification"
    truth, logits = classifier([*sets], seed, folder, epochs=2, labels=2, problem=problem)
    return {"accuracy": float((truth == logits.argmax(axis=1)).mean())}


def goemotions(seed: int, folder: str) -> Scores:
    from sklearn.metrics import f1_score, label_ranking_average_precision_score

    train, held_out, names = emotions()
    problem = "multi_label_classification"
    truth, logits = classifier([train, held_out], seed, folder, epochs=2, labels=len(names), problem=problem)
    chosen = 1 / (1 + np.exp(-logits)) >= 0.3
    return {
        "LRAP": float(label_ranking_average_precision_score(truth, logits)),
        "f1_micro": float(f1_score(truth, chosen, average="micro")),
    }


def stsb(seed: int, folder: str) -> Scores:
    from scipy.stats import pearsonr, spearmanr

    sets = frames("stsb", {"sentence1": "text_a", "sentence2": "text_b", "score": "labels"})
    truth, logits = classifier([*sets], seed, folder, epochs=3, labels=1, problem="regression")
    predicted = logits[:, 0]
    return {"pearson": float(pearsonr(truth, predicted)[0]), "spearman": float(spearmanr(truth, predicted)[0])}


def wikitext(seed: int, folder: str) -> Scores:
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

    train, held_out = wikitext_articles()
    tokenizer = AutoTokenizer.from_pretrained(learnt_tokenizer(train, folder))
    ids = [[[*own, tokenizer.eos_token_id] for own in tokenizer(part)["input_ids"]] for part in (train, held_out)]
    stream = np.concatenate(ids[0])
    blocks = [stream[start : start + BLOCK].tolist() for start in range(0, len(stream) - BLOCK + 1, BLOCK)]
    set_seed(seed)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("gpt2", vocab_size=len(tokenizer), **NEW_GPT2))
    settings = TrainingArguments(
        output_dir=folder, learning_rate=LM_RATE, per_device_train_batch_size=LM_BATCH, warmup_steps=0.06,
        num_train_epochs=LM_EPOCHS, bf16=True, use_cpu=True, seed=seed, save_strategy="no", report_to=[],
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
            for start in range(0, len(own) - 1, BLOCK - 1):
                part = torch.tensor([own[start : start + BLOCK]])
                logits = model(input_ids=part).logits[0, :-1].float()
                total += float(torch.nn.functional.cross_entropy(logits, part[0, 1:], reduction="sum"))
                number += part.shape[1] - 1
    perplexity = float(np.exp(total / number))
    unigram = unigram_perplexity(ids[0], [own[1:] for own in ids[1]], len(tokenizer))
    return {"perplexity": perplexity, "unigram": unigram, "margin": unigram / perplexity, "steps": steps}
