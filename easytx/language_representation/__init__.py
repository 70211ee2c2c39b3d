"""Vectors of texts, as a checkpoint gives them."""

from easytx.language_representation.args import RepresentationArgs
from easytx.language_representation.model import RepresentationModel

__all__ = ["RepresentationArgs", "RepresentationModel"]
