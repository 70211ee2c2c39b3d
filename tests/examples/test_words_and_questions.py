"""Scripts that tag words and answer questions, with only the import changed."""

from __future__ import annotations

import copy
import json
import os

import pandas as pd
import pytest

from easytx.ner import NERArgs, NERModel
from easytx.question_answering import QuestionAnsweringArgs, QuestionAnsweringModel

SENTENCES = [
    [0, "Harry", "B-PER"],
    [0, "Potter", "I-PER"],
    [0, "was", "O"],
    [0, "a", "O"],
    [0, "student", "B-MISC"],
    [0, "at", "O"],
    [0, "Hogwarts", "B-LOC"],
    [1, "Albus", "B-PER"],
    [1, "founded", "O"],
    [1, "the", "O"],
    [1, "Order", "B-ORG"],
]
CONTEXT = "Mistborn is a series of novels by an American author. The first one came out in 2006."
QUESTIONS = [
    {
        "context": "This is the first context",
        "qas": [
            {
                "id": "00001",
                "is_impossible": False,
                "question": "Which context is this?",
                "answers": [{"text": "the first", "answer_start": 8}],
            }
        ],
    },
    {
        "context": CONTEXT,
        "qas": [
            {
                "id": "00002",
                "is_impossible": False,
                "question": "When did the first novel come out?",
                "answers": [{"text": "2006", "answer_start": CONTEXT.index("2006")}],
            },
            {
                "id": "00003",
                "is_impossible": False,
                "question": "What is it?",
                # Not as the context has it: a space is missing.
                "answers": [{"text": "a seriesof novels", "answer_start": 12}],
            },
            {"id": "00004", "is_impossible": True, "question": "Who drew the maps?", "answers": []},
        ],
    },
]
TO_ANSWER = [{"context": "Vin is a Mistborn of great power", "qas": [{"question": "What is Vin?", "id": "0"}]}]


@pytest.mark.parametrize("labels", [None, ["O", "B-PER", "I-PER", "B-LOC", "B-ORG", "B-MISC"]])
def test_named_entities(labels: list[str] | None) -> None:
    train_data = pd.DataFrame(SENTENCES, columns=["sentence_id", "words", "labels"])
    eval_data = train_data.assign(words=train_data["words"].str.upper())

    model_args = NERArgs()
    model_args.train_batch_size = 16
    model_args.evaluate_during_training = True
    model = NERModel("roberta", "roberta-base", labels=labels, args=model_args)
    model.train_model(train_data, eval_data=eval_data)
    result, model_outputs, preds_list = model.eval_model(eval_data)
    sentence = "Hermione was the best in her class"
    predictions, raw_outputs = model.predict([sentence])

    assert {"eval_loss", "precision", "recall", "f1_score"} <= set(result)
    assert [len(tags) for tags in preds_list] == [len(words) for words in model_outputs] == [7, 4]
    assert [next(iter(word)) for word in predictions[0]] == sentence.split()
    assert len(raw_outputs[0]) == 7


def test_named_entities_with_a_dict_of_arguments_and_words_to_tag() -> None:
    train_df = pd.DataFrame(SENTENCES, columns=["sentence_id", "words", "labels"])
    model = NERModel("bert", "bert-base-cased", args={"reprocess_input_data": True, "overwrite_output_dir": True})
    model.train_model(train_df)
    predictions, _ = model.predict([["Harry", "Potter"]], split_on_space=False)
    assert [list(word) for word in predictions[0]] == [["Harry"], ["Potter"]]


def test_questions_with_an_answer_that_is_not_in_its_context() -> None:
    eval_data = copy.deepcopy(QUESTIONS[:1])
    eval_data[0]["qas"][0]["question"] = "Is this the first context or the second?"
    eval_data[0]["qas"][0]["answers"].append({"text": "first context", "answer_start": 12})

    model_args = QuestionAnsweringArgs()
    model_args.train_batch_size = 16
    model_args.evaluate_during_training = True
    model_args.n_best_size = 3
    model = QuestionAnsweringModel("bert", "bert-base-cased", args=model_args)
    with pytest.warns(UserWarning, match="1 question"):
        model.train_model(QUESTIONS, eval_data=eval_data)
    result, texts = model.eval_model(eval_data)
    answers, probabilities = model.predict(TO_ANSWER)

    assert result["correct"] + result["similar"] + result["incorrect"] == 1
    assert set(texts) == {"correct_text", "similar_text", "incorrect_text"}
    assert answers[0]["id"] == probabilities[0]["id"] == "0"
    assert len(answers[0]["answer"]) == len(probabilities[0]["probability"]) <= 3


def test_questions_in_a_file() -> None:
    os.makedirs("data", exist_ok=True)
    train_data = [QUESTIONS[0]]
    with open("data/train.json", "w") as file:
        json.dump(train_data, file)

    args = {"reprocess_input_data": True, "overwrite_output_dir": True}
    model = QuestionAnsweringModel("distilbert", "distilbert-base-distilled-squad", args=args)
    model.train_model("data/train.json")
    result, _ = model.eval_model("data/train.json")
    answers, _ = model.predict(copy.deepcopy(TO_ANSWER), n_best_size=2)

    assert {"correct", "similar", "incorrect", "eval_loss"} <= set(result)
    assert len(answers[0]["answer"]) <= 2
