"""Loading of checkpoints, and of models that the caller loaded."""
