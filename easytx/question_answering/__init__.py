"""Extractive question answering."""

from easytx.question_answering.args import QuestionAnsweringArgs
from easytx.question_answering.model import QuestionAnsweringModel

__all__ = ["QuestionAnsweringArgs", "QuestionAnsweringModel"]
