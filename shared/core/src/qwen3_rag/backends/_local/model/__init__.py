"""The model itself: prompts to token ids, and token ids to hidden states."""
