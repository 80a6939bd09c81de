"""Says what a path or name is that is no checkpoint, and what to give instead."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path

from qwen3_rag._published import KNOWN, PUBLISHED, KnownModel, PublishedModel, Role
from qwen3_rag.backends._checkpoint.files import shortened
from qwen3_rag.errors import ModelError

__all__ = ["at_hand", "check_prefixes", "is_unfinished", "no_checkpoint", "no_folder", "similar"]

# How trainers and wrappers rename the tensors, and what has the names of the model itself.
WRAPPERS = {
    "_orig_mod.": ("a model that torch.compile wrapped", "model._orig_mod"),
    "module.": ("a model wrapped for several devices", "model.module"),
    "_fsdp_wrapped_module.": ("a model that FSDP wrapped", "the model itself"),
    "_forward_module.": ("a model that Lightning wrapped", "model.module"),
    "base_model.model.": ("a PEFT model", "model.merge_and_unload()"),
    "auto_model.": ("a module of sentence-transformers", "its `auto_model`"),
}

# A tensor that every Qwen3 model has, and what may come before its name.
FIRST = "layers.0.input_layernorm.weight"
NAMED = ("", "model.")

#: How many names or folders a message lists at most.
SHOWN = 5


def no_folder(name: str) -> ModelError | None:
    """Say what a file is that was given in place of a folder; `None` if there is no such file."""
    try:
        path = Path(name).expanduser()
        if not path.is_file():
            return None
    except (OSError, RuntimeError, ValueError):  # too long, no such user, a NUL
        return None
    if path.suffix.lower() == ".gguf":
        return ModelError(_gguf(name))
    return ModelError(
        f"{name!r} is a file. Give the folder that holds config.json, tokenizer.json and "
        "*.safetensors."
    )


def no_checkpoint(folder: Path) -> ModelError:
    """Say what a folder without a configuration is."""
    shown = repr(str(folder))
    if is_unfinished(folder):
        return ModelError(
            f"The download into {shown} was interrupted: config.json is not there yet. Start it "
            "again; it goes on where it stopped."
        )
    if models := [*_cached(folder), *_cached(folder / "hub")]:
        return ModelError(
            f"{shown} is a cache of downloads, with {_listed(models)}. Give such a name as the "
            "model, and the folder that holds 'models--...' as `cache_folder`."
        )
    if snapshots := sorted(folder.glob("snapshots/*/config.json")):
        name = folder.name.removeprefix("models--").replace("--", "/")
        return ModelError(
            f"{shown} is the cache of the model {name!r}. Give that name as the model, or the "
            f"folder {str(snapshots[-1].parent)!r}."
        )
    if any(folder.glob("*.gguf")):
        return ModelError(_gguf(str(folder)))
    inner = sorted(path.parent.name for path in folder.glob("*/config.json"))
    if inner and not (folder / "modules.json").is_file():
        return ModelError(
            f"{shown} has no config.json, but there is one in {_listed(inner)}. Give such a folder "
            "as the model."
        )
    return ModelError(
        f"The folder {shown} has no config.json, so it is not a checkpoint. Give the folder that "
        "holds config.json, tokenizer.json and *.safetensors."
    )


def is_unfinished(folder: Path) -> bool:
    """Whether a download into the folder, or into its place in the Hub's cache, was interrupted."""
    places = [folder / ".cache" / "huggingface" / "download"]
    if folder.parent.name == "snapshots":
        places.append(folder.parent.parent / "blobs")
    return any(any(place.glob("*.incomplete")) for place in places)


def check_prefixes(names: Iterable[str], name: str) -> None:
    """Check that tensors are named as in the model itself, not as in what wrapped it.

    Args:
        names: The names of a checkpoint's tensors.
        name: The model's name, for messages.

    Raises:
        ModelError: All names have something before them.
    """
    before = [each.removesuffix(FIRST) for each in names if each.endswith(FIRST)]
    if not before or before[0] in NAMED:
        return
    for prefix, (origin, itself) in WRAPPERS.items():
        if before[0].removeprefix("model.").startswith(prefix):
            raise ModelError(
                f"The tensors of {name!r} have {prefix!r} before their names, as {origin} saves "
                f"them. Save {itself} with save_pretrained."
            )
    raise ModelError(
        f"The tensors of {name!r} have {shortened(before[0])} before their names, which the model "
        "does not have. Save the model itself with save_pretrained."
    )


def at_hand(role: Role, cache: Path) -> str:
    """List the models that can be used without a network, as a sentence that may be empty.

    Args:
        role: Whether the model is to embed or rerank.
        cache: The folder of the Hub's downloads.
    """
    names = ["tiny"] if importlib.util.find_spec("qwen3_rag_tiny") else []
    names += [
        name for name in _cached(cache) if name not in PUBLISHED or PUBLISHED[name].role == role
    ]
    return f" Usable without a network: {_listed(names)}." if names else ""


def similar(name: str, role: Role) -> str:
    """Name the known model that was probably meant, as a question that may be empty."""
    records: list[PublishedModel | KnownModel] = [*PUBLISHED.values(), *KNOWN]
    models = [record.name for record in records if record.role == role]
    keys = {key.lower(): model for model in models for key in (model.rpartition("/")[2], model)}
    for close in get_close_matches(name.lower(), keys, 1, cutoff=0.75):
        if keys[close] != name:
            return f" Did you mean {keys[close]!r}?"
    return ""


def _cached(cache: Path) -> Iterator[str]:
    """List the Qwen3 models in a folder of the Hub's downloads."""
    for folder in sorted(cache.glob("models--*--*")):
        for file in folder.glob("snapshots/*/config.json"):
            try:
                family = json.loads(file.read_bytes())["model_type"]
            except (OSError, ValueError, LookupError, TypeError):
                continue
            if family == "qwen3":
                yield folder.name.removeprefix("models--").replace("--", "/")
                break


def _gguf(name: str) -> str:
    return (
        f"{name!r} is a GGUF file, which is for llama.cpp and is not read here. Give the "
        "checkpoint that it was converted from."
    )


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:SHOWN]))
    return shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
