"""Run the tests that need no torch: python .ci/light.py [pytest arguments].

The packages are installed into build/light, without the extra `local`. Tests that need torch are
skipped.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "light"
PYTHON = FOLDER / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")

PACKAGES = [
    "shared/core[chat]",
    "shared/tiny",
    "packages/hybrid[all]",
    "packages/langchain[qdrant]",
    "packages/llama-index",
    "packages/haystack",
]
# These require the extra `local`, so they are installed without dependencies.
NEED_LOCAL = ["shared/testkit", "packages/cli"]
LIBRARIES = [
    # For the tests.
    *("hypothesis", "pytest", "pytest-asyncio"),
    # For the adapters' tests.
    *("langchain-classic", "langchain-openai", "langchain-tests", "llama-index-llms-openai-like"),
    *("llama-index-vector-stores-qdrant", "qdrant-haystack"),
    # Dependencies of the command line, without `local`.
    *("chardetng-py", "lxml", "markdown-it-py", "rich", "semantic-text-splitter"),
    "typer",
]


def main() -> int:
    """Install, run the tests and return pytest's exit status."""
    if not PYTHON.exists():
        venv.create(FOLDER, with_pip=True)
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--constraint", "constraints.txt"]
    subprocess.run([*pip, *LIBRARIES, *_editable(PACKAGES)], cwd=ROOT, check=True)
    subprocess.run([*pip, "--no-deps", *_editable(NEED_LOCAL)], cwd=ROOT, check=True)
    folders = [project.partition("[")[0] for project in (*PACKAGES, *NEED_LOCAL)]
    command = [str(PYTHON), "-m", "pytest", *folders, *sys.argv[1:]]
    return subprocess.run(command, cwd=ROOT).returncode


def _editable(projects: list[str]) -> list[str]:
    return [argument for project in projects for argument in ("-e", f"./{project}")]


if __name__ == "__main__":
    sys.exit(main())
