"""From one text to another: translation, summaries, paraphrases."""

from easytx.seq2seq.args import Seq2SeqArgs
from easytx.seq2seq.model import Seq2SeqModel

__all__ = ["Seq2SeqArgs", "Seq2SeqModel"]
