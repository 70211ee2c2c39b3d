"""Texts by any causal language model."""

from easytx.language_generation.args import LanguageGenerationArgs
from easytx.language_generation.model import LanguageGenerationModel

__all__ = ["LanguageGenerationArgs", "LanguageGenerationModel"]
