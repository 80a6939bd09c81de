from __future__ import annotations

import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest


def test_doctor_tells_packages_machine_models_and_index(cli: Any, indexed: Path) -> None:
    said = cli.run("doctor", "--store", indexed, "--no-measure", "--json")

    found = said.json
    assert said.code == 0
    assert found["packages"]["torch"]
    assert found["machine"]["device"] in ("cpu", "mps", "cuda:0")
    assert "float" in found["machine"]["dtype"]
    assert str(cli.embedding) in found["models"]["embedding"]
    assert found["index"]["chunks"] == 5
    assert found["index"]["files"] == 3
    assert found["index"]["state"] == "sound"
    assert "speed" not in found


def test_doctor_tells_which_formats_can_be_read(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pypdfium2", None)

    arguments = ("doctor", "--store", tmp_path / "nowhere", "--model", "nobody/nothing", "--json")
    found = cli.run(*arguments).json["formats"]

    assert found["html"] == [".html", ".htm", ".xhtml"]
    assert found["pdf"] == ['not read: pip install "qwen3-rag-cli[pdf]"']


def test_doctor_measures_both_models(cli: Any, indexed: Path) -> None:
    found = cli.run("doctor", "--store", indexed, "--documents", "3", "--json").json

    assert found["speed"]["embedding, tokens per second"] > 0
    assert found["speed"]["reranking 3 documents, seconds per query"] > 0


def test_doctor_shows_the_same_on_a_terminal(cli: Any, indexed: Path) -> None:
    said = cli.run("doctor", "--store", indexed, "--no-measure")

    assert said.code == 0
    for word in ("packages", "machine", "models", "index", "sound"):
        assert word in said.out


def test_doctor_works_without_an_index_and_without_downloaded_models(
    cli: Any, tmp_path: Path
) -> None:
    said = cli.run("doctor", "--store", tmp_path / "nowhere", "--model", "nobody/nothing", "--json")

    assert said.code == 0
    assert "There is no index" in said.json["index"]["state"]
    assert "not downloaded yet" in said.json["models"]["embedding"]
    assert "not measured" in said.json["speed"]["embedding"]
    assert not (tmp_path / "nowhere").exists()


def test_doctor_names_what_is_wrong_with_an_index(cli: Any, indexed: Path) -> None:
    cli.unpublish(indexed)
    rows = sqlite3.connect(indexed / "manifest.sqlite3")
    rows.execute("DELETE FROM chunks WHERE id LIKE '%diary%'")
    rows.commit()
    rows.close()

    said = cli.run("doctor", "--store", indexed, "--no-measure", "--json")

    assert "the manifest lists 4 chunks" in str(said.json["index"]["state"])


def test_doctor_of_a_damaged_index_ends_with_3(cli: Any, indexed: Path) -> None:
    [manifest] = indexed.glob("generations/*/manifest.sqlite3")
    manifest.write_bytes(b"broken" * 1000)

    said = cli.run("doctor", "--store", indexed, "--no-measure", "--json")

    assert said.code == 3
    assert "manifest.sqlite3" in said.json["index"]["state"]


def test_every_package_that_a_command_needs_is_listed(cli: Any, tmp_path: Path) -> None:
    said = cli.run(
        *("doctor", "--store", tmp_path / "none", "--model", "tiny", "--no-measure", "--json")
    )

    for name in ("qwen3-rag-server", "qwen3-rag-hybrid", "qwen3-rag-tiny"):
        assert said.json["packages"][name]


def test_threads_are_set_before_torch_starts_and_shown(cli: Any, tmp_path: Path) -> None:
    command = ["doctor", "--store", tmp_path / "none", "--model", "tiny", "--no-measure", "--json"]

    said = cli.process(*command, "--threads", "1")

    assert said.code == 0, said.err
    assert said.json["machine"]["threads"].startswith("1 (--threads, of ")
    assert said.json["machine"]["idle threads"] == "GOMP_SPINCOUNT=10000"


@pytest.mark.parametrize("count", ["0", "-1", "100000"])
def test_threads_without_a_cpu_are_an_input_error(cli: Any, count: str) -> None:
    said = cli.run("search", "roof", "--threads", count)

    assert said.code == 2
    assert "`--threads` must be from 1 to" in said.err
