"""One module per API: its paths, its fields and its limits."""
