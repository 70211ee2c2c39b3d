from __future__ import annotations

import copy
import gzip
import json
import re

import datasets
import numpy as np
import pandas as pd
import pytest

from easytx.config.model_args import ModelArgs
from easytx.errors import DataError
from easytx.question_answering.reading import as_questions, repair_answers

CONTEXT = "The Glass River is a novel by Elin Berg, printed in 1987."
ENTRIES = [
    {
        "context": CONTEXT,
        "qas": [
            {
                "id": "a",
                "question": "Who wrote it?",
                "is_impossible": False,
                "answers": [{"text": "Elin Berg", "answer_start": 30}],
            },
            {"id": "b", "question": "Who drew the cover?", "is_impossible": True, "answers": []},
        ],
    },
    {
        "context": "It has two parts.",
        "qas": [{"id": "c", "question": "How many?", "answers": [{"text": "two", "answer_start": 7}]}],
    },
]
EXPECTED = {
    "id": ["a", "b", "c"],
    "question": ["Who wrote it?", "Who drew the cover?", "How many?"],
    "context": [CONTEXT, CONTEXT, "It has two parts."],
    "answers": [["Elin Berg"], [], ["two"]],
    "answer_starts": [[30], [], [7]],
    "is_impossible": [False, True, False],
}
SQUAD = {"version": "1.1", "data": [{"title": "Books", "paragraphs": [entry]} for entry in ENTRIES]}


def as_dict(frame: pd.DataFrame) -> dict[str, list]:
    return frame.to_dict("list")


def flat(**columns: list) -> pd.DataFrame:
    return pd.DataFrame({"context": [CONTEXT], "question": ["Who wrote it?"], **columns})


@pytest.mark.parametrize("data", [ENTRIES, SQUAD, SQUAD["data"]], ids=["list", "squad", "articles"])
def test_nested_data_become_rows_and_stay_as_they_were(data):
    before = copy.deepcopy(data)
    assert as_dict(as_questions(data)) == EXPECTED
    assert data == before


@pytest.mark.parametrize("data", [ENTRIES, SQUAD], ids=["list", "squad"])
def test_json_files(tmp_path, data):
    plain, packed = tmp_path / "train.json", tmp_path / "train.json.gz"
    plain.write_text(json.dumps(data), encoding="utf-8")
    packed.write_bytes(gzip.compress(json.dumps(data).encode()))
    assert as_dict(as_questions(plain)) == EXPECTED
    assert as_dict(as_questions(str(packed))) == EXPECTED


def test_json_lines(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(json.dumps(entry) for entry in ENTRIES) + "\n\n", encoding="utf-8")
    assert as_dict(as_questions(path)) == EXPECTED


def test_a_line_separator_in_a_text_does_not_end_a_json_line(tmp_path):
    path = tmp_path / "test.jsonl"
    entry = {"context": "One\u2028two", "qas": [{"question": "Where?"}]}
    path.write_text(json.dumps(entry, ensure_ascii=False) + "\n", encoding="utf-8")
    assert as_questions(path, with_answers=False)["context"].tolist() == ["One\u2028two"]


def test_what_came_out_can_go_in():
    frame = as_questions(ENTRIES)
    pd.testing.assert_frame_equal(as_questions(frame), frame)


@pytest.mark.parametrize(
    "columns",
    [
        {"answers": [{"text": ["Elin Berg"], "answer_start": [30]}]},
        {"answers": [{"text": np.array(["Elin Berg"]), "answer_start": np.array([30])}]},
        {"answers": [[{"text": "Elin Berg", "answer_start": 30}]]},
        {"answers": ["Elin Berg"]},
        {"answers": [["Elin Berg"]]},
        {"answer_text": ["Elin Berg"], "answer_start": [30]},
        {"answer_text": ["Elin Berg"], "answer_start": ["30"]},
        {"answer_text": ["Elin Berg"]},
    ],
)
def test_answers_of_a_frame_in_every_form(columns):
    frame = as_questions(flat(**columns))
    assert frame["answers"].tolist() == [["Elin Berg"]]
    assert frame["answer_starts"].tolist() == [[30]]
    assert all(type(start) is int for start in frame["answer_starts"][0])
    assert frame["id"].tolist() == ["0"]


@pytest.mark.parametrize("answer", [None, float("nan"), "", [], {"text": [], "answer_start": []}])
def test_a_frame_without_an_answer(answer):
    frame = as_questions(flat(answers=[answer]))
    assert frame["answers"].tolist() == [[]]
    assert frame["answer_starts"].tolist() == [[]]


def test_an_answer_without_a_clear_place_has_no_start():
    frame = as_questions(flat(answers=[["by", "absent", "e"]]))
    assert frame["answer_starts"].tolist() == [[27, -1, -1]]


def test_the_index_of_a_frame_is_kept():
    frame = pd.concat([flat(answers=["Elin Berg"])] * 2).set_axis([7, 3])
    assert as_questions(frame).index.tolist() == [7, 3]
    assert as_questions(frame)["answers"].loc[3] == ["Elin Berg"]


def test_a_hugging_face_data_set():
    data = datasets.Dataset.from_dict(
        {
            "id": ["x", "y"],
            "title": ["Books", "Books"],
            "context": [CONTEXT, CONTEXT],
            "question": ["Who?", "Why?"],
            "answers": [{"text": ["Elin Berg"], "answer_start": [30]}, {"text": [], "answer_start": []}],
        }
    )
    frame = as_questions(data)
    assert frame["id"].tolist() == ["x", "y"]
    assert frame["answers"].tolist() == [["Elin Berg"], []]
    assert frame["answer_starts"].tolist() == [[30], []]


def test_predict_needs_no_answers():
    nested = as_questions([{"context": CONTEXT, "qas": [{"id": 5, "question": "Who?"}]}], with_answers=False)
    assert nested["id"].tolist() == [5]
    assert nested["answers"].tolist() == [[]]
    assert as_questions(flat(), with_answers=False)["question"].tolist() == ["Who wrote it?"]
    single = as_questions({"context": CONTEXT, "question": "Who?"}, with_answers=False)
    assert single["context"].tolist() == [CONTEXT]


def test_missing_texts_are_named_by_row():
    frame = pd.concat([flat(answers=["Elin Berg"])] * 20, ignore_index=True)
    frame.loc[[3, 17], "context"] = ["  ", None]
    with pytest.raises(DataError) as error:
        as_questions(frame)
    assert str(error.value) == (
        "train_data has no text in 2 rows of the column 'context': rows 3, 17. Fill or drop them."
    )
    frame["context"], frame["question"] = CONTEXT, None
    with pytest.raises(DataError) as error:
        as_questions(frame, name="eval_data")
    assert str(error.value) == (
        "eval_data has no text in 20 rows of the column 'question': rows 0, 1, 2, 3, 4, .... Fill or drop them."
    )


def test_ids_given_twice_are_named():
    frame = pd.concat([flat(answers=["Elin Berg"], id=["q1"])] * 2)
    with pytest.raises(DataError) as error:
        as_questions(frame)
    assert str(error.value) == (
        "train_data has more than one question with the id 'q1'. Give each its own id, or leave all ids out."
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (5, "train_data must be a list of {'context': ..., 'qas': [...]}, a SQuAD dict, a path to one"),
        (["text"], "it is a list, ['text']. Bring it into one of these forms."),
        ([], "train_data has no questions."),
        ([{"text": "a", "qas": []}], "in each entry, but entry 0 has ['text', 'qas']. Rename or add them."),
        (
            flat(),
            "train_data needs ['context', 'question', 'answers'] of every question, but has ['context',",
        ),
        (
            [{"context": CONTEXT, "qas": [{"id": "1", "question": "Who?"}]}],
            "train_data needs ['context', 'question', 'answers'] of every question, but has ['id', 'question', "
            "'context']. Rename columns, or name yours with answers_column=....",
        ),
        (
            [{"context": CONTEXT, "qas": [{"id": "1", "qestion": "Who?", "answer": []}]}],
            "train_data needs ['context', 'question', 'answers'] of every question, but has ['id', 'qestion', "
            "'answer', 'context']. Rename them, for example train_data.rename(columns={'qestion': 'question', "
            "'answer': 'answers'}).",
        ),
        (
            [{"context": CONTEXT, "qas": [{"question": "Who?", "answers": [{"txt": "Elin", "answer_start": 0}]}]}],
            "train_data has in row 0 answers of an unknown form: a list, [{'txt': 'Elin', 'answer_start': 0}]. Give a "
            "text, a list of texts, a list of {'text': ..., 'answer_start': ...} or "
            "{'text': [...], 'answer_start': [...]}.",
        ),
        (
            flat(answers=[3.5]),
            "train_data has in row 0 answers of an unknown form: a float, 3.5. Give a text",
        ),
        (
            flat(answers=[{"text": ["a", "b"], "answer_start": [1]}]),
            "has in row 0 answers of an unknown form",
        ),
        ("nowhere.json", "train_data is the path 'nowhere.json', where there is no file."),
    ],
)
def test_what_cannot_be_read(data, message):
    with pytest.raises(DataError, match=re.escape(message)):
        as_questions(data)


def test_files_that_cannot_be_read(tmp_path):
    other, broken = tmp_path / "train.xml", tmp_path / "train.json"
    other.write_text("<a/>")
    broken.write_text("[{")
    with pytest.raises(DataError) as refused:
        as_questions(other)
    assert str(refused.value) == (
        f"train_data is the path '{other}', but must be .json, .json.gz, .jsonl, .csv, .tsv or .parquet. Convert it."
    )
    with pytest.raises(DataError, match="is not valid json in UTF-8"):
        as_questions(broken)


def repaired(answer: str, start: int, context: str = CONTEXT) -> tuple[list, list, int, list[str]]:
    data = [{"context": context, "qas": [{"id": "q", "question": "?", "answers": []}]}]
    data[0]["qas"] += [{"id": "r", "question": "?", "answers": [{"text": answer, "answer_start": start}]}]
    frame, report = repair_answers(as_questions(data), name="train_data")
    return (
        frame["answers"].tolist()[1:],
        frame["answer_starts"].tolist()[1:],
        report.moved,
        report.skipped_ids,
    )


@pytest.mark.parametrize(
    ("answer", "start", "expected"),
    [
        ("Elin Berg", 30, ([["Elin Berg"]], [[30]], 0, [])),
        ("Elin Berg", 32, ([["Elin Berg"]], [[30]], 1, [])),
        ("Elin Berg", 0, ([["Elin Berg"]], [[30]], 1, [])),
        (" Elin Berg, ", 29, ([["Elin Berg,"]], [[30]], 0, [])),
        ("i", 35, ([], [], 0, ["r"])),
        ("i", 33, ([["i"]], [[32]], 1, [])),
        ("elin berg", 30, ([], [], 0, ["r"])),
    ],
)
def test_answers_are_put_in_their_place(answer, start, expected):
    assert repaired(answer, start) == expected


def test_a_start_nobody_gave_is_not_near_the_beginning():
    assert repaired("ab", -1, "ab and ab") == ([], [], 0, ["r"])


def test_an_answer_spelled_otherwise_is_skipped_and_reported():
    context = "The series consists of The First Light,The Long Noon, and The Evening."
    asked = [
        {"id": "1", "question": "Which?", "answers": [{"text": "The Evening", "answer_start": 57}]},
        {
            "id": "2",
            "question": "All?",
            "answers": [{"text": "The First Light, The Long Noon", "answer_start": 23}],
        },
        {"id": "3", "question": "Why?", "is_impossible": False, "answers": []},
    ]
    given = as_questions([{"context": context, "qas": asked}])
    before = given.copy(deep=True)
    frame, report = repair_answers(given, name="train_data")
    assert frame["id"].tolist() == ["1", "3"]
    assert frame.index.tolist() == [0, 2]
    assert frame["is_impossible"].tolist() == [False, True]
    assert report.message("train_data") == (
        "In train_data, 1 answer did not stand at answer_start and had to be moved, and 1 question had to be "
        "skipped for want of one clear place of the answer: '2'."
    )
    pd.testing.assert_frame_equal(given, before)


def test_nothing_to_repair_is_nothing_to_say():
    assert repair_answers(as_questions(ENTRIES), name="train_data")[1].message("train_data") == ""


def test_nothing_left_to_learn_from():
    with pytest.raises(DataError, match="train_data has no answer that stands in its context"):
        repair_answers(as_questions(flat(answers=["Nobody"])), name="train_data")


@pytest.mark.parametrize("form", ["csv", "tsv", "parquet"])
def test_a_table_is_read(tmp_path, form):
    answers = {"text": ["Elin Berg"], "answer_start": [CONTEXT.index("Elin Berg")]}
    frame = flat(answers=[answers], id=["x"])
    path = tmp_path / f"train.{form}"
    if form == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, sep="\t" if form == "tsv" else ",", index=False)
    assert as_dict(as_questions(path)) == as_dict(as_questions(frame))
    plain = frame.assign(answers=["Elin Berg"])
    plain.to_csv(tmp_path / "plain.csv", index=False)
    assert as_dict(as_questions(tmp_path / "plain.csv")) == as_dict(as_questions(plain))


def test_a_bracket_that_is_no_list_is_an_answer(tmp_path):
    frame = pd.DataFrame({"context": ["See [1 for more."], "question": ["Where?"], "answers": ["[1"]})
    frame.to_csv(tmp_path / "train.csv", index=False)
    assert as_questions(tmp_path / "train.csv")["answers"].tolist() == [["[1"]]


def test_a_file_is_read_in_the_encoding_that_the_arguments_name(tmp_path):
    entry = {"context": "Grüße aus Århus", "qas": [{"id": "1", "question": "Woher?"}]}
    path = tmp_path / "train.json"
    path.write_text(json.dumps([entry], ensure_ascii=False), encoding="latin-1")
    args = ModelArgs(encoding="latin-1")
    assert as_questions(path, args=args, with_answers=False)["context"].tolist() == ["Grüße aus Århus"]
    with pytest.raises(DataError, match="is not valid json in utf-16"):
        as_questions(path, args=ModelArgs(encoding="utf-16"), with_answers=False)


def test_lazy_loading_reads_one_entry_a_line_and_skips_lines_above(tmp_path):
    entry = json.dumps({"context": CONTEXT, "qas": [{"id": "1", "question": "Who?"}]})
    path = tmp_path / "train.json"
    path.write_text(f"a line about the file\n{entry}\n{entry.replace('1', '2')}\n")
    args = ModelArgs(lazy_loading=True, lazy_loading_start_line=1)
    assert as_questions(path, args=args, with_answers=False)["id"].tolist() == ["1", "2"]


@pytest.mark.parametrize("kind", ["frame", "list", "file"])
def test_columns_of_other_names_are_told(tmp_path, kind):
    frame = pd.DataFrame({"passage": [CONTEXT], "question": ["Who wrote it?"], "found": ["Elin Berg"]})
    frame.to_csv(tmp_path / "train.csv", index=False)
    data = {"frame": frame, "list": frame.to_dict("records"), "file": tmp_path / "train.csv"}[kind]
    found = as_questions(data, renames={"context": "passage", "answers": "found"})
    assert found["answers"].tolist() == [["Elin Berg"]]
    with pytest.raises(DataError) as refused:
        as_questions(data, renames={"context": "text"})
    assert str(refused.value) == (
        "train_data has no column 'text' (given as context_column); it has ['passage', 'question', 'found']."
    )


def test_a_misspelled_column_is_suggested():
    frame = flat(answers=["Elin Berg"]).rename(columns={"context": "contexts"})
    with pytest.raises(DataError) as refused:
        as_questions(frame)
    assert str(refused.value) == (
        f"train_data needs ['context', 'question', 'answers'] of every question, but has {list(frame.columns)}. "
        "Rename them, for example train_data.rename(columns={'contexts': 'context'})."
    )
