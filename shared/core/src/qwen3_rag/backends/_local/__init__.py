"""The local engine, which runs the models in this process with torch."""
