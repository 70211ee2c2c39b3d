"""Pictures of results: each function draws on matplotlib Axes and returns them."""

from easytx.plots.confusion import confusion_matrix
from easytx.plots.curves import learning_curve

__all__ = ["confusion_matrix", "learning_curve"]
