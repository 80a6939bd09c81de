"""What each command does, from its options to what it prints.

Knows which rooms a command needs and in which order they open; knows nothing of typer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from qwen3_rag.errors import InputError, StoreError
from qwen3_rag_cli import demo as demonstration
from qwen3_rag_cli import doctor as examination
from qwen3_rag_cli import files, rendering, searching
from qwen3_rag_cli.chunking import CHUNK_TOKENS, OVERLAP, Chunking
from qwen3_rag_cli.indexing import Indexing, Summary
from qwen3_rag_cli.models import TINY, Models, Runtime
from qwen3_rag_cli.store import Store

__all__ = ["demo", "doctor", "index", "search"]


def index(
    paths: Sequence[Path],
    folder: Path,
    *,
    model: str | None,
    reranker: str | None,
    dim: int | None,
    chunk_tokens: int | None,
    overlap: int | None,
    include: Sequence[str],
    exclude: Sequence[str],
    device: str | None,
    dtype: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Bring an index up to date."""
    folder = folder.expanduser().absolute()
    selection = files.find(
        paths, base=folder.parent, include=include, exclude=exclude, leave_out=folder
    )
    if not selection.files and not selection.skipped and not folder.exists():
        raise InputError(_nothing_in(paths))
    with Store(folder, create=True) as store:
        if not selection.files and not selection.skipped and not store.manifest.paths():
            raise InputError(_nothing_in(paths))
        runtime = Runtime(device, dtype)
        models = Models.chosen(model, reranker, dim=dim, runtime=runtime, recorded=store.recorded)
        record = store.manifest.record()
        settings = Chunking(
            _first(chunk_tokens, record.get("chunk_tokens"), CHUNK_TOKENS),
            _first(overlap, record.get("overlap") if chunk_tokens is None else None, OVERLAP),
        )
        indexing = Indexing(store, models, settings)
        try:
            pending = indexing.plan(selection)
            with rendering.progress(sum(f.size for f in pending), quiet or as_json) as advance:
                summary = indexing.run(pending, advance)
        finally:
            indexing.close()
    _report(summary, folder, as_json, quiet)
    if summary.skipped and not summary.files and not summary.removed:
        raise InputError("None of the files could be indexed; see the reasons above.")


def search(
    query: str,
    folder: Path,
    *,
    limit: int,
    candidates: int,
    rerank: int,
    filters: Sequence[str],
    instruction: str | None,
    model: str | None,
    reranker: str | None,
    device: str | None,
    dtype: str | None,
    explain: bool,
    as_json: bool,
) -> None:
    """Search an index."""
    depths = searching.Depths(limit, candidates, rerank)
    with Store(folder) as store:
        models = _models_of(store, model, reranker, Runtime(device, dtype))
        hits = searching.search(
            store, models, query, depths, filters=filters, instruction=instruction
        )
    if as_json:
        rendering.print_json({"query": query, "hits": [rendering.hit_record(hit) for hit in hits]})
    elif explain:
        rendering.print_explained(hits)
    else:
        rendering.print_hits(hits)


def doctor(
    folder: Path,
    *,
    model: str | None,
    reranker: str | None,
    device: str | None,
    dtype: str | None,
    documents: int,
    measure: bool,
    as_json: bool,
) -> None:
    """Examine the installation and the index."""
    if documents < 1:
        raise InputError(f"`--documents` must be at least 1, got {documents}.")
    runtime = Runtime(device, dtype, offline=True)
    findings = examination.examine(
        folder, model, reranker, runtime, documents=documents if measure else 0
    )
    if as_json:
        rendering.print_json(findings.as_dict())
    else:
        rendering.print_sections(findings.as_dict())
    if findings.broken:
        raise StoreError(f"The index at {str(folder)!r} has an error; see above.")


def demo(
    *,
    model: str | None,
    reranker: str | None,
    device: str | None,
    dtype: str | None,
    as_json: bool,
) -> None:
    """Show a search over this project's documentation, step by step."""
    models = Models.chosen(model or TINY, reranker, runtime=Runtime(device, dtype))
    answers = demonstration.run(models, rendering.note_to(as_json))
    if as_json:
        rendering.print_json([answer.as_dict() for answer in answers])
    else:
        for answer in answers:
            rendering.print_answer(answer)
    if not all(answer.right for answer in answers):
        raise typer.Exit(1)


def _models_of(store: Store, model: str | None, reranker: str | None, runtime: Runtime) -> Models:
    settings = store.settings
    if settings is None:
        raise StoreError(
            f"The index at {str(store.folder)!r} is empty. Fill it with `qwen3-rag index PATHS`."
        )
    return Models.chosen(
        model, reranker, dim=settings.dim, runtime=runtime, recorded=store.recorded
    )


def _report(summary: Summary, folder: Path, as_json: bool, quiet: bool) -> None:
    if as_json:
        rendering.print_json({"store": str(folder), **rendering.summary_record(summary)})
    elif not quiet:
        rendering.print_summary(summary, folder)


def _nothing_in(paths: Sequence[Path]) -> str:
    return (
        f"There is nothing to index in {', '.join(repr(str(path)) for path in paths)}: no "
        "Markdown, text or source file that the patterns let through. Name files, or say which to "
        "take with --include GLOB."
    )


def _first(*values: int | None) -> int:
    """The first that is there."""
    return next(value for value in values if value is not None)
