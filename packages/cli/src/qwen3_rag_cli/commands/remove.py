"""The command `remove`: its options and function."""

from __future__ import annotations

from typing import Annotated

import typer

from qwen3_rag_cli.options import Json, Quiet, Store, Tenant, Wait

__all__ = ["remove_command"]


def remove_command(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH", help="Files, folders and patterns of indexed files."),
    ],
    store: Store = None,
    tenant: Tenant = None,
    wait: Wait = 0.0,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Remove files from an index. The files themselves are left alone, and may be gone already.

    The next `index` of a folder adds those that are still in it, unless it leaves them out.
    """
    from qwen3_rag.errors import InputError
    from qwen3_rag_cli import console
    from qwen3_rag_cli.index import Index
    from qwen3_rag_cli.listing import indexed_files
    from qwen3_rag_cli.places import Place

    place = Place.of(store)
    with Index(place, write=True, tenant=tenant, wait=wait) as index:
        index.check_known()
        try:
            files = indexed_files(index, paths)
        except InputError:
            index.publish()  # a killed run may have removed them, and not come to this
            raise
        chunks = sum(index.remove(file.path) for file in files)
        index.publish()
    if json_:
        removed = [file.path for file in files]
        console.print_json({"store": str(place), "removed": removed, "chunks": chunks})
    elif not quiet:
        told = f"{console.counted(len(files), 'file')} with {console.counted(chunks, 'chunk')}"
        console.print_line(f"{told} removed from the index at {place}.")
