"""Rules for all tests: no network, `--require-MARK`, and skips if torch is not installed.

Processes that run tests side by side share the cores.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import socket
import urllib.request
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import settings

# The duration of a test depends mostly on the machine.
settings.register_profile("here", deadline=None)
settings.load_profile("here")

# torch reads this when it is imported. More threads than cores would wait for each other.
if (workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))) > 1:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))

MARKS = {
    "docker": "a store's server, by URL, from a binary or in a container",
    "weights": "the published checkpoints",
    "gpu": "a CUDA device",
    "browser": "Chromium, on the path or named by CHROMIUM_BINARY, and the package playwright",
    "slow": "minutes of time",
}


# `make test-light` runs without the extra `local`; tests that need it are skipped.
WITHOUT_TORCH = importlib.util.find_spec("torch") is None
LOCAL = {"huggingface_hub", "safetensors", "tokenizers", "torch", "transformers"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--require-MARK` for each mark."""
    group = parser.getgroup("qwen3-rag")
    for mark, needs in MARKS.items():
        group.addoption(
            f"--require-{mark}",
            action="store_true",
            help=f"fail a test marked {mark!r} (it needs {needs}) instead of skipping it",
        )
    group.addoption(
        "--models-on",
        choices=("vllm", "llama.cpp"),
        help="run the model 'tiny' on a server that is started for the tests, where it is opened "
        "without options of the local engine",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip slow tests unless `--require-slow` is given."""
    if config.getoption("--require-slow"):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="slow: run with --require-slow or `make slow`"))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Skip a test file that imports torch if torch is not installed."""
    report = yield
    call = getattr(report, "call", None)
    if report.failed and call is not None and (reason := _needs_torch(call.excinfo)):
        report.outcome = "skipped"
        report.longrepr = (str(collector.path), 0, reason)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Skip a test that needs torch if it is not installed; fail a required test that skips."""
    report = yield
    reason = _needs_torch(call.excinfo) or _needs_instructions(item.config, call.excinfo)
    if report.failed and reason:
        report.outcome = "skipped"
        report.longrepr = (str(item.path), item.location[1] or 0, reason)
    if report.skipped and not hasattr(report, "wasxfail"):
        for mark in MARKS:
            if item.get_closest_marker(mark) and item.config.getoption(f"--require-{mark}"):
                reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
                report.outcome = "failed"
                report.longrepr = f"--require-{mark} was given, but the test skipped: {reason}"
                break
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Block the network for a test and its fixtures, unless it uses the fixture `online`."""
    if "online" in getattr(item, "fixturenames", ()):
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        _block_the_network(patch)
        return (yield)


@pytest.fixture(scope="session", autouse=True)
def _models_on_a_server(request: pytest.FixtureRequest) -> Iterator[None]:
    """Move the models to a server if `--models-on` asks for it."""
    kind = request.config.getoption("--models-on")
    if kind is None:
        yield
        return
    from qwen3_rag_testkit.served_models import served, tiny_on_servers

    with served(kind) as urls, tiny_on_servers(urls):
        yield


@pytest.fixture(scope="session")
def online() -> bool:
    """Whether the Hugging Face Hub is reachable. Tests with this fixture may use the network."""
    from huggingface_hub.constants import ENDPOINT

    try:
        with urllib.request.urlopen(ENDPOINT, timeout=5):
            return True
    except OSError:
        return False


def _needs_torch(raised: pytest.ExceptionInfo[BaseException] | None) -> str | None:
    """Return a reason to skip if a test failed only because the extra `local` is missing."""
    error = raised.value if raised is not None and WITHOUT_TORCH else None
    while error is not None:
        if isinstance(error, ImportError):
            missing = (error.name or "").partition(".")[0] in LOCAL
            if missing or 'pip install "qwen3-rag[local]"' in str(error):
                return "Skipped: needs torch, which is not installed"
        error = error.__cause__
    return None


def _needs_instructions(
    config: pytest.Config, raised: pytest.ExceptionInfo[BaseException] | None
) -> str | None:
    """Return a reason to skip if the server of `--models-on` has one instruction in its file."""
    if raised is None or config.getoption("--models-on") != "llama.cpp":
        return None
    if "takes no other instruction than its own" in str(raised.value):
        return "Skipped: llama.cpp takes no instruction for a reranker"
    return None


def _block_the_network(patch: pytest.MonkeyPatch) -> None:
    """Reject connections to and look-ups of other hosts, like a machine without a network."""
    for name in ("connect", "connect_ex"):
        patch.setattr(socket.socket, name, _guarded_connect(getattr(socket.socket, name)))
    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
        patch.setattr(socket, name, _guarded_lookup(getattr(socket, name)))


def _guarded_connect(connect: Any) -> Any:
    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
            raise ConnectionRefusedError(f"Tests may connect to loopback only, not to {address!r}.")
        return connect(self, address)

    return guarded


def _guarded_lookup(lookup: Any) -> Any:
    def guarded(host: str | bytes | None, *args: Any, **kwargs: Any) -> Any:
        if host and not _is_loopback(host):
            raise socket.gaierror(
                socket.EAI_NONAME, f"Tests may look up loopback names only, not {host!r}."
            )
        return lookup(host, *args, **kwargs)

    return guarded


def _is_loopback(host: str | bytes) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified  # 0.0.0.0 is this machine too
