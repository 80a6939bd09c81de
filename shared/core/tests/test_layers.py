"""Layers on chunks of rows: the same numbers, little memory, and what bfloat16 changes."""

from __future__ import annotations

import os
import platform
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModel

import qwen3_rag_tiny
from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag.backends._checkpoint.encoded import TokenSequence
from qwen3_rag.backends._local.model import layers
from qwen3_rag.backends._local.model.forward import PackedForward
from qwen3_rag.backends._local.model.layers import Layers
from qwen3_rag.backends._local.serving.batching import pack

QUERY = "how are vectors compared?"
DOCUMENTS = [
    "Vectors are compared by the cosine of the angle between them.",
    "A segment is the unit in which rows are stored and indexed. " * 9,
    "余弦相似度比较两个向量之间的夹角。",
    "Bananas ripen faster next to apples.",
]


def test_chunks_of_any_size_give_the_same(
    embedding_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packing = pack([TokenSequence((1, 2, 3), tuple(range(5, 5 + n))) for n in (40, 3, 17)])

    def compute(chunk: int) -> torch.Tensor:
        monkeypatch.setattr(layers, "CHUNK_ROWS", chunk)
        trunk = AutoModel.from_pretrained(embedding_folder, dtype=torch.float32).eval()
        with torch.inference_mode():
            return Layers(trunk).last_hidden(packing)

    whole = compute(1_000)

    for chunk in (1, 7, 63):
        torch.testing.assert_close(compute(chunk), whole, rtol=0, atol=1e-4)


@pytest.mark.parametrize("rows", [1, 13, 511, 767, 769, 800, 1_024, 2_897])
@pytest.mark.parametrize("start", [0, 5])
def test_chunks_are_of_like_size(start: int, rows: int) -> None:
    stop = start + rows

    cut = list(layers.chunks(start, stop, 512))
    sizes = [chunk.stop - chunk.start for chunk in cut]

    assert [row for chunk in cut for row in range(stop)[chunk]] == list(range(start, stop))
    assert max(sizes) <= 768
    assert max(sizes) - min(sizes) < 32 * len(sizes)


class Products(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types here
    """Notes the shapes of all products that oneDNN may take."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.shapes: set[Any] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(name in str(func) for name in ("linear", "mm", "mkldnn")):
            shapes = (tuple(arg.shape) for arg in args if isinstance(arg, torch.Tensor))
            self.shapes.add((str(func), *shapes))
        return func(*args, **(kwargs or {}))


def test_products_of_few_shapes_are_met(embedding_folder: Path) -> None:
    """oneDNN keeps memory for each: one shape per length would be a gigabyte for the 0.6B."""
    trunk = AutoModel.from_pretrained(embedding_folder, dtype=torch.bfloat16).eval()
    forward = PackedForward(trunk, None, "cpu")
    lengths = random.Random(0).sample(range(1, 1_000), 200)

    with Products() as met:
        for some in zip(lengths, lengths[50:], strict=False):
            forward.run([TokenSequence((), (5,) * length) for length in some])
            forward.run([TokenSequence((6,) * (length % 90), (5,) * 20) for length in some])

    assert 50 < len(met.shapes) < 500


def test_float32_stays_so_while_another_thread_loads_in_bfloat16(embedding_folder: Path) -> None:
    expected = compute(embedding_folder)
    trunk = AutoModel.from_pretrained(embedding_folder, dtype=torch.float32).eval()
    packing = pack([TokenSequence((1, 2, 3), tuple(range(5, 5 + n))) for n in (40, 3, 17)])
    torch.set_default_dtype(torch.bfloat16)  # as transformers does meanwhile, for all threads
    try:
        with torch.inference_mode():
            result = Layers(trunk).last_hidden(packing)
    finally:
        torch.set_default_dtype(torch.float32)

    assert torch.equal(result, expected)


# ------------------------------------------------------------------ compiled


def compute(folder: Path, **settings: bool) -> torch.Tensor:
    trunk = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    packing = pack([TokenSequence((1, 2, 3), tuple(range(5, 5 + n))) for n in (40, 3, 17)])
    with torch.inference_mode():
        return Layers(trunk, **settings).last_hidden(packing)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # within torch's own modules
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_compiled_gives_the_same(embedding_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    compiled = compute(embedding_folder, compiled=True)

    assert "qwen3_rag" not in {record.name for record in caplog.records}
    torch.testing.assert_close(compiled, compute(embedding_folder), rtol=0, atol=1e-4)


def test_without_a_compiler_one_line_is_logged_and_the_result_is_the_same(
    embedding_folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        def call(*_: Any) -> Any:
            raise RuntimeError("No working C++ compiler found\n" + "and more " * 100)

        return call

    monkeypatch.setattr(torch, "compile", broken)

    result = compute(embedding_folder, compiled=True)

    assert torch.equal(result, compute(embedding_folder))
    [line] = caplog.messages
    assert "No working C++ compiler found and more" in line
    assert "\n" not in line


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # within torch's own modules
@pytest.mark.parametrize("trouble", ["unwritten", "inexact"])
def test_compiled_code_that_is_wrong_is_not_used(
    embedding_folder: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    trouble: str,
) -> None:
    def wrong(plain: Callable[..., torch.Tensor], **_: Any) -> Callable[..., torch.Tensor]:
        def call(*given: Any) -> torch.Tensor:
            result = plain(*given).clone()
            result[..., result.shape[-1] // 2 :] *= float("nan") if trouble == "unwritten" else 1.01
            return result

        return call

    monkeypatch.setattr(torch, "compile", wrong)

    result = compute(embedding_folder, compiled=True)

    assert torch.equal(result, compute(embedding_folder))
    [line] = caplog.messages
    assert "torch compiled wrongly here" in line


COMPILED = """
import sys
import torch
from qwen3_rag.backends._checkpoint.encoded import TokenSequence
from qwen3_rag.backends._local.serving.batching import pack
from qwen3_rag.backends._local.model.layers import Layers
from transformers import AutoModel

def compute(compiled):
    trunk = AutoModel.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
    with torch.inference_mode():
        return Layers(trunk, compiled=compiled).last_hidden(packing)

packing = pack([TokenSequence((1, 2, 3), tuple(range(5, 45)))])
torch.testing.assert_close(compute(True), compute(False), rtol=0, atol=1e-4)
print(torch.backends.cpu.get_cpu_capability())
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"),
    reason="torch uses one size of vectors here",
)
def test_code_compiled_for_another_processor_is_not_taken(
    embedding_folder: Path, tmp_path: Path
) -> None:
    """Torch keeps it in a folder that several machines may share."""

    def run(**settings: str) -> tuple[str, str]:
        done = subprocess.run(
            [sys.executable, "-c", COMPILED, str(embedding_folder)],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path), **settings},
        )
        return done.stdout.strip(), done.stderr

    run()
    capability, log = run(ATEN_CPU_CAPABILITY="default")

    assert capability == "DEFAULT"
    assert "`compile` is not used" not in log


# ------------------------------------------------------------------ memory


def printed(program: str, folder: Path, *arguments: str) -> int:
    """Run a program in a process of its own; what it prints is a number."""
    command = [sys.executable, "-c", program, str(folder), *arguments]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


MEMORY = """
import resource, sys
import numpy as np, torch
from qwen3_rag.backends._checkpoint.encoded import TokenSequence
from qwen3_rag.backends._local.model.forward import PackedForward
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModel

torch.set_num_threads(1)
forward = PackedForward(AutoModel.from_pretrained(sys.argv[1]).eval(), None, "cpu")
forward.run([TokenSequence((), (1,) * 3_000)])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
forward.run([TokenSequence((), tuple(np.arange(32_000) % 100))])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


FAULTS = """
import resource, sys
import torch
from qwen3_rag import Qwen3Embedder

def batch():
    # Freeing one teaches glibc to keep two; three the system would get back.
    some = [torch.zeros(16 << 20, dtype=torch.uint8) for _ in range(3)]

with Qwen3Embedder(sys.argv[1], device="cpu") as embedder:
    embedder.embed_queries(["warm"])
    for _ in range(3):
        batch()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(40):
        batch()
    print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="is about glibc's allocator")
def test_freed_memory_is_kept_for_the_next_batch(embedding_folder: Path) -> None:
    """Else pages would be asked for anew with every batch."""
    assert printed(FAULTS, embedding_folder) < 16 << 20


GIVEN_BACK = """
import re, sys, time
from pathlib import Path
import torch
from qwen3_rag import Qwen3Embedder

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) >> 10

embedder = Qwen3Embedder(sys.argv[1], device="cpu")
embedder.embed_queries(["warm"])
blocks = [torch.ones(1 << 20, dtype=torch.uint8) for _ in range(100)]
# What stays lies in between, so that glibc by itself keeps the rest.
blocks = blocks[::4]
before = resident()
if sys.argv[2] == "close":
    embedder.close()
else:
    embedder.embed_documents(["word " * 10_000])
until = time.monotonic() + 10
while resident() > before - 50 and time.monotonic() < until:
    time.sleep(0.1)
print(before - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="is about glibc's allocator")
@pytest.mark.parametrize("event", ["close", "long text"])
def test_kept_memory_is_given_back(make_checkpoint: Any, event: str) -> None:
    folder = make_checkpoint("embedding", config={"max_position_embeddings": 40_960})

    assert printed(GIVEN_BACK, folder, event) >= 50


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory in Linux's unit")
def test_a_long_text_takes_memory_for_its_states_only(make_checkpoint: Any) -> None:
    """Of 32,000 rows: hidden, attended, query (64 each), key and value (32 each), in float32.

    The inner states of the feed-forward half, 4,096 wide, would be 500 MB apiece.
    """
    folder = make_checkpoint(
        "embedding",
        config={
            "num_hidden_layers": 2,
            "intermediate_size": 4_096,
            "max_position_embeddings": 40_960,
        },
    )

    assert printed(MEMORY, folder) / 1024 < 150


# ------------------------------------------------------------------ bfloat16, on trained weights


@pytest.fixture(scope="module")
def tiny() -> dict[str, str]:
    """The folders, since the name means float32."""
    return {
        "embedding": str(qwen3_rag_tiny.embedding_folder()),
        "reranking": str(qwen3_rag_tiny.reranking_folder()),
    }


def test_vectors_in_bfloat16_stay_near_float32(tiny: dict[str, str]) -> None:
    with (
        Qwen3Embedder(tiny["embedding"], dtype="bfloat16", device="cpu") as rough,
        Qwen3Embedder(tiny["embedding"], dtype="float32", device="cpu") as exact,
    ):
        cosines = (rough.embed_documents(DOCUMENTS) * exact.embed_documents(DOCUMENTS)).sum(axis=1)

    assert cosines.min() > 0.999
    assert cosines.min() < 1  # or else both were float32


def test_probabilities_in_bfloat16_stay_near_float32(tiny: dict[str, str]) -> None:
    pairs = [(QUERY, document) for document in DOCUMENTS]
    with (
        Qwen3Reranker(tiny["reranking"], dtype="bfloat16", device="cpu") as rough,
        Qwen3Reranker(tiny["reranking"], dtype="float32", device="cpu") as exact,
    ):
        difference = np.abs(np.subtract(rough.score(pairs), exact.score(pairs)))

    assert 0 < difference.max() < 0.02


def test_company_in_a_batch_moves_a_score_in_bfloat16_by_little(tiny: dict[str, str]) -> None:
    pairs = [(QUERY, document) for document in DOCUMENTS]
    with Qwen3Reranker(tiny["reranking"], dtype="bfloat16", device="cpu") as reranker:
        together = reranker.score(pairs)
        alone = [reranker.score([pair])[0] for pair in pairs]

    np.testing.assert_allclose(together, alone, rtol=0, atol=0.01)
