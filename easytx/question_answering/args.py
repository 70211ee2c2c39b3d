"""Arguments of question answering."""

from __future__ import annotations

from easytx.config.fields import arg, arguments
from easytx.config.model_args import ModelArgs


@arguments
class QuestionAnsweringArgs(ModelArgs):
    """Arguments of `QuestionAnsweringModel`."""

    early_stopping_metric: str = arg(default="correct", help="The score that names the best model.")
    early_stopping_metric_minimize: bool = arg(default=False, help="Whether a lower score is better.")
    doc_stride: int = arg(
        default=384,
        help="Tokens of context a window moves on; where windows would not overlap, they share a quarter.",
        low=1,
    )
    max_query_length: int = arg(default=64, help="Tokens of a question; longer ones are cut.", low=1)
    max_answer_length: int = arg(default=100, help="Tokens of an answer, at most.", low=1)
    n_best_size: int = arg(default=20, help="Answers per question that predict returns, at most.", low=1)
    null_score_diff_threshold: float = arg(
        default=0.0, help="How much better 'no answer' must score than the best answer to be given."
    )
    allow_no_answer: bool | None = arg(
        default=None, help="Whether 'no answer' can be the answer; None: if training had unanswerable questions."
    )
    lazy_loading_start_line: int = arg(default=0, help="Lines to skip at the top of a file.", low=0)
