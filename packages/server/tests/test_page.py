"""The page for people, as files."""

from __future__ import annotations

import re

import httpx

from qwen3_rag import Qwen3Embedder
from qwen3_rag_server import RunningServer, Served, Settings
from qwen3_rag_testkit.backends import DeterministicBackend


def test_the_page_comes_with_all_its_files_and_asks_no_other_host() -> None:
    served = Served(Qwen3Embedder("any", backend=DeterministicBackend()))
    with (
        RunningServer(served, Settings(api_keys=["one"]), port=0) as server,
        httpx.Client(base_url=server.url) as client,
    ):
        page = client.get("/")
        files = sorted(set(re.findall(r'(?:href|src)="([^":#]+)"', page.text)))
        answers = [client.get(name) for name in files]

    assert page.headers["content-type"].startswith("text/html")
    imported = {name for one in answers for name in re.findall(r'from "\./([^"]+)"', one.text)}
    assert imported < set(files) > {"page.css", "page.js"}  # named by the page, so at once
    assert {one.status_code for one in answers} == {200}
    for one in (page, *answers):
        assert "default-src 'self'" in one.headers["content-security-policy"]
        hosts = set(re.findall(r"https?://[^\s\"'/]+", one.text))
        assert hosts <= {"http://www.w3.org"}  # the name of a format, which nobody asks
