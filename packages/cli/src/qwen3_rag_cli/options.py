"""Command-line options that several commands share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from qwen3_rag_cli.completing import EMBEDDERS, RERANKERS, one_of
from qwen3_rag_cli.formats import KINDS
from qwen3_rag_cli.runtime import HERE, Runtime, ServerOptions
from qwen3_rag_cli.threads import use_threads

__all__ = [
    "MODEL_METAVAR",
    "STORE_METAVAR",
    "Candidates",
    "ChatKeyEnv",
    "ChatModel",
    "ChatOptions",
    "ChatUrl",
    "Device",
    "Dtype",
    "Filter",
    "Instruction",
    "Json",
    "MinScore",
    "Model",
    "Quiet",
    "Rerank",
    "Reranker",
    "Store",
    "Tenant",
    "Threads",
    "with_runtime",
]

MODEL_METAVAR = "tiny|ID|FOLDER"

STORE_METAVAR = "FOLDER|ADDRESS"

Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar=STORE_METAVAR,
        help="Folder of the index (default: the nearest .qwen3-rag, from this folder upwards), or "
        "a collection: qdrant://HOST/NAME, weaviate://HOST/NAME, milvus://HOST/NAME, "
        "milvus:FILE.db/NAME.",
    ),
]
Tenant = Annotated[
    str | None,
    typer.Option(
        "--tenant",
        metavar="NAME",
        help="Tenant whose files these are, in a collection with tenants.",
    ),
]
ChatUrl = Annotated[
    str | None,
    typer.Option(
        "--chat-url",
        metavar="URL",
        help="OpenAI-compatible chat endpoint, such as http://localhost:8000/v1.",
        envvar="QWEN3_RAG_CHAT_URL",
    ),
]
ChatModel = Annotated[
    str | None,
    typer.Option(
        "--chat-model",
        metavar="NAME",
        help="Name of the chat model there.",
        envvar="QWEN3_RAG_CHAT_MODEL",
    ),
]
ChatKeyEnv = Annotated[
    str | None,
    typer.Option(
        "--chat-key-env",
        metavar="NAME",
        help="Environment variable with that endpoint's key.",
        envvar="QWEN3_RAG_CHAT_KEY_ENV",
    ),
]
ChatOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--chat-option",
        metavar="NAME=VALUE",
        help="Further field of the request, such as temperature=0 or max_tokens=500. Can be "
        "repeated.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar=MODEL_METAVAR,
        help="Embedding model (default: the index's; for a new index "
        "Qwen/Qwen3-Embedding-0.6B). tiny is a small pair of models for trying things out.",
        autocompletion=one_of(*EMBEDDERS),
    ),
]
Reranker = Annotated[
    str | None,
    typer.Option(
        "--reranker",
        metavar=MODEL_METAVAR,
        help="Reranker (default: the index's; for a new index tiny with --model tiny, "
        "Qwen/Qwen3-Reranker-0.6B with another published model, otherwise none).",
        autocompletion=one_of(*RERANKERS),
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="cpu, cuda, cuda:1 or mps (default: the best one available).",
        autocompletion=one_of("cpu", "cuda", "mps"),
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        metavar="NAME",
        help="float32, bfloat16 or float16 (default: depends on the device).",
        autocompletion=one_of("float32", "bfloat16", "float16"),
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        metavar="N",
        help="Threads for models on this machine's CPU (default: one per CPU).",
        envvar="QWEN3_RAG_THREADS",
    ),
]
Cache = Annotated[
    str | None,
    typer.Option(
        "--cache",
        metavar="FILE",
        help="File that keeps vectors and scores, so that none is computed twice.",
        envvar="QWEN3_RAG_CACHE",
    ),
]
Candidates = Annotated[
    int,
    typer.Option("--candidates", metavar="N", help="Number of hits to take from each retriever."),
]
Rerank = Annotated[
    int | None,
    typer.Option(
        "--rerank",
        metavar="N",
        help="Number of fused hits to rerank; 0 turns it off (default: 20).",
    ),
]
MinScore = Annotated[
    float | None,
    typer.Option(
        "--min-score",
        metavar="SCORE",
        help="Leave out hits with a lower reranked score, and those not reranked.",
    ),
]
Filter = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        metavar="FIELD=VALUE",
        help="path=FILE, path=FOLDER, path=GLOB, or kind=KIND, such as code or pdf. Can be "
        "repeated: a hit must match one of the values given for each field.",
        autocompletion=one_of("path=", *(f"kind={kind}" for kind in KINDS)),
    ),
]
Instruction = Annotated[
    str | None,
    typer.Option("--instruction", metavar="TEXT", help="Task the query is part of, in English."),
]
Wait = Annotated[
    float,
    typer.Option(
        "--wait",
        metavar="SECONDS",
        min=0,
        help="Time to wait for another process that writes to the same folder.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]


def with_runtime(*, cache: bool = True) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a command's parameter `runtime` be filled by the options of where models run.

    Args:
        cache: Whether the command takes `--cache`.
    """
    added: dict[str, Any] = {"device": Device, "dtype": Dtype, "threads": Threads}
    for prefix, what in (("", "the embedding model"), ("reranker_", "the reranker")):
        added |= {f"{prefix}{name}": kind for name, kind in _server(prefix, what).items()}
    if cache:
        added["cache"] = Cache

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def wrapper(**given: Any) -> None:
            options = {name: given.pop(name) for name in added}
            command(**given, runtime=_runtime(options))

        signature = inspect.signature(command, eval_str=True)
        parameters = []
        for parameter in signature.parameters.values():
            if parameter.name != "runtime":
                parameters.append(parameter)
                continue
            for name, kind in added.items():
                parameters.append(
                    inspect.Parameter(name, parameter.kind, default=None, annotation=kind)
                )
        wrapper.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # functions can have attributes
        return wrapper

    return decorate


def _server(prefix: str, what: str) -> dict[str, Any]:
    """Declare the options of one model's server; each can also be set in the environment."""

    def declared(name: str, metavar: str, help_: str) -> Any:
        option = f"{prefix}{name}"
        return Annotated[
            str | None,
            typer.Option(
                f"--{option.replace('_', '-')}",
                metavar=metavar,
                help=help_,
                envvar=f"QWEN3_RAG_{option.upper()}",
            ),
        ]

    return {
        "base_url": declared(
            "base_url",
            f"URL|{HERE}",
            f"Server that runs {what} (default: the index's); {HERE} runs it here.",
        ),
        "api": declared("api", "NAME", "What that server speaks (default: found out)."),
        "api_key_env": declared(
            "api_key_env", "NAME", "Environment variable with that server's key."
        ),
        "served_model": declared(
            "served_model",
            "NAME",
            "The model's name there (default: its only model, or "
            f"--{'reranker' if prefix else 'model'}).",
        ),
        "served_revision": declared(
            "served_revision",
            "NAME",
            "Any name for the model's version there, to be changed with its weights.",
        ),
    }


def _runtime(options: dict[str, Any]) -> Runtime:
    def server(prefix: str) -> ServerOptions:
        names = ("base_url", "api", "api_key_env", "served_model", "served_revision")
        return ServerOptions(*(options[f"{prefix}{name}"] for name in names))

    use_threads(options["threads"])
    return Runtime(
        options["device"],
        options["dtype"],
        options["threads"],
        embedding=server(""),
        reranking=server("reranker_"),
        cache=options.get("cache"),
    )
