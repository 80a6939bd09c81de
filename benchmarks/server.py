"""What serving the models over HTTP costs, beside the engine in this process.

    python -m benchmarks.server [--seconds N] [--rounds N] [--json FILE]

Both sides embed the same texts with `tiny` on the same cores, by turns; the clients run beside the
server, in this process. Measured are the tokens a second of many connections, the time of single
queries beside a bulk job, and the time of one short request. The processor time of both sides is
noted too, with the clients': on a machine with other work, it says more than the time on the clock.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from qwen3_rag import Qwen3Embedder
from qwen3_rag_cli.threads import spare_neighbours
from qwen3_rag_tiny import embedding_folder

CONNECTIONS = 64
TEXTS = 32
"""Texts of a request of the bulk job."""

TOKENS = 200
"""Tokens of a text."""

BULK = 8
"""Connections of the bulk job that single queries run beside."""

SIZE = 512
"""Texts of one call in this process."""


class Client:
    """One connection that sends requests, one after the other."""

    def __init__(self, port: int) -> None:
        """Set the address."""
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)

    def embed(self, content: bytes) -> Any:
        """Send a request and return its vectors."""
        headers = {"content-type": "application/json"}
        self._connection.request("POST", "/v1/embeddings", content, headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {body[:500]!r}")
        rows = orjson.loads(body)["data"]
        return [np.frombuffer(base64.b64decode(one["embedding"]), "<f4") for one in rows]


def content(texts: Sequence[str], **fields: Any) -> bytes:
    """Make the body of a request, as OpenAI's client does."""
    return orjson.dumps({"model": "tiny", "input": texts, "encoding_format": "base64", **fields})


@contextmanager
def served() -> Iterator[tuple[int, int]]:
    """Run `qwen3-rag serve`, and give its port and process id."""
    command = [sys.executable, "-m", "qwen3_rag_cli", "serve", "--model", "tiny", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if found := re.search(r"http://[^:]+:(\d+)", line):
                    yield int(found[1]), process.pid
                    return
            raise RuntimeError("The server did not start.")
        finally:
            process.terminate()


def throughput(
    server: tuple[int, int],
    embedder: Qwen3Embedder,
    texts: list[str],
    seconds: float,
    rounds: int,
) -> dict[str, Any]:
    """Measure tokens a second of both sides by turns.

    Args:
        server: The server's port and process id.
        embedder: The model in this process.
        texts: What both embed.
        seconds: Of each side.
        rounds: In how many turns.
    """
    port, pid = server
    bodies = [content(texts[start : start + TEXTS]) for start in range(0, len(texts), TEXTS)]

    def here() -> int:
        begun, done = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds / rounds:
            start = done % len(texts)
            embedder.embed_documents(texts[start : start + SIZE])
            done += SIZE
        return done

    def remotely() -> int:
        # All that was begun is waited for, and counts with its time.
        counts = loaded(port, bodies, CONNECTIONS, lambda: time.sleep(seconds / rounds))
        return sum(counts) * TEXTS

    sides = {"in process": here, "server": remotely}
    found: dict[str, Any] = {name: {"rates": [], "cpu": []} for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            begun, cpu = time.perf_counter(), processor_seconds(pid)
            tokens = run() * TOKENS
            found[name]["rates"].append(tokens / (time.perf_counter() - begun))
            found[name]["cpu"].append(1e6 * (processor_seconds(pid) - cpu) / tokens)
    for measured in found.values():
        measured["tokens_per_second"] = statistics.median(measured["rates"])
        measured["cpu_seconds_per_million"] = statistics.median(measured["cpu"])
    return found


def processor_seconds(pid: int) -> float:
    """Return the processor time of this process and another one (on Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return time.process_time() + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def loaded(
    port: int, bodies: list[bytes], connections: int, meanwhile: Callable[[], Any]
) -> list[int]:
    """Send requests on several connections while something else runs.

    Returns:
        For each connection, how many were answered.
    """
    stop, errors = threading.Event(), []
    counts = [0] * connections

    def run(number: int) -> None:
        client, place = Client(port), number
        try:
            while not stop.is_set():
                if len(client.embed(bodies[place % len(bodies)])) != TEXTS:
                    raise RuntimeError("Vectors are missing.")
                counts[number] += 1
                place += connections
        except Exception as error:  # told by the caller
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(connections)]
    for one in threads:
        one.start()
    try:
        meanwhile()
    finally:
        stop.set()
        for one in threads:
            one.join()
    if errors:
        raise RuntimeError(f"{len(errors)} connections ended with errors: {errors[0]!r}")
    return counts


def singles(ask: Callable[[int], Any], seconds: float) -> dict[str, float]:
    """Time calls one after the other."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while (begun := time.perf_counter()) < end:
        ask(len(times))
        times.append(time.perf_counter() - begun)
        time.sleep(0.01)  # a person reads; and the next call finds the job at another place
    p50, p99 = np.percentile(times, (50, 99))
    return {"calls": len(times), "p50_ms": 1e3 * float(p50), "p99_ms": 1e3 * float(p99)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of each side's throughput")
    parser.add_argument("--rounds", type=int, default=4, help="in how many turns")
    parser.add_argument("--json", type=Path, help="also write the results here")
    arguments = parser.parse_args()
    from benchmarks.engine.machine import machine  # both import torch, which looks at threads then
    from benchmarks.engine.texts import Texts

    made = Texts(embedding_folder())
    texts = made.texts([TOKENS] * 2 * SIZE)
    queries = [made.text(10) for _ in range(997)]
    with served() as (port, pid), Qwen3Embedder("tiny") as embedder:
        bulk = [content(texts[start : start + TEXTS]) for start in range(0, SIZE, TEXTS)]

        client = Client(port)

        def remotely(number: int) -> Any:
            return client.embed(content([queries[number % 997]], input_type="query"))

        def here(number: int) -> Any:
            return embedder.embed_queries([queries[number % 997]])

        assert abs(remotely(0)[0] - here(0)[0]).max() < 1e-6
        result: dict[str, Any] = {"machine": machine("cpu")}
        short = max(2.0, arguments.seconds / 12)
        sides = {"in process": here, "server": remotely}
        result["one short request"] = {name: singles(ask, short) for name, ask in sides.items()}
        embedder.embed_documents(texts[:SIZE])
        both = throughput((port, pid), embedder, texts, arguments.seconds, arguments.rounds)
        result["throughput"] = both
        beside: dict[str, Any] = {}
        client = Client(port)  # the first one was idle for too long
        loaded(port, bulk, BULK, lambda: beside.update(singles(remotely, arguments.seconds / 3)))
        result["one query beside a bulk job"] = beside
    print(table(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def table(result: dict[str, Any]) -> str:
    """Render the results, in Markdown."""
    rates, short = result["throughput"], result["one short request"]
    beside = result["one query beside a bulk job"]
    here, there = (rates[name]["tokens_per_second"] for name in ("in process", "server"))
    own, whole = (rates[name]["cpu_seconds_per_million"] for name in ("in process", "server"))
    alone, asked = (short[name]["p50_ms"] for name in ("in process", "server"))
    p50, p99 = beside["p50_ms"], beside["p99_ms"]
    return f"""\
| | in process | server | |
|---|---|---|---|
| {CONNECTIONS} connections, {TEXTS} texts of {TOKENS} tokens a request | {here:,.0f} tokens/s \
| {there:,.0f} tokens/s | {there / here:.2f} |
| processor time for a million tokens, with clients | {own:.1f} s | {whole:.1f} s \
| {own / whole:.2f} |
| one short query, median | {alone:.1f} ms | {asked:.1f} ms | {asked - alone:+.1f} ms |
| one short query beside {BULK} connections of the first row | \
| median {p50:.0f} ms, p99 {p99:.0f} ms | {p99 / p50:.1f} |
"""


if __name__ == "__main__":
    os.environ.pop("OMP_NUM_THREADS", None)
    spare_neighbours()  # as the server does: threads that sleep are slow to wake
    main()
