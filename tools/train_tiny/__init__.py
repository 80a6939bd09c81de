"""How the small pair in `shared/tiny` is trained; `python -m tools.train_tiny --help`."""
