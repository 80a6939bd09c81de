"""Finds a checkpoint's folder by the model's name, and downloads it if necessary."""

from __future__ import annotations

import importlib.util
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from qwen3_rag._published import Role, published
from qwen3_rag.backends._local.checkpoint.files import transformer_folder
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
    *("config_sentence_transformers.json", "sentence_bert_config.json"),
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
        folder: The folder of `config.json`, the tokenizer and the weights.
        fingerprint: Hash of the content, independent of the folder.
        root: The folder of `modules.json`: `folder`, or for an old layout the one around it.
    """

    name: str
    folder: Path
    fingerprint: str
    root: Path


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


def resolve(spec: LocalSpec) -> Checkpoint:
    """Find the checkpoint's folder, and download it if necessary.

    Raises:
        ModelError: It does not exist and cannot be downloaded.
        MissingExtraError: The id begins with `modelscope:`, and the modelscope package is not
            installed.
    """
    if spec.model == TINY:
        return _found(TINY, _tiny(spec.role))
    try:
        folder = Path(spec.model).expanduser()
        found = folder.is_dir()
    except (OSError, RuntimeError, ValueError):  # too long, no such user, a NUL
        found = False
    if found:
        return _found(spec.model, folder)
    if not NAME.fullmatch(spec.model):
        raise ModelError(
            f"There is no folder {spec.model!r}, and it is not a model id of the form "
            "'owner/name'. Give the folder of a checkpoint, an id of the Hugging Face Hub such as "
            "'Qwen/Qwen3-Embedding-0.6B', or 'modelscope:' and an id."
        )
    fetch = _from_modelscope if spec.model.startswith(MODELSCOPE) else _from_hub
    return _found(spec.model, fetch(spec))


def _found(name: str, root: Path) -> Checkpoint:
    content = fingerprint(root)  # first, because it checks which files may be read
    return Checkpoint(name, transformer_folder(root), content, root)


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
