from __future__ import annotations

import pytest

from easytx.errors import DataError
from easytx.metrics.spans import (
    answer_overlap,
    best_null_threshold,
    exact_match,
    normalise_answer,
    squad_scores,
    token_f1,
)

pytestmark = pytest.mark.filterwarnings("error")


class TestNormaliseAnswer:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("The  Eiffel\tTower!", "eiffel tower"),
            ("a cat, an apple and the theatre", "cat apple and theatre"),
            ("U.S.A.", "usa"),
            # The punctuation goes first: what it leaves may be an article, or no longer one.
            ("'A'", ""),
            ("a-team", "ateam"),
            ("25%", "25"),
            ("%", ""),
            ("the", ""),
            ("", ""),
            # Only ASCII punctuation is removed.
            ("“Zürich”", "“zürich”"),
        ],
    )
    def test_by_hand(self, text: str, expected: str):
        assert normalise_answer(text) == expected


class TestOneAnswer:
    @pytest.mark.parametrize(
        ("prediction", "truths", "exact", "f1"),
        [
            ("the Eiffel Tower", ["Eiffel tower."], 1.0, 1.0),
            # One of one predicted word, one of two true words: 2 * 1 * 0.5 / 1.5.
            ("Eiffel", ["The Eiffel Tower"], 0.0, 2 / 3),
            # A word counts as often as it occurs on both sides: 2 common of 3 and 2.
            ("no no no", ["no no"], 0.0, 4 / 5),
            ("Paris", ["London", "in Paris"], 0.0, 2 / 3),
            ("Paris", ["London", "paris"], 1.0, 1.0),
            ("London", ["Paris"], 0.0, 0.0),
            ("", ["Paris"], 0.0, 0.0),
            # No answer is right where there is none.
            ("", [], 1.0, 1.0),
            ("", [""], 1.0, 1.0),
            ("Paris", [], 0.0, 0.0),
            # Nothing is left of the prediction: the same as no answer.
            ("The!", [], 1.0, 1.0),
            ("The!", ["Paris"], 0.0, 0.0),
            # Nothing is left of the true answer: it is dropped; if no other remains, "" is right.
            ("%", ["%"], 1.0, 1.0),
            ("", ["the"], 1.0, 1.0),
            ("", ["the", "Paris"], 0.0, 0.0),
            ("Paris", ["%"], 0.0, 0.0),
        ],
    )
    def test_by_hand(self, prediction: str, truths: list[str], exact: float, f1: float):
        assert exact_match(prediction, truths) == exact
        assert token_f1(prediction, truths) == pytest.approx(f1)

    @pytest.mark.parametrize("score", [exact_match, token_f1])
    def test_a_text_in_place_of_a_list(self, score):
        with pytest.raises(DataError, match=r"list of texts\. Write \['Paris'\] for 'Paris'"):
            score("Paris", "Paris")


class TestSquadScores:
    def test_all_questions_have_answers(self):
        predictions = {"q1": "Paris", "q2": "Eiffel", "of no question": "x"}
        truths = {"q1": ["paris"], "q2": ["The Eiffel Tower", "Eiffel Tower"]}
        scores = squad_scores(predictions, truths)
        assert scores == pytest.approx({"exact_match": 50.0, "f1": 250 / 3, "total": 2})
        assert [type(value) for value in scores.values()] == [float, float, int]

    def test_some_questions_have_none(self):
        # Exact 1, 0, 1, 0; F1 1, 2/3, 1, 0.
        predictions = {1: "Paris", 2: "Eiffel", 3: "", 4: "something"}
        truths = {1: ["paris"], 2: ["Eiffel Tower"], 3: [], 4: [""]}
        assert squad_scores(predictions, truths) == pytest.approx(
            {
                "exact_match": 50.0,
                "f1": 100 * (8 / 3) / 4,
                "total": 4,
                "HasAns_exact": 50.0,
                "HasAns_f1": 250 / 3,
                "HasAns_total": 2,
                "NoAns_exact": 50.0,
                "NoAns_f1": 50.0,
                "NoAns_total": 2,
            }
        )

    def test_no_question_has_an_answer(self):
        assert squad_scores({"q": ""}, {"q": []}) == {
            "exact_match": 100.0,
            "f1": 100.0,
            "total": 1,
            "NoAns_exact": 100.0,
            "NoAns_f1": 100.0,
            "NoAns_total": 1,
        }

    def test_a_question_answered_by_an_article_has_an_answer(self):
        # Only the empty prediction scores, and yet the question counts among those with an answer.
        scores = squad_scores({"q1": "", "q2": ""}, {"q1": ["the"], "q2": []})
        assert (scores["HasAns_exact"], scores["HasAns_total"], scores["NoAns_total"]) == (100.0, 1, 1)

    def test_errors(self):
        with pytest.raises(DataError, match="There are no questions to score"):
            squad_scores({}, {})
        with pytest.raises(DataError) as caught:
            squad_scores({"q7": "x"}, {f"q{i}": ["x"] for i in range(8)})
        assert str(caught.value) == (
            "predictions must have an entry for each of the 8 question ids, "
            "but 7 are missing (first: ['q0', 'q1', 'q2', 'q3', 'q4'])."
        )


class TestBestNullThreshold:
    def test_by_hand(self):
        predictions = {"q1": "Paris", "q2": "Eiffel", "q3": "x", "q4": "London", "q5": "y"}
        truths = {"q1": ["Paris"], "q2": ["Eiffel Tower"], "q3": [], "q4": ["London"], "q5": []}
        null_odds = {"q1": -4.0, "q2": -2.0, "q3": 1.0, "q4": -1.0, "q5": 3.0}
        # Answering none scores 2 (q3, q5). By rising odds, exact: q1 +1, q2 +0, q4 +1, q3 -1, q5 -1.
        # F1: q1 +1, q2 +2/3, q4 +1, q3 -1, q5 -1.
        assert best_null_threshold(predictions, truths, null_odds) == pytest.approx(
            {
                "best_exact": 100 * 4 / 5,
                "best_exact_thresh": -1.0,
                "best_f1": 100 * (4 + 2 / 3) / 5,
                "best_f1_thresh": -1.0,
            }
        )

    def test_the_thresholds_of_exact_match_and_f1_may_differ(self):
        predictions, truths = {"q1": "Paris", "q2": "Eiffel"}, {"q1": ["Paris"], "q2": ["Eiffel Tower"]}
        best = best_null_threshold(predictions, truths, {"q1": -4.0, "q2": 5.0})
        assert (best["best_exact"], best["best_exact_thresh"]) == (50.0, -4.0)
        assert (best["best_f1"], best["best_f1_thresh"]) == (pytest.approx(250 / 3), 5.0)

    def test_answering_gains_nothing(self):
        best = best_null_threshold({"q1": "x", "q2": "y"}, {"q1": [], "q2": ["z"]}, {"q1": -3.0, "q2": 2.0})
        assert best == {"best_exact": 50.0, "best_exact_thresh": 0.0, "best_f1": 50.0, "best_f1_thresh": 0.0}

    def test_an_empty_prediction_costs_nothing_where_there_is_no_answer(self):
        best = best_null_threshold({"q1": "", "q2": "z"}, {"q1": [], "q2": ["z"]}, {"q1": -3.0, "q2": 2.0})
        assert (best["best_exact"], best["best_exact_thresh"]) == (100.0, 2.0)

    def test_odds_of_other_questions_are_ignored(self):
        best = best_null_threshold({"q": "z"}, {"q": ["z"]}, {"q": 1.5, "other": 0.0})
        assert (best["best_exact"], best["best_exact_thresh"]) == (100.0, 1.5)

    def test_errors(self):
        with pytest.raises(DataError, match="There are no questions to score"):
            best_null_threshold({}, {}, {})
        with pytest.raises(DataError, match=r"^predictions must .* 1 are missing \(first: \['q'\]\)"):
            best_null_threshold({}, {"q": []}, {"q": 1.0})
        with pytest.raises(DataError, match=r"^null_odds must .* 1 are missing \(first: \['q'\]\)"):
            best_null_threshold({"q": ""}, {"q": []}, {})


class TestAnswerOverlap:
    @pytest.mark.parametrize(
        ("prediction", "truths", "kind"),
        [
            ("Paris", ["Paris"], "correct"),
            (" Paris ", ["Paris"], "correct"),
            ("Paris", ["London", "Paris"], "correct"),
            ("paris", ["Paris"], "similar"),
            ("in Paris, France", ["Paris"], "similar"),
            ("PARIS", ["London", "in Paris"], "similar"),
            ("London", ["Paris"], "incorrect"),
            ("", ["Paris"], "incorrect"),
            (" ", ["Paris"], "incorrect"),
            ("", [], "correct"),
            (" ", [""], "correct"),
            ("Paris", [], "incorrect"),
            ("Paris", [""], "incorrect"),
        ],
    )
    def test_kinds(self, prediction: str, truths: list[str], kind: str):
        counts, texts = answer_overlap({"q": prediction}, {"q": truths}, {"q": "Where?"})
        assert counts == {name: int(name == kind) for name in ("correct", "similar", "incorrect")}
        assert {name: list(found) for name, found in texts.items()} == {
            f"{name}_text": ["q"] * (name == kind) for name in ("correct", "similar", "incorrect")
        }

    def test_texts(self):
        counts, texts = answer_overlap(
            {"q1": "Paris ", "q2": "in paris", "q3": "Rome", "q4": "Rome", "q5": ""},
            {"q1": ["Paris"], "q2": ["London", "Paris"], "q3": ["London", "Paris"], "q4": [], "q5": []},
            {f"q{i}": f"Question {i}?" for i in range(1, 6)},
        )
        assert counts == {"correct": 2, "similar": 1, "incorrect": 2}
        assert texts == {
            "correct_text": {"q1": "Paris", "q5": ""},
            "similar_text": {"q2": {"truth": "Paris", "predicted": "in paris", "question": "Question 2?"}},
            "incorrect_text": {
                "q3": {"truth": "London", "predicted": "Rome", "question": "Question 3?"},
                "q4": {"truth": "", "predicted": "Rome", "question": "Question 4?"},
            },
        }

    def test_no_questions(self):
        counts, texts = answer_overlap({}, {}, {})
        assert counts == {"correct": 0, "similar": 0, "incorrect": 0}
        assert texts == {"correct_text": {}, "similar_text": {}, "incorrect_text": {}}

    def test_errors(self):
        with pytest.raises(DataError, match=r"^predictions must .* 1 are missing \(first: \['q'\]\)"):
            answer_overlap({}, {"q": ["Paris"]}, {"q": "Where?"})
        with pytest.raises(DataError, match=r"^questions must .* 1 are missing \(first: \['q'\]\)"):
            answer_overlap({"q": "Paris"}, {"q": ["Paris"]}, {})
