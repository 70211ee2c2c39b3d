"""The table of all model classes, one row a class (or a way of using it), for the tests beside it."""

from __future__ import annotations

import functools
import importlib
import random
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from PIL import Image

from easytx.core.results import TrainResult
from easytx.seq2seq import Seq2SeqModel
from easytx.testing import tiny_checkpoint, tiny_dpr_checkpoint

SEED = 7

NOUNS = ["film", "story", "book", "song", "meal", "soup", "bread", "staff", "room", "sound", "train", "river", "house"]
GOOD, BAD = ["good", "great", "fine", "clean"], ["bad", "dull", "poor", "worst", "cold"]
PEOPLE, PLACES = ["John", "Mary", "Anna", "Peter"], ["London", "Paris", "Rome", "Berlin", "Madrid"]


def _texts(rows: int, seed: int) -> list[str]:
    """Return texts of 3 to 14 words that are all different; those in even rows are friendly."""
    chance = random.Random(seed)
    texts = []
    for row in range(rows):
        kind = GOOD if row % 2 == 0 else BAD
        words = [chance.choice(kind) for _ in range(chance.randint(1, 4))] + chance.choices(NOUNS, k=2 + row % 9)
        texts.append(" ".join(["the", *words, "of", str(seed), str(row)]))
    return texts


def _singles(labels: Callable[[int], Any]) -> Callable[[int, int], pd.DataFrame]:
    """Return what makes a frame of texts; `labels` gives the label of a row from its number."""
    return lambda rows, seed: pd.DataFrame({"text": _texts(rows, seed), "labels": [labels(i) for i in range(rows)]})


def _pairs(rows: int, seed: int) -> pd.DataFrame:
    both = {"text_a": _texts(rows, seed), "text_b": _texts(rows, seed + 100)[::-1]}
    return pd.DataFrame({**both, "labels": [row % 3 for row in range(rows)]})


def _words(rows: int, seed: int) -> pd.DataFrame:
    """Return one row a word, of as many sentences as `rows`."""
    chance = random.Random(seed)
    records = []
    for sentence in range(rows):
        who, where = chance.choice(PEOPLE), chance.choice(PLACES)
        tagged = [(who, "B-PER"), ("moved", "O"), ("to", "O"), (where, "B-LOC")]
        tagged += [(word, "O") for word in chance.choices(NOUNS, k=sentence % 7)]
        records += [{"sentence_id": sentence, "words": word, "labels": tag} for word, tag in tagged]
    return pd.DataFrame(records)


def _searched(rows: int, seed: int) -> pd.DataFrame:
    """Return questions with the passages that answer them."""
    frame = _questions(rows, seed)
    queries = [f"{question} Say it to {seed}." for question in frame["question"]]
    return pd.DataFrame({"query_text": queries, "gold_passage": frame["context"]})


def _questions(rows: int, seed: int) -> pd.DataFrame:
    chance = random.Random(seed)
    records = []
    for row in range(rows):
        who, where = chance.choice(PEOPLE), chance.choice(PLACES)
        context = " ".join([*chance.choices(NOUNS, k=row % 9), who, "moved to", where, "in", str(seed), str(row)])
        answers = {"text": [where], "answer_start": [context.index(where)]}
        question = f"Where did {who} move in {row}?"
        records.append({"id": f"{seed}-{row}", "question": question, "context": context, "answers": answers})
    return pd.DataFrame(records)


def _rewritten(rows: int, seed: int) -> pd.DataFrame:
    texts = _texts(rows, seed)
    return pd.DataFrame({"input_text": texts, "target_text": [" ".join(text.split()[1:4]) for text in texts]})


def _with_prefix(rows: int, seed: int) -> pd.DataFrame:
    frame = _rewritten(rows, seed)
    frame.insert(0, "prefix", ["shorten", "cut"] * (rows // 2) + ["cut"] * (rows % 2))
    return frame


def _illustrated(labels: Callable[[int], Any]) -> Callable[[int, int], pd.DataFrame]:
    """Return what makes a frame of texts with an image each; `labels` gives the label of a row from its number."""

    def frame(rows: int, seed: int) -> pd.DataFrame:
        chance = random.Random(seed)
        sizes = [(20 + row % 5, 30 - row % 7) for row in range(rows)]
        images = [Image.frombytes("RGB", size, chance.randbytes(3 * size[0] * size[1])) for size in sizes]
        texts = _texts(rows, seed)
        return pd.DataFrame({"text": texts, "images": images, "labels": [labels(row) for row in range(rows)]})

    return frame


def _turns(rows: int, seed: int) -> pd.DataFrame:
    """Return replies to one to three utterances, half of them in the person of somebody."""
    chance, texts = random.Random(seed), [" ".join(text.split()[-4:]) for text in _texts(3 * rows, seed)]
    personality = [[f"In {chance.choice(PLACES)}."] for _ in range(rows)]
    history = [texts[3 * row : 3 * row + (2 if row % 2 else 1 + row % 3)] for row in range(rows)]
    return pd.DataFrame(
        {
            "personality": [lines if row % 2 else [] for row, lines in enumerate(personality)],
            "history": history,
            "reply": [" ".join(said[-1].split()[:3]) for said in history],
        }
    )


def _turns_with_candidates(rows: int, seed: int) -> pd.DataFrame:
    frame = _turns(rows, seed)
    others = [frame["reply"][(row + 1) % rows :: 3].head(row % 3) for row in range(rows)]
    candidates = [[*other, reply] for other, reply in zip(others, frame["reply"], strict=True)]
    return frame.drop(columns="reply").assign(candidates=candidates)


@dataclass(frozen=True)
class Case:
    """One class, or one way of using it.

    Attributes:
        name: What the test is called.
        package: Where the class is.
        class_name: The class.
        frame: Makes labelled rows from their number and a seed.
        without_labels: What `predict` takes, from labelled rows.
        label: The column that a test takes away.
        missing: What is said then of a training frame, exactly.
        key: The column of the caller's rows, and of the answers', that shows which row is which.
        answers: The fields of what `eval_model` returns; none where it is a dict of scores.
        architecture: Of the checkpoint.
        parameter: One of its parameters.
        writes: Whether `predict` answers.
        args: Arguments besides those of all rows of the table.
        given: Further arguments of the constructor.
        beside: Makes what the network reads besides so many texts.
        predicted: The fields of what `predict` returns.
        parts: The folders of a model folder that transformers opens, each a part of the network.
        tokenizers: The folders with tokenizers, where these are not beside the networks.
    """

    name: str
    package: str
    class_name: str
    frame: Callable[[int, int], pd.DataFrame]
    without_labels: Callable[[pd.DataFrame], list[Any]]
    label: str
    missing: str
    key: tuple[str, str] = ("text", "text")
    answers: tuple[str, ...] = ("result", "model_outputs", "wrong_predictions")
    architecture: str = "bert"
    parameter: str = "classifier.bias"
    writes: bool = True
    args: dict[str, Any] = field(default_factory=dict)
    given: dict[str, Any] = field(default_factory=dict)
    beside: Callable[[int], dict[str, torch.Tensor]] = lambda _: {}
    predicted: tuple[str, ...] = ("predictions", "raw_outputs")
    parts: tuple[str, ...] = ("",)
    tokenizers: tuple[str, ...] | None = None

    @property
    def train(self) -> pd.DataFrame:
        """Rows to train on: two steps."""
        return self.frame(12, 0)

    @property
    def held_out(self) -> pd.DataFrame:
        """Rows to evaluate on, under an index that is neither sorted nor a range."""
        frame = self.frame(9, 1)
        return frame.set_axis([f"row {number}" for number in reversed(range(len(frame)))], axis="index")

    @property
    def inputs(self) -> list[Any]:
        """Rows of different lengths, as `predict` takes them."""
        return self.without_labels(self.frame(9, 2))

    def model_class(self) -> Any:
        """Return the class."""
        try:
            return getattr(importlib.import_module(self.package), self.class_name)
        except ModuleNotFoundError as error:
            if str(error.name).startswith("easytx."):
                pytest.skip(f"{self.class_name} is not there: {error}")
            raise

    def model(self, checkpoint: Path, **args: Any) -> Any:
        """Return a new model with these arguments, in float32."""
        given = {"manual_seed": SEED, "fp16": False, "max_seq_length": 64, "train_batch_size": 6, "silent": True}
        return self.model_class()(
            "auto", str(checkpoint), args={**given, "learning_rate": 1e-3, **self.args, **args}, **self.given
        )


def _column(name: str) -> Callable[[pd.DataFrame], list[Any]]:
    return lambda frame: frame[name].tolist()


def _sentences(frame: pd.DataFrame) -> list[str]:
    return [" ".join(words) for _, words in frame.groupby("sentence_id")["words"]]


def _unanswered(frame: pd.DataFrame) -> list[dict[str, Any]]:
    rows = zip(frame["id"], frame["question"], frame["context"], strict=True)
    return [{"context": context, "qas": [{"id": id_, "question": question}]} for id_, question, context in rows]


_NO_LABELS = (
    "train_df needs the columns ['text', 'labels'], but has ['text']. "
    "Rename columns, or name yours with labels_column=...."
)
_CLASSIFICATION = {
    "package": "easytx.classification",
    "class_name": "ClassificationModel",
    "without_labels": _column("text"),
    "label": "labels",
    "missing": _NO_LABELS,
}
_PLAIN: dict[str, Any] = {
    "package": "easytx.language_modeling",
    "class_name": "LanguageModelingModel",
    "frame": lambda rows, seed: pd.DataFrame({"text": _texts(rows, seed)}),
    "without_labels": _column("text"),
    "label": "text",
    "missing": "train_df needs the columns ['text'], but has []. Rename columns, or name yours with text_column=....",
    "answers": (),
}
_TEXT_TO_TEXT: dict[str, Any] = {
    "without_labels": _column("input_text"),
    "label": "target_text",
    "missing": "train_df needs the columns ['input_text', 'target_text'], but has ['input_text']. "
    "Rename columns, or name yours with target_text_column=....",
    "key": ("input_text", "input_text"),
    "answers": (),
    "args": {"evaluate_generated_text": True, "max_length": 6},
}

_MULTI_MODAL = {
    "package": "easytx.classification",
    "class_name": "MultiModalClassificationModel",
    "without_labels": lambda frame: [list(row) for row in zip(frame["text"], frame["images"], strict=True)],
    "label": "labels",
    "missing": "train_df needs the columns ['text', 'images', 'labels'], but has ['text', 'images']. "
    "Rename columns, or name yours with labels_column=....",
    "answers": ("result", "model_outputs"),
    "beside": lambda rows: {"pixel_values": torch.linspace(-1, 1, rows * 3 * 32 * 32).view(rows, 3, 32, 32)},
}
_TINY_VISION = {
    "vision_config": {
        "model_type": "vit",
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "image_size": 32,
        "patch_size": 8,
        "initializer_range": 0.1,
    }
}
_CONVERSATION: dict[str, Any] = {
    "package": "easytx.conv_ai",
    "class_name": "ConvAIModel",
    "without_labels": lambda frame: frame[["personality", "history"]].to_dict("records"),
    "missing": "train_df needs the columns ['personality', 'history', 'reply'], but has ['personality', 'history']. "
    "Rename columns, or name yours with reply_column=....",
    "key": ("history", "history"),
    "answers": (),
    "args": {"max_length": 6, "do_sample": False},
}

_RETRIEVAL: dict[str, Any] = {
    "frame": _searched,
    "without_labels": _column("query_text"),
    "label": "gold_passage",
    "missing": "train_df needs the columns ['query_text', 'gold_passage'], but has ['query_text']. "
    "Rename columns, or name yours with gold_passage_column=....",
    "key": ("query_text", "query_text"),
    # What evaluation searches, so that prediction has the same answers.
    "given": {"prediction_passages": _searched(9, 1)["gold_passage"].tolist()},
    "answers": (
        "result",
        "doc_ids",
        "doc_vectors",
        "doc_dicts",
        "top_k_accuracy_each_query",
        "recall_at_k_each_query",
        "mrr_each_query_dict",
        "relevance_list",
    ),
    "predicted": ("passages", "doc_ids", "doc_vectors", "doc_dicts"),
    "parts": ("query_encoder", "context_encoder"),
    "parameter": "query_encoder.embeddings.LayerNorm.bias",
}

CASES = [
    Case(name="classification", frame=_singles(lambda row: ("friendly", "unfriendly")[row % 2]), **_CLASSIFICATION),
    Case(
        name="pairs",
        frame=_pairs,
        **_CLASSIFICATION
        | {
            "without_labels": lambda frame: frame[["text_a", "text_b"]].to_numpy().tolist(),
            "missing": "train_df needs the columns ['text_a', 'text_b', 'labels'], but has ['text_a', 'text_b']. "
            "Rename columns, or name yours with labels_column=....",
        },
        key=("text_b", "text_b"),
    ),
    Case(
        name="regression",
        frame=_singles(lambda row: (row % 5) / 2),
        args={"regression": True},
        given={"num_labels": 1},
        **_CLASSIFICATION,
    ),
    Case(
        name="sliding_window",
        frame=_singles(lambda row: row % 2),
        args={"sliding_window": True, "max_seq_length": 10},
        **_CLASSIFICATION,
    ),
    Case(
        name="multi_label_vectors",
        frame=_singles(lambda row: [row % 2, (row // 2) % 2, 1]),
        given={"num_labels": 3},
        **_CLASSIFICATION | {"class_name": "MultiLabelClassificationModel"},
    ),
    Case(
        name="multi_label_names",
        frame=_singles(lambda row: ["food", "travel", "books"][: row % 4]),
        **_CLASSIFICATION | {"class_name": "MultiLabelClassificationModel"},
    ),
    Case(
        name="ner",
        package="easytx.ner",
        class_name="NERModel",
        frame=_words,
        without_labels=_sentences,
        label="labels",
        missing="train_df needs the columns ['sentence_id', 'words', 'labels'], but has ['sentence_id', 'words']. "
        "Rename columns, or name yours with labels_column=....",
        key=("words", "word"),
        answers=("result", "model_outputs", "preds_list"),
    ),
    Case(
        name="question_answering",
        package="easytx.question_answering",
        class_name="QuestionAnsweringModel",
        frame=_questions,
        without_labels=_unanswered,
        label="answers",
        missing="train_df needs ['context', 'question', 'answers'] of every question, but has "
        "['id', 'question', 'context']. Rename columns, or name yours with answers_column=....",
        key=("question", "question"),
        answers=("result", "texts"),
        parameter="qa_outputs.bias",
    ),
    Case(name="masked_language_model", parameter="cls.predictions.bias", writes=False, **_PLAIN, args={"mlm": True}),
    Case(
        name="causal_language_model",
        architecture="gpt2",
        parameter="transformer.ln_f.bias",
        **_PLAIN,
        args={"mlm": False},
    ),
    Case(
        name="seq2seq",
        package="easytx.seq2seq",
        class_name="Seq2SeqModel",
        frame=_rewritten,
        architecture="bart",
        parameter="model.decoder.layernorm_embedding.bias",
        **_TEXT_TO_TEXT,
    ),
    *(
        Case(
            name=kind,
            package="easytx.seq2seq",
            class_name="Seq2SeqModel",
            frame=_rewritten,
            architecture=kind,
            parameter="rag.generator.model.decoder.layernorm_embedding.bias",
            predicted=("outputs", "retrieved_docs", "doc_scores"),
            tokenizers=("question_encoder_tokenizer", "generator_tokenizer"),
            **_TEXT_TO_TEXT,
        )
        for kind in ("rag-token", "rag-sequence")
    ),
    Case(
        name="t5",
        package="easytx.t5",
        class_name="T5Model",
        frame=_with_prefix,
        architecture="t5",
        parameter="encoder.final_layer_norm.weight",
        **_TEXT_TO_TEXT
        | {
            "without_labels": lambda frame: frame[["prefix", "input_text"]].to_numpy().tolist(),
            "missing": "train_df needs the columns ['prefix', 'input_text', 'target_text'], but has "
            "['prefix', 'input_text']. Rename columns, or name yours with target_text_column=....",
        },
    ),
    Case(
        name="multi_modal",
        frame=_illustrated(lambda row: ("friendly", "unfriendly")[row % 2]),
        args=_TINY_VISION,
        **_MULTI_MODAL,
    ),
    Case(
        name="multi_modal_labels",
        frame=_illustrated(lambda row: ["food", "travel", "books"][: row % 4]),
        args={**_TINY_VISION, "num_image_embeds": 2},
        given={"multi_label": True},
        **_MULTI_MODAL,
    ),
    Case(name="retrieval", package="easytx.retrieval", class_name="RetrievalModel", **_RETRIEVAL),
    Case(
        name="retrieval_from_passages",
        package="easytx.pretrain_retrieval",
        class_name="PretrainRetrievalModel",
        **_RETRIEVAL,
    ),
    Case(
        name="conversation",
        frame=_turns,
        label="reply",
        architecture="gpt2",
        parameter="transformer.ln_f.bias",
        **_CONVERSATION,
    ),
    Case(
        name="conversation_with_choices",
        frame=_turns_with_candidates,
        label="candidates",
        architecture="llama",
        parameter="choice_head.bias",
        **_CONVERSATION,
    ),
    Case(
        name="conversation_of_blenderbot",
        frame=_turns,
        label="reply",
        architecture="blenderbot",
        parameter="model.decoder.layer_norm.bias",
        **_CONVERSATION,
    ),
]


def _rag_checkpoint(folder: Path, kind: str) -> Path:
    """Write a model that looks up passages, with as many of these as it finds for a question and some more."""
    encoders = {
        "dpr_ctx_encoder_model_name": tiny_dpr_checkpoint(folder / "passages", "passages"),
        "rag_question_encoder_model_name": tiny_dpr_checkpoint(folder / "questions", "questions"),
    }
    model = Seq2SeqModel(
        encoder_decoder_type=kind,
        encoder_decoder_name=tiny_checkpoint(folder / "bart", "bart"),
        knowledge_dataset=_texts(6, 3),
        args={"silent": True, "manual_seed": SEED, "fp16": False, "config": {"n_docs": 2, "max_combined_length": 64}},
        **encoders,
    )
    return Path(model.save_model(folder))


@dataclass(frozen=True)
class Trained:
    """A model that was trained with evaluation, and what came of it. Tests leave it as it is."""

    case: Case
    model: Any
    folder: Path
    details: TrainResult

    def reopened(self, **args: Any) -> Any:
        """Return the model anew from its folder."""
        return self.case.model_class()("auto", str(self.folder), args=args)


@pytest.fixture(scope="package", autouse=True)
def _many_trainings(_imports_are_no_garbage: None) -> None:
    """Train without long searches for garbage."""


@pytest.fixture(scope="session", params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    """Each row of the table in turn."""
    chosen: Case = request.param
    chosen.model_class()
    return chosen


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return what makes a tiny checkpoint of an architecture, once."""
    folder = tmp_path_factory.mktemp("contract")

    @functools.cache
    def made(architecture: str) -> Path:
        if architecture.startswith("rag-"):
            return _rag_checkpoint(folder / architecture, architecture)
        return tiny_checkpoint(folder / architecture, architecture)

    return made


@pytest.fixture(scope="session")
def checkpoint(case: Case, checkpoints: Callable[[str], Path]) -> Path:
    return checkpoints(case.architecture)


@pytest.fixture(scope="session")
def trained(case: Case, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained") / case.name
    model = case.model(checkpoint, output_dir=str(folder), evaluate_during_training=True, num_train_epochs=2)
    return Trained(case, model, folder, model.train_model(case.train, eval_data=case.held_out))


@pytest.fixture(autouse=True)
def _no_rare_scores() -> Iterator[None]:
    """A model of two steps may give every row the same answer, of which scores such as correlations warn."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="sklearn|scipy")
        yield


def numbers(outputs: Any) -> Iterable[float]:
    """Return all numbers of a nested structure, in order; texts and keys are left out."""
    if isinstance(outputs, dict):
        outputs = list(outputs.values())
    if hasattr(outputs, "tolist"):
        outputs = outputs.tolist()
    if isinstance(outputs, (list, tuple)):
        return [number for item in outputs for number in numbers(item)]
    return [] if isinstance(outputs, str) else [float(outputs)]


def needs_answers(case: Case) -> None:
    """Skip a test of answers where the model gives none."""
    if not case.writes:
        pytest.skip(f"{case.name} answers nothing")


def outputs(case: Case, model: Any) -> Any:
    """Return what a model says of rows: its outputs, or where it answers nothing the losses of its evaluation."""
    if case.writes:
        return model.predict(case.inputs).raw_outputs
    return model.eval_model(case.held_out, output_dir="losses").to_frame()["loss"]
