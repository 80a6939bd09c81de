"""`python -m qwen3_rag_cli`, for use when the console command is not on the path."""

from __future__ import annotations

from qwen3_rag_cli.app import main

main()
