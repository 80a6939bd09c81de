"""What a terminal showed becomes a picture with the same words in the same places."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from rich.terminal_theme import DIMMED_MONOKAI

pytest.importorskip("pty", reason="needs the terminals of POSIX systems")
from tools.pictures.__main__ import SCENES, Scene
from tools.pictures.page import VIEWS
from tools.pictures.recording import record, to_svg

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = (
    "import sys, time\n"
    "sys.stdout.write('\\x1b[1mbold\\x1b[0m and \\x1b[2mdim\\x1b[0m\\n 50 %')\n"
    "sys.stdout.flush()\ntime.sleep(1)\n"
    "sys.stdout.write('\\r\\x1b[2K屋根   \\x1b[36mpath\\x1b[0m\\n')\n"
)


def _recorded(tmp_path: Path, stop: str = "") -> str:
    text = record(
        [sys.executable, "-c", PROGRAM],
        columns=40,
        folder=tmp_path,
        variables={**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"},
        until=lambda shown: bool(stop) and stop in shown,
    )
    return to_svg(text, columns=40, theme=DIMMED_MONOKAI)


def test_a_picture_has_what_the_terminal_shows_at_the_end(tmp_path: Path) -> None:
    svg = _recorded(tmp_path)

    placed = {
        word: float(x)
        for x, word in re.findall(r'<text[^>]* x="([\d.]+)"[^>]*>([^<]+)</text>', svg)
    }
    assert {"bold", "dim", "屋根", "path"} <= placed.keys()
    assert "50" not in "".join(placed)
    assert placed["path"] / placed["and&#160;"] == pytest.approx(7 / 5)  # columns
    assert "\x1b" not in svg
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")


def test_a_picture_can_show_what_passes_by(tmp_path: Path) -> None:
    svg = _recorded(tmp_path, stop="50 %")

    assert "50&#160;%" in svg
    assert "屋根" not in svg


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_the_documentation_shows_every_scene(scene: Scene) -> None:
    name = f"pictures/{scene.name}.svg"
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))

    assert f"]({name})" in pages
    svg = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert len(svg) < 30_000
    assert "/home/ada" in svg or not re.search("/home/|/root/|/Users/|/tmp/(?!handbook)", svg)


def test_every_picture_in_the_documentation_exists_and_is_small() -> None:
    named = {
        page.parent / name
        for page in (ROOT / "docs").glob("*.md")
        for name in re.findall(r"!\[[^]]+\]\((pictures/[^)]+)\)", page.read_text(encoding="utf-8"))
    }

    assert {ROOT / "docs" / "pictures" / f"{view.name}.webp" for view in VIEWS} <= named
    assert named == set((ROOT / "docs" / "pictures").iterdir())
    assert max(picture.stat().st_size for picture in named) < 200_000
