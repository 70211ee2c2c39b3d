"""Conversations come in many forms and mean the same."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset

from easytx.conv_ai import ConvAIArgs
from easytx.conv_ai.reading import as_turns
from easytx.errors import DataError

ARGS = ConvAIArgs()
REPLIES = ["Fine, and you?", "In Rome, by the river.", "Yes, in the rain!"]
COLUMNS = ["personality", "history", "candidates", "reply"]


def _read(data: Any, split: str = "train", **given: Any) -> pd.DataFrame:
    return as_turns(data, name="train_df", split=split, args=ARGS, **given)


def _lists(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return json.loads(frame[COLUMNS].to_json(orient="records"))


def test_one_row_per_reply_the_last_candidate(chats: list[dict[str, Any]]) -> None:
    frame = _read(chats)
    assert frame["reply"].tolist() == REPLIES
    assert frame["personality"].map(len).tolist() == [2, 2, 1]
    assert frame["history"].map(len).tolist() == [1, 3, 1]
    assert [candidates[-1] for candidates in frame["candidates"]] == REPLIES
    assert frame.index.tolist() == [0, 1, 2]


def test_files_frames_datasets_and_parts_of_a_file_say_the_same(chats: list[dict[str, Any]], tmp_path: Path) -> None:
    expected = _lists(_read(chats))
    (tmp_path / "chats.json").write_text(json.dumps(chats), "utf-8")
    (tmp_path / "parts.json").write_text(json.dumps({"train": chats, "valid": chats[:1]}), "utf-8")
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in chats), "utf-8")
    pd.DataFrame(chats).to_parquet(tmp_path / "chats.parquet")
    forms = [*(str(path) for path in sorted(tmp_path.iterdir())), pd.DataFrame(chats), Dataset.from_list(chats)]
    assert len(forms) == 6
    for form in forms:
        assert _lists(_read(form)) == expected
    assert _lists(_read(tmp_path / "parts.json", "eval")) == expected[:2]


def test_rows_keep_their_index_and_their_other_columns() -> None:
    frame = pd.DataFrame(
        {"said": ["Hi", "Bye"], "reply": ["Hello", "See you"], "mood": ["good", "bad"]}, index=["a", "b"]
    )
    found = _read(frame, renames={"history": "said"})
    assert found.index.tolist() == ["a", "b"]
    assert found["history"].tolist() == [["Hi"], ["Bye"]]
    assert found["personality"].tolist() == [[], []]
    assert found["mood"].tolist() == ["good", "bad"]
    assert list(frame.columns) == ["said", "reply", "mood"]


def test_arrays_and_missing_personalities_are_lists() -> None:
    rows = [
        {"history": np.array(["Hi", "Yes?", "No"]), "reply": 7, "personality": None},
        {"history": ("Hi",), "reply": "Hello", "personality": "I am old."},
    ]
    found = _read(rows)
    assert found["history"].tolist() == [["Hi", "Yes?", "No"], ["Hi"]]
    assert found["personality"].tolist() == [[], ["I am old."]]
    assert found["reply"].tolist() == ["7", "Hello"]


def test_the_true_reply_is_one_candidate_and_the_last() -> None:
    row = {"history": "Hi", "reply": "Hello", "candidates": ["Hello", "No", "No", "Yes"]}
    assert _read([row])["candidates"].tolist() == [["No", "Yes", "Hello"]]


def test_predicting_takes_messages_histories_and_rows(chats: list[dict[str, Any]]) -> None:
    forms: list[tuple[Any, list[list[str]]]] = [
        ("Hi", [["Hi"]]),
        (["Hi", "Bye"], [["Hi"], ["Bye"]]),
        ([["Hi", "Yes?", "No"], "Bye"], [["Hi", "Yes?", "No"], ["Bye"]]),
        (pd.Series(["Hi"], index=[9]), [["Hi"]]),
        ([{"history": ["Hi"], "personality": ["I am old."]}], [["Hi"]]),
        (chats, [utterance["history"] for chat in chats for utterance in chat["utterances"]]),
    ]
    for form, histories in forms:
        assert _read(form, "predict")["history"].tolist() == histories


def test_nothing_of_the_callers_changes(chats: list[dict[str, Any]]) -> None:
    frame, before = pd.DataFrame(chats), copy.deepcopy(chats)
    _read(chats)
    _read(frame)
    assert chats == before
    pd.testing.assert_frame_equal(frame, pd.DataFrame(before))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "train_df has no rows."),
        ([{"history": ["Hi"]}], "train_df needs the columns ['history', 'reply'], but has ['history']."),
        ([{"history": [], "reply": "a"}], "train_df has nothing to reply to in the column 'history': row 0."),
        ([{"history": ["Hi", " "], "reply": "a"}], "train_df has nothing to reply to in the column 'history': row 0."),
        (
            [{"history": ["Hi"], "reply": "a"}, {"history": [3], "reply": "a"}],
            "train_df has something else than a list of texts in 1 row of the column 'history': row 1.",
        ),
        (
            [{"history": ["Hi", "\ud83c"], "reply": "a"}],
            "train_df has halves of characters (surrogates) in 1 row of the column 'history': row 0. Replace them, for "
            "example with text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace').",
        ),
        ([{"history": "Hi", "reply": None}], "train_df has no text in 1 row of the column 'reply': row 0."),
        (
            [{"history": "Hi", "candidates": []}],
            "train_df has neither a reply nor candidates, of which the last is the reply, in 1 row: row 0.",
        ),
        ([{"utterances": "Hi"}], "train_df has in row 0 no list of {'history', 'candidates'} in the column 'utteranc"),
        ("nowhere.json", "train_df is the path 'nowhere.json', where there is no file."),
        ({"chats": []}, "train_df must be persona-chat JSON, as "),
        (["Hi"], "train_df must be persona-chat JSON, as "),
        (3, "train_df must be persona-chat JSON, as "),
    ],
)
def test_what_is_wrong_is_said(data: Any, message: str) -> None:
    with pytest.raises(DataError, match=rf"^{re.escape(message)}"):
        _read(data)


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "chats.json").write_text("[{", "utf-8")
    with pytest.raises(DataError, match=r"chats\.json', which is no JSON file\. The cause was: "):
        _read(tmp_path / "chats.json")


def test_a_mark_at_the_beginning_of_a_file_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "chats.json").write_bytes(b'\xef\xbb\xbf[{"history": "Hi", "reply": "a"}]')
    assert _read(tmp_path / "chats.json")["history"].tolist() == [["Hi"]]
