"""Runs code in a new interpreter, and finds out which modules it loads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

__all__ = ["MODEL_LIBRARIES", "loaded_by", "run_python"]

#: Packages that download and run models; importing and creating objects must not load them.
MODEL_LIBRARIES = ("torch", "transformers", "tokenizers", "huggingface_hub", "safetensors")


def run_python(code: str, *, absent: Sequence[str] = ()) -> str:
    """Run code in a new interpreter with the same module search path.

    Args:
        code: The code to run.
        absent: Modules that appear not to be installed.

    Returns:
        The output, without the last newline.

    Raises:
        AssertionError: The code ended with an error.
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
    """Return which of the modules a new interpreter has loaded after running code.

    Args:
        code: The code to run.
        modules: Top-level or dotted names of modules.
        absent: Modules that appear not to be installed.

    Raises:
        AssertionError: The code ended with an error.
    """
    report = f"print(*[n for n in {list(modules)!r} if sys.modules.get(n)], sep='\\n')"
    printed = run_python(f"{code}\nimport sys\nprint('loaded:')\n{report}", absent=absent)
    return printed.rpartition("loaded:")[2].split()
