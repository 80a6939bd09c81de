"""The page on servers: its examples run on stand-ins, and its tables are true."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import qwen3_rag_tiny
from qwen3_rag import InputError, Qwen3Embedder, Qwen3Reranker, Remote
from qwen3_rag.backends import Role
from qwen3_rag_testkit.faulty_proxy import FaultyProxy
from qwen3_rag_testkit.guides import headings, run_examples

pytest.importorskip("transformers", reason="the stand-ins compute with transformers")

from qwen3_rag_testkit.own_servers import SGLangServer, TEIServer, VLLMServer
from qwen3_rag_testkit.vendor_servers import (
    CohereServer,
    DashScopeServer,
    DeepInfraServer,
    OllamaServer,
    OpenRouterServer,
    SiliconFlowServer,
)

PAGE = Path(__file__).parents[3] / "docs" / "servers.md"
EMBEDDER = qwen3_rag_tiny.embedding_folder()
RERANKER = qwen3_rag_tiny.reranking_folder()
FOLDERS: dict[str, Path] = {"embedding": EMBEDDER, "reranking": RERANKER}
VENDORS = ("dashscope", "siliconflow", "deepinfra", "openrouter")
KEYS = ("DASHSCOPE_API_KEY", "SILICONFLOW_API_KEY", "DEEPINFRA_TOKEN", "OPENROUTER_API_KEY")


class OwnServer:
    """This project's server, behind a proxy that notes what is asked."""

    def __enter__(self) -> OwnServer:
        package = pytest.importorskip("qwen3_rag_server", reason="the server is not installed")
        self._stack = ExitStack()
        models = [
            self._stack.enter_context(kind("tiny")) for kind in (Qwen3Embedder, Qwen3Reranker)
        ]
        server = self._stack.enter_context(package.RunningServer(package.Served(*models), port=0))
        proxy = self._stack.enter_context(FaultyProxy(server.url, share=0))
        self.url, self.asked = proxy.url, proxy.asked
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


#: Makes a stand-in of each API, for a role.
SERVERS: dict[str, Callable[[Role], Any]] = {
    "qwen3-rag": lambda role: OwnServer(),
    "vllm": lambda role: VLLMServer(FOLDERS[role], role),
    "sglang": lambda role: SGLangServer(FOLDERS[role], role),
    "tei": lambda role: TEIServer(EMBEDDER),
    "ollama": lambda role: OllamaServer(EMBEDDER),
    "openai": lambda role: VLLMServer(EMBEDDER, role),
    "cohere": lambda role: CohereServer(RERANKER),
    "dashscope": lambda role: DashScopeServer(FOLDERS[role], role),
    "siliconflow": lambda role: SiliconFlowServer(FOLDERS[role], role),
    "deepinfra": lambda role: DeepInfraServer(FOLDERS[role], role),
    "openrouter": lambda role: OpenRouterServer(FOLDERS[role], role),
}
#: The servers of the page's examples: the text with the address, the API, and a path to add.
EXAMPLES: dict[str, tuple[str, Role, str]] = {
    '"http://localhost:8000"': ("vllm", "embedding", ""),
    '"http://localhost:8001"': ("vllm", "reranking", ""),
    '"http://localhost:30000"': ("sglang", "embedding", ""),
    '"http://localhost:8080"': ("tei", "embedding", ""),
    '"http://gpu:8080"': ("qwen3-rag", "embedding", ""),
    '"http://localhost:11434"': ("ollama", "embedding", ""),
    '"http://localhost:9000"': ("openai", "embedding", ""),
    '"http://localhost:9001"': ("cohere", "reranking", ""),
    '"https://dashscope-intl.aliyuncs.com"': ("dashscope", "embedding", ""),
    '"https://api.siliconflow.com"': ("siliconflow", "embedding", ""),
    '"https://api.deepinfra.com"': ("deepinfra", "reranking", ""),
    '"https://openrouter.ai/api"': ("openrouter", "embedding", "/api"),
}


@pytest.fixture
def llama_cpp(tmp_path: Path) -> Iterator[Callable[[Role], str]]:
    """Start llama.cpp's own server, and return its address."""
    pytest.importorskip("xllamacpp", reason="llama.cpp's server is not installed")
    pytest.importorskip("gguf", reason="the writer of llama.cpp's files is not installed")
    from qwen3_rag_testkit.llama_cpp import LlamaCppServer, write_gguf

    with ExitStack() as stack:

        def start(role: Role) -> str:
            file = tmp_path / f"{role}.gguf"
            write_gguf(FOLDERS[role], file, role)
            return stack.enter_context(LlamaCppServer(file, role)).url

        yield start


def test_the_examples_run(
    llama_cpp: Callable[[Role], str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "k-1")
    replace = {
        "http://localhost:8081": llama_cpp("embedding"),
        "my-model": "served",
        '"qwen3-embedding:0.6b"': '"qwen3-embedding"',
        ', api="cohere")': ', api="cohere", api_key="k-1")',
    }
    with ExitStack() as stack:
        for text, (api, role, path) in EXAMPLES.items():
            server = stack.enter_context(SERVERS[api](role))
            named = f', api="{api}"' if api in VENDORS else ""
            # A stand-in has not the host's name that tells a vendor.
            replace[text] = f'"{server.url}{path}"{named}'
        names = run_examples(PAGE, replace)

    assert capsys.readouterr().out == "1\n"
    assert names["queries"].shape == (1, 512)


def test_every_api_has_a_section_and_a_row() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z0-9.-]+)` \|", text, re.M)
    sections = re.findall(r"^\| \[.+?\]\(#(.+?)\) \|", text, re.M)

    with pytest.raises(InputError) as caught:
        Remote("http://localhost", "another")
    known = re.findall(r"[a-z0-9.-]+(?=, )", str(caught.value).partition("one of ")[2])
    assert sorted(rows) == sorted(known)
    anchors = [re.sub(r"[^a-z0-9 -]", "", one.lower()).replace(" ", "-") for one in headings(PAGE)]
    assert set(sections) <= set(anchors)
    assert len(sections) == len(rows)


def opened(api: str, role: Role, url: str) -> None:
    names = {"dashscope": "text-embedding-v4" if role == "embedding" else "qwen3-rerank"}
    if api in ("openai", "cohere"):
        names[api] = "served"
    key = "k-1" if api in (*VENDORS, "cohere") else None
    path = "/api" if api == "openrouter" else ""
    running = Remote(url + path, api, names.get(api), key).start("tiny", role)
    running.open().result(60)
    running.close()


@pytest.mark.parametrize(
    ("api", "role", "count"),
    [
        (api, role, int(number))
        for api, *numbers in re.findall(
            r"^\| `([a-z0-9.-]+)` \| (\d*) ?\| (\d*) ?\|", PAGE.read_text(encoding="utf-8"), re.M
        )
        for role, number in zip(("embedding", "reranking"), numbers, strict=True)
        if number
    ],
)
def test_opening_takes_as_many_requests_as_the_page_says(
    request: pytest.FixtureRequest, api: str, role: Role, count: int
) -> None:
    if api == "llama.cpp":
        url = request.getfixturevalue("llama_cpp")(role)
        with FaultyProxy(url, share=0) as proxy:
            opened(api, role, proxy.url)
            assert len(proxy.asked) == count
        return
    with SERVERS[api](role) as server:
        opened(api, role, server.url)
        assert len(server.asked) == count
