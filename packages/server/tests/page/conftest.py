"""A real Chromium on the page of a real server, with the tiny models and indexes in folders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from packages.server.tests.page.corpus import HANDBOOK, NOTES
from qwen3_rag import Qwen3Embedder, Qwen3Reranker
from qwen3_rag_hybrid import Document, HybridSearcher, QdrantEdgeStore
from qwen3_rag_server import RunningServer, Served
from qwen3_rag_testkit.chromium import find_chromium, running_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PACKAGES = ("playwright", "axe_playwright_python")
WIDE = {"width": 1440, "height": 900}


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Fail where `--require-browser` is given and a package is missing, for which files skip."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing and collector.config.getoption("--require-browser"):
        raise pytest.UsageError(f"--require-browser was given, but {missing} are not installed.")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import expect

    expect.set_options(timeout=30_000)  # of a machine that does much else
    program = find_chromium()
    if program is None:
        pytest.skip("Chromium is not on the path, nor named by CHROMIUM_BINARY")
    # A module's own: while it runs, no coroutine of another test can.
    with running_chromium(program) as running:
        yield running


@pytest.fixture(scope="session")
def searchers(
    tmp_path_factory: pytest.TempPathFactory, embedder: Qwen3Embedder, reranker: Qwen3Reranker
) -> Iterator[dict[str, HybridSearcher]]:
    texts: dict[str, list[Document]] = {"handbook": HANDBOOK, "notes": NOTES, "empty": []}
    folder = tmp_path_factory.mktemp("indexes")
    with ExitStack() as closing:
        made = {}
        for name, documents in texts.items():
            store = QdrantEdgeStore(folder / name)
            searcher = HybridSearcher(store, embedder, reranker, rerank_depth=12)
            made[name] = closing.enter_context(searcher)
            searcher.create(fields={"path": "keyword", "kind": "keyword"})
            searcher.add(documents)
            store.publish()
        yield made


@pytest.fixture(scope="session")
def served(
    embedder: Qwen3Embedder, reranker: Qwen3Reranker, searchers: dict[str, HybridSearcher]
) -> Served:
    return Served(embedder, reranker, searchers)


@pytest.fixture(scope="session")
def url(served: Served) -> Iterator[str]:
    """The address of a server with all indexes."""
    with RunningServer(served, port=0) as server:
        yield server.url


class Windows:
    """Opens pages, which must ask no other host and raise nothing."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._browser, self._url = browser, url
        self._asked: list[str] = []
        self._raised: list[str] = []
        self._origins: set[str] = set()
        self._wide: Page | None = None

    def open(self, address: str = "", *, at: str | None = None, **options: Any) -> Page:
        """Open the page of a server in a window with settings of its own."""
        context = self._browser.new_context(**{"viewport": WIDE, **options})
        context.set_default_timeout(30_000)
        context.on("request", lambda request: self._asked.append(request.url))
        page = context.new_page()
        page.on("pageerror", lambda error: self._raised.append(str(error)))
        self._go(page, address, at or self._url)
        return page

    def wide(self) -> Page:
        """Open the page anew in a window that all tests use, which is faster."""
        if self._wide is None:
            self._wide = self.open()
        else:
            self._wide.goto("about:blank")
            self._go(self._wide, "", self._url)
        return self._wide

    def _go(self, page: Page, address: str, origin: str) -> None:
        self._origins.add(origin)
        with page.expect_response("**/meta"):
            page.goto(f"{origin}/{address}")

    def check(self) -> None:
        """Check what all pages have done."""
        allowed = (*self._origins, "data:", "about:")
        assert not [one for one in self._asked if not one.startswith(allowed)]
        assert not self._raised
        self._asked.clear()


@pytest.fixture(scope="module")
def all_windows(browser: Browser, url: str) -> Windows:
    return Windows(browser, url)


@pytest.fixture
def windows(all_windows: Windows) -> Iterator[Windows]:
    yield all_windows
    all_windows.check()


@pytest.fixture
def page(windows: Windows) -> Page:
    """The page in a wide window."""
    return windows.wide()
