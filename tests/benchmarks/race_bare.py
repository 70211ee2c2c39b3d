"""The bare Trainer, and the limit: a loop written by hand with the best known choices."""

from __future__ import annotations

import random
import tempfile
from typing import Any

import torch
from race_clock import Run, lap
from race_ours import LEARNING_RATE, SEED, StepClock, model_for, rows_of
from race_work import Work

# Batches that are sorted together, as easytx does, so that the steps see like batches.
_MEGA = 8

_PADDING = {"labels": -100, "attention_mask": 0, "token_type_ids": 0}

_AUTO = {
    "classification": "AutoModelForSequenceClassification",
    "multi_label": "AutoModelForSequenceClassification",
    "ner": "AutoModelForTokenClassification",
    "qa": "AutoModelForQuestionAnswering",
}


def features_of(work: Work, rows: list[dict[str, Any]], tokenizer: Any, *, labelled: bool) -> list[dict[str, Any]]:
    """Return unpadded features, one per row; for questions the windows that easytx makes."""
    if work.kind == "qa":
        data = model_for(work).prepared(rows_of(work, rows), name="rows", split="train", renames={}).dataset
        kept = ["input_ids", "attention_mask", "token_type_ids", "start_positions", "end_positions"]
        return list(data.select_columns(kept))
    limit = {"truncation": True, "max_length": work.max_length}
    if work.kind == "ner":
        encoded = tokenizer([row["words"] for row in rows], is_split_into_words=True, **limit)
    else:
        encoded = tokenizer(*([row["texts"][i] for row in rows] for i in range(len(rows[0]["texts"]))), **limit)
    features = [dict(zip(encoded, values, strict=True)) for values in zip(*encoded.values(), strict=True)]
    if not labelled:
        return features
    for i, (feature, row) in enumerate(zip(features, rows, strict=True)):
        if work.kind == "ner":
            words = encoded.word_ids(i)
            first = [w is not None and (n == 0 or words[n - 1] != w) for n, w in enumerate(words)]
            feature["labels"] = [
                work.labels.index(row["labels"][w]) if new else -100 for w, new in zip(words, first, strict=True)
            ]
        else:
            feature["labels"] = [float(v) for v in row["labels"]] if work.kind == "multi_label" else row["labels"]
    return features


def batch_of(features: list[dict[str, Any]], pad_id: int) -> dict[str, torch.Tensor]:
    """Return features padded to the longest of them."""
    width = max(len(feature["input_ids"]) for feature in features)
    batch = {}
    for name, value in features[0].items():
        values = [feature[name] for feature in features]
        # A list of fractions is one target per label, not one per token.
        if isinstance(value, list) and not isinstance(value[0], float):
            fill = _PADDING.get(name, pad_id)
            values = [row + [fill] * (width - len(row)) for row in values]
        batch[name] = torch.tensor(values)
    return batch


def network_for(work: Work, name: str) -> Any:
    """Return the model that transformers has for the work."""
    import transformers

    transformers.set_seed(SEED)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    options: dict[str, Any] = {} if work.kind == "qa" else {"num_labels": len(work.labels)}
    if work.kind == "multi_label":
        options["problem_type"] = "multi_label_classification"
    return getattr(transformers, _AUTO[work.kind]).from_pretrained(name, dtype=torch.float32, **options)


class Bare:
    """What both contestants know.

    Attributes:
        trained: The network of the last training.
    """

    def __init__(self, work: Work, name: str, batch_size: int, device: torch.device) -> None:
        from transformers import AutoTokenizer

        self.work, self.name, self.batch_size, self.device = work, name, batch_size, device
        options = {"add_prefix_space": True} if work.kind == "ner" else {}
        self.tokenizer = AutoTokenizer.from_pretrained(name, **options)
        self.trained: Any = None


class BareTrainer(Bare):
    """transformers' Trainer with dynamic padding and no further settings, or with bf16."""

    bf16 = False

    def train(self) -> Run:
        """One epoch over the work's training rows."""
        from datasets import Dataset
        from transformers import (
            DataCollatorForTokenClassification,
            DataCollatorWithPadding,
            PrinterCallback,
            Trainer,
            TrainingArguments,
        )

        network = network_for(self.work, self.name)
        collator = DataCollatorForTokenClassification if self.work.kind == "ner" else DataCollatorWithPadding
        clock = StepClock()
        with tempfile.TemporaryDirectory() as folder, lap() as call:
            rows = Dataset.from_list(features_of(self.work, self.work.train, self.tokenizer, labelled=True))
            settings = TrainingArguments(
                output_dir=folder, num_train_epochs=1, per_device_train_batch_size=self.batch_size, seed=SEED,
                learning_rate=LEARNING_RATE, warmup_steps=0.06, save_strategy="no", report_to=[], disable_tqdm=True,
                logging_strategy="no", use_cpu=self.device.type == "cpu", bf16=self.bf16,
            )  # fmt: skip
            trainer = Trainer(network, settings, collator(self.tokenizer), rows, callbacks=[clock])
            trainer.remove_callback(PrinterCallback)
            trainer.train()
        self.trained = network
        return Run(clock.seconds, len(self.work.train), {"call": call.seconds})


class BareTrainerBf16(BareTrainer):
    """The same with bf16."""

    bf16 = True


class HandLoop(Bare):
    """Length-grouped batches, bf16 autocast, fused AdamW; for prediction sorted rows and a token budget."""

    def train(self) -> Run:
        """One epoch over the work's training rows."""
        network = network_for(self.work, self.name).to(self.device)
        with lap() as call:
            features = features_of(self.work, self.work.train, self.tokenizer, labelled=True)
            with lap() as steps:
                self._steps(network, features)
        self.trained = network.eval()
        return Run(steps.seconds, len(self.work.train), {"call": call.seconds})

    def _steps(self, network: Any, features: list[dict[str, Any]]) -> None:
        groups = self._grouped(features)
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.0, fused=True)
        warm = max(1, round(0.06 * len(groups)))
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min((step + 1) / warm, (len(groups) - step) / max(1, len(groups) - warm))
        )
        network.train()
        for group in groups:
            batch = {key: value.to(self.device) for key, value in batch_of(group, self.tokenizer.pad_token_id).items()}
            with torch.autocast(self.device.type, dtype=torch.bfloat16):
                loss = network(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)

    def _grouped(self, features: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        chance, size = random.Random(SEED), self.batch_size
        shuffled = chance.sample(features, len(features))
        groups = []
        for start in range(0, len(shuffled), size * _MEGA):
            part = sorted(shuffled[start : start + size * _MEGA], key=lambda row: -len(row["input_ids"]))
            groups += [part[i : i + size] for i in range(0, len(part), size)]
        return chance.sample(groups, len(groups))

    def load(self) -> None:
        """Load the network to predict with."""
        self.trained = network_for(self.work, self.name).to(self.device).eval()

    def predict(self, budget: int = 4096, dtype: torch.dtype | None = torch.bfloat16) -> Run:
        """Tokenise and predict the held-out rows."""
        with lap() as call:
            features = features_of(self.work, self.work.held_out, self.tokenizer, labelled=False)
            order = sorted(range(len(features)), key=lambda i: -len(features[i]["input_ids"]))
            answers: list[Any] = [None] * len(order)
            with torch.inference_mode(), torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
                while order:
                    room = max(1, budget // len(features[order[0]]["input_ids"]))
                    batch, order = order[:room], order[room:]
                    inputs = batch_of([features[i] for i in batch], self.tokenizer.pad_token_id)
                    inputs = {key: value.to(self.device) for key, value in inputs.items()}
                    for i, answer in zip(batch, self._answers(self.trained(**inputs).logits), strict=True):
                        answers[i] = answer
            self.predicted = answers
        return Run(call.seconds, len(answers))

    def _answers(self, logits: torch.Tensor) -> list[Any]:
        if self.work.kind == "multi_label":
            return (logits > 0).int().tolist()
        return logits.argmax(dim=-1).tolist()

    def labelled(self) -> list[Any]:
        """Return the last predictions in the form that all contestants' are scored in."""
        if self.work.kind != "ner":
            return self.predicted
        encoded = self.tokenizer(
            [row["words"] for row in self.work.held_out], is_split_into_words=True, truncation=True,
            max_length=self.work.max_length,
        )  # fmt: skip
        answers = []
        for i, ids in enumerate(self.predicted):
            words = encoded.word_ids(i)
            first = [n for n, w in enumerate(words) if w is not None and words[n - 1] != w]
            answers.append([{str(w): self.work.labels[ids[n]]} for w, n in enumerate(first)])
        return answers
