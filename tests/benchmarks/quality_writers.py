"""Quality of classes that write, from scratch: language models, conversation, sequences."""

from __future__ import annotations

import datetime
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from quality_data import DATA, RECIPE, Scores, frames


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

    place = learnt_tokenizer(texts, folder)
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
    unigram = unigram_perplexity(*replies, len(model.tokenizer))
    return {name: result[name] for name in ("perplexity", "hits@1", "f1_score")} | {"unigram": unigram}


# A new GPT-2 of 2 layers of width 64, on the lines of Wikipedia articles.
NEW_GPT2 = {"n_layer": 2, "n_head": 4, "n_embd": 64}
BLOCK, LM_EPOCHS, LM_BATCH, LM_RATE = 128, 2, 16, 2e-3


def wikitext_articles() -> list[list[str]]:
    """Return the lines of the training and of the held-out articles."""
    return [
        [line for line in pd.read_parquet(DATA / "wikitext2_raw" / f"test_{part}.parquet")["text"] if line.strip()]
        for part in ("train80", "eval20")
    ]


def unigram_perplexity(train: list[list[int]], held_out: list[list[int]], vocabulary: int) -> float:
    """Return the perplexity of guessing each token by how often it occurs in the training texts, one added to each."""
    counts = np.bincount(np.concatenate(train), minlength=vocabulary) + 1.0
    return float(np.exp(-np.log(counts / counts.sum())[np.concatenate(held_out)].mean()))


def learnt_tokenizer(train: list[str], folder: str) -> str:
    from easytx.language_modeling import LanguageModelingArgs
    from easytx.language_modeling.scratch import new_tokenizer, write_tokenizer_to

    path = Path(folder) / "train.txt"
    path.write_text("\n".join(train), encoding="utf-8")
    args = LanguageModelingArgs(vocab_size=2000)
    write_tokenizer_to(new_tokenizer(str(path), model_type="gpt2", args=args, masked=False), Path(folder) / "words")
    return str(Path(folder) / "words")


def wikitext(seed: int, folder: str) -> Scores:
    from easytx import LanguageModelingModel

    train, held_out = wikitext_articles()
    settings = {"learning_rate": LM_RATE, "num_train_epochs": LM_EPOCHS, "train_batch_size": LM_BATCH}
    args = {**RECIPE, **settings, "max_seq_length": BLOCK, "mlm": False, "config": NEW_GPT2, "manual_seed": seed}
    model = LanguageModelingModel("gpt2", None, tokenizer_name=learnt_tokenizer(train, folder), args=args)
    steps = model.train_model(train, output_dir=folder).global_step
    perplexity = model.eval_model(held_out, output_dir=folder)["perplexity"]
    ids = [
        [[*own, model.tokenizer.eos_token_id] for own in model.tokenizer(part)["input_ids"]]
        for part in (train, held_out)
    ]
    unigram = unigram_perplexity(ids[0], [own[1:] for own in ids[1]], len(model.tokenizer))
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
