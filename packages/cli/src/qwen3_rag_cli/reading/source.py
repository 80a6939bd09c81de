"""A file to read, opened in one of the ways that the readers need."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from qwen3_rag_cli.reading.detection import detect
from qwen3_rag_cli.reading.unusable import Unusable

__all__ = ["Source"]

#: A line that is longer is not read into memory.
LONGEST_LINE = 10_000_000


@dataclass
class Source:
    """A file, and what is known of it.

    Attributes:
        path: Where it is.
        encoding: The encoding of text that is not UTF-8; `None` to detect it.
        notes: Remarks for the user, which readers add.
    """

    path: Path
    encoding: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    def text(self) -> str:
        r"""Read all of it as text, line ends as `\n`."""
        with self._opened(newline=None) as file:
            return file.read()

    def lines(self, newline: str | None = None) -> Iterator[str]:
        r"""Read it as text line by line.

        Args:
            newline: `None` for line ends as `\n`, an empty string for line ends as they are.

        Raises:
            Unusable: A line is too long for the memory.
        """
        with self._opened(newline) as file:
            number = 0
            while line := file.readline(LONGEST_LINE):
                number += 1
                if len(line) == LONGEST_LINE:
                    raise Unusable(
                        f"has more than {LONGEST_LINE:,} characters in line {number}. Divide it "
                        "into lines"
                    )
                yield line

    def _opened(self, newline: str | None) -> io.TextIOWrapper:
        raw = open(self.path, "rb")  # noqa: SIM115 - the wrapper closes it
        try:
            found = detect(raw, self.encoding)
        except BaseException:
            raw.close()
            raise
        if found.note and found.note not in self.notes:
            self.notes.append(found.note)
        return io.TextIOWrapper(raw, encoding=found.codec, errors=found.errors, newline=newline)
