"""The command `index`: its options and function."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qwen3_rag_cli.options import Json, Model, Quiet, Reranker, Store, Tenant, Wait, with_runtime
from qwen3_rag_cli.runtime import DEFAULT_RUNTIME, Runtime

if TYPE_CHECKING:
    from qwen3_rag_cli.embedders import Embedders
    from qwen3_rag_cli.index import Index
    from qwen3_rag_cli.indexing import Summary
    from qwen3_rag_cli.selection import Choice, Selection

__all__ = ["index_command"]


@with_runtime()
def index_command(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Folders and files.")],
    store: Store = None,
    tenant: Tenant = None,
    model: Model = None,
    reranker: Reranker = None,
    dim: Annotated[
        int | None,
        typer.Option("--dim", metavar="N", help="Vector size (default: the model's)."),
    ] = None,
    chunk_tokens: Annotated[
        int | None,
        typer.Option(
            "--chunk-tokens",
            metavar="N",
            help="Maximum tokens per chunk (default: the index's; 384 for a new one).",
        ),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option(
            "--overlap",
            metavar="N",
            help="Maximum tokens shared by neighbouring chunks (default: the index's; 48 for a "
            "new one).",
        ),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            "--include",
            metavar="GLOB",
            help="Index the matching files in folders instead of those of known formats. Can be "
            "repeated.",
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            metavar="GLOB",
            help="Leave out matching files and folders. Can be repeated.",
        ),
    ] = None,
    no_ignore: Annotated[
        bool,
        typer.Option(
            "--no-ignore",
            help="Take what .gitignore, git's other rules and .qwen3ragignore leave out, too.",
        ),
    ] = False,
    max_size: Annotated[
        str,
        typer.Option(
            "--max-size",
            metavar="SIZE",
            help="Size of the largest file to take from folders, such as 500kB, or none.",
        ),
    ] = "20MB",
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="Remove files from the index that still exist but are not taken any more.",
        ),
    ] = False,
    encoding: Annotated[
        str | None,
        typer.Option(
            "--encoding",
            metavar="NAME",
            help="Encoding of text that is not UTF-8, such as gb18030, or auto to detect it "
            "(default: the index's; auto for a new one).",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            metavar="NAME",
            help="First part of the paths in a collection on a server (default: the current "
            "folder's name).",
        ),
    ] = None,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Go on until interrupted, and index files as they change."),
    ] = False,
    wait: Wait = 0.0,
    runtime: Runtime = DEFAULT_RUNTIME,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Bring an index up to date: add new and changed files, remove deleted ones.

    Reads Markdown, text, source code, HTML, CSV, JSON lines, notebooks, e-mail and EPUB, and with
    extras PDF, Word, PowerPoint and Excel. If a run is interrupted, run the command again to
    continue.
    """
    from qwen3_rag.errors import InputError
    from qwen3_rag_cli import console, files, output
    from qwen3_rag_cli.chunking import Chunking
    from qwen3_rag_cli.embedders import Embedders
    from qwen3_rag_cli.index import Index
    from qwen3_rag_cli.indexing import Indexing
    from qwen3_rag_cli.places import Place
    from qwen3_rag_cli.reading.encodings import chosen_encoding
    from qwen3_rag_cli.selection import Choice, bytes_of
    from qwen3_rag_cli.updating import Watched

    place = Place.of(store, source)
    choice = Choice(include or [], exclude or [], ignore=not no_ignore, max_size=bytes_of(max_size))
    silent = quiet or json_
    watched = Watched(place, paths, quiet=quiet, json=json_)

    def update(embedders: Embedders) -> Summary:
        selection = files.find(paths, base=place.base, choice=choice, leave_out=place.path)
        watched.closed = selection.closed
        # An existing index may still have files to remove.
        if selection.is_empty and place.folder is not None and not place.folder.exists():
            raise InputError(output.nothing_in(paths, selection))
        with Index(place, create=True, tenant=tenant, wait=wait) as index:
            if selection.is_empty and not _may_go_on(index, selection, choice, prune):
                raise InputError(output.nothing_in(paths, selection))
            models = index.models(model, reranker, runtime, dim=dim)
            recorded = index.manifest.record()
            chunking = Chunking.chosen(chunk_tokens, overlap, recorded)
            told = chosen_encoding(encoding, recorded)
            with Indexing(index, models, chunking, told, embedders) as indexing:
                pending = indexing.plan(selection, prune=prune)
                with console.progress(sum(file.size for file in pending), silent) as advance:
                    return indexing.run(pending, advance)

    with Embedders() as embedders:
        if watch:
            watched.run(lambda: update(embedders))
            return
        summary = update(embedders)
    if json_:
        console.print_json({"store": str(place), **output.summary_record(summary)})
    elif not quiet:
        output.print_summary(summary, place)
    if summary.skipped and not summary.files and not summary.removed:
        raise InputError("None of the files could be indexed; see the reasons above.")


def _may_go_on(index: Index, selection: Selection, choice: Choice, prune: bool) -> bool:
    """Whether a run that takes nothing can be meant, to remove what is gone.

    Patterns that let nothing through are rather a slip, which must not empty the index.
    """
    indexed = index.manifest.paths()
    if not choice.patterns or prune:
        return bool(indexed) and not choice.patterns
    base = index.place.base
    inside = base.scope(selection.roots)
    return any(inside(path) and not selection.is_there(base.path_of(path)) for path in indexed)
