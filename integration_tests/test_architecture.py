"""Import rules that import-linter cannot check: they hold in tests and benchmarks too."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_nothing_outside_the_core_imports_its_private_modules() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    found = [
        f"{path}:{line} {module}"
        for path in tracked
        if not path.startswith("shared/core/") and (ROOT / path).is_file()
        for line, module in imported(ROOT / path)
        if module.startswith("qwen3_rag.") and "._" in module
    ]

    assert found == []


def imported(path: Path) -> list[tuple[int, str]]:
    modules = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            modules += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
        elif isinstance(node, ast.Import):
            modules += [(node.lineno, alias.name) for alias in node.names]
    return modules
