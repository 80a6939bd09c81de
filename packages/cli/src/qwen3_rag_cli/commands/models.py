"""The command `models`."""

from __future__ import annotations

from qwen3_rag_cli.options import Json

__all__ = ["models_command"]


def models_command(json_: Json = False) -> None:
    """List the models that are known to run, what each needs, and where that was read.

    Other models made from Qwen3-Embedding and Qwen3-Reranker run as well: what their own files say
    is used. Downloads nothing.
    """
    from dataclasses import asdict

    from qwen3_rag_cli import console
    from qwen3_rag_cli.models import known

    if json_:
        console.print_json([asdict(record) for record in known()])
    else:
        sections: dict[str, dict[str, str]] = {}
        for record in known():
            title = f"Needs {record.needs} ({record.source})"
            told = f"{record.role}, {record.dim:,} numbers, {record.licence}"
            sections.setdefault(title, {})[record.name] = told
        console.print_sections(sections)
