"""The command `doctor`: its options and function."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from qwen3_rag_cli.options import Json, Model, Reranker, Store, Tenant, with_runtime
from qwen3_rag_cli.runtime import DEFAULT_RUNTIME, Runtime

__all__ = ["doctor_command"]


@with_runtime(cache=False)
def doctor_command(
    store: Store = None,
    tenant: Tenant = None,
    model: Model = None,
    reranker: Reranker = None,
    runtime: Runtime = DEFAULT_RUNTIME,
    documents: Annotated[
        int,
        typer.Option(
            "--documents", metavar="N", help="Number of documents to rerank when measuring."
        ),
    ] = 20,
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Measure the models' speed.")
    ] = True,
    json_: Json = False,
) -> None:
    """Show what is installed and where the models run, check the index, and measure the speed.

    Downloads nothing. Ends with exit code 3 when the index has an error.
    """
    from qwen3_rag.errors import InputError, StoreError
    from qwen3_rag_cli import console
    from qwen3_rag_cli.doctor import examine
    from qwen3_rag_cli.places import Place

    if documents < 1:
        raise InputError(f"`--documents` must be at least 1, got {documents}.")
    place = Place.of(store)
    offline = replace(runtime, offline=True)
    measured = documents if measure else 0
    found = examine(place, model, reranker, offline, documents=measured, tenant=tenant)
    if json_:
        console.print_json(found.as_dict())
    else:
        console.print_sections(found.as_dict())
    if found.broken:
        raise StoreError(f"The index at {str(place)!r} has an error; see above.")
