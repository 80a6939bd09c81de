"""The console command: its options, and its commands by name."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from qwen3_rag_cli import terminal
from qwen3_rag_cli.commands.ask import ask_command
from qwen3_rag_cli.commands.cache import cache
from qwen3_rag_cli.commands.demo import demo_command
from qwen3_rag_cli.commands.doctor import doctor_command
from qwen3_rag_cli.commands.evaluation import evaluation
from qwen3_rag_cli.commands.index import index_command
from qwen3_rag_cli.commands.info import info_command
from qwen3_rag_cli.commands.list import list_command
from qwen3_rag_cli.commands.models import models_command
from qwen3_rag_cli.commands.reindex import reindex_command
from qwen3_rag_cli.commands.remove import remove_command
from qwen3_rag_cli.commands.search import search_command
from qwen3_rag_cli.commands.serve import serve_command
from qwen3_rag_cli.commands.training import merge_command, train
from qwen3_rag_cli.exits import Commands, State
from qwen3_rag_cli.threads import spare_neighbours

__all__ = ["app", "main"]

app = typer.Typer(
    name="qwen3-rag",
    cls=Commands,
    help="Index a folder and search it with Qwen3-Embedding and Qwen3-Reranker.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Plain help looks the same on a terminal, in a pipe and in the documentation.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from qwen3_rag_cli import __version__

        typer.echo(f"qwen3-rag {__version__}")
        raise typer.Exit


@app.callback()
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Index a folder and search it with Qwen3-Embedding and Qwen3-Reranker."""
    State.debug = debug


app.command("index", short_help="Bring an index up to date with files.")(index_command)
app.command("search", short_help="Search an index.")(search_command)
app.command("ask", short_help="Answer a question from an index, with sources.")(ask_command)
app.command("serve", short_help="Serve the models and indexes over HTTP.")(serve_command)
app.command("list", short_help="List the files in an index.")(list_command)
app.command("remove", short_help="Remove files from an index.")(remove_command)
app.command("info", short_help="Show what an index holds and how it was made.")(info_command)
app.command("doctor", short_help="Show what is installed, and check an index.")(doctor_command)
app.command("demo", short_help="Search this project's documentation.")(demo_command)
app.command("models", short_help="List the models that are known to run.")(models_command)
app.add_typer(train, name="train")
app.add_typer(evaluation, name="eval")
app.add_typer(cache, name="cache")
app.command("merge", short_help="Merge checkpoints by SLERP.")(merge_command)
app.command("reindex", short_help="Embed a collection anew, or renew its BM25 terms.")(
    reindex_command
)


def main() -> None:
    """Run the command; the entry point of the package."""
    terminal.show_warnings()
    spare_neighbours()
    # Over Milvus Lite, its client warns with every reading that it takes its own clock. A filter,
    # because importing the client sets the levels of its loggers anew.
    logger = logging.getLogger("pymilvus.client.iterator.query_iterator")
    logger.addFilter(lambda record: record.levelno >= logging.ERROR)
    app(prog_name="qwen3-rag")
