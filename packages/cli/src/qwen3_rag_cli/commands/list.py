"""The command `list`: its options and function."""

from __future__ import annotations

from typing import Annotated

import typer

from qwen3_rag_cli.options import Json, Store, Tenant

__all__ = ["list_command"]


def list_command(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH", help="Files, folders and patterns to list.", show_default=False
        ),
    ] = None,
    store: Store = None,
    tenant: Tenant = None,
    json_: Json = False,
) -> None:
    """List the files in an index, with the number of their chunks. Needs no model."""
    from dataclasses import asdict

    from qwen3_rag_cli import console, output
    from qwen3_rag_cli.index import Index
    from qwen3_rag_cli.listing import indexed_files
    from qwen3_rag_cli.places import Place

    place = Place.of(store)
    with Index(place, tenant=tenant) as index:
        files = indexed_files(index, paths or ())
        if not files:
            index.check_known()
    if json_:
        console.print_json(
            {
                "store": str(place),
                "base": str(place.base.folder),
                "files": [asdict(file) for file in files],
            }
        )
    else:
        output.print_files(files, place.base.shown)
