"""Language models: masked, causal and ELECTRA, fine-tuned or new."""

from easytx.config.generation import GenerationArgs
from easytx.language_modeling.args import LanguageModelingArgs
from easytx.language_modeling.model import LanguageModelingModel

__all__ = ["GenerationArgs", "LanguageModelingArgs", "LanguageModelingModel"]
