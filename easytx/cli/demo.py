"""Train, evaluate and predict on a bundled data set: `python -m easytx.cli.demo`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import easytx

if TYPE_CHECKING:
    import pandas as pd

# Bundled rows are few, so several passes over them at a higher rate than the default are needed.
ARGS = {
    "num_train_epochs": 6,
    "learning_rate": 1e-4,
    "train_batch_size": 16,
    "max_seq_length": 128,
    "manual_seed": 0,
    "overwrite_output_dir": True,
    "evaluate_during_training": True,
    "evaluate_during_training_steps": -1,
    "early_stopping_metric": "f1_macro",
    "early_stopping_metric_minimize": False,
}


def main(arguments: list[str] | None = None) -> None:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(prog="python -m easytx.cli.demo", description=main.__doc__)
    parser.add_argument("--output-dir", default="outputs/demo", help="where the model and the pictures go")
    folder = Path(parser.parse_args(arguments).output_dir)

    train_df, eval_df = easytx.samples.load("support_tickets")
    print(f"Support tickets: {len(train_df)} rows to train on, {len(eval_df)} to evaluate on.\n")

    model = easytx.ClassificationModel("starter", args={**ARGS, "output_dir": str(folder)})
    training = model.train_model(train_df, eval_df=eval_df)
    evaluation = model.eval_model(eval_df)

    info = training.info
    print(f"\nTrained {training.global_step} steps in {info['seconds']:.0f} s on {info['precision']}.")
    print(f"The best model, of step {info['best_step']}, was kept.\n")
    _print_scores(evaluation.result, _baseline(train_df, eval_df))
    _print_wrong(evaluation.wrong_predictions)
    _print_predictions(model)
    _draw(training, evaluation, folder)


def _baseline(train_df: pd.DataFrame, eval_df: pd.DataFrame) -> dict[str, float]:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
    from sklearn.pipeline import make_pipeline

    words = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10))
    predicted = words.fit(train_df["text"], train_df["labels"]).predict(eval_df["text"])
    truth = eval_df["labels"]
    return {
        "accuracy": accuracy_score(truth, predicted),
        "f1_macro": f1_score(truth, predicted, average="macro"),
        "mcc": matthews_corrcoef(truth, predicted),
    }


def _print_scores(result: dict[str, Any], baseline: dict[str, float]) -> None:
    print(f"{'':12}{'easytx':>10}{'TF-IDF + logistic regression':>32}")
    for name, value in baseline.items():
        print(f"{name:12}{result[name]:>10.3f}{value:>32.3f}")


def _print_wrong(wrong: list[Any]) -> None:
    print(f"\n{len(wrong)} wrong predictions, such as:")
    for example in wrong[:3]:
        print(f"  {example.text_a[:90]!r}\n    is {example.label}, but was taken for {example.prediction}")


def _print_predictions(model: Any) -> None:
    texts = ["The lamp in the hall blinks all night", "Could the app show last week's heating costs?"]
    print("\nNew texts:")
    for text, (label, probability) in zip(
        texts, model.predict(texts).to_frame()[["prediction", "probability"]].to_numpy(), strict=True
    ):
        print(f"  {text!r}: {label} ({probability:.2f})")


def _draw(training: Any, evaluation: Any, folder: Path) -> None:
    from easytx.plots import confusion_matrix, learning_curve

    pictures: dict[str, Any] = {
        "learning_curve.png": learning_curve(training, "f1_macro"),
        "confusion_matrix.png": confusion_matrix(evaluation),
    }
    for name, axes in pictures.items():
        axes.figure.savefig(folder / name, dpi=150)
    print(f"\nThe model is in {folder}; easytx.load({str(folder)!r}) opens it.")
    print(f"Pictures: {folder / 'learning_curve.png'}, {folder / 'confusion_matrix.png'}")


if __name__ == "__main__":
    main()
