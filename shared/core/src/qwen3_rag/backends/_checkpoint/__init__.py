"""What the files of a checkpoint say: where it is, what it is, its prompts and its tokens."""
