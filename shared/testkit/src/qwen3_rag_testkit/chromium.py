"""Chromium for tests of pages: where it is, and a browser that Playwright drives."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["find_chromium", "running_chromium"]

_NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str | None:
    """Return the browser's program: from `CHROMIUM_BINARY`, else on the path, else `None`."""
    named = os.environ.get("CHROMIUM_BINARY")
    return named or next(filter(None, map(shutil.which, _NAMES)), None)


@contextmanager
def running_chromium(program: str) -> Iterator[Browser]:
    """Run a headless browser. It needs the package playwright, but none of its own browsers.

    Args:
        program: What `find_chromium` returned.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Containers often have little of the memory that the option avoids.
        browser = playwright.chromium.launch(
            executable_path=program, args=["--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            browser.close()
