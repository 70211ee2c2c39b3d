"""How a model is trained and run."""
