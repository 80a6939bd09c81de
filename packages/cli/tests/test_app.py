from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from qwen3_rag_cli.app import app
from qwen3_rag_cli.exits import CLOSED, EXIT_CODES, INTERRUPTED
from qwen3_rag_cli.reference import reference

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["index", "--help"],
        ["train", "embed", "--help"],
        ["--version"],
        ["index"],
        ["search"],
        ["merge"],
        ["train", "rerank"],
        ["nonsense"],
    ],
)
def test_help_and_usage_errors_load_neither_torch_nor_the_core(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom qwen3_rag_cli.app import app\n"
        f"try:\n    app({arguments!r})\nexcept SystemExit as end:\n    status = end.code\n"
        "heavy = {'torch', 'numpy', 'qwen3_rag', 'qdrant_edge'} & set(sys.modules)\n"
        "print(status, sorted(heavy))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    fails = "--" not in arguments[-1]
    assert done.stdout.splitlines()[-1] == f"{2 if fails else 0} []"
    assert ("Error:" in done.stderr) == fails


def test_the_pages_help_is_the_programs() -> None:
    page = (ROOT / "docs" / "command-line-help.md").read_text(encoding="utf-8")

    # If this fails: python -m qwen3_rag_cli.reference docs/command-line-help.md
    assert reference() == page


def test_the_page_lists_every_exit_code() -> None:
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")

    for name, code in EXIT_CODES.items():
        assert f"| {code} | `{name}` |" in page
    assert f"| {INTERRUPTED} |" in page
    assert f"| {CLOSED} |" in page


def test_every_error_class_has_an_exit_code() -> None:
    from qwen3_rag import errors

    classes = {getattr(errors, name) for name in errors.__all__}
    direct = {kind.__name__ for kind in classes if errors.Qwen3RagError in kind.__bases__}
    assert direct == set(EXIT_CODES)


def _commands(page: str) -> list[list[str]]:
    """The calls of this program in a page's examples."""
    blocks = re.findall(r"```sh\n(.*?)```", page, re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("qwen3-rag ")]


@pytest.mark.parametrize(
    "path",
    [
        "docs/getting-started.md",
        "docs/command-line.md",
        "docs/training.md",
        "packages/cli/README.md",
        "packages/training/README.md",
    ],
)
def test_commands_in_the_pages_are_ones_the_program_takes(path: str) -> None:
    for arguments in _commands((ROOT / path).read_text(encoding="utf-8")):
        command: Any = typer.main.get_command(app)
        while hasattr(command, "commands"):
            name, *arguments = arguments
            command = command.commands[name]
        # Parses, and runs nothing.
        command.make_context(name, arguments)


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("getting-started.md", {"ask", "index", "search", "doctor", "demo"}),
        ("training.md", {"train", "merge", "index"}),
    ],
)
def test_pages_have_examples(page: str, names: set[str]) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")

    assert {name for name, *_ in _commands(text)} == names


@pytest.mark.parametrize("name", [*EXIT_CODES, "InputTypeError", "Qwen3RagError"])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_errors_end_with_the_code_of_their_class(
    cli: Any, name: str, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from qwen3_rag import errors

    def broken(*arguments: object, **more: object) -> None:
        raise getattr(errors, name)("what to do")

    monkeypatch.setattr("qwen3_rag_cli.places.Place.of", broken)
    code = {"InputTypeError": 2, "Qwen3RagError": 1}.get(name) or EXIT_CODES[name]

    said = cli.run("search", "roof", *options)

    assert (said.code, said.out) == (code, "")
    if options:
        error = {"type": name, "message": "what to do", "code": code}
        assert json.loads(said.err) == {"error": error}
    else:
        assert said.err == "Error: what to do\n"


def test_the_quiet_index_says_nothing(cli: Any, notes: Path, tmp_path: Path) -> None:
    said = cli.process("index", notes, "--store", tmp_path / "index", *cli.models, "--quiet")

    assert (said.code, said.out, said.err) == (0, "", "")


def test_the_index_in_a_pipe_shows_no_progress(cli: Any, notes: Path, tmp_path: Path) -> None:
    said = cli.process("index", notes, "--store", tmp_path / "index", *cli.models)

    assert said.code == 0
    assert said.err == ""
    assert said.out.startswith("3 files indexed, 0 unchanged, 0 removed; 5 chunks embedded.")


def test_python_dash_m_is_the_same_command(cli: Any) -> None:
    assert cli.process("--version").out.startswith("qwen3-rag 0.")


def test_known_models_are_listed_with_what_they_need(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from qwen3_rag.integration import KNOWN, PUBLISHED

    monkeypatch.setenv("COLUMNS", "80")  # where a name is longer than half a line
    for arguments in (["models"], ["models", "--json"]):
        with pytest.raises(SystemExit) as ended:
            app(arguments)
        assert ended.value.code == 0
    table, _, listed = capsys.readouterr().out.partition("[\n")
    records = json.loads("[" + listed)

    assert [one["name"] for one in records] == [*PUBLISHED, *(record.name for record in KNOWN)]
    assert all(one["needs"] and one["source"] for one in records)
    for one in records:
        assert one["name"] in table
        assert one["needs"].split()[0] in table
