"""A progress bar shows on a terminal and nowhere else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios

import pytest

from qwen3_rag.integration import progress_bar


def test_progress_is_silent_in_a_pipe(capfd: pytest.CaptureFixture[str]) -> None:
    with progress_bar(True, 3, "Embedding", "text") as advance:
        assert advance is not None
        advance(3)

    assert capfd.readouterr() == ("", "")


def test_progress_shows_a_bar_on_a_terminal() -> None:
    parent, child = pty.openpty()
    termios.tcsetwinsize(child, (24, 80))  # tqdm shows nothing in a window without columns
    code = (
        "from qwen3_rag.integration import progress_bar\n"
        "with progress_bar(True, 3, 'Embedding', 'text') as advance: advance(3)\n"
    )
    subprocess.run([sys.executable, "-c", code], stderr=child, check=True)
    os.set_blocking(parent, False)
    said = os.read(parent, 4096).decode()
    os.close(child)
    os.close(parent)

    assert "Embedding" in said
    assert "0/3" in said


def test_no_progress_gives_no_callback() -> None:
    with progress_bar(False, 3, "Embedding", "text") as advance:
        assert advance is None


def test_a_function_is_called_in_place_of_a_bar(capfd: pytest.CaptureFixture[str]) -> None:
    from qwen3_rag import Qwen3Embedder
    from qwen3_rag_testkit.backends import DeterministicBackend

    counts: list[int] = []
    with Qwen3Embedder("any", backend=DeterministicBackend()) as embedder:
        embedder.embed_documents(["a", "b", "c"], progress=counts.append)

    assert sum(counts) == 3
    assert capfd.readouterr().err == ""
