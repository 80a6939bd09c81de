from __future__ import annotations

import json
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag_testkit.forks import start


def test_binary_broken_and_vanished_files_are_skipped_and_the_rest_goes_on(
    cli: Any, notes: Path, tmp_path: Path
) -> None:
    (notes / "photo.md").write_bytes(b"\x89PNG\r\n\0\0\0\x01")
    (notes / "cut.txt").write_bytes("Füße über Ähren, größer".encode() + b" \xe2\x82\n")
    (notes / "gone.md").symlink_to(notes / "nowhere.md")

    summary = cli.index(notes, "--store", tmp_path / "index", *cli.models)

    assert summary["indexed"] == 4
    assert {entry["path"]: entry["reason"] for entry in summary["skipped"]} == {
        "notes/photo.md": "is binary, not text",
    }
    [link] = summary["left_out"]
    assert (link["detail"], link["examples"]) == ("nowhere", ["notes/gone.md"])
    assert summary["notes"] == [
        {
            "path": "notes/cut.txt",
            "reason": "not valid UTF-8: 1 characters replaced, the first in line 1",
        }
    ]


def test_skipped_files_are_told_of_without_json_too(cli: Any, notes: Path, tmp_path: Path) -> None:
    (notes / "photo.md").write_bytes(b"\0")

    said = cli.run("index", notes, "--store", tmp_path / "index", *cli.models)

    assert said.code == 0
    assert "Skipped: notes/photo.md: is binary, not text" in said.out


def test_a_file_that_vanishes_while_indexing_is_skipped(
    cli: Any, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qwen3_rag_cli.indexing import Indexing

    plan = Indexing.plan

    def plan_and_delete(self: Indexing, selection: Any, **options: Any) -> Any:
        pending = plan(self, selection, **options)
        (notes / "roof.md").unlink()
        return pending

    monkeypatch.setattr(Indexing, "plan", plan_and_delete)

    summary = cli.index(notes, "--store", tmp_path / "index", *cli.models)

    assert summary["skipped"] == [{"path": "notes/roof.md", "reason": "vanished while indexing"}]
    assert summary["indexed"] == 2


def test_a_pointer_in_place_of_a_file_is_told_and_the_file_kept(
    cli: Any, notes: Path, indexed: Path
) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
    for name in ("roof.md", "new.csv", "new.pdf"):
        (notes / name).write_text(pointer)

    summary = cli.index(notes, "--store", indexed)

    told = {entry["path"]: entry["reason"] for entry in summary["skipped"]}
    assert told.keys() == {"notes/roof.md", "notes/new.csv", "notes/new.pdf"}
    assert all("`git lfs pull`" in reason for reason in told.values())
    assert any("The roof is red." in text for text, *_ in cli.content(indexed).values())
    assert len(cli.content(indexed)) == 5


def test_a_file_that_became_binary_leaves_the_index(cli: Any, notes: Path, indexed: Path) -> None:
    (notes / "roof.md").write_bytes(b"\0")

    summary = cli.index(notes, "--store", indexed)

    assert summary["removed"] == 1
    assert not [id_ for id_ in cli.content(indexed) if "roof" in id_]


def test_only_unusable_files_are_an_input_error(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"\0")

    said = cli.run("index", tmp_path / "photo.png", "--store", tmp_path / "index", *cli.models)

    assert said.code == 2
    assert "None of the files could be indexed" in said.err


def test_empty_folder_is_an_input_error_and_makes_no_index(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    said = cli.run("index", tmp_path / "empty", "--store", tmp_path / "index", *cli.models)

    assert said.code == 2
    assert "nothing to index" in said.err
    assert not (tmp_path / "index").exists()


def test_missing_path_is_an_input_error(cli: Any, indexed: Path, tmp_path: Path) -> None:
    said = cli.run("index", tmp_path / "nowhere", "--store", indexed)

    assert said.code == 2
    assert "There is no file or folder" in said.err
    assert len(cli.content(indexed)) == 5


def test_unwritable_store_is_a_store_error(cli: Any, notes: Path) -> None:
    # A folder cannot be made below a file, whoever asks.
    said = cli.run("index", notes, "--store", notes / "roof.md" / "index", *cli.models)

    assert said.code == 3
    assert "cannot be written" in said.err


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder_is_a_store_error(cli: Any, notes: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)

    said = cli.run("index", notes, "--store", tmp_path / "locked" / "index", *cli.models)

    assert said.code == 3


def test_folder_with_other_files_is_not_taken_for_a_store(cli: Any, notes: Path) -> None:
    said = cli.run("index", notes, "--store", notes / "deep", *cli.models)

    assert said.code == 3
    assert "holds other files" in said.err
    assert not (notes / "deep" / ".gitignore").exists()


def test_another_model_dim_or_encoder_is_refused_and_nothing_lost(
    cli: Any, notes: Path, indexed: Path, tmp_path: Path
) -> None:
    from qwen3_rag_testkit.checkpoints import write_checkpoint

    before = cli.content(indexed)
    other = write_checkpoint(tmp_path / "other", "embedding", seed=1)

    for options, word in (
        (["--model", str(other)], "the model"),
        (["--dim", "32"], "vectors of size 64, not 32"),
    ):
        said = cli.run("index", notes, "--store", indexed, *options)
        assert said.code == 3
        assert word in said.err
    said = cli.run("search", "roof", "--store", indexed, "--model", str(other))
    assert said.code == 3

    assert cli.content(indexed) == before


def test_an_index_of_a_later_encoder_version_is_refused(
    cli: Any, notes: Path, indexed: Path
) -> None:
    cli.unpublish(indexed)
    record = indexed / "collection" / "settings.json"
    values = json.loads(record.read_text(encoding="utf-8"))
    values["encoder"]["encoder_version"] = 99
    record.write_text(json.dumps(values), encoding="utf-8")

    for arguments in (["index", str(notes)], ["search", "roof"]):
        said = cli.run(*arguments, "--store", indexed)

        assert said.code == 3
        assert "version 99 of the BM25 encoder" in " ".join(said.err.split())


def test_damaged_manifest_is_a_store_error_and_made_anew(
    cli: Any, notes: Path, indexed: Path
) -> None:
    before = cli.content(indexed)
    cli.unpublish(indexed)
    (indexed / "manifest.sqlite3").write_bytes(b"not a database" * 100)

    said = cli.run("search", "roof", "--store", indexed)
    assert said.code == 3
    assert "manifest.sqlite3" in said.err
    assert "Run `qwen3-rag index` with the same paths" in said.err

    assert cli.index(notes, "--store", indexed, *cli.models)["embedded"] == 5
    assert cli.content(indexed) == before


def test_manifest_of_a_later_format_is_a_store_error(cli: Any, notes: Path, indexed: Path) -> None:
    cli.unpublish(indexed)
    rows = sqlite3.connect(indexed / "manifest.sqlite3")
    rows.execute("UPDATE record SET value = '99' WHERE name = 'format'")
    rows.commit()
    rows.close()

    said = cli.run("index", notes, "--store", indexed)

    assert said.code == 3
    assert "has the format 99" in said.err


def test_missing_model_is_a_model_error(cli: Any, notes: Path, tmp_path: Path) -> None:
    said = cli.run("index", notes, "--store", tmp_path / "index", "--model", "/nowhere")

    assert said.code == 4
    assert "/nowhere" in said.err


def test_reranker_as_embedding_model_is_a_model_error(
    cli: Any, notes: Path, tmp_path: Path
) -> None:
    said = cli.run("index", notes, "--store", tmp_path / "index", "--model", cli.reranking)

    assert said.code == 4
    assert "is a reranker" in said.err


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--chunk-tokens", "5"], "--chunk-tokens"),
        (["--overlap", "300"], "--overlap"),
        (["--dim", "4096"], "`dim`"),
        (["--device", "abacus"], "abacus"),
        (["--dtype", "float8"], "`dtype`"),
    ],
)
def test_options_out_of_range_are_input_errors(
    cli: Any, notes: Path, tmp_path: Path, options: list[str], word: str
) -> None:
    said = cli.run("index", notes, "--store", tmp_path / "index", *cli.models, *options)

    assert said.code == 2
    assert word in said.err
    assert "Traceback" not in said.err
    assert not (tmp_path / "index").exists()


def test_another_model_is_refused_before_it_is_downloaded(
    cli: Any, notes: Path, indexed: Path
) -> None:
    for arguments in (["index", str(notes)], ["search", "roof"]):
        said = cli.run(*arguments, "--store", indexed, "--model", "Qwen/Qwen3-Embedding-8B")

        assert said.code == 3
        assert f"made with the model {str(cli.embedding)!r}" in said.err
        assert "Leave out --model" in said.err


def test_a_folder_as_model_gets_no_reranker_that_nobody_named(
    cli: Any, notes: Path, tmp_path: Path
) -> None:
    store = tmp_path / "index"
    cli.index(notes, "--store", store, "--model", cli.embedding)

    plain = cli.run("search", "roof", "--store", store)
    silent = cli.run("search", "roof", "--store", store, "--json")
    asked = [
        cli.run("search", "roof", "--store", store, *options)
        for options in (["--rerank", "5"], ["--min-score", "0.5"])
    ]
    named = cli.hits("roof", store, "--reranker", str(cli.reranking))
    examined = cli.run("doctor", "--store", store, "--no-measure", "--json").json

    assert (plain.code, plain.err[:13]) == (0, "Not reranked.")
    assert "--reranker" in plain.err
    assert (silent.code, silent.err) == (0, "")
    assert all("rerank" not in hit["ranks"] for hit in silent.json["hits"])
    assert [(said.code, "--reranker" in said.err) for said in asked] == [(2, True)] * 2
    assert all("rerank" in hit["ranks"] for hit in named)
    assert examined["models"]["reranking"].startswith("none.")


def test_doctor_knows_no_models_of_an_index_that_cannot_be_opened(cli: Any, indexed: Path) -> None:
    [manifest] = indexed.glob("generations/*/manifest.sqlite3")
    manifest.write_bytes(b"not a database" * 100)

    said = cli.run("doctor", "--store", indexed, "--json")

    assert said.code == 3
    assert "cannot be opened" in said.json["models"]["embedding"]
    assert "cannot be opened" in said.json["models"]["reranking"]


def test_a_second_process_is_told_who_holds_the_index(cli: Any, notes: Path, indexed: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom qwen3_rag_cli.index import Index\n"
        "from qwen3_rag_cli.places import Place\n"
        f"index = Index(Place.of({str(indexed)!r}), create=True)\n"
        "print('open', flush=True)\ntime.sleep(60)"
    )
    with start(code) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "open\n"

            with cli.start("index", notes, "--store", indexed) as other:
                _, err = other.communicate()
        finally:
            holder.kill()

    assert other.returncode == 3
    assert str(holder.pid) in err
    deadline = time.monotonic() + 5
    while cli.run("index", notes, "--store", indexed).code and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(cli.content(indexed)) == 5


def test_unknown_errors_are_one_message_unless_asked(
    cli: Any, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise RuntimeError("the sky fell")

    monkeypatch.setattr("qwen3_rag_cli.files.find", broken)

    short = cli.run("index", notes, "--store", tmp_path / "index")
    long = cli.run("--debug", "index", notes, "--store", tmp_path / "index")

    assert (short.code, long.code) == (1, 1)
    assert "the sky fell" in short.err
    assert "Traceback" not in short.err
    assert "Traceback" in long.err
