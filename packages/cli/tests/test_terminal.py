"""What reaches a terminal or a pipe, whatever names and texts hold and wherever it goes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag_cli.terminal import visible, visible_text

# Red, a title, to the left, backwards, no width, another line: what a terminal would obey.
HOSTILE = "a\x1b[31m\x9b1A\x1b]0;title\x07\u202egnp\u2066\u200b\ufeff\x7f\rb"
POSIX = pytest.mark.skipif(os.name != "posix", reason="names that only POSIX systems allow")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain über 한국어 👩\u200d💻", "plain über 한국어 👩\u200d💻"),
        (
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        ),
        ("a\u200cb", r"a\u200cb"),
        ("a\x1b[1m\x9b\x00", r"a\x1b[1m\x9b\x00"),
        ("\u202e\u2067\u200f", r"\u202e\u2067\u200f"),
        ("\u200b\u2060\ufeff\u00ad", r"\u200b\u2060\ufeff\xad"),
        ("\u2028\u2029\x85", r"\u2028\u2029\x85"),
        ("\udcff\ud83d", r"\xff\ud83d"),
        ("\U000e0041", r"\U000e0041"),
        ("one\ntwo\tthree", r"one\ntwo\tthree"),
        (r"C:\new", r"C:\new"),
    ],
)
def test_control_characters_are_shown_and_letters_kept(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(visible(text)) == shown


def test_a_longer_text_keeps_its_lines_and_tabs() -> None:
    assert visible_text("one\ntwo\tthree\x1b\r\n") == "one\ntwo\tthree\\x1b\\r\n"


def _obeyed(text: str) -> set[str]:
    return {c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}} - {"\n"}


@pytest.fixture
def hostile(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an index of files whose names and texts are hostile."""
    folder = tmp_path / "work"
    (folder / "notes").mkdir(parents=True)
    name = f"{HOSTILE}\nb.md"
    (folder / "notes" / name).write_text(f"# Roof {HOSTILE}\n\nred {HOSTILE} roof\n", "utf-8")
    (folder / "notes" / f"{HOSTILE}.txt").write_bytes(b"\0")
    monkeypatch.chdir(folder)
    cli.index("notes", *cli.models)
    return folder


@POSIX
@pytest.mark.parametrize(
    "command",
    [
        ["index", "notes"],
        ["search", "red roof"],
        ["search", "red roof", "--explain"],
        ["search", "red roof", "--filter", f"path={HOSTILE}"],
        ["search", "red roof", "--model", f"me/{HOSTILE}"],
        ["list"],
        ["info"],
        ["remove", HOSTILE],
        ["doctor", "--no-measure"],
        ["index", HOSTILE],
        [HOSTILE],
        ["search", "red", HOSTILE],
        [f"--{HOSTILE}"],
    ],
)
def test_no_command_passes_control_characters_on(
    cli: Any, hostile: Path, command: list[str]
) -> None:
    plain, as_json = cli.run(*command), cli.run(*command, "--json")

    for said in (plain, as_json):
        assert _obeyed(said.out + said.err) == set()
    if command[0] not in ("info", "doctor"):
        assert r"a\x1b[31m" in plain.out + plain.err
    for text in filter(None, (as_json.out, as_json.err)):
        json.loads(text)


@POSIX
def test_json_has_the_real_names_and_texts(cli: Any, hostile: Path) -> None:
    [hit] = cli.run("search", "red roof", "--json").json["hits"]

    assert hit["path"] == f"notes/{HOSTILE}\nb.md"
    assert HOSTILE.replace("\r", "\n") in hit["text"]


@pytest.fixture
def latin(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose name and files no single 8-bit encoding has."""
    folder = tmp_path / "größe 한국어 €"
    folder.mkdir()
    (folder / "dämpfe → 東京.md").write_text("# Dämpfe\n\n東京 €\n", encoding="utf-8")
    monkeypatch.chdir(folder)
    cli.index(".", *cli.models)
    return folder


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8:strict"])
def test_any_encoding_takes_any_name(cli: Any, latin: Path, encoding: str) -> None:
    def run(*command: str) -> subprocess.CompletedProcess[bytes]:
        env = cli.environment(PYTHONIOENCODING=encoding)
        return subprocess.run(cli.command(*command), capture_output=True, env=env)

    codec = encoding.partition(":")[0]
    listed, as_json = run("list"), run("list", "--json")
    failed, failed_json = run("remove", "東京"), run("remove", "東京", "--json")

    assert [done.returncode for done in (listed, as_json, failed, failed_json)] == [0, 0, 2, 2]
    name = "dämpfe → 東京.md".encode(codec, "backslashreplace")
    assert name in listed.stdout
    assert json.loads(as_json.stdout.decode(codec))["files"][0]["path"] == "dämpfe → 東京.md"
    assert "東京".encode(codec, "backslashreplace") in failed.stderr
    assert "東京" in json.loads(failed_json.stderr.decode(codec))["error"]["message"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_folder_whose_name_is_not_utf_8_is_searched(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    (folder / "notes").mkdir(parents=True)
    (folder / "notes" / "roof.md").write_text("# Roof\n\nred\n", encoding="utf-8")
    monkeypatch.chdir(folder)

    indexed = cli.process("index", "notes", *cli.models)
    found = cli.process("info", "--json")

    assert (indexed.code, indexed.err) == (0, "")
    assert r"caf\xe9/.qwen3-rag" in indexed.out
    assert found.json["store"] == str(folder / ".qwen3-rag")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_results_that_cannot_be_written_are_an_error(cli: Any, options: list[str]) -> None:
    command = cli.command("models", *options)
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    closed = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *command], stderr=subprocess.PIPE, text=True
    )

    for said in (done, closed):
        assert said.returncode == 1
        assert "The results cannot be written" in said.stderr
        assert len(said.stderr.splitlines()) == 1


@POSIX
def test_nobody_reading_on_ends_the_command_without_a_word(cli: Any) -> None:
    with subprocess.Popen(
        cli.command("models", "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as done:
        assert done.stdout is not None
        assert done.stderr is not None
        done.stdout.close()
        said = done.stderr.read()

    assert (done.returncode, said) == (141, b"")


def test_errors_in_options_are_json_when_asked_for(cli: Any) -> None:
    said = cli.run("search", "roof", "--limit", "many", "--json")
    literal = cli.run("search", "--limit", "many", "--", "--json")

    assert (said.code, said.out) == (2, "")
    assert json.loads(said.err)["error"]["type"] == "UsageError"
    assert literal.err.startswith("Usage: qwen3-rag search")


@POSIX
def test_colours_are_for_terminals_that_want_them(cli: Any, indexed: Path) -> None:
    arguments = ["list", "--store", indexed]
    command = cli.command(*arguments)
    piped = subprocess.run(
        command, capture_output=True, text=True, env=cli.environment(TERM="xterm-256color")
    )
    forced = subprocess.run(
        command, capture_output=True, text=True, env=cli.environment(FORCE_COLOR="1")
    )
    seen = cli.on_terminal(*arguments)
    plain = cli.on_terminal(*arguments, NO_COLOR="1")
    dumb = cli.on_terminal(*arguments, TERM="dumb")

    assert "\x1b[" in seen
    assert "\x1b[" in forced.stdout
    assert "\x1b[3" in seen
    assert "\x1b[3" not in plain
    assert "\x1b" not in piped.stdout + dumb


@POSIX
def test_the_bar_counts_chunks_and_lines_are_broken_between_words_on_a_terminal(
    cli: Any, notes: Path, tmp_path: Path
) -> None:
    (notes / "a-photo-with-a-long-name-of.md").write_bytes(b"\x89PNG\r\n\0\0\0\x01")
    arguments = ["index", notes, "--store", tmp_path / "index", *cli.models]

    seen = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", cli.on_terminal(*arguments, COLUMNS="40"))

    assert re.search(r"100% 5 of about 5 chunks +\d\d:\d\d left", seen)
    assert "…" not in seen
    summary = seen[seen.index("3 files indexed") :].split("\r\n")
    assert summary[:2] == [
        "3 files indexed, 0 unchanged, 0 removed;",
        "5 chunks embedded. The index at",
    ]
    assert summary[2] == str(tmp_path / "index")  # longer than a line, but whole
    assert "a-photo-with-a-long-name-of.md: is" in "".join(summary)
