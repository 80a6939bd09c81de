"""Runs the models in this process with torch."""
