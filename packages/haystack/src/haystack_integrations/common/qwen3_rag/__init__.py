"""What the Qwen3 components share. Not for import: use the components."""
