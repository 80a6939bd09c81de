"""Who shares a model, and whose prompts run in which batch."""
