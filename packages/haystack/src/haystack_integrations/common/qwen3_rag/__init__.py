"""Internal code that the Qwen3 components share. Import the components instead."""
