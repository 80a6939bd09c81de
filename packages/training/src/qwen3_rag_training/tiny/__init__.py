"""The recipe of the tiny pair."""
