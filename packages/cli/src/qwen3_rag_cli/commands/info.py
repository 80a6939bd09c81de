"""The command `info`: its options and function."""

from __future__ import annotations

from qwen3_rag_cli.options import Json, Store, Tenant

__all__ = ["info_command"]


def info_command(store: Store = None, tenant: Tenant = None, json_: Json = False) -> None:
    """Show what is in an index, how it was made, its size, and its last change. Needs no model."""
    from qwen3_rag_cli import console, output
    from qwen3_rag_cli.index import Index
    from qwen3_rag_cli.listing import description
    from qwen3_rag_cli.places import Place

    with Index(Place.of(store), tenant=tenant, overall=True) as index:
        index.check_known()
        found = description(index)
    if json_:
        console.print_json(found)
    else:
        output.print_description(found)
