"""Reads what a checkpoint says of itself in sentence-transformers' files.

These are its modules, its prompts, the tokens that a reranker answers with, and where an embedder
cuts texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qwen3_rag._prompts import SavedPrompts
from qwen3_rag._published import CONTEXT, Role
from qwen3_rag.backends._checkpoint.files import read_json, shortened
from qwen3_rag.backends._checkpoint.hub import Checkpoint
from qwen3_rag.errors import ModelError

__all__ = ["Module", "Words", "read_file", "read_modules", "read_settings", "read_words"]

MODULES = "modules.json"
SETTINGS = "config_sentence_transformers.json"


@dataclass(frozen=True, slots=True)
class Module:
    """One step of the computation.

    Attributes:
        kind: Name of its class, such as `Pooling`.
        path: Its folder within the checkpoint's, empty for that folder itself.
        package: The package that the class is from.
    """

    kind: str
    path: str
    package: str


@dataclass(frozen=True, slots=True)
class Words:
    """A checkpoint's own words.

    Attributes:
        prompts: The prompts that it was saved with.
        answers: Token ids of a reranker's answers, in the order no, yes; `None` for the tokens
            "no" and "yes".
        max_length: Maximum tokens of a text; `None` if an embedder was saved without one.
    """

    prompts: SavedPrompts
    answers: tuple[int, int] | None
    max_length: int | None


def read_words(checkpoint: Checkpoint, role: Role) -> Words:
    """Read the prompts, a reranker's answer tokens and an embedder's longest text.

    Raises:
        ModelError: A file cannot be read, or says what cannot be done here.
    """
    prompts = _read_prompts(checkpoint, role)
    if role == "reranking":
        return Words(prompts, _read_answers(checkpoint), None)
    return Words(prompts, None, _read_length(checkpoint))


def read_modules(checkpoint: Checkpoint) -> list[Module]:
    """Read the list of modules, which is empty for a checkpoint without one.

    Raises:
        ModelError: The file cannot be understood.
    """
    entries = read_file(checkpoint, MODULES)
    if entries is None:
        return []
    try:
        return [_module(entry) for entry in entries]
    except (AttributeError, KeyError, TypeError) as error:
        raise ModelError(
            f"{MODULES} of {checkpoint.name!r} cannot be understood: {error!r}. Fetch the "
            "checkpoint again, or delete the file."
        ) from error


def read_settings(checkpoint: Checkpoint) -> dict[str, Any]:
    """Read the settings of all modules together, which are empty without the file.

    Raises:
        ModelError: The file cannot be understood.
    """
    settings = read_file(checkpoint, SETTINGS)
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise ModelError(
            f"{SETTINGS} of {checkpoint.name!r} holds no settings. Fetch the checkpoint again."
        )
    return settings


def read_file(checkpoint: Checkpoint, name: str) -> Any:
    """Read a JSON file beside `modules.json`; `None` if there is none.

    Raises:
        ModelError: It cannot be read, or is no JSON.
    """
    path = checkpoint.root / name
    return read_json(path) if path.is_file() else None


def _module(entry: Any) -> Module:
    package, _, kind = str(entry["type"]).rpartition(".")
    return Module(kind, str(entry.get("path") or ""), package.partition(".")[0])


def _read_prompts(checkpoint: Checkpoint, role: Role) -> SavedPrompts:
    settings = read_settings(checkpoint)
    source = f"{SETTINGS} of {checkpoint.name!r}"
    texts, default = settings.get("prompts") or {}, settings.get("default_prompt_name")
    if not isinstance(texts, dict) or not all(
        text is None or isinstance(text, str) for text in texts.values()
    ):
        raise ModelError(
            f"`prompts` in {source} is {shortened(texts)}, not names with texts. Correct the file, "
            "or delete that entry to use the prompts of Qwen's model card."
        )
    # As in sentence-transformers, a name without a text counts as not there.
    known = {name: text for name, text in texts.items() if text is not None}
    # An embedder has prompts for queries and documents even if they are not in the file.
    always = ["query", "document"] if role == "embedding" else []
    if default is not None and default not in [*texts, *always]:
        raise ModelError(
            f"`default_prompt_name` in {source} is {shortened(default)}, and `prompts` has none of "
            "that name. Correct the file."
        )
    return SavedPrompts(tuple(known.items()), default, source)


def _read_answers(checkpoint: Checkpoint) -> tuple[int, int] | None:
    paths = [module.path for module in read_modules(checkpoint) if module.kind == "LogitScore"]
    if not paths:
        return None
    name = f"{paths[0]}/config.json"
    settings = read_file(checkpoint, name)
    if settings is None:
        raise ModelError(
            f"{checkpoint.name!r} has no {name}, which names the tokens that it answers with. "
            "Fetch the checkpoint again."
        )
    match settings:
        case {"true_token_id": yes, "false_token_id": no}:
            if type(yes) is int and type(no) is int and 0 <= yes != no >= 0:
                return no, yes
    raise ModelError(
        f"{name} of {checkpoint.name!r} must name two tokens, `true_token_id` and "
        f"`false_token_id`, whose logits make a score; it holds {shortened(settings)}. Use "
        "sentence-transformers for it, or correct the file."
    )


def _read_length(checkpoint: Checkpoint) -> int | None:
    """Read where sentence-transformers cuts texts; its version 6 saves that with the tokenizer."""
    if not read_modules(checkpoint):
        return None
    bert = "sentence_bert_config.json"
    for path, field in (
        (checkpoint.root / bert, "max_seq_length"),
        (checkpoint.folder / bert, "max_seq_length"),
        (checkpoint.tokenizer_folder / "tokenizer_config.json", "model_max_length"),
    ):
        settings = read_json(path) if path.is_file() else None
        length = settings.get(field) if isinstance(settings, dict) else None
        if length is None:
            continue
        # Without a limit, transformers writes 1e30.
        if type(length) not in (int, float) or not length >= 1:
            raise ModelError(
                f"{path.name} of {checkpoint.name!r} has {field} = {shortened(length)}; it must be "
                "a number of tokens, 1 or more. Correct it, or delete that entry and give "
                "`max_length`."
            )
        return int(min(length, CONTEXT))
    return None
