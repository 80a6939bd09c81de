"""Breaks lines between words, which a terminal does anywhere."""

from __future__ import annotations

from rich.cells import cell_len

__all__ = ["Wrapping", "wrapped"]


class Wrapping:
    """Wraps a text that comes in parts.

    A word that is longer than a line stays whole, so that a path can be copied.
    """

    def __init__(self, width: int) -> None:
        """Begin a line.

        Args:
            width: Columns of the terminal.
        """
        self._width = width
        self._column = 0
        self._gap = self._word = ""

    def add(self, text: str) -> str:
        """Take a part, and give what can be shown: all but the last word, which may go on."""
        shown = []
        for char in text:
            if char == "\n":
                shown.append(self.end() + char)
                self._column = 0
            elif char == " ":
                shown.append(self.end())
                self._gap += char
            else:
                self._word += char
                if cell_len(char) > 1:  # scripts without spaces are broken anywhere
                    shown.append(self.end())
        return "".join(shown)

    def end(self) -> str:
        """Give the last word."""
        gap, word, length = self._gap, self._word, cell_len(self._word)
        self._gap = self._word = ""
        if not word:
            return ""
        if self._column and self._column + len(gap) + length > self._width:
            self._column = length
            return f"\n{word}"
        self._column += len(gap) + length
        return gap + word


def wrapped(text: str, width: int) -> str:
    """Wrap a whole text."""
    wrapping = Wrapping(width)
    return wrapping.add(text) + wrapping.end()
