"""Conversation: replies to what was said, in the person of somebody."""

from easytx.conv_ai.args import ConvAIArgs
from easytx.conv_ai.model import ConvAIModel

__all__ = ["ConvAIArgs", "ConvAIModel"]
