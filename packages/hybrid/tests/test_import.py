"""What importing loads, and what a missing extra says."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(code: str) -> str:
    path = f"import sys; sys.path[:0] = {list(filter(None, sys.path))!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", path + code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_loads_no_client_and_no_torch() -> None:
    code = """
import qwen3_rag_hybrid
heavy = ("qdrant_client", "qdrant_edge", "torch", "transformers", "tokenizers")
print([name for name in heavy if name in sys.modules])
"""
    assert run(code) == "[]"


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [("QdrantEdgeStore", "qdrant_edge", "edge"), ("QdrantStore", "qdrant_client", "qdrant")],
)
def test_a_missing_extra_names_the_pip_line(name: str, module: str, extra: str) -> None:
    code = f"""
sys.modules[{module!r}] = None
from qwen3_rag import MissingExtraError
try:
    from qwen3_rag_hybrid import {name}
except MissingExtraError as error:
    print(error)
"""
    assert f'pip install "qwen3-rag-hybrid[{extra}]"' in run(code)


def test_one_leaf_does_not_load_the_other() -> None:
    assert run(
        "from qwen3_rag_hybrid import QdrantEdgeStore; print('qdrant_client' in sys.modules)"
    ) == ("False")
    assert run("from qwen3_rag_hybrid import QdrantStore; print('qdrant_edge' in sys.modules)") == (
        "False"
    )


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(ImportError, match="MilvusLegs"):
        from qwen3_rag_hybrid import MilvusLegs  # noqa: F401
