"""Finds a checkpoint's folder by the model's name, and downloads it if necessary."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from qwen3_rag._published import Role, published
from qwen3_rag.backends._local.checkpoint.files import (
    ADAPTER,
    ADAPTER_CONFIG,
    find_files,
    read_json,
)
from qwen3_rag.backends._local.checkpoint.fingerprint import fingerprint
from qwen3_rag.backends._local.spec import LocalSpec
from qwen3_rag.errors import MissingExtraError, ModelError

__all__ = ["TINY", "Checkpoint", "require_extra", "resolve"]

MODELSCOPE = "modelscope:"

#: The name of both models in the package qwen3-rag-tiny. To open a folder of that name, use
#: "./tiny".
TINY = "tiny"

COMMIT = re.compile("[0-9a-f]{40}")
NAME = re.compile(rf"(?:{MODELSCOPE})?[\w-][\w.-]{{0,95}}/[\w-][\w.-]{{0,95}}")

# The files to download. Other weight formats are not needed and not safe to load.
FILES = [
    *("config.json", "tokenizer.json", "tokenizer_config.json", "modules.json"),
    *("config_sentence_transformers.json", "sentence_bert_config.json", ADAPTER_CONFIG),
    *("*.safetensors", "*.safetensors.index.json", "*_*/config.json"),
]
# The pattern `*` also matches files in folders, such as a training run's checkpoints or weights in
# other formats.
NOT_FILES = ["*/*.safetensors", "*/*.safetensors.index.json", "*/*/*"]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk.

    Attributes:
        name: The model's name, as given by the caller.
        folder: The folder of `config.json` and the weights.
        fingerprint: Hash of the content, independent of the folder.
        adapters: The folders of the adapters to add to the weights, in order.
    """

    name: str
    folder: Path
    fingerprint: str
    adapters: tuple[Path, ...] = ()

    def holding(self, name: str) -> Path:
        """Return the folder with a file of that name: the last adapter's that has it, or `folder`.

        An adapter's tokenizer and prompts come before those of its base model.
        """
        for folder in reversed(self.adapters):
            if (folder / name).is_file():
                return folder
        return self.folder


def require_extra(package: str, extra: str, purpose: str) -> None:
    """Check that an optional dependency is installed, without importing it.

    Raises:
        MissingExtraError: It is not installed.
    """
    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(
            f"{purpose} needs the package {package!r}. "
            f'Install it with: pip install "qwen3-rag[{extra}]"'
        )


def resolve(spec: LocalSpec, above: tuple[Path, ...] = ()) -> Checkpoint:
    """Find the checkpoint's folder, and download it if necessary.

    Args:
        spec: The model, and where to look for it.
        above: The adapters whose base model it is.

    Raises:
        ModelError: It does not exist and cannot be downloaded.
        MissingExtraError: The id begins with `modelscope:`, or it is an adapter, and the package
            for that is not installed.
    """
    if spec.model == TINY:
        return _found(spec, _tiny(spec.role), above)
    try:
        folder = Path(spec.model).expanduser()
        found = folder.is_dir()
    except (OSError, RuntimeError, ValueError):  # too long, no such user, a NUL
        found = False
    if found:
        return _found(spec, folder, above)
    if not NAME.fullmatch(spec.model):
        raise ModelError(
            f"There is no folder {spec.model!r}, and it is not a model id of the form "
            "'owner/name'. Give the folder of a checkpoint, an id of the Hugging Face Hub such as "
            "'Qwen/Qwen3-Embedding-0.6B', or 'modelscope:' and an id."
        )
    fetch = _from_modelscope if spec.model.startswith(MODELSCOPE) else _from_hub
    return _found(spec, fetch(spec), above)


def _found(spec: LocalSpec, folder: Path, above: tuple[Path, ...]) -> Checkpoint:
    """Describe a folder; for an adapter, with its base model.

    Args:
        spec: What is looked for.
        folder: Where it was found.
        above: The adapters whose base model it is.
    """
    files = find_files(folder)
    own = fingerprint(folder)
    if not (folder / ADAPTER_CONFIG).is_file():
        return Checkpoint(spec.model, folder, own)
    require_extra("peft", "peft", f"The adapter {spec.model!r}")
    if not files.adapter:
        raise ModelError(
            f"{spec.model!r} has {ADAPTER_CONFIG}, but no {ADAPTER}. Fetch the adapter again, or "
            "save it with peft."
        )
    if files.weights:  # those of the base model, beside the adapter
        return Checkpoint(spec.model, folder, own, (folder,))
    base = _base(spec, folder, above)
    both = hashlib.sha256(f"{base.fingerprint} {own}".encode()).hexdigest()[:32]
    return Checkpoint(spec.model, base.folder, both, (*base.adapters, folder))


def _base(spec: LocalSpec, folder: Path, above: tuple[Path, ...]) -> Checkpoint:
    """Find the base model of an adapter, which may be an adapter itself."""
    config = read_json(folder / ADAPTER_CONFIG)
    settings = config if isinstance(config, dict) else {}
    name, revision = settings.get("base_model_name_or_path"), settings.get("revision")
    above = (*above, folder.resolve())
    if not isinstance(name, str) or not name or Path(name).resolve() in above:
        raise ModelError(
            f"{ADAPTER_CONFIG} of {spec.model!r} names the base model {name!r}. Enter the id or "
            "folder of the model that was adapted as `base_model_name_or_path`."
        )
    options = spec.options | {"revision": revision if isinstance(revision, str) else None}
    try:
        return resolve(replace(spec, model=name, options=options), above)
    except ModelError as error:
        raise ModelError(
            f"{spec.model!r} is an adapter, and its base model cannot be opened: {error} If it is "
            f"elsewhere, enter its id or folder as `base_model_name_or_path` in {ADAPTER_CONFIG}."
        ) from error


def _tiny(role: Role) -> Path:
    """Find the model for a role in the package qwen3-rag-tiny."""
    require_extra("qwen3_rag_tiny", "tiny", f"The model {TINY!r}")
    import qwen3_rag_tiny

    if role == "embedding":
        return qwen3_rag_tiny.embedding_folder()
    return qwen3_rag_tiny.reranking_folder()


def _from_hub(spec: LocalSpec) -> Path:
    from huggingface_hub import snapshot_download

    record = published(spec.model)
    revision = spec.options["revision"] or (record.revision if record else None)

    def fetch(local_files_only: bool) -> Path:
        return Path(
            snapshot_download(
                spec.model,
                revision=revision,
                cache_dir=spec.options["cache_folder"],
                local_files_only=local_files_only,
                token=spec.options["token"],
                allow_patterns=FILES,
                ignore_patterns=NOT_FILES,
            )
        )

    # A commit never changes, so a cached commit needs no request to the Hub. Without a network, the
    # client would take half a minute to fail.
    if revision is not None and COMMIT.fullmatch(revision):
        with suppress(Exception):
            folder = fetch(local_files_only=True)
            if _is_complete(folder):
                return folder
    try:
        return fetch(spec.options["local_files_only"])
    except Exception as error:  # the client also raises its HTTP library's errors
        raise _unreachable(spec, "Hugging Face Hub", revision, error) from error


def _is_complete(folder: Path) -> bool:
    """Whether a cached checkpoint has all files; its download may have been interrupted."""
    if (folder / ADAPTER_CONFIG).is_file():
        return (folder / ADAPTER).is_file()
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        weights = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    else:
        weights = {"model.safetensors"}
    return all((folder / name).is_file() for name in ("config.json", "tokenizer.json", *weights))


def _from_modelscope(spec: LocalSpec) -> Path:
    require_extra("modelscope", "modelscope", "A 'modelscope:' model id")
    from modelscope import snapshot_download

    try:
        return Path(
            snapshot_download(
                spec.model.removeprefix(MODELSCOPE),
                revision=spec.options["revision"],
                cache_dir=spec.options["cache_folder"],
                local_files_only=spec.options["local_files_only"],
                token=spec.options["token"],
                allow_patterns=FILES,
                ignore_patterns=NOT_FILES,
            )
        )
    except Exception as error:  # as above
        raise _unreachable(spec, "ModelScope", spec.options["revision"], error) from error


def _unreachable(spec: LocalSpec, hub: str, revision: str | None, error: Exception) -> ModelError:
    where = (
        "in the local cache"
        if spec.options["local_files_only"]
        else f"in the local cache or on {hub}"
    )
    reason = str(error).strip().splitlines()
    return ModelError(
        f"The model {spec.model!r}{f' at revision {revision!r}' if revision else ''} was not found "
        f"{where}: {type(error).__name__}: {reason[0] if reason else 'no details'} "
        "Check the name, the network and, for a private model, `token`; or give a folder that "
        "holds the checkpoint."
    )
