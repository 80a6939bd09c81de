"""The commands `cache info` and `cache clear`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from qwen3_rag_cli.options import Json, Quiet

__all__ = ["cache"]

cache = typer.Typer(
    help="Look into a file of --cache, or empty it.", no_args_is_help=True, rich_markup_mode=None
)

CacheFile = Annotated[str, typer.Argument(metavar="FILE", help="What was given as --cache.")]


@cache.command("info", short_help="Show what a cache holds.")
def info_command(file: CacheFile, json_: Json = False) -> None:
    """Show how many vectors and scores a cache holds, its size, and how old they are."""
    from dataclasses import asdict

    from qwen3_rag.cache import cache_info
    from qwen3_rag_cli import console

    with console.waiting("Counting", silent=json_):
        info = cache_info(file)
    if json_:
        console.print_json({"file": file, **asdict(info)})
        return
    told: dict[str, object] = {
        "entries": f"{info.entries:,}",
        "size": console.size(info.size),
    }
    if info.oldest is not None:
        used = datetime.fromtimestamp(info.oldest)
        told["least recently used"] = f"{used:%Y-%m-%d %H:%M}"
    console.print_sections({file: told})


@cache.command("clear", short_help="Remove all entries of a cache.")
def clear_command(file: CacheFile, json_: Json = False, quiet: Quiet = False) -> None:
    """Remove all entries of a cache, which may be in use, and give its space back."""
    from qwen3_rag.cache import cache_info, clear_cache
    from qwen3_rag_cli import console

    silent = json_ or quiet
    with console.waiting("Clearing", silent=silent):
        before = cache_info(file).size
        removed = clear_cache(file)
        freed = max(before - cache_info(file).size, 0)
    if json_:
        console.print_json({"file": file, "removed": removed, "freed": freed})
    elif not quiet:
        console.print_line(f"{removed:,} entries removed, {console.size(freed)} freed.")
