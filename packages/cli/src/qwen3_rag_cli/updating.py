"""`Watched`: updates an index after each change of its files, and tells what was changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from qwen3_rag.errors import Qwen3RagError
from qwen3_rag.integration import full_path
from qwen3_rag_cli import console, output
from qwen3_rag_cli.exits import WHILE_WATCHING, report
from qwen3_rag_cli.indexing import Summary
from qwen3_rag_cli.places import Place

__all__ = ["Watched"]


class Watched:
    """Updates an index after each change of its files, and tells what each update changed.

    An error is told and does not end it, except in the first update.

    Attributes:
        closed: Folders in which changes do not count, as the last update found them.
    """

    def __init__(self, place: Place, paths: Sequence[Path], *, quiet: bool, json: bool) -> None:
        """Store the arguments.

        Args:
            place: Where the index is.
            paths: The files and folders in it.
            quiet: Whether to tell errors only.
            json: Whether to tell updates as lines of JSON.
        """
        self._place = place
        self._paths = [full_path(path) for path in paths]
        self._quiet, self._json = quiet, json
        self.closed: frozenset[Path] = frozenset()
        self._is_first = True
        self._error = ""
        self._skipped: object = []

    def run(self, update: Callable[[], Summary]) -> None:
        """Update, and watch until interrupted."""
        from qwen3_rag_cli.watching import watch

        def next_update() -> bool:
            try:
                summary = update()
            except (Qwen3RagError, OSError) as error:
                if self._is_first:
                    raise
                if str(error) != self._error:
                    report(error, WHILE_WATCHING)
                self._error = str(error)
                return True
            self._tell(summary)
            self._is_first, self._error, self._skipped = False, "", summary.skipped
            return False

        try:
            watch(self._paths, self._counts, next_update)
        except (KeyboardInterrupt, SystemExit):  # SIGTERM, too; the next run continues
            if self._is_first:
                raise

    def _counts(self, path: Path) -> bool:
        """Whether a change of a file or folder can change the index."""
        store = self._place.path
        return self.closed.isdisjoint(path.parents) and store not in (path, *path.parents)

    def _tell(self, summary: Summary) -> None:
        changed = summary.indexed or summary.removed or summary.embedded or summary.renewed
        if not (self._is_first or changed or summary.skipped != self._skipped):
            return
        if self._json:
            moment = datetime.now().astimezone().isoformat(timespec="seconds")
            record = {"store": str(self._place), "time": moment, **output.summary_record(summary)}
            console.print_json_line(record)
        elif self._quiet:
            return
        elif self._is_first:
            output.print_summary(summary, self._place)
            console.note_to(silent=False)("Watching for changes. Ctrl-C ends it.")
        else:
            output.print_update(summary)
