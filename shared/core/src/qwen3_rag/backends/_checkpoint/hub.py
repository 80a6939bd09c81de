"""Finds a checkpoint's folder by the model's name, and downloads it if necessary."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, Queue

from qwen3_rag._published import Role, published
from qwen3_rag.backends._checkpoint.adapter_config import check_adapter
from qwen3_rag.backends._checkpoint.advice import at_hand, no_folder, similar
from qwen3_rag.backends._checkpoint.files import (
    ADAPTER,
    ADAPTER_CONFIG,
    adapter_folder,
    find_files,
    read_json,
    shortened,
    transformer_folder,
)
from qwen3_rag.backends._checkpoint.fingerprint import earlier_fingerprint, fingerprint
from qwen3_rag.backends._forks import imports
from qwen3_rag.errors import MissingExtraError, ModelError

__all__ = ["TINY", "Checkpoint", "Source", "require_extra", "resolve"]

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
class Source:
    """Where to look for a checkpoint.

    Attributes:
        model: Folder, Hub id or `modelscope:` id.
        role: Whether it embeds or reranks.
        revision: Branch, tag or commit; `None` for the pinned commit of a published model, else the
            newest.
        cache_folder: Where downloads are kept; `None` for the hub's own folder.
        local_files_only: Whether nothing may be downloaded.
        token: Access token for private models.
        weights: Whether the weights are needed, or only what describes them.
    """

    model: str
    role: Role
    revision: str | None = None
    cache_folder: str | None = None
    local_files_only: bool = False
    token: str | None = field(default=None, repr=False)
    weights: bool = True


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

    Args:
        package: The name it is imported by.
        extra: The extra of this package that installs it. pip finds no package of this project on
            an index, but takes the extras of one that is installed.
        purpose: What needs it.

    Raises:
        MissingExtraError: It is not installed.
    """
    _require(package, purpose, f'with: pip install "qwen3-rag[{extra}]"')


def require_own(package: str, folder: str, purpose: str) -> None:
    """Check that another package of this project is installed, without importing it.

    Args:
        package: The name it is imported by.
        folder: Its folder in the repository.
        purpose: What needs it.

    Raises:
        MissingExtraError: It is not installed.
    """
    _require(package, purpose, f"in a clone of this project with: pip install ./{folder}")


def _require(package: str, purpose: str, how: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(f"{purpose} needs the package {package!r}. Install it {how}")


def resolve(source: Source, above: tuple[Path, ...] = ()) -> Checkpoint:
    """Find the checkpoint's folder, and download it if necessary.

    Args:
        source: The model, and where to look for it.
        above: The adapters whose base model it is.

    Raises:
        ModelError: It does not exist and cannot be downloaded.
        MissingExtraError: The id begins with `modelscope:`, or it is an adapter, and the package
            for that is not installed.
    """
    if source.model == TINY:
        return _found(source, _tiny(source.role), above)
    try:
        folder = Path(source.model).expanduser()
        found = folder.is_dir()
    except (OSError, RuntimeError, ValueError):  # too long, no such user, a NUL
        found = False
    if found:
        return _found(source, folder, above)
    if (error := no_folder(source.model)) is not None:
        raise error
    if not NAME.fullmatch(source.model):
        raise ModelError(
            f"There is no folder {source.model!r}, and it is not a model id of the form "
            f"'owner/name'.{similar(source.model, source.role)} Give a checkpoint's folder, an "
            "id of the Hugging Face Hub such as 'Qwen/Qwen3-Embedding-0.6B', or 'modelscope:' and "
            "an id."
        )
    fetch = _from_modelscope if source.model.startswith(MODELSCOPE) else _from_hub
    return _found(source, fetch(source), above)


def _found(source: Source, folder: Path, above: tuple[Path, ...]) -> Checkpoint:
    """Describe a folder; for an adapter, with its base model.

    Args:
        source: What is looked for.
        folder: Where it was found.
        above: The adapters whose base model it is.
    """
    own = fingerprint(folder)  # first, because it checks which files may be read
    home = adapter_folder(folder)
    if home is None:
        earlier = earlier_fingerprint(folder)
        inner = transformer_folder(folder)
        return Checkpoint(source.model, inner, own, folder, earlier_fingerprint=earlier)
    require_extra("peft", "peft", f"The adapter {source.model!r}")
    files = find_files(folder)
    check_adapter(home / ADAPTER_CONFIG, files.adapter)
    if files.weights:  # those of the base model, beside the adapter
        return Checkpoint(source.model, transformer_folder(folder), own, folder, (home,))
    base = _base(source, home, (*above, folder.resolve()))
    both = hashlib.sha256(f"{base.fingerprint} {own}".encode()).hexdigest()[:32]
    root = folder if any((folder / name).is_file() for name in LAYOUT) else base.root
    return Checkpoint(source.model, base.folder, both, root, (*base.adapters, home))


def _base(source: Source, folder: Path, above: tuple[Path, ...]) -> Checkpoint:
    """Find the base model of an adapter, which may be an adapter itself."""
    config = read_json(folder / ADAPTER_CONFIG)
    settings = config if isinstance(config, dict) else {}
    name, revision = settings.get("base_model_name_or_path"), settings.get("revision")
    above = (*above, folder.resolve())
    if not isinstance(name, str) or not name or not _leads_on(name, above):
        raise ModelError(
            f"{ADAPTER_CONFIG} of {source.model!r} names the base model {shortened(name)}. Enter "
            "the id or folder of the model that was adapted as `base_model_name_or_path`."
        )
    pinned = revision if isinstance(revision, str) else None
    try:
        return resolve(replace(source, model=name, revision=pinned), above)
    except ModelError as error:
        raise ModelError(
            f"{source.model!r} is an adapter, and its base model cannot be opened: {error} If it "
            "is elsewhere, enter its id or folder as `base_model_name_or_path` in "
            f"{ADAPTER_CONFIG}."
        ) from error


def _leads_on(name: str, above: tuple[Path, ...]) -> bool:
    """Whether the name of a base model is none of the adapters above it."""
    try:
        return Path(name).resolve() not in above
    except (OSError, RuntimeError, ValueError):  # a circle of links, a NUL, half a character
        return False


def _tiny(role: Role) -> Path:
    """Find the model for a role in the package qwen3-rag-tiny."""
    require_own("qwen3_rag_tiny", "shared/tiny", f"The model {TINY!r}")
    with imports:
        import qwen3_rag_tiny

    if role == "embedding":
        return qwen3_rag_tiny.embedding_folder()
    return qwen3_rag_tiny.reranking_folder()


def _from_hub(source: Source) -> Path:
    with imports:
        from huggingface_hub import constants, snapshot_download

    record = published(source.model)
    revision = source.revision or (record.revision if record else None)

    def fetch(local_files_only: bool) -> Path:
        return Path(
            snapshot_download(
                source.model,
                revision=revision,
                cache_dir=source.cache_folder,
                local_files_only=local_files_only,
                token=source.token,
                allow_patterns=FILES,
                ignore_patterns=_not_files(source),
            )
        )

    # A commit never changes, so a cached commit needs no request to the Hub.
    if revision is not None and COMMIT.fullmatch(revision):
        with suppress(Exception):
            folder = fetch(local_files_only=True)
            if _is_complete(folder, source.weights):
                return folder
    offline = source.local_files_only
    # Without a network, the client would try again and again for half a minute or more.
    reason = "" if offline else _why_unreachable(f"{constants.ENDPOINT}/api/models/{source.model}")
    try:
        folder = fetch(offline or reason != "")
    except Exception as error:  # the client also raises its HTTP library's errors
        raise _not_found(source, "the Hugging Face Hub", revision, reason, error) from error
    if (offline or reason) and not _has_some(folder, source.weights):
        raise ModelError(
            f"The download of {source.model!r} was interrupted, and it cannot go on without the "
            f"network{f' ({reason})' if reason else ''}. Connect and try again; it goes on where "
            "it stopped."
        )
    return folder


def _why_unreachable(address: str) -> str:
    """Say why a hub cannot be reached; empty if it answers, with whatever answer."""
    with imports:
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


def _not_files(source: Source) -> list[str]:
    return NOT_FILES if source.weights else [*NOT_FILES, "*.safetensors"]


def _has_some(folder: Path, weights: bool) -> bool:
    """Whether a cached checkpoint has a file of those that are downloaded last."""
    if not weights:
        return _is_complete(folder, weights)
    return any(transformer_folder(folder).glob("*.safetensors"))


def _is_complete(folder: Path, weights: bool) -> bool:
    """Whether a cached checkpoint has all files; its download may have been interrupted."""
    if (home := adapter_folder(folder)) is not None:
        return not weights or (home / ADAPTER).is_file()
    folder = transformer_folder(folder)
    described = all((folder / name).is_file() for name in ("config.json", "tokenizer.json"))
    if not described or not weights:
        return described
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    else:
        names = {"model.safetensors"}
    return all((folder / name).is_file() for name in names)


def _from_modelscope(source: Source) -> Path:
    require_extra("modelscope", "modelscope", "A 'modelscope:' model id")
    with imports:
        from modelscope import snapshot_download

    offline = source.local_files_only
    address = os.environ.get("MODELSCOPE_DOMAIN", "www.modelscope.cn")
    reason = "" if offline else _why_unreachable(f"https://{address.rpartition('//')[2]}")
    try:
        return Path(
            snapshot_download(
                source.model.removeprefix(MODELSCOPE),
                revision=source.revision,
                cache_dir=source.cache_folder,
                local_files_only=offline or reason != "",
                token=source.token,
                allow_patterns=FILES,
                ignore_patterns=_not_files(source),
            )
        )
    except Exception as error:  # as above
        raise _not_found(source, "ModelScope", source.revision, reason, error) from error


def _not_found(
    source: Source, hub: str, revision: str | None, unreachable: str, error: Exception
) -> ModelError:
    with imports:
        from huggingface_hub import constants

    name = f"{source.model!r}{f' at revision {revision!r}' if revision else ''}"
    absent = f"The model {name} is neither a folder here nor in the local cache"
    if source.local_files_only:
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
    cache = Path(source.cache_folder or constants.HF_HUB_CACHE)
    return ModelError(said + similar(source.model, source.role) + at_hand(source.role, cache))
