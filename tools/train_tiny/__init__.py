"""Trains the two checkpoints in `shared/tiny`; see `python -m tools.train_tiny --help`."""
