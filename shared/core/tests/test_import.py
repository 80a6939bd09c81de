from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "tokenizers", "huggingface_hub", "safetensors", "modelscope")


def _loaded_after(code: str) -> set[str]:
    report = f"{code}\nimport sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    return set(
        subprocess.run(
            [sys.executable, "-c", report], check=True, capture_output=True, text=True
        ).stdout.split()
    )


def test_import_loads_no_heavy_library() -> None:
    assert _loaded_after("import qwen3_rag") == set()


def test_making_models_loads_no_heavy_library_and_starts_no_thread() -> None:
    pytest.importorskip("torch")
    code = (
        "import threading, qwen3_rag\n"
        "qwen3_rag.Qwen3Embedder(dim=64); qwen3_rag.Qwen3Reranker()\n"
        "assert threading.active_count() == 1"
    )

    assert _loaded_after(code) == set()


def test_public_names_are_all_there() -> None:
    import qwen3_rag

    for name in qwen3_rag.__all__:
        assert hasattr(qwen3_rag, name)


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_missing_extra_names_the_pip_line(package: str) -> None:
    pytest.importorskip("torch")
    code = (
        "import importlib.util as util, qwen3_rag\n"
        "find = util.find_spec\n"
        f"util.find_spec = lambda name, *rest: None if name == {package!r} else find(name, *rest)\n"
        "try:\n    qwen3_rag.Qwen3Embedder()\n"
        "except ImportError as error:\n    print(type(error).__name__, error)"
    )

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout

    assert said.startswith("MissingExtraError")
    assert 'pip install "qwen3-rag[local]"' in said
    assert package in said
