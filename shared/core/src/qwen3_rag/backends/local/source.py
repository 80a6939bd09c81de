"""A model's name to a folder on this disk, and what is in it to a fingerprint.

Knows the Hugging Face Hub, ModelScope and the published folder layout; knows no torch. Nothing here
runs before a model is first used.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qwen3_rag.errors import MissingExtraError, ModelError
from qwen3_rag.models import Role, published

__all__ = ["LocalSpec", "Source", "check_layout", "require_extra", "resolve"]

MODELSCOPE = "modelscope:"

COMMIT = re.compile("[0-9a-f]{40}")

# What a checkpoint needs; other weight formats are neither needed nor safe to read.
PATTERNS = ["*.json", "*.safetensors", "*/config.json"]

# Files up to this size are hashed whole, larger ones by samples: enough to tell two checkpoints
# apart, and 0.1 s instead of a minute for 16 GB.
HASHED_WHOLE = 32 * 2**20
SAMPLES = 256
SAMPLE_SIZE = 4_096


@dataclass(frozen=True)
class LocalSpec:
    """What to load and how, as the caller said it; picklable, comparable, without weights.

    Attributes:
        model: Folder, Hub id or `modelscope:` id.
        role: What the model is to do.
        revision: Branch, tag or commit; `None` takes the pinned one, else the main branch.
        device: A torch device, several, or `None` to choose.
        dtype: Number format, or `None` to choose.
        attention: `"sdpa"`, `"eager"`, or `None` to choose.
        batch_tokens: Tokens per batch, or `None` to choose by device.
        cache_folder: Where downloads are kept; the hub client's own place when `None`.
        local_files_only: Whether to do without the network.
        token: Access token for private repositories.
        model_kwargs: Further arguments of transformers' `from_pretrained`.
    """

    model: str
    role: Role
    revision: str | None = None
    device: str | Sequence[str] | None = None
    dtype: str | None = None
    attention: str | None = None
    batch_tokens: int | None = None
    cache_folder: str | None = None
    local_files_only: bool = False
    token: str | None = field(default=None, repr=False)
    model_kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def canonical_kwargs(self) -> str:
        """`model_kwargs` as one string, equal for equal content."""
        return json.dumps(
            self.model_kwargs,
            sort_keys=True,
            default=lambda value: value.to_dict() if hasattr(value, "to_dict") else repr(value),
        )


@dataclass(frozen=True)
class Source:
    """A checkpoint on this disk.

    Attributes:
        name: For people and messages.
        folder: Where it lies.
        fingerprint: Equal for equal content wherever it lies.
    """

    name: str
    folder: Path
    fingerprint: str


def require_extra(package: str, extra: str, purpose: str) -> None:
    """Make sure an optional dependency can be imported, without importing it.

    Raises:
        MissingExtraError: It is not installed.
    """
    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(
            f"{purpose} needs the package {package!r}. "
            f'Install it with: pip install "qwen3-rag[{extra}]"'
        )


def resolve(spec: LocalSpec) -> Source:
    """Find the checkpoint's folder, downloading it if need be.

    Raises:
        ModelError: It is not there and cannot be fetched.
        MissingExtraError: A `modelscope:` id without the modelscope package.
    """
    folder = Path(spec.model).expanduser()
    if folder.is_dir():
        return Source(spec.model, folder, fingerprint(folder))
    if folder.is_absolute() or spec.model.startswith((".", "~")) or spec.model.count("/") != 1:
        raise ModelError(
            f"There is no folder {spec.model!r}, and it is not a model id of the form "
            "'owner/name'. Give the folder of a checkpoint, an id of the Hugging Face Hub such as "
            "'Qwen/Qwen3-Embedding-0.6B', or 'modelscope:' and an id."
        )
    fetch = _from_modelscope if spec.model.startswith(MODELSCOPE) else _from_hub
    folder = fetch(spec)
    return Source(spec.model, folder, fingerprint(folder))


def _from_hub(spec: LocalSpec) -> Path:
    from huggingface_hub import snapshot_download

    record = published(spec.model)
    revision = spec.revision or (record.revision if record else None)

    def fetch(local_files_only: bool) -> Path:
        return Path(
            snapshot_download(
                spec.model,
                revision=revision,
                cache_dir=spec.cache_folder,
                local_files_only=local_files_only,
                token=spec.token,
                allow_patterns=PATTERNS,
            )
        )

    # A commit never changes, so what is in the cache needs no look at the Hub, which without a
    # network takes the client half a minute to give up on.
    if revision is not None and COMMIT.fullmatch(revision):
        with suppress(Exception):
            folder = fetch(local_files_only=True)
            if _is_complete(folder):
                return folder
    try:
        return fetch(spec.local_files_only)
    except Exception as error:  # the client lets its transport's errors through
        raise _unreachable(spec, "Hugging Face Hub", revision, error) from error


def _is_complete(folder: Path) -> bool:
    """Tell whether a cached checkpoint has all its parts; a download may have been interrupted."""
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
                revision=spec.revision,
                cache_dir=spec.cache_folder,
                local_files_only=spec.local_files_only,
                token=spec.token,
                allow_patterns=PATTERNS,
            )
        )
    except Exception as error:  # as above
        raise _unreachable(spec, "ModelScope", spec.revision, error) from error


def _unreachable(spec: LocalSpec, hub: str, revision: str | None, error: Exception) -> ModelError:
    where = "in the local cache" if spec.local_files_only else f"in the local cache or on {hub}"
    reason = str(error).strip().splitlines()
    return ModelError(
        f"The model {spec.model!r}{f' at revision {revision!r}' if revision else ''} was not found "
        f"{where}: {type(error).__name__}: {reason[0] if reason else 'no details'} "
        "Check the name, the network and, for a private model, `token`; or give a folder that "
        "holds the checkpoint."
    )


def fingerprint(folder: Path) -> str:
    """Digest what decides a checkpoint's numbers, large files by samples."""
    digest = hashlib.sha256()
    names = (folder / "config.json", folder / "tokenizer.json", *folder.glob("*.safetensors"))
    for path in sorted(path for path in names if path.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}\n".encode())
        with path.open("rb") as file:
            if size <= HASHED_WHOLE:
                digest.update(file.read())
                continue
            for sample in range(SAMPLES):
                file.seek(sample * (size - SAMPLE_SIZE) // (SAMPLES - 1))
                digest.update(file.read(SAMPLE_SIZE))
    return digest.hexdigest()[:32]


def check_layout(source: Source, role: Role) -> dict[str, Any]:
    """Read `config.json` and make sure the folder holds a checkpoint this project can run.

    Raises:
        ModelError: Not a checkpoint, another family, or one trained for another use.
    """
    config: dict[str, Any] | None = _read_json(source, "config.json")
    if config is None:
        raise ModelError(
            f"The folder {str(source.folder)!r} has no config.json, so it is not a checkpoint. "
            "Give the folder that holds config.json, tokenizer.json and *.safetensors."
        )
    if config.get("model_type") != "qwen3":
        raise ModelError(
            f"{source.name!r} is of the family {config.get('model_type')!r}; only 'qwen3' "
            "checkpoints (Qwen3-Embedding, Qwen3-Reranker and their fine-tunes) can be run here."
        )
    if "sliding_attention" in (config.get("layer_types") or ()) or config.get("use_sliding_window"):
        raise ModelError(
            f"{source.name!r} uses sliding-window attention, which no Qwen3 embedding or reranking "
            "checkpoint does and which is not implemented here."
        )
    if not any(source.folder.glob("*.safetensors")):
        raise ModelError(
            f"{source.name!r} has no *.safetensors file. Other weight formats are not read; "
            "convert them with transformers' save_pretrained."
        )
    _check_modules(source, role)
    return config


def _check_modules(source: Source, role: Role) -> None:
    """Refuse what sentence-transformers' files say was trained for another use."""
    modules = _read_json(source, "modules.json")
    if modules is None:
        return
    kinds = {str(m.get("type", "")).rpartition(".")[2]: str(m.get("path", "")) for m in modules}
    if role == "embedding" and "LogitScore" in kinds:
        raise ModelError(
            f"{source.name!r} is a reranker. Open it with Qwen3Reranker, or give Qwen3Embedder an "
            "embedding model."
        )
    if role == "reranking" and "Pooling" in kinds:
        raise ModelError(
            f"{source.name!r} is an embedding model. Open it with Qwen3Embedder, or give "
            "Qwen3Reranker a reranking model."
        )
    if "Pooling" in kinds:
        pooling = _read_json(source, f"{kinds['Pooling']}/config.json") or {}
        if pooling.get("pooling_mode_lasttoken") is False or pooling.get(
            "pooling_mode", "lasttoken"
        ) not in ("lasttoken", ["lasttoken"]):
            raise ModelError(
                f"{source.name!r} was trained with a pooling other than the last token's, so its "
                "vectors would be wrong here. Use sentence-transformers for it."
            )
    if "Dense" in kinds:
        raise ModelError(
            f"{source.name!r} has a dense layer behind its pooling, which is not implemented here. "
            "Use sentence-transformers for it."
        )


def _read_json(source: Source, name: str) -> Any:
    path = source.folder / name
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{name} of {source.name!r} cannot be read: {error}. Fetch the checkpoint again."
        ) from error
