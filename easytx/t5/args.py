"""Arguments of `T5Model`."""

from __future__ import annotations

from easytx.config.fields import arg, arguments
from easytx.seq2seq.args import TextToTextArgs


@arguments
class T5Args(TextToTextArgs):
    """Arguments of `T5Model`."""

    learning_rate: float = arg(default=1e-3, help="Highest learning rate.", low=0)
    optimizer: str = arg(default="Adafactor", help="AdamW, Adafactor, Adam8bit or an optimiser name of transformers.")
    scheduler: str = arg(default="constant_schedule_with_warmup", help="How the learning rate changes over the steps.")
    add_prefix: bool = arg(default=True, help="Put the column prefix, where there is one, in front of the inputs.")
    preprocess_inputs: bool = arg(default=True, help="Put ': ' between prefix and input.")
    evaluate_before_training: bool = arg(default=False, help="Evaluate before the first step too.")
    as_reranker: bool = arg(
        default=False, help="Rows are a query_text and a passage: eval_model scores the ranking per query too."
    )
