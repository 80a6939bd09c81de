"""Small checkpoints, ways to run the command, and a way to look into an index."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from qwen3_rag_cli.app import app
from qwen3_rag_hybrid import QdrantEdgeStore
from qwen3_rag_testkit.forks import CLI, Program, start
from qwen3_rag_testkit.qdrant_server import QdrantServer
from qwen3_rag_testkit.weaviate_server import WeaviateServer

if TYPE_CHECKING:
    from qwen3_rag_testkit.weaviate_stand_in import WeaviateStandIn

# Data too large for the repository lies beside it.
SHARED = Path(__file__).resolve().parents[4] / "shared"


@dataclass(frozen=True)
class Result:
    """What a command ended with."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Cli:
    """The command, and checkpoints of random weights: its rankings mean nothing."""

    def __init__(self, folder: Path) -> None:
        from qwen3_rag_testkit.checkpoints import write_checkpoint

        # One layer: how good or exact a model is matters elsewhere, here its time does.
        layers = {"num_hidden_layers": 1}
        self.embedding = write_checkpoint(folder / "embedding", "embedding", config=layers)
        self.reranking = write_checkpoint(folder / "reranking", "reranking", config=layers)
        self.models = ["--model", str(self.embedding), "--reranker", str(self.reranking)]

    def run(self, *arguments: str | Path) -> Result:
        """Run it in this process."""
        done = CliRunner().invoke(app, [str(a) for a in arguments], prog_name="qwen3-rag")
        return Result(done.exit_code, done.stdout, done.stderr)

    def index(self, *arguments: str | Path) -> Any:
        """Index successfully, and give the summary."""
        result = self.run("index", *arguments, "--json")
        assert result.code == 0, result.err
        return result.json

    def hits(self, query: str, store: Path, *arguments: str) -> list[Any]:
        """Search successfully, and give the hits."""
        result = self.run("search", query, "--store", store, "--json", *arguments)
        assert result.code == 0, result.err
        found: list[Any] = result.json["hits"]
        return found

    def command(self, *arguments: str | Path) -> list[str]:
        """Give the command line of a process of its own."""
        return [sys.executable, "-m", "qwen3_rag_cli", *(str(a) for a in arguments)]

    def start(self, *arguments: str | Path, cwd: Path | None = None) -> Program:
        """Start it in a process of its own, which has no imports to wait for."""
        return start(CLI, *map(str, arguments), cwd=cwd)

    def process(self, *arguments: str | Path) -> Result:
        """Run it in a process of its own."""
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True)
        return Result(done.returncode, done.stdout, done.stderr)

    def environment(self, **variables: str) -> dict[str, str]:
        """Give an environment for a process, without what changes its output."""
        hidden = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM", "PYTHONIOENCODING", "PYTHONUTF8")
        kept = {name: value for name, value in os.environ.items() if name not in hidden}
        return {**kept, **variables}

    def on_terminal(self, *arguments: str | Path, **variables: str) -> str:
        """Run it on a terminal of its own, and give what it wrote."""
        import pty

        terminal, inner = pty.openpty()
        with subprocess.Popen(
            self.command(*arguments),
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env=self.environment(**{"TERM": "xterm-256color", **variables}),
        ):
            os.close(inner)
            said = b""
            with suppress(OSError):  # how Linux tells the end
                while part := os.read(terminal, 65536):
                    said += part
        os.close(terminal)
        return said.decode()

    def content(self, store: Path) -> dict[str, tuple[Any, ...]]:
        """All an index holds: by id the text, the payload, and both vectors, bit by bit."""
        with closing(QdrantEdgeStore(store, read_only=True)) as collection:
            return {
                str(point.document.id): (
                    point.document.text,
                    dict(point.document.payload),
                    None if point.dense is None else point.dense.tobytes(),
                    None if point.sparse is None else point.sparse.as_dict(),
                )
                for point in collection.scan(vectors=True)
            }

    def unpublish(self, store: Path) -> None:
        """Leave an index as an earlier release does, and a killed first run: never published."""
        with closing(QdrantEdgeStore(store)) as collection:
            work = collection.begin()
        shutil.rmtree(store / "generations")
        for item in work.iterdir():
            item.rename(store / item.name)
        work.rmdir()


class Corpus:
    """Folders full of text."""

    def milvus(self) -> Path:
        """Four pages of documentation from beside the repository."""
        return _beside(SHARED / "corpora" / "milvus_faq" / "source")

    def tree(self, folder: Path, count: int, languages: Sequence[str]) -> int:
        """Write pages of documentation as files, languages in turn, and count them."""
        readers = [_rows(_beside(SHARED / "text" / f"{name}.jsonl.gz")) for name in languages]
        rows = itertools.chain.from_iterable(itertools.zip_longest(*readers))
        written = 0
        for name, text in itertools.islice((row for row in rows if row), count):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
            written += 1
        return written

    def made(self, folder: Path, count: int) -> None:
        """Write files of made-up Markdown, one without any data beside the repository."""
        for number in range(count):
            sections = "\n\n".join(
                f"## Part {part} of {number}\n\nThe value {number * part} is kept."
                for part in range(1 + number % 5)
            )
            path = folder / f"{number % 7}" / f"{number:04}.md"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"# Page {number}\n\n{sections}\n", encoding="utf-8")


@pytest.fixture(scope="session")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    return Cli(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    return Corpus()


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A small folder with a file of each kind."""
    folder = tmp_path / "notes"
    (folder / "deep").mkdir(parents=True)
    (folder / "roof.md").write_text(
        "# Roof\n\nThe roof is red.\n\n## Decision\n\nAda decided in May.\n\n"
        "## Cost\n\nNine thousand.\n",
        encoding="utf-8",
    )
    (folder / "deep" / "diary.txt").write_text("It rained all day.\n", encoding="utf-8")
    (folder / "deep" / "sum.py").write_text("def total(a, b):\n    return a + b\n")
    return folder


@pytest.fixture
def indexed(cli: Cli, notes: Path, tmp_path: Path) -> Path:
    """The index of `notes`."""
    store = tmp_path / "index"
    cli.index(notes, "--store", store, *cli.models)
    return store


@pytest.fixture(scope="session")
def weaviate() -> Iterator[WeaviateServer | WeaviateStandIn]:
    """A server, from the binary that `WEAVIATE_BINARY` names, or a stand-in."""
    pytest.importorskip("weaviate", reason="weaviate-client is not installed")
    from qwen3_rag_testkit.weaviate_stand_in import WeaviateStandIn

    binary = os.environ.get("WEAVIATE_BINARY")
    with WeaviateServer(binary) if binary else WeaviateStandIn() as server:
        yield server


@pytest.fixture
def server() -> Iterator[QdrantServer]:
    pytest.importorskip("qdrant_client", reason="qdrant-client is not installed")
    with QdrantServer() as server:
        yield server


@pytest.fixture(params=["qdrant", "milvus", "weaviate"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a collection that does not exist yet."""
    if request.param == "milvus":
        pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
        return f"milvus:{tmp_path}/milvus.db/notes"
    if request.param == "weaviate":
        served = request.getfixturevalue("weaviate")
        name = f"Notes{uuid4().hex}"
        return f"weaviate://127.0.0.1:{served.port}/{name}?grpc_port={served.grpc_port}"
    server = request.getfixturevalue("server")
    return f"{server.url.replace('http:', 'qdrant:')}/notes"


def _beside(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"not beside the repository: {path.relative_to(SHARED.parent)}")
    return path


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            yield f"{path.name.split('.jsonl')[0]}/{number:05}.md", json.loads(line)["text"]
