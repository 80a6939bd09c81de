"""Runs code in an interpreter of its own, and tells which modules it loads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

__all__ = ["MODEL_LIBRARIES", "loaded_by", "run_python"]

#: What runs a model and fetches it: nothing that is only imported or made needs these.
MODEL_LIBRARIES = ("torch", "transformers", "tokenizers", "huggingface_hub", "safetensors")


def run_python(code: str, *, absent: Sequence[str] = ()) -> str:
    """Run code in a new interpreter that finds the modules this one finds.

    Args:
        code: What to run.
        absent: Modules that look as if they were not installed.

    Returns:
        What it printed, without the last newline.

    Raises:
        AssertionError: It ended with an error.
    """
    start = (
        f"import sys\nsys.path[:] = {sys.path!r}\n"
        f"sys.modules.update(dict.fromkeys({list(absent)!r}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", start + code],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.removesuffix("\n")


def loaded_by(code: str, modules: Sequence[str], *, absent: Sequence[str] = ()) -> list[str]:
    """Tell which of some modules a new interpreter has loaded after running code.

    Args:
        code: Imports, and whatever else is to be without them.
        modules: Top-level or dotted names to look for.
        absent: Modules that look as if they were not installed.

    Raises:
        AssertionError: The code ended with an error.
    """
    report = f"print(*[n for n in {list(modules)!r} if sys.modules.get(n)], sep='\\n')"
    printed = run_python(f"{code}\nimport sys\nprint('loaded:')\n{report}", absent=absent)
    return printed.rpartition("loaded:")[2].split()
