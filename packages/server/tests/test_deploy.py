"""The files in `deploy`: what they run exists, and their limits are the server's."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml  # type: ignore[import-untyped]  # stubs would be one more tool

from qwen3_rag_server import RunningServer, Served, Settings, make_app

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
ROOT = DEPLOY.parents[2]
STOP_WITHIN = inspect.signature(RunningServer).parameters["stop_within"].default


def _text(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def _instructions() -> dict[str, str]:
    """The Dockerfile's last instruction of each name, without its continuation lines."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", _text("Dockerfile"), flags=re.M))
    return dict(line.split(" ", 1) for line in joined.splitlines() if line)


def _parse(arguments: list[str]) -> dict[str, Any]:
    """Read arguments as the command line does, without running the command."""
    app = pytest.importorskip("qwen3_rag_cli.app", reason="qwen3-rag-cli is not installed").app
    name, *rest = arguments
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]  # a group
    with command.make_context(name, rest) as context:
        return dict(context.params)


@pytest.mark.parametrize("command", ["Dockerfile", "compose.yaml"])
def test_the_container_runs_a_command_that_exists(command: str) -> None:
    instructions = _instructions()
    program, *arguments = json.loads(instructions["ENTRYPOINT"])
    more = json.loads(instructions["CMD"])
    if command == "compose.yaml":
        more = yaml.safe_load(_text(command))["services"]["qwen3-rag"]["command"]
    given = _parse(arguments + more)

    assert program == "qwen3-rag"
    assert given["host"] == "0.0.0.0"
    assert given["api_keys_env"] == ["QWEN3_RAG_KEY"]
    assert str(given["port"]) == instructions["EXPOSE"]
    assert f":{given['port']}/health" in instructions["HEALTHCHECK"]
    assert instructions["USER"] != "root"


def test_the_image_installs_what_is_in_the_repository() -> None:
    copied = re.findall(r"^COPY (.+) \S+$", _text("Dockerfile"), re.M)
    ignored = _text("Dockerfile.dockerignore").splitlines()
    assert "docs" in copied  # the wheel of packages/cli holds them
    for name in " ".join(copied).split():
        assert (ROOT / name).exists(), name
        assert f"!{name}" in ignored
    packages = re.findall(r"\./([\w/-]+)", _instructions()["RUN"] + _text("Dockerfile"))
    assert "packages/server" in packages
    for name in packages:
        assert (ROOT / name / "pyproject.toml").exists(), name


def test_compose_and_systemd_wait_for_requests_under_way() -> None:
    service = yaml.safe_load(_text("compose.yaml"))["services"]["qwen3-rag"]
    assert int(service["stop_grace_period"].removesuffix("s")) > STOP_WITHIN
    assert (DEPLOY / service["build"]["context"]).resolve() == ROOT
    assert (ROOT / service["build"]["dockerfile"]).exists()
    [stop] = re.findall(r"^TimeoutStopSec=(\d+)$", _text("qwen3-rag.service"), re.M)
    assert int(stop) > STOP_WITHIN


def test_the_unit_runs_a_command_that_exists(tmp_path: Path) -> None:
    [line] = re.findall(r"^ExecStart=(.+)$", _text("qwen3-rag.service"), re.M)
    program, *arguments = shlex.split(line)
    assert Path(program).name == "qwen3-rag"
    assert _parse(arguments)["indexes"] == ["/srv/documents"]
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "qwen3-rag.service"
    unit.write_text(_text(unit.name).replace(program, "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )
    assert (done.returncode, unit.name in done.stderr) == (0, False), done.stderr


def test_proxies_pass_on_what_the_server_takes() -> None:
    mebibytes = Settings().max_body // 2**20
    assert f"client_max_body_size {mebibytes}m;" in _text("nginx.conf")
    assert f"max_size {mebibytes}MiB" in _text("Caddyfile")
    [host] = set(re.findall(r"(?:Host|header_up Host) (localhost)", _text("nginx.conf")))
    assert host in Settings().of_this_machine().hosts
    assert "header_up Host localhost" in _text("Caddyfile")


def test_prometheus_asks_for_measures_that_exist() -> None:
    from starlette.testclient import TestClient

    with TestClient(make_app(Served()), base_url="http://localhost") as client:
        client.get("/health")
        measures = client.get("/metrics").text
    text = _text("prometheus.yml")
    assert yaml.safe_load(text)["scrape_configs"][0]["job_name"] == "qwen3-rag"
    asked = set(re.findall(r"qwen3_rag_\w+", text))
    assert len(asked) == 4
    for name in asked:
        assert f"\n{name}{{" in measures or f"\n{name} " in measures, name
