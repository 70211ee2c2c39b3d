from __future__ import annotations

import numpy as np
import pytest
from seqeval import metrics as seqeval

from easytx.errors import DataError
from easytx.metrics.sequence import entity_report, entity_scores, entity_table

pytestmark = pytest.mark.filterwarnings("error")

# True: a PER, a LOC, an ORG. Predicted: the PER, an ORG in place of the LOC, the ORG.
TRUE = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-ORG"]]
PREDICTED = [["B-PER", "I-PER", "O", "B-ORG"], ["O", "B-ORG"]]
OUTSIDE = [["O", "O"], ["O"]]


class TestEntityScores:
    def test_by_hand(self):
        scores = entity_scores(TRUE, PREDICTED)
        assert scores == pytest.approx(
            {"precision": 2 / 3, "recall": 2 / 3, "f1_score": 2 / 3, "token_accuracy": 5 / 6}
        )
        assert {type(value) for value in scores.values()} == {float}

    def test_half_of_an_entity_is_no_entity(self):
        scores = entity_scores([["B-PER", "I-PER", "I-PER"]], [["B-PER", "I-PER", "O"]])
        assert scores == pytest.approx({"precision": 0, "recall": 0, "f1_score": 0, "token_accuracy": 2 / 3})

    def test_an_inside_tag_alone_opens_an_entity(self):
        assert entity_scores([["O", "B-PER"]], [["O", "I-PER"]])["f1_score"] == 1.0

    def test_an_entity_ends_with_its_sentence(self):
        # Two true entities, of which the prediction joins none: the sentence boundary keeps them apart.
        assert entity_scores([["B-PER"], ["I-PER"]], [["B-PER"], ["B-PER"]])["f1_score"] == 1.0

    def test_agrees_with_seqeval(self):
        random = np.random.default_rng(0)
        tags = np.array(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])
        true = [tags[random.integers(0, 5, length)].tolist() for length in range(1, 40)]
        predicted = [[tag if random.random() < 0.7 else "O" for tag in sentence] for sentence in true]
        assert entity_scores(true, predicted) == {
            "precision": seqeval.precision_score(true, predicted),
            "recall": seqeval.recall_score(true, predicted),
            "f1_score": seqeval.f1_score(true, predicted),
            "token_accuracy": seqeval.accuracy_score(true, predicted),
        }

    def test_no_entities(self):
        assert entity_scores(OUTSIDE, OUTSIDE) == {
            "precision": 0.0,
            "recall": 0.0,
            "f1_score": 0.0,
            "token_accuracy": 1.0,
        }

    def test_none_true_or_none_predicted(self):
        scored = entity_scores([["O", "O"]], [["B-PER", "O"]])
        assert (scored["precision"], scored["recall"], scored["f1_score"]) == (0.0, 0.0, 0.0)
        scored = entity_scores([["B-PER", "O"]], [["O", "O"]])
        assert (scored["precision"], scored["recall"], scored["f1_score"]) == (0.0, 0.0, 0.0)

    def test_tags_without_a_prefix(self):
        scores = entity_scores([["NAME", "O", "PLACE"]], [["NAME", "O", "O"]])
        assert scores == pytest.approx({"precision": 1, "recall": 1 / 2, "f1_score": 2 / 3, "token_accuracy": 2 / 3})

    def test_tuples_and_arrays_are_lists_too(self):
        assert entity_scores(tuple(map(tuple, TRUE)), [np.array(tags) for tags in PREDICTED]) == entity_scores(
            TRUE, PREDICTED
        )

    def test_empty_sentences(self):
        assert entity_scores([[], ["B-PER"]], [[], ["B-PER"]])["f1_score"] == 1.0
        assert set(entity_scores([[]], [[]]).values()) == {0.0}


class TestEntityTable:
    def test_by_hand(self):
        table = entity_table(TRUE, PREDICTED)
        assert list(table.index) == ["LOC", "ORG", "PER"]
        assert table.index.name == "entity"
        assert table["precision"].tolist() == [0.0, 0.5, 1.0]
        assert table["recall"].tolist() == [0.0, 1.0, 1.0]
        assert table["f1"].tolist() == pytest.approx([0.0, 2 / 3, 1.0])
        assert table["support"].tolist() == [1, 1, 1]

    def test_no_entities(self):
        table = entity_table(OUTSIDE, OUTSIDE)
        assert table.shape == (0, 4)
        assert list(table.columns) == ["precision", "recall", "f1", "support"]


class TestEntityReport:
    def test_agrees_with_seqeval(self):
        expected = seqeval.classification_report(TRUE, PREDICTED, digits=4, zero_division=0)
        assert entity_report(TRUE, PREDICTED) == expected

    def test_no_entities(self):
        assert entity_report(OUTSIDE, OUTSIDE) == "There are no entities among the true or the predicted tags."


@pytest.mark.parametrize("function", [entity_scores, entity_table, entity_report])
class TestErrors:
    def test_no_sentences(self, function):
        with pytest.raises(DataError, match="There are no sentences to score"):
            function([], [])

    def test_another_number_of_sentences(self, function):
        with pytest.raises(DataError, match=r"^2 sentences have true tags, but 1 predicted ones"):
            function(TRUE, PREDICTED[:1])

    def test_another_number_of_tags(self, function):
        with pytest.raises(DataError) as caught:
            function(TRUE, [PREDICTED[0], ["O"]])
        assert str(caught.value) == (
            "Each sentence needs as many predicted as true tags, but 1 of 2 sentences (first: [1]) do not."
        )

    def test_an_empty_tag(self, function):
        with pytest.raises(DataError, match=r"1 of 2 sentences \(first: \[1\]\) hold empty ones"):
            function(TRUE, [PREDICTED[0], ["O", ""]])
