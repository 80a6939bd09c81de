"""A model's name to a folder on this disk, and what is in it to a fingerprint.

Knows the Hugging Face Hub, ModelScope and the published folder layout; knows no torch. Nothing here
runs before a model is first used.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from qwen3_rag.errors import MissingExtraError, ModelError
from qwen3_rag.models import Role, published

__all__ = ["TINY", "LocalSpec", "Source", "check_layout", "require_extra", "resolve"]

MODELSCOPE = "modelscope:"

#: Names the small trained pair of the package qwen3-rag-tiny; a folder of that name is "./tiny".
TINY = "tiny"

COMMIT = re.compile("[0-9a-f]{40}")
NAME = re.compile(rf"(?:{MODELSCOPE})?[\w-][\w.-]{{0,95}}/[\w-][\w.-]{{0,95}}")

# What a checkpoint needs; other weight formats are neither needed nor safe to read.
FILES = [
    *("config.json", "tokenizer.json", "tokenizer_config.json", "modules.json"),
    *("config_sentence_transformers.json", "sentence_bert_config.json"),
    *("*.safetensors", "*.safetensors.index.json", "*_*/config.json"),
]
# A star matches folders too: checkpoints of a training run, other formats of the weights.
NOT_FILES = ["*/*.safetensors", "*/*.safetensors.index.json", "*/*/*"]

# What a checkpoint's `architectures` may say.
ARCHITECTURES = {"Qwen3Model", "Qwen3ForCausalLM", "Qwen3ForSequenceClassification"}

# Tensors and files up to this size are hashed whole, larger tensors by three samples: whatever a
# fine-tune changes shows, in 0.1 s instead of a minute for 16 GB.
HASHED_WHOLE = 64 * 2**10
SAMPLE = 4_096


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
        compile: Whether torch compiles what it can.
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
    compile: bool = False
    cache_folder: str | None = None
    local_files_only: bool = False
    token: str | None = field(default=None, repr=False)
    model_kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def canonical_kwargs(self) -> str:
        """`model_kwargs` as one string, equal for equal content."""
        return _canonical(self.model_kwargs)


def _canonical(value: Any) -> str:
    if hasattr(value, "to_dict"):
        value = value.to_dict()
    if isinstance(value, Mapping):
        items = sorted((repr(key), _canonical(item)) for key, item in value.items())
        return f"{{{', '.join(f'{key}: {item}' for key, item in items)}}}"
    return repr(value)


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
    if spec.model == TINY:
        folder = _tiny(spec.role)
        return Source(TINY, folder, fingerprint(folder))
    try:
        folder = Path(spec.model).expanduser()
        found = folder.is_dir()
    except (OSError, RuntimeError, ValueError):  # too long, no such user, a NUL
        found = False
    if found:
        return Source(spec.model, folder, fingerprint(folder))
    if not NAME.fullmatch(spec.model):
        raise ModelError(
            f"There is no folder {spec.model!r}, and it is not a model id of the form "
            "'owner/name'. Give the folder of a checkpoint, an id of the Hugging Face Hub such as "
            "'Qwen/Qwen3-Embedding-0.6B', or 'modelscope:' and an id."
        )
    fetch = _from_modelscope if spec.model.startswith(MODELSCOPE) else _from_hub
    folder = fetch(spec)
    return Source(spec.model, folder, fingerprint(folder))


def _tiny(role: Role) -> Path:
    """Find the small trained pair that comes as a package."""
    require_extra("qwen3_rag_tiny", "tiny", f"The model {TINY!r}")
    import qwen3_rag_tiny

    if role == "embedding":
        return qwen3_rag_tiny.embedding_folder()
    return qwen3_rag_tiny.reranking_folder()


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
                allow_patterns=FILES,
                ignore_patterns=NOT_FILES,
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
                allow_patterns=FILES,
                ignore_patterns=NOT_FILES,
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
    for name in ("config.json", "tokenizer.json"):
        if (folder / name).is_file():
            digest.update((folder / name).read_bytes())
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(f"{path.name}:{path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            for start, stop in _samples(file):
                file.seek(start)
                digest.update(file.read(stop - start))
    return digest.hexdigest()[:32]


def _samples(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Give the parts of a safetensors file to hash: its header, small tensors, parts of others."""
    length = int.from_bytes(file.read(8), "little")
    try:
        header = json.loads(file.read(length)) if length < 2**30 else {}
        places = sorted(
            tuple(entry["data_offsets"]) for key, entry in header.items() if key != "__metadata__"
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        places = []  # truncated or no such file: loading will say so
    base = 8 + length
    yield 0, min(base, 2**26)
    for start, stop in places:
        if stop - start <= HASHED_WHOLE:
            yield base + start, base + stop
            continue
        middle = (start + stop) // 2
        for sample in (start, middle, stop - SAMPLE):
            yield base + sample, base + sample + SAMPLE


def check_layout(source: Source, role: Role) -> dict[str, Any]:
    """Read `config.json` and make sure the folder holds a checkpoint this project can run.

    Raises:
        ModelError: Not a checkpoint, another family, or one trained for another use.
    """
    config = _read_json(source, "config.json")
    if config is None:
        raise ModelError(
            f"The folder {str(source.folder)!r} has no config.json, so it is not a checkpoint. "
            "Give the folder that holds config.json, tokenizer.json and *.safetensors."
        )
    if not isinstance(config, dict):
        raise ModelError(
            f"config.json of {source.name!r} holds no settings. Fetch the checkpoint again."
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
    changes = set(config.get("architectures") or ()) - ARCHITECTURES
    if (activation := config.get("hidden_act", "silu")) != "silu":
        changes.add(f"activation {activation!r}")
    if changes or "auto_map" in config or config.get("is_causal") is False:
        raise ModelError(
            f"{source.name!r} is built on Qwen3 but changes it ({', '.join(changes) or 'own code'}"
            "), so its numbers would be wrong here. Use the software it was published for."
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
    try:
        kinds = {str(m["type"]).rpartition(".")[2]: str(m.get("path", "")) for m in modules}
    except (AttributeError, KeyError, TypeError) as error:
        raise ModelError(
            f"modules.json of {source.name!r} cannot be understood: {error!r}. Fetch the "
            "checkpoint again, or delete the file."
        ) from error
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
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{name} of {source.name!r} cannot be read: {error}. Fetch the checkpoint again."
        ) from error
