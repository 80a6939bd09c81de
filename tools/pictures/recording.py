"""Runs a command on a terminal of its own, and draws what the terminal shows."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path

import pyte
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

__all__ = ["record", "to_svg"]

#: More lines than any picture has, so that nothing scrolls away.
LINES = 100

#: Names of colours, where pyte and rich differ.
_COLOURS = {"default": None, "brown": "yellow", "brightbrown": "bright_yellow"}

# Rich's frame, with the fonts of the reader's machine in place of one from the network.
_SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; \
font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


class _Screen(pyte.Screen):
    """A screen that remembers what is dim, as blinking, which nothing else does here."""

    def select_graphic_rendition(self, *attrs: int) -> None:
        super().select_graphic_rendition(*attrs)
        if 2 in attrs and not {38, 48} & set(attrs):
            self.cursor.attrs = self.cursor.attrs._replace(blink=True)


def record(
    command: Sequence[str],
    *,
    columns: int,
    folder: Path,
    variables: Mapping[str, str],
    until: Callable[[str], bool] = lambda shown: False,
) -> Text:
    """Run a command, and return what its terminal shows at the end.

    Args:
        command: The command line.
        columns: Width of the terminal.
        folder: Where to run it.
        variables: Its environment.
        until: Tells by the text on the screen whether to stop looking earlier; the command then
            runs to its end unseen.
    """
    screen = _Screen(columns, LINES)
    stream = pyte.ByteStream(screen)
    terminal, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
    with subprocess.Popen(
        command, stdin=inner, stdout=inner, stderr=inner, cwd=folder, env=dict(variables)
    ):
        os.close(inner)
        is_seen = False
        with suppress(OSError):  # how Linux tells the end
            while data := os.read(terminal, 4096):
                if not is_seen:
                    stream.feed(data)
                    is_seen = until("\n".join(screen.display))
    os.close(terminal)
    return _text(screen)


def to_svg(text: Text, *, columns: int, theme: TerminalTheme) -> str:
    """Draw a terminal's text as SVG."""
    console = Console(
        record=True,
        width=columns,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
    )
    console.print(text, no_wrap=True, overflow="ignore", crop=False)
    console.print()  # the frame cuts the lower edge of the last line
    return console.export_svg(
        title="qwen3-rag", theme=theme, code_format=_SVG, unique_id="terminal"
    )


def _text(screen: pyte.Screen) -> Text:
    lines = []
    for number in range(screen.lines):
        cells = [screen.buffer[number][column] for column in range(screen.columns)]
        line = Text()
        for style, run in groupby(cells, _style):
            # Viewers drop spaces at the beginning of a text, so gaps are texts of their own.
            for part in re.split("(^ +|  +)", "".join(cell.data for cell in run)):
                line.append(part, style)
        line.rstrip()
        lines.append(line)
    while lines and not lines[-1].plain:
        lines.pop()
    return Text("\n").join(lines)


def _style(cell: pyte.screens.Char) -> Style:
    return Style(
        color=_colour(cell.fg),
        bgcolor=_colour(cell.bg),
        bold=cell.bold,
        dim=cell.blink,
        italic=cell.italics,
        reverse=cell.reverse,
    )


def _colour(name: str) -> str | None:
    if name in _COLOURS:
        return _COLOURS[name]
    if len(name) == 6 and all(letter in "0123456789abcdef" for letter in name):
        return f"#{name}"
    return name.replace("bright", "bright_")
