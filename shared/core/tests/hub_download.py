"""Serves a folder as a Hub repository on the loopback interface, and opens it from there.

Run by `test_loading`: folder to serve, folder for the cache. Prints what was seen as JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "c" * 40


def main(folder: Path, cache: Path) -> None:
    (cache / "extra").mkdir(parents=True)
    (cache / "extra" / "pytorch_model.bin").write_bytes(b"unsafe")
    files = {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()
    }
    files["pytorch_model.bin"] = cache / "extra" / "pytorch_model.bin"
    fetched: list[str] = []
    headers: dict[str, str | None] = {}

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.serve(body=False)

        def do_GET(self) -> None:
            self.serve(body=True)

        def listing(self) -> object:
            sizes = {name: path.stat().st_size for name, path in files.items()}
            if "/tree/" in self.path:
                return [
                    {"type": "file", "path": name, "size": size, "oid": "0" * 40}
                    for name, size in sizes.items()
                ]
            siblings = [{"rfilename": name, "size": size} for name, size in sizes.items()]
            return {"id": "a/b", "sha": COMMIT, "siblings": siblings}

        def serve(self, *, body: bool) -> None:
            headers["authorization"] = self.headers.get("authorization")
            if self.path.startswith("/api/models/"):
                content = json.dumps(self.listing()).encode()
            else:
                name = self.path.partition("/resolve/")[2].partition("/")[2]
                content = files[name].read_bytes()
                if body:
                    fetched.append(name)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Type", "application/json")
            self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

    from qwen3_rag import Qwen3Embedder

    with Qwen3Embedder("a/b", cache_folder=str(cache / "hub"), token="secret") as embedder:
        capabilities = embedder.warm_up()
    server.shutdown()
    sys.stdout.write(
        json.dumps({"fingerprint": capabilities.fingerprint, "files": fetched, **headers})
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
