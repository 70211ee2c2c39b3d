"""Named entities: one tag for every word."""

from easytx.ner.args import NERArgs
from easytx.ner.model import NERModel

__all__ = ["NERArgs", "NERModel"]
