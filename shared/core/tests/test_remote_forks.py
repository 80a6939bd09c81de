"""A process that forks during the first use of a server: its child is not left hanging."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest

import qwen3_rag_tiny
from qwen3_rag import Qwen3Embedder, Remote
from qwen3_rag.backends import EmbedPrompt, Limits

pytest.importorskip("transformers", reason="the stand-in computes with transformers")

from qwen3_rag_testkit.model_server import ModelServer
from qwen3_rag_testkit.own_servers import VLLMServer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

TEXTS = ["before the fork", "after it"]

#: Uses a server in a thread, which pauses at one place, and forks during the pause. The child
#: prints its vectors.
SCRIPT = """
import importlib.abc, json, os, signal, socket, sys, threading, time, warnings
from qwen3_rag import Qwen3Embedder, Remote

warnings.simplefilter("ignore", DeprecationWarning)  # of forks in a process with threads
url, place, texts = json.loads(sys.argv[1])
paused = threading.Event()

def pause(name):
    if name == place and threading.current_thread() is not threading.main_thread():
        paused.set()
        time.sleep(0.3)

class Imports(importlib.abc.MetaPathFinder):
    def find_spec(self, name, *rest):
        pause(name)

def pausing(name, function):
    def call(*args):
        pause(name)
        return function(*args)
    return call

sys.meta_path.insert(0, Imports())
os.getpid = pausing("getpid", os.getpid)
socket.socketpair = pausing("socketpair", socket.socketpair)
embedder = Qwen3Embedder("nobody/nothing", backend=Remote(url, api="openai", model="served"))
first = threading.Thread(target=embedder.embed_documents, args=(texts,))
first.start()
assert paused.wait(60)
child = os.fork()
if child == 0:
    signal.alarm(30)
    print(json.dumps(embedder.embed_documents(texts).tolist()), flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0, "the child hangs"
first.join()
"""


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with VLLMServer(qwen3_rag_tiny.embedding_folder(), "embedding") as server:
        yield server


@pytest.mark.parametrize(
    "place",
    [
        "getpid",  # while the backend's lock is held
        "socketpair",  # while the loop is made, and its lock is held
        "anyio._backends._asyncio",  # an import in the loop's thread
        "huggingface_hub",  # an import in the thread that looks for the checkpoint
    ],
)
def test_a_child_forked_during_the_first_use_works(server: ModelServer, place: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps([server.url, place, TEXTS])],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=300,
    )

    with Qwen3Embedder("tiny", backend=Remote(server.url)) as embedder:
        np.testing.assert_allclose(
            json.loads(done.stdout), embedder.embed_documents(TEXTS), atol=1e-6
        )


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_callback_that_waits_for_the_thread_that_forks_does_not_stop_it(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qwen3_rag.backends._remote.loop.FORK_WAIT_SECONDS", 0.1)
    backend = Remote(server.url).start("tiny", "embedding")
    called, forked = threading.Event(), threading.Event()

    def wait(done: int) -> None:
        called.set()
        forked.wait(60)

    output = backend.run([EmbedPrompt("a")], Limits(), wait)
    assert called.wait(60)
    child = os.fork()
    if child == 0:
        os._exit(0)
    forked.set()

    assert os.waitpid(child, 0)[1] == 0
    assert len(output.result(60).values) == 1
    backend.close()
