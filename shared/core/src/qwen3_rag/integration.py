"""Building blocks for framework adapters, stores and command-line tools.

Users of the two model classes do not need this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from qwen3_rag._adapter_options import (
    KEY_VARIABLE,
    AdapterOptions,
    adapter_options,
    check_adapter_options,
    running_arguments,
    with_adapter_options,
)
from qwen3_rag._flow import Call, Flow, run, run_async
from qwen3_rag._inputs import (
    check_count,
    check_device,
    check_instruction,
    check_max_length,
    check_min_score,
    check_model,
    check_query,
    check_text,
    check_texts,
    full_path,
)
from qwen3_rag._lazy import LazyModel
from qwen3_rag._model import Closing, ModelBase, arguments_of, backend_of
from qwen3_rag._options import (
    LoadingOptions,
    LocalOptions,
    Option,
    check_options,
    given_options,
    local_options,
)
from qwen3_rag._progress import Progress, progress_bar
from qwen3_rag._prompts import RERANK_PREFIX, RERANK_SUFFIX
from qwen3_rag._published import (
    KNOWN,
    PUBLISHED,
    KnownModel,
    PublishedModel,
    Role,
    published,
)
from qwen3_rag._results import FloatArray
from qwen3_rag._templates import document_prefix, query_template, saved_instruction
from qwen3_rag.backends._checkpoint.hub import TINY, Checkpoint, require_extra, require_own, resolve
from qwen3_rag.backends._checkpoint.layout import check_layout, check_settings
from qwen3_rag.backends._checkpoint.words import read_words
from qwen3_rag.backends._local.cpus import allowed_threads, container_quota
from qwen3_rag.backends._local.loading.trainable import TrainableModel, trainable_model
from qwen3_rag.backends._local.spec import LocalSpec, canonical
from qwen3_rag.backends._remote.spec import plain_headers
from qwen3_rag.errors import MissingExtraError

if TYPE_CHECKING:
    from qwen3_rag.backends._checkpoint.tokens import PromptTokenizer

__all__ = [
    "KEY_VARIABLE",
    "KNOWN",
    "PUBLISHED",
    "RERANK_PREFIX",
    "RERANK_SUFFIX",
    "TINY",
    "AdapterOptions",
    "Call",
    "Checkpoint",
    "Closing",
    "DeviceReport",
    "FloatArray",
    "Flow",
    "KnownModel",
    "LazyModel",
    "LoadingOptions",
    "LocalOptions",
    "ModelBase",
    "Option",
    "Progress",
    "PublishedModel",
    "TrainableModel",
    "adapter_options",
    "allowed_threads",
    "arguments_of",
    "backend_of",
    "canonical",
    "check_adapter_options",
    "check_arguments",
    "check_count",
    "check_device",
    "check_instruction",
    "check_max_length",
    "check_min_score",
    "check_model",
    "check_query",
    "check_text",
    "check_texts",
    "device_report",
    "document_prefix",
    "full_path",
    "given_options",
    "local_options",
    "plain_headers",
    "progress_bar",
    "prompt_tokenizer",
    "published",
    "query_template",
    "require_extra",
    "require_own",
    "resolve_checkpoint",
    "run",
    "run_async",
    "running_arguments",
    "saved_instruction",
    "trainable_model",
    "with_adapter_options",
]


@dataclass(frozen=True)
class DeviceReport:
    """Where the local engine runs, and why.

    Attributes:
        devices: Names of the torch devices.
        dtype: Number format of the weights.
        native_bfloat16: Whether the CPU multiplies bfloat16 natively.
        threads: Threads the engine computes with.
        cpus: CPUs this process may use.
        quota: CPUs its container may use, `None` without a quota.
    """

    devices: tuple[str, ...]
    dtype: str
    native_bfloat16: bool
    threads: int
    cpus: int
    quota: int | None


def check_arguments(kind: type[ModelBase], arguments: Mapping[str, Any]) -> None:
    """Check a model class's arguments, whether or not PyTorch is installed.

    Raises:
        InputError: A value is out of range.
        InputTypeError: A value has the wrong type.
    """
    with suppress(MissingExtraError):  # raised last; reported when the model is used
        kind(**arguments)


def resolve_checkpoint(
    model: str, role: Role, *, weights: bool = True, **options: Unpack[LocalOptions]
) -> Checkpoint:
    """Find a checkpoint on disk, download it if necessary, and check that it can be run.

    Args:
        model: A folder, an id, or `"tiny"`.
        role: Whether the model embeds or reranks.
        weights: Whether its weights are needed; otherwise they are neither downloaded nor checked,
            as for a model on a server.
        **options: Where to look for it: `revision`, `cache_folder`, `local_files_only` and `token`.

    Raises:
        ModelError: It does not exist and cannot be downloaded, or cannot be run.
        MissingExtraError: The id begins with `modelscope:`, and the modelscope package is not
            installed.
    """
    source = LocalSpec(check_model(model), role, check_options(options)).source
    checkpoint = resolve(replace(source, weights=weights))
    (check_layout if weights else check_settings)(checkpoint, role)
    return checkpoint


def prompt_tokenizer(checkpoint: Checkpoint | Path, role: Role) -> PromptTokenizer:
    """Read a checkpoint's tokenizer: it encodes prompts and counts tokens as the engine does.

    Args:
        checkpoint: A checkpoint, or its folder.
        role: The role whose prompts to encode.

    Raises:
        ModelError: It is missing, broken, or lacks a token that the prompts need.
    """
    from qwen3_rag.backends._checkpoint.tokens import PromptTokenizer

    if isinstance(checkpoint, Path):
        return PromptTokenizer.from_folder(checkpoint, role, name=str(checkpoint))
    words = read_words(checkpoint, role)
    return PromptTokenizer.from_folder(
        checkpoint.tokenizer_folder,
        role,
        name=checkpoint.name,
        answers=words.answers,
        max_length=words.max_length,
    )


def device_report(device: object = None, dtype: str | None = None) -> DeviceReport:
    """Report where the local engine would run with these options. Imports torch.

    Raises:
        InputError: The device does not exist, or the dtype is unknown.
    """
    from qwen3_rag.backends._local import device as machine

    devices = machine.choose_devices(check_device(device))
    chosen = machine.choose_dtype(dtype, devices[0], hidden_size=0)
    return DeviceReport(
        devices=devices,
        dtype=str(chosen).removeprefix("torch."),
        native_bfloat16=machine.cpu_has_bfloat16(),
        threads=machine.used_threads(),
        cpus=allowed_threads(),
        quota=container_quota(),
    )
