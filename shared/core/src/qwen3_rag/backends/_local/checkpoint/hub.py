"""Finds a checkpoint's folder by the model's name, and downloads it if necessary."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, Queue

from qwen3_rag._published import Role, published
from qwen3_rag.backends._local.checkpoint.adapter_config import check_adapter
from qwen3_rag.backends._local.checkpoint.advice import at_hand, no_folder, similar
from qwen3_rag.backends._local.checkpoint.files import (
    ADAPTER,
    ADAPTER_CONFIG,
    adapter_folder,
    find_files,
    read_json,
    shortened,
    transformer_folder,
)
from qwen3_rag.backends._local.checkpoint.fingerprint import earlier_fingerprint, fingerprint
from qwen3_rag.backends._local.spec import LocalSpec
from qwen3_rag.errors import MissingExtraError, ModelError

__all__ = ["TINY", "Checkpoint", "require_extra", "resolve"]

MODELSCOPE = "modelscope:"

#: The name of both models in the package qwen3-rag-tiny. To open a folder of that name, use
#: "./tiny".
TINY = "tiny"

COMMIT = re.compile("[0-9a-f]{40}")
#: How long a hub may take to answer at all.
WAIT_SECONDS = 1.5

NAME = re.compile(rf"(?:{MODELSCOPE})?[\w-][\w.-]{{0,95}}/[\w-][\w.-]{{0,95}}")

# The files of sentence-transformers, which say how a model is used.
LAYOUT = ("modules.json", "config_sentence_transformers.json")

# The files to download. Other weight formats are not needed and not safe to load.
FILES = [
    *("config.json", "tokenizer.json", "tokenizer_config.json", "modules.json"),
    *("config_sentence_transformers.json", "sentence_bert_config.json", ADAPTER_CONFIG),
    *("*.safetensors", "*.safetensors.index.json", "*_*/config.json"),
    *("0_*/tokenizer.json", "0_*/tokenizer_config.json", "0_*/sentence_bert_config.json"),
    f"0_*/{ADAPTER_CONFIG}",
]
# The pattern `*` also matches files in folders, such as a training run's checkpoints or weights in
# other formats. The first module of an old layout is the one exception.
NOT_FILES = ["[!0]*/*.safetensors", "[!0]*/*.safetensors.index.json", "*/*/*"]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk.

    Attributes:
        name: The model's name, as given by the caller.
        folder: The folder of `config.json` and the weights.
        fingerprint: Hash of the content, independent of the folder.
        root: The folder of `modules.json`: `folder`, or for an old layout the one around it, or the
            adapter's.
        adapters: The folders of the adapters to add to the weights, in order.
        earlier_fingerprint: Hash by the rule of the first release, which collections made with it
            have in their records; `None` for what it could not open.
    """

    name: str
    folder: Path
    fingerprint: str
    root: Path
    adapters: tuple[Path, ...] = ()
    earlier_fingerprint: str | None = None

    @property
    def tokenizer_folder(self) -> Path:
        """The folder of the tokenizer: the last adapter's that has one, or `folder`."""
        for adapter in reversed(self.adapters):
            if (adapter / "tokenizer.json").is_file():
                return adapter
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
    if (error := no_folder(spec.model)) is not None:
        raise error
    if not NAME.fullmatch(spec.model):
        raise ModelError(
            f"There is no folder {spec.model!r}, and it is not a model id of the form "
            f"'owner/name'.{similar(spec.model, spec.role)} Give the folder of a checkpoint, an id "
            "of the Hugging Face Hub such as 'Qwen/Qwen3-Embedding-0.6B', or 'modelscope:' and an "
            "id."
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
    own = fingerprint(folder)  # first, because it checks which files may be read
    home = adapter_folder(folder)
    if home is None:
        earlier = earlier_fingerprint(folder)
        inner = transformer_folder(folder)
        return Checkpoint(spec.model, inner, own, folder, earlier_fingerprint=earlier)
    require_extra("peft", "peft", f"The adapter {spec.model!r}")
    files = find_files(folder)
    check_adapter(home / ADAPTER_CONFIG, files.adapter)
    if files.weights:  # those of the base model, beside the adapter
        return Checkpoint(spec.model, transformer_folder(folder), own, folder, (home,))
    base = _base(spec, home, (*above, folder.resolve()))
    both = hashlib.sha256(f"{base.fingerprint} {own}".encode()).hexdigest()[:32]
    root = folder if any((folder / name).is_file() for name in LAYOUT) else base.root
    return Checkpoint(spec.model, base.folder, both, root, (*base.adapters, home))


def _base(spec: LocalSpec, folder: Path, above: tuple[Path, ...]) -> Checkpoint:
    """Find the base model of an adapter, which may be an adapter itself."""
    config = read_json(folder / ADAPTER_CONFIG)
    settings = config if isinstance(config, dict) else {}
    name, revision = settings.get("base_model_name_or_path"), settings.get("revision")
    above = (*above, folder.resolve())
    if not isinstance(name, str) or not name or not _leads_on(name, above):
        raise ModelError(
            f"{ADAPTER_CONFIG} of {spec.model!r} names the base model {shortened(name)}. Enter the "
            "id or folder of the model that was adapted as `base_model_name_or_path`."
        )
    options = spec.options | {"revision": revision if isinstance(revision, str) else None}
    try:
        return resolve(replace(spec, model=name, options=options), above)
    except ModelError as error:
        raise ModelError(
            f"{spec.model!r} is an adapter, and its base model cannot be opened: {error} If it is "
            f"elsewhere, enter its id or folder as `base_model_name_or_path` in {ADAPTER_CONFIG}."
        ) from error


def _leads_on(name: str, above: tuple[Path, ...]) -> bool:
    """Whether the name of a base model is none of the adapters above it."""
    try:
        return Path(name).resolve() not in above
    except (OSError, RuntimeError, ValueError):  # a circle of links, a NUL, half a character
        return False


def _tiny(role: Role) -> Path:
    """Find the model for a role in the package qwen3-rag-tiny."""
    require_extra("qwen3_rag_tiny", "tiny", f"The model {TINY!r}")
    import qwen3_rag_tiny

    if role == "embedding":
        return qwen3_rag_tiny.embedding_folder()
    return qwen3_rag_tiny.reranking_folder()


def _from_hub(spec: LocalSpec) -> Path:
    from huggingface_hub import constants, snapshot_download

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

    # A commit never changes, so a cached commit needs no request to the Hub.
    if revision is not None and COMMIT.fullmatch(revision):
        with suppress(Exception):
            folder = fetch(local_files_only=True)
            if _is_complete(folder):
                return folder
    offline = spec.options["local_files_only"]
    # Without a network, the client would try again and again for half a minute or more.
    reason = "" if offline else _why_unreachable(f"{constants.ENDPOINT}/api/models/{spec.model}")
    try:
        folder = fetch(offline or reason != "")
    except Exception as error:  # the client also raises its HTTP library's errors
        raise _not_found(spec, "the Hugging Face Hub", revision, reason, error) from error
    if (offline or reason) and not any(transformer_folder(folder).glob("*.safetensors")):
        raise ModelError(
            f"The download of {spec.model!r} was interrupted, and it cannot go on without the "
            f"network{f' ({reason})' if reason else ''}. Connect and try again; it goes on where "
            "it stopped."
        )
    return folder


def _why_unreachable(address: str) -> str:
    """Say why a hub cannot be reached; empty if it answers, with whatever answer."""
    from huggingface_hub import constants, get_session

    wait = constants.HF_HUB_ETAG_TIMEOUT if "HF_HUB_ETAG_TIMEOUT" in os.environ else WAIT_SECONDS
    reasons: Queue[str] = Queue()

    def ask() -> None:
        try:
            get_session().head(address, timeout=wait)
            reasons.put("")
        except Exception as error:  # the client's HTTP library has errors of its own
            reasons.put(str(error) or type(error).__name__)

    # On a thread, because looking up the address has no time limit.
    threading.Thread(target=ask, name="qwen3-rag-reach", daemon=True).start()
    try:
        return reasons.get(timeout=wait)
    except Empty:
        return f"no answer within {wait} seconds; HF_HUB_ETAG_TIMEOUT sets another time"


def _is_complete(folder: Path) -> bool:
    """Whether a cached checkpoint has all files; its download may have been interrupted."""
    if (home := adapter_folder(folder)) is not None:
        return (home / ADAPTER).is_file()
    folder = transformer_folder(folder)
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        weights = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    else:
        weights = {"model.safetensors"}
    return all((folder / name).is_file() for name in ("config.json", "tokenizer.json", *weights))


def _from_modelscope(spec: LocalSpec) -> Path:
    require_extra("modelscope", "modelscope", "A 'modelscope:' model id")
    from modelscope import snapshot_download

    offline = spec.options["local_files_only"]
    address = os.environ.get("MODELSCOPE_DOMAIN", "www.modelscope.cn")
    reason = "" if offline else _why_unreachable(f"https://{address.rpartition('//')[2]}")
    try:
        return Path(
            snapshot_download(
                spec.model.removeprefix(MODELSCOPE),
                revision=spec.options["revision"],
                cache_dir=spec.options["cache_folder"],
                local_files_only=offline or reason != "",
                token=spec.options["token"],
                allow_patterns=FILES,
                ignore_patterns=NOT_FILES,
            )
        )
    except Exception as error:  # as above
        raise _not_found(spec, "ModelScope", spec.options["revision"], reason, error) from error


def _not_found(
    spec: LocalSpec, hub: str, revision: str | None, unreachable: str, error: Exception
) -> ModelError:
    from huggingface_hub import constants

    name = f"{spec.model!r}{f' at revision {revision!r}' if revision else ''}"
    absent = f"The model {name} is neither a folder here nor in the local cache"
    if spec.options["local_files_only"]:
        said = (
            f"{absent}, and `local_files_only` forbids to download it. Allow that, or give the "
            "folder of a checkpoint."
        )
    elif unreachable:
        said = (
            f"{absent}, and {hub} cannot be reached ({unreachable}). Connect to the network, or "
            "give the folder of a checkpoint."
        )
    else:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        said = (
            f"{absent}, and could not be fetched from {hub}: {lines[0].removesuffix('.')}. Check "
            "the name and, for a private model, `token`, or give the folder of a checkpoint."
        )
    cache = Path(spec.options["cache_folder"] or constants.HF_HUB_CACHE)
    return ModelError(said + similar(spec.model, spec.role) + at_hand(spec.role, cache))
