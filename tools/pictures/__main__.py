"""Draw the pictures of the documentation.

python -m tools.pictures docs/pictures

Every command runs on a terminal of its own, over the pages in examples/milvus_faq, with the tiny
models and a stand-in for a chat model. `--all` draws each also wide, narrow, light and without
colours, to look at. The search page is photographed over the same pages where Chromium is found.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.terminal_theme import DIMMED_MONOKAI, TerminalTheme
from rich.text import Text

from qwen3_rag_testkit.chat_endpoint import ChatEndpoint
from qwen3_rag_testkit.chromium import find_chromium
from tools.pictures.page import photograph
from tools.pictures.recording import record, to_svg

PAGES = Path(__file__).resolve().parents[2] / "examples" / "milvus_faq"
PROGRAM = "from qwen3_rag_cli.app import main\nmain()\n"
COLUMNS = 80
QUESTION = "How is data stored in milvus?"
ANSWER = (
    "Inserted data is stored in persistent storage as incremental log: MinIO, AWS S3 or another "
    "object storage. Metadata is stored in etcd [1]."
)

DARK = DIMMED_MONOKAI
LIGHT = TerminalTheme(
    (255, 255, 255),
    (36, 41, 46),
    [(36, 41, 46), (179, 29, 40), (23, 111, 44), (158, 106, 3), (3, 102, 214), (111, 66, 193),
     (11, 114, 133), (106, 115, 125)],
    [(149, 157, 165), (203, 36, 49), (40, 167, 69), (219, 171, 9), (33, 136, 255), (138, 99, 210),
     (49, 146, 170), (209, 213, 218)],
)  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """A command, and what its picture shows.

    Attributes:
        name: The picture's name.
        arguments: What is typed.
        until: A pattern on the screen to stop at; the end of the command when empty.
    """

    name: str
    arguments: tuple[str, ...]
    until: str = ""


SCENES = (
    Scene("index", ("index", "milvus_faq", "--model", "tiny"), r" [4-9]\d%"),
    Scene("search", ("search", QUESTION, "-n", "3")),
    Scene("ask", ("ask", QUESTION, "-n", "3")),
    Scene("doctor", ("doctor", "--no-measure")),
)


def draw(scene: Scene, folder: Path, variables: dict[str, str], columns: int) -> Text:
    """Run a scene's command, and return the terminal with what was typed."""
    text = record(
        [sys.executable, "-c", PROGRAM, *scene.arguments],
        columns=columns,
        folder=folder,
        variables=variables,
        until=lambda shown: bool(scene.until and re.search(scene.until, shown)),
    )
    words = (f'"{word}"' if " " in word else word for word in scene.arguments)
    return Text.assemble(("$ ", "bold green"), f"qwen3-rag {' '.join(words)}\n", text)


@contextmanager
def stage() -> Iterator[tuple[Path, dict[str, str]]]:
    """Make a folder to work in and an environment, the same on every machine."""
    folder = Path(tempfile.gettempdir()) / "handbook"
    folder.mkdir()
    hidden = re.compile("NO_COLOR|FORCE_COLOR|COLUMNS|QWEN3_RAG_.*|HF_.*|OMP_.*")
    kept = {name: value for name, value in os.environ.items() if not hidden.fullmatch(name)}
    try:
        shutil.copytree(PAGES, folder / PAGES.name, ignore=shutil.ignore_patterns("LICENSE"))
        with ChatEndpoint(lambda messages: ANSWER) as endpoint:
            yield (
                folder,
                {
                    **kept,
                    "TERM": "xterm-256color",
                    "HF_HOME": "/home/ada/.cache/huggingface",
                    "QWEN3_RAG_CHAT_URL": endpoint.url,
                    "QWEN3_RAG_CHAT_MODEL": "qwen3",
                },
            )
    finally:
        shutil.rmtree(folder)


def main() -> None:
    """Draw all scenes."""
    parser = argparse.ArgumentParser(prog="python -m tools.pictures", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--all", action="store_true", help="draw the variants, too")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    variants: dict[str, tuple[int, TerminalTheme, dict[str, str]]] = {"": (COLUMNS, DARK, {})}
    if arguments.all:
        variants |= {
            "-light": (COLUMNS, LIGHT, {}),
            "-wide": (200, DARK, {}),
            "-plain": (COLUMNS, LIGHT, {"NO_COLOR": "1"}),
            "-narrow": (40, DARK, {}),
        }
    # Once more, for what is told at the end.
    scenes = (SCENES[0], Scene("summary", SCENES[0].arguments), *SCENES[1:])
    with stage() as (folder, variables):
        for suffix, (columns, theme, more) in variants.items():
            shutil.rmtree(folder / ".qwen3-rag", ignore_errors=True)
            for scene in scenes if arguments.all else SCENES:
                text = draw(scene, folder, {**variables, **more}, columns)
                path = arguments.folder / f"{scene.name}{suffix}.svg"
                path.write_text(to_svg(text, columns=columns, theme=theme), encoding="utf-8")
        program = find_chromium()
        if program is None:
            parser.exit(message="No pictures of the page: there is no Chromium on the path.\n")
        photograph(folder / ".qwen3-rag", QUESTION, program, arguments.folder)


if __name__ == "__main__":
    main()
