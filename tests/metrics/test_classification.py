from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from easytx.errors import ArgumentError, DataError, LabelError
from easytx.metrics.classification import (
    best_thresholds,
    classification_scores,
    multi_label_scores,
    per_class_table,
    per_label_table,
    regression_scores,
)

pytestmark = pytest.mark.filterwarnings("error")

# Second logit less first: -2, 1, 3, 2, -1, so the predictions are 0, 1, 1, 1, 0.
BINARY_LABELS = np.array([0, 0, 1, 1, 1])
BINARY_LOGITS = np.array([[2, 0], [0, 1], [0, 3], [1, 3], [1, 0]], dtype=np.float32)

# With the threshold 0.5: [[1, 1, 0], [0, 1, 1]].
MULTI_LABELS = np.array([[1, 0, 1], [0, 1, 0]])
MULTI_PROBABILITIES = np.array([[0.9, 0.6, 0.4], [0.2, 0.8, 0.5]])


def random_multi_label(seed: int, rows: int = 60, n_labels: int = 4) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = (random.random((rows, n_labels)) < 0.3).astype(int)
    # Rounded, so that equal probabilities occur.
    return labels, np.round(random.random((rows, n_labels)) * 0.7 + labels * 0.3, 2)


class TestClassificationScores:
    def test_binary_by_hand(self):
        assert classification_scores(BINARY_LABELS, BINARY_LOGITS) == pytest.approx(
            {
                "mcc": 1 / 6,  # (2 * 1 - 1 * 1) / sqrt(3 * 3 * 2 * 2)
                "accuracy": 3 / 5,
                "f1_score": 7 / 12,  # of 1/2 for label 0 and 2/3 for label 1
                "tp": 2,
                "tn": 1,
                "fp": 1,
                "fn": 1,
                "auroc": 5 / 6,  # 5 of the 6 pairs of a positive and a negative are in order
                "auprc": 11 / 12,  # precision at the three positives: 1, 1, 3/4
                "precision_macro": 7 / 12,
                "recall_macro": 7 / 12,
                "f1_macro": 7 / 12,
                "precision_micro": 3 / 5,
                "recall_micro": 3 / 5,
                "f1_micro": 3 / 5,
                "precision_weighted": 3 / 5,  # (2 * 1/2 + 3 * 2/3) / 5
                "recall_weighted": 3 / 5,
                "f1_weighted": 3 / 5,
            }
        )

    def test_multi_class_by_hand(self):
        # Predictions 0, 2, 2, 1: label 0 all right, label 1 all wrong, label 2 half right.
        logits = np.eye(3)[[0, 2, 2, 1]]
        assert classification_scores([0, 1, 2, 2], logits) == pytest.approx(
            {
                "mcc": 0.2,  # (2 * 4 - 6) / (16 - 6), 6 being 1 * 1 + 1 * 1 + 2 * 2
                "accuracy": 0.5,
                "f1_score": 0.5,
                "precision_macro": 0.5,
                "recall_macro": 0.5,
                "f1_macro": 0.5,
                "precision_micro": 0.5,
                "recall_micro": 0.5,
                "f1_micro": 0.5,
                "precision_weighted": 0.5,
                "recall_weighted": 0.5,
                "f1_weighted": 0.5,
            }
        )

    @pytest.mark.parametrize("n_labels", [2, 5])
    def test_agrees_with_scikit_learn(self, n_labels: int):
        random = np.random.default_rng(n_labels)
        labels = random.integers(0, n_labels, 200)
        logits = random.normal(size=(200, n_labels)) + 2 * np.eye(n_labels)[labels]
        chosen = logits.argmax(axis=1)
        scores = classification_scores(labels, logits)
        assert scores["mcc"] == pytest.approx(sk.matthews_corrcoef(labels, chosen))
        assert scores["accuracy"] == pytest.approx(sk.accuracy_score(labels, chosen))
        for average in ("macro", "micro", "weighted"):
            assert scores[f"precision_{average}"] == sk.precision_score(labels, chosen, average=average)
            assert scores[f"recall_{average}"] == sk.recall_score(labels, chosen, average=average)
            assert scores[f"f1_{average}"] == sk.f1_score(labels, chosen, average=average)
        if n_labels == 2:
            positive = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
            assert scores["auroc"] == pytest.approx(sk.roc_auc_score(labels, positive))
            assert scores["auprc"] == pytest.approx(sk.average_precision_score(labels, positive))

    def test_given_predictions_replace_the_argmax_but_not_the_ranking(self):
        scores = classification_scores(BINARY_LABELS, BINARY_LOGITS, predictions=[0, 0, 1, 1, 1])
        assert scores["accuracy"] == scores["mcc"] == 1.0
        assert (scores["tp"], scores["tn"], scores["fp"], scores["fn"]) == (3, 2, 0, 0)
        assert scores["auroc"] == pytest.approx(5 / 6)

    @pytest.mark.parametrize("label", [0, 1])
    def test_one_class_only(self, label: int):
        scores = classification_scores([label, label], [[1.0, 0.0], [0.0, 1.0]])
        assert math.isnan(scores["auroc"])
        assert math.isnan(scores["auprc"])
        assert scores["mcc"] == 0.0
        assert scores["accuracy"] == 0.5

    def test_all_right_with_one_class_only(self):
        scores = classification_scores([0], [[1.0, 0.0]])
        assert (scores["mcc"], scores["accuracy"], scores["f1_score"]) == (0.0, 1.0, 1.0)
        assert (scores["tp"], scores["tn"], scores["fp"], scores["fn"]) == (0, 1, 0, 0)

    def test_many_classes_in_few_rows(self):
        scores = classification_scores(np.arange(30), np.eye(30))
        assert scores["mcc"] == scores["f1_macro"] == 1.0

    def test_values_are_plain_numbers(self):
        scores = classification_scores(BINARY_LABELS, BINARY_LOGITS)
        assert {type(value) for value in scores.values()} == {int, float}
        assert json.loads(json.dumps(scores)) == scores

    @pytest.mark.parametrize("logits", [[], np.zeros((0, 2))])
    def test_no_rows(self, logits):
        with pytest.raises(DataError, match=r"^There are no rows to score\. Give at least one row with a label\.$"):
            classification_scores([], logits)

    def test_other_number_of_rows(self):
        with pytest.raises(DataError, match="there are 3 in labels, 2 in logits"):
            classification_scores([0, 1, 1], np.eye(2))
        with pytest.raises(DataError, match="there are 2 in labels, 1 in predictions"):
            classification_scores([0, 1], np.eye(2), predictions=[0])

    @pytest.mark.parametrize("shape", [(2,), (2, 1), (2, 2, 2)])
    def test_logits_of_another_shape(self, shape):
        with pytest.raises(DataError, match=r"logits must have the shape \(rows, two labels or more\)"):
            classification_scores([0, 1], np.zeros(shape))

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_logits_that_are_not_finite(self, bad: float):
        with pytest.raises(DataError) as caught:
            classification_scores([0, 1, 1], [[1.0, 0.0], [0.0, bad], [0.0, 1.0]])
        assert str(caught.value) == (
            "logits must be finite numbers, but 1 of 3 rows (first: [1]) hold NaN or infinity."
        )

    @pytest.mark.parametrize(
        ("labels", "said"),
        [
            ([0, 2, -1], r"1 of 3 rows \(first: \[2\]\) hold \[-1\]"),
            ([0, 3, 7], r"2 of 3 rows \(first: \[1, 2\]\) hold \[3, 7\]"),
            ([0.0, 0.5, 1.0], r"1 of 3 rows \(first: \[1\]\) hold \[0\.5\]"),
            ([0.0, math.nan, 1.0], r"1 of 3 rows \(first: \[1\]\) hold \[nan\]"),
            (["a", "b", "c"], "are of the type <U1"),
        ],
    )
    def test_labels_that_are_no_label_ids(self, labels, said: str):
        with pytest.raises(LabelError, match=r"^labels must be label ids from 0 to 2, but .*" + said):
            classification_scores(labels, np.eye(3))

    def test_labels_of_another_shape(self):
        with pytest.raises(DataError, match=r"^labels must have the shape \(rows,\), but have \(2, 1\)\.$"):
            classification_scores([[0], [1]], np.eye(2))

    def test_labels_as_whole_floats_and_booleans(self):
        expected = classification_scores(BINARY_LABELS, BINARY_LOGITS)
        assert classification_scores(BINARY_LABELS.astype(float), BINARY_LOGITS) == expected
        assert classification_scores(BINARY_LABELS.astype(bool), BINARY_LOGITS) == expected


class TestRegressionScores:
    def test_by_hand(self):
        # One error of 4. About their means: (-1.5, -0.5, 0.5, 1.5) and (-2.5, -1.5, -0.5, 4.5).
        assert regression_scores([1, 2, 3, 4], [1, 2, 3, 8]) == pytest.approx(
            {
                "mse": 4.0,
                "rmse": 2.0,
                "mae": 1.0,
                "r2": 1 - 16 / 5,
                "pearson": 11 / math.sqrt(5 * 29),
                "spearman": 1.0,
            }
        )

    @pytest.mark.parametrize("scale", [1e-150, 1.0, 1e150])
    def test_agrees_with_scikit_learn_and_scipy(self, scale: float):
        random = np.random.default_rng(0)
        labels = np.round(random.normal(size=50), 1)
        predictions = labels + random.normal(size=50)
        scores = regression_scores(labels * scale, predictions * scale)
        assert scores["pearson"] == pytest.approx(stats.pearsonr(labels, predictions).statistic)
        assert scores["spearman"] == pytest.approx(stats.spearmanr(labels, predictions).statistic)
        if scale == 1.0:
            assert scores["r2"] == pytest.approx(sk.r2_score(labels, predictions))
            assert scores["rmse"] == pytest.approx(sk.root_mean_squared_error(labels, predictions))
            assert scores["mae"] == pytest.approx(sk.mean_absolute_error(labels, predictions))

    def test_a_column_of_predictions_is_no_matrix_of_differences(self):
        assert regression_scores([1.0, 2.0], [[1.0], [2.0]])["mse"] == 0.0

    @pytest.mark.parametrize(
        ("labels", "predictions", "undefined"),
        [
            ([1.0], [3.0], {"r2", "pearson", "spearman"}),
            ([2.0, 2.0], [1.0, 3.0], {"r2", "pearson", "spearman"}),
            ([1.0, 3.0], [2.0, 2.0], {"pearson", "spearman"}),
            ([1.0, 3.0], [1.0, 2.0], set()),
        ],
    )
    def test_what_is_undefined_is_nan(self, labels, predictions, undefined):
        scores = regression_scores(labels, predictions)
        assert {name for name, value in scores.items() if math.isnan(value)} == undefined

    def test_values_are_plain_numbers(self):
        assert {type(value) for value in regression_scores([1, 2], np.float32([1, 3])).values()} == {float}

    def test_errors(self):
        with pytest.raises(DataError, match="There are no rows to score"):
            regression_scores([], [])
        with pytest.raises(DataError, match="3 in labels, 2 in predictions"):
            regression_scores([1, 2, 3], [1, 2])
        with pytest.raises(DataError, match=r"predictions must have the shape \(rows,\), but have \(2, 2\)"):
            regression_scores([1, 2], np.eye(2))
        with pytest.raises(DataError, match="labels must be finite numbers"):
            regression_scores([1, math.nan], [1, 2])


class TestMultiLabelScores:
    def test_by_hand(self):
        # Label 0: right. Label 1: one right, one too many. Label 2: one too many, one missed.
        assert multi_label_scores(MULTI_LABELS, MULTI_PROBABILITIES, 0.5) == pytest.approx(
            {
                "LRAP": 11 / 12,  # rows: (1/1 + 2/3) / 2 and 1
                "subset_accuracy": 0.0,
                "hamming_loss": 0.5,
                "f1_micro": 4 / 7,
                "f1_macro": 5 / 9,
                "f1_weighted": 5 / 9,
                "precision_micro": 2 / 4,
                "recall_micro": 2 / 3,
                "precision_macro": 1 / 2,
                "recall_macro": 2 / 3,
            }
        )

    def test_one_threshold_per_label(self):
        # [[1, 0, 1], [0, 1, 1]]: the second row has one label too many.
        scores = multi_label_scores(MULTI_LABELS, MULTI_PROBABILITIES, [0.5, 0.7, 0.4])
        assert scores["subset_accuracy"] == 0.5
        assert scores["hamming_loss"] == pytest.approx(1 / 6)
        assert scores["LRAP"] == pytest.approx(11 / 12)

    def test_agrees_with_scikit_learn(self):
        labels, probabilities = random_multi_label(1)
        scores = multi_label_scores(labels, probabilities, 0.4)
        given = (probabilities >= 0.4).astype(int)
        assert scores["LRAP"] == sk.label_ranking_average_precision_score(labels, probabilities)
        assert scores["subset_accuracy"] == pytest.approx(sk.accuracy_score(labels, given))
        assert scores["hamming_loss"] == pytest.approx(sk.hamming_loss(labels, given))
        for average in ("micro", "macro", "weighted"):
            assert scores[f"f1_{average}"] == sk.f1_score(labels, given, average=average)
        for average in ("micro", "macro"):
            assert scores[f"precision_{average}"] == sk.precision_score(labels, given, average=average)
            assert scores[f"recall_{average}"] == sk.recall_score(labels, given, average=average)

    def test_a_single_label_is_scored_by_its_presence_only(self):
        # One right, one too many, one missed, two rightly left out.
        scores = multi_label_scores([[1], [0], [1], [0], [0]], [[0.9], [0.9], [0.1], [0.1], [0.1]], 0.5)
        assert {name: scores[name] for name in scores if name.startswith(("f1", "prec", "rec"))} == {
            "f1_micro": 0.5,
            "f1_macro": 0.5,
            "f1_weighted": 0.5,
            "precision_micro": 0.5,
            "recall_micro": 0.5,
            "precision_macro": 0.5,
            "recall_macro": 0.5,
        }
        assert scores["subset_accuracy"] == pytest.approx(3 / 5)

    @pytest.mark.parametrize("n_labels", [1, 3])
    def test_no_labels_at_all(self, n_labels: int):
        nothing = np.zeros((2, n_labels))
        scores = multi_label_scores(nothing, nothing, 0.5)
        assert (scores["subset_accuracy"], scores["hamming_loss"], scores["LRAP"]) == (1.0, 0.0, 1.0)
        assert scores["f1_micro"] == scores["f1_macro"] == scores["f1_weighted"] == 0.0

    def test_values_are_plain_numbers(self):
        scores = multi_label_scores(MULTI_LABELS, np.float32(MULTI_PROBABILITIES))
        assert {type(value) for value in scores.values()} == {float}

    def test_errors(self):
        with pytest.raises(DataError, match="There are no rows to score"):
            multi_label_scores(np.zeros((0, 3)), np.zeros((0, 3)), 0.5)
        with pytest.raises(DataError, match=r"but have \(2, 3\) and \(2, 2\)"):
            multi_label_scores(MULTI_LABELS, MULTI_PROBABILITIES[:, :2], 0.5)
        with pytest.raises(DataError, match="Logits become probabilities by the sigmoid function"):
            multi_label_scores(MULTI_LABELS, MULTI_PROBABILITIES + 0.2, 0.5)
        with pytest.raises(LabelError, match=r"labels must be 0 or 1, but 1 of 2 rows \(first: \[0\]\)"):
            multi_label_scores(MULTI_LABELS * [[2], [1]], MULTI_PROBABILITIES, 0.5)
        with pytest.raises(ArgumentError, match=r"one per label \(3\), but has the shape \(2,\)"):
            multi_label_scores(MULTI_LABELS, MULTI_PROBABILITIES, [0.5, 0.5])


class TestTables:
    def test_per_class_by_hand(self):
        table = per_class_table([0, 1, 2, 2], [0, 2, 2, 1], ["good", "bad", "odd", "rare"])
        assert list(table.index) == ["good", "bad", "odd", "rare"]
        assert table.index.name == "label"
        assert table.to_dict("list") == {
            "precision": [1.0, 0.0, 0.5, 0.0],
            "recall": [1.0, 0.0, 0.5, 0.0],
            "f1": [1.0, 0.0, 0.5, 0.0],
            "support": [1, 1, 2, 0],
        }

    def test_per_class_errors(self):
        with pytest.raises(DataError, match="There are no rows to score"):
            per_class_table([], [], ["a", "b"])
        with pytest.raises(LabelError, match="labels must be label ids from 0 to 1"):
            per_class_table([2], [0], ["a", "b"])
        with pytest.raises(LabelError, match="predictions must be label ids from 0 to 1"):
            per_class_table([0], [2], ["a", "b"])

    def test_per_label_by_hand(self):
        table = per_label_table(MULTI_LABELS, MULTI_PROBABILITIES, 0.5, ["a", "b", "c"])
        assert list(table.index) == ["a", "b", "c"]
        assert table["precision"].tolist() == [1.0, 0.5, 0.0]
        assert table["recall"].tolist() == [1.0, 1.0, 0.0]
        assert table["f1"].tolist() == pytest.approx([1.0, 2 / 3, 0.0])
        assert table["support"].tolist() == [1, 1, 1]
        assert table["threshold"].tolist() == [0.5, 0.5, 0.5]
        assert table["auprc"].tolist() == pytest.approx([1.0, 1.0, 0.5])

    @pytest.mark.parametrize("always", [0, 1])
    def test_per_label_of_one_label_that_never_varies(self, always: int):
        table = per_label_table([[always], [always]], [[0.9], [0.1]], [0.3], ["only"])
        assert table["support"].tolist() == [2 * always]
        assert table["recall"].tolist() == [0.5 * always]
        assert math.isnan(table.loc["only", "auprc"])

    def test_per_label_errors(self):
        with pytest.raises(LabelError, match=r"one name per label \(3\), but has 1"):
            per_label_table(MULTI_LABELS, MULTI_PROBABILITIES, 0.5, ["a"])


class TestBestThresholds:
    @pytest.mark.parametrize(
        ("labels", "probabilities", "expected"),
        [
            # 0.5 lies between the positives and the negatives.
            ([1, 0, 1, 0], [0.9, 0.1, 0.8, 0.2], 0.5),
            # All are below 0.5: the lowest positive.
            ([1, 1, 0, 0], [0.4, 0.3, 0.2, 0.1], 0.3),
            # F1 is 2/3 with the first only and with all four, less between.
            ([1, 0, 0, 1], [0.45, 0.4, 0.35, 0.3], 0.45),
            # The same above 0.5, where one more negative makes all five worse.
            ([1, 0, 0, 1, 0], [0.9, 0.8, 0.7, 0.6, 0.55], 0.6),
            # 0.75 and 0.25 give 2/3 and lie equally near; 0.5, with both negatives, gives 2/5.
            ([1, 0, 0, 1], [0.75, 0.5, 0.5, 0.25], 0.25),
            ([0, 0, 0], [0.9, 0.5, 0.1], 0.5),
            ([1, 1, 1], [0.9, 0.5, 0.1], 0.1),
        ],
    )
    def test_by_hand(self, labels, probabilities, expected: float):
        column = best_thresholds(np.array([labels]).T, np.array([probabilities]).T)
        assert column == [expected]
        assert type(column[0]) is float

    @pytest.mark.parametrize("seed", range(5))
    def test_nothing_gives_a_greater_f1(self, seed: int):
        labels, probabilities = random_multi_label(seed)
        for i, threshold in enumerate(best_thresholds(labels, probabilities)):
            truth, scores = labels[:, i], probabilities[:, i]
            tried = {limit: sk.f1_score(truth, scores >= limit) for limit in [0.5, *scores.tolist()]}
            assert tried[threshold] == pytest.approx(max(tried.values()))
            equally_good = [limit for limit in tried if tried[limit] == pytest.approx(max(tried.values()))]
            assert abs(threshold - 0.5) == min(abs(limit - 0.5) for limit in equally_good)

    def test_thresholds_of_single_precision_probabilities_fit_them(self):
        labels, probabilities = [[1], [0]], np.array([[0.1], [0.05]], dtype=np.float32)
        thresholds = best_thresholds(labels, probabilities)
        assert multi_label_scores(labels, probabilities, thresholds)["f1_micro"] == 1.0

    def test_no_rows(self):
        with pytest.raises(DataError, match="There are no rows to score"):
            best_thresholds(np.zeros((0, 2)), np.zeros((0, 2)))
