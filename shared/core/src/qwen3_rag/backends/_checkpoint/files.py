"""Finds the files of a checkpoint and reads them with limits, before any library sees them."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from qwen3_rag.errors import ModelError

__all__ = [
    "ADAPTER",
    "ADAPTER_CONFIG",
    "CheckpointFiles",
    "Tensor",
    "adapter_folder",
    "find_files",
    "read_header",
    "read_json",
    "refuse_pointer",
    "shortened",
    "transformer_folder",
]

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER = "adapter_model.safetensors"
#: Files that are read from the folder and from the folders of its modules, where they are there.
SETTINGS = (
    *("config.json", "tokenizer.json", "modules.json", ADAPTER_CONFIG),
    *("config_sentence_transformers.json", "sentence_bert_config.json", "tokenizer_config.json"),
)
# transformers reads it for a reranker. It is about generating text and decides nothing here.
GENERATION = "generation_config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

# Weights of torch's distributed checkpoints, which transformers prefers to all others.
DISTRIBUTED = re.compile(r"shard-\d{5}-model-\d{5}-of-\d{5}\.safetensors")

# Bytes of a safetensors header, a tokenizer and any other JSON file. The largest of published
# Qwen3 models take 100 kB, 11 MB and 100 kB.
HEADER_LIMIT = 4 * 2**20
TOKENIZER_LIMIT = 64 * 2**20
LIMIT = 10 * 2**20

LFS_POINTER = b"version https://git-lfs"

# Bits per number of the types of safetensors.
BITS = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8"), 8),
    **dict.fromkeys(("F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}

MAX_DIMENSIONS = 8
MAX_MODULES = 100


@dataclass(frozen=True)
class CheckpointFiles:
    """The files of a checkpoint that are read. Each is a regular file of the checkpoint.

    Attributes:
        settings: The JSON files that decide results, such as `config.json`.
        weights: The safetensors files that transformers loads.
        adapter: The weights of an adapter beside them, if there is one.
    """

    settings: tuple[Path, ...]
    weights: tuple[Path, ...]
    adapter: tuple[Path, ...]


class Tensor(NamedTuple):
    """A tensor's entry in the header of a safetensors file.

    Attributes:
        dtype: Its type, such as `"BF16"`.
        shape: Its shape.
        start: First byte, counted from the beginning of the file.
        stop: The byte behind the last.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def find_files(folder: Path) -> CheckpointFiles:
    """Find the files of a checkpoint that are read. Reads the lists of modules and weights alone.

    Raises:
        ModelError: One is not a regular file, is outside the checkpoint, is missing though the
            list of weights names it, or is too large for what it holds.
    """
    root = Path(os.path.realpath(folder))
    roots = [root]
    if root.parent.name == "snapshots":  # the cache of the Hub links to the files of all revisions
        roots.append(root.parent.parent / "blobs")

    def there(path: Path) -> bool:
        return _is_there(path, roots)

    settings = [path for name in SETTINGS if there(path := folder / name)]
    for module in _module_folders(folder / "modules.json") if settings else ():
        settings += [path for name in SETTINGS if there(path := folder / module / name)]
    inner = transformer_folder(folder)
    there(inner / GENERATION)
    weights = []
    for name in sorted(_weight_names(inner, there)):
        if not there(inner / name):
            raise ModelError(
                f"{str(inner / name)!r} is missing, though {INDEX} lists it, so its weights "
                "cannot be read. Fetch the checkpoint again."
            )
        weights.append(inner / name)
    home = adapter_folder(folder)
    adapter = [] if home is None else [home / ADAPTER]
    if adapter and not there(adapter[0]):
        raise ModelError(
            f"{str(home)!r} has {ADAPTER_CONFIG} and no {ADAPTER}. Save the adapter again with "
            "peft; other formats, such as adapter_model.bin, can hold code and are not read. If "
            f"the weights contain it already, remove {ADAPTER_CONFIG}."
        )
    return CheckpointFiles(tuple(settings), tuple(weights), tuple(adapter))


def transformer_folder(root: Path) -> Path:
    """Find the folder of the configuration, the tokenizer and the weights.

    Old versions of sentence-transformers gave it a name, such as `0_Transformer`.
    """
    if (root / "config.json").is_file():
        return root
    for name in _module_folders(root / "modules.json"):
        # Each module has a configuration, and this one alone has a tokenizer.
        if _is_inside(f"{name}/{WEIGHTS}") and (root / name / "tokenizer.json").is_file():
            return root / name
    return root


def adapter_folder(root: Path) -> Path | None:
    """Find the folder of an adapter, which may be the transformer's; `None` if there is none."""
    folders = (root, transformer_folder(root))
    return next((folder for folder in folders if (folder / ADAPTER_CONFIG).is_file()), None)


def read_json(path: Path) -> Any:
    """Read a JSON file of a checkpoint.

    Raises:
        ModelError: It cannot be read, or is no JSON.
    """
    try:
        content = path.read_bytes()
        if content.startswith(LFS_POINTER):
            raise _lfs_pointer(path)
        return json.loads(content.decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{path.name} of {str(path.parent)!r} cannot be read: {error}. "
            "Fetch the checkpoint again."
        ) from error


def read_header(path: Path) -> dict[str, Tensor]:
    """Read the header of a safetensors file, and check it against the size of the file.

    The rules are those of the safetensors library: the tensors fill the file without gaps and
    overlaps. They are checked here because that library is asked only after memory was allocated.

    Raises:
        ModelError: The file is truncated, has another format, or contradicts itself.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            first = file.read(8)
            length = int.from_bytes(first, "little")
            if len(first) < 8 or not 2 <= length <= min(HEADER_LIMIT, size - 8):
                if (first + file.read(32)).startswith(LFS_POINTER):
                    raise _lfs_pointer(path)
                raise ValueError(
                    f"it has {size:,} bytes and would have a header of {length:,}, so it is "
                    "truncated, or is no safetensors file"
                )
            header = json.loads(file.read(length).decode())
        return dict(_tensors(header, 8 + length, size))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"The weights of {str(path)!r} cannot be read: {error}. "
            "If a download was interrupted, fetch the file again."
        ) from error


def shortened(value: object) -> str:
    """Show a value from a file in a message, at most 80 characters of it."""
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:80]}..."


def _tensors(header: object, base: int, size: int) -> Iterator[tuple[str, Tensor]]:
    """Check the entries of a header, in the order of their bytes."""
    if not isinstance(header, Mapping):
        raise ValueError("its header is not a dictionary")
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, Mapping) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("its metadata are not a dictionary of strings")
    tensors = [
        (name, _tensor(name, entry, base))
        for name, entry in header.items()
        if name != "__metadata__"
    ]
    end = base
    for name, tensor in sorted(tensors, key=lambda each: each[1][2:]):
        if tensor.start != end:
            raise ValueError(f"the bytes of {shortened(name)} do not follow the tensor before it")
        end = tensor.stop
        yield name, tensor
    if end != size:
        raise ValueError(f"it has {size} bytes, and its header describes {end}")


def _tensor(name: str, entry: object, base: int) -> Tensor:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [start, stop]}:
            whole = [*shape, start, stop]
        case _:
            raise ValueError(f"the header has no type, shape and range for {shortened(name)}")
    if len(shape) > MAX_DIMENSIONS or any(type(n) is not int or not 0 <= n < 2**48 for n in whole):
        raise ValueError(f"the shape or range of {shortened(name)} is not one of whole numbers")
    if dtype not in BITS:
        raise ValueError(f"{shortened(name)} has the unknown type {shortened(dtype)}")
    bits = BITS[dtype]
    for n in shape:
        bits *= n
    if stop - start != bits // 8 or bits % 8:
        raise ValueError(
            f"the shape of {shortened(name)} does not agree with its {stop - start} bytes"
        )
    return Tensor(dtype, tuple(shape), base + start, base + stop)


def _weight_names(folder: Path, there: Callable[[Path], bool]) -> set[str]:
    """List the weight files that transformers loads, in its order of preference."""
    for path in folder.glob("shard-*.safetensors"):
        if DISTRIBUTED.fullmatch(path.name):
            raise ModelError(
                f"{str(path)!r} is part of a distributed checkpoint, which is not read. "
                f"Save the model with save_pretrained, as {WEIGHTS}."
            )
    if there(folder / WEIGHTS):
        return {WEIGHTS}
    if not there(folder / INDEX):
        return set()
    match read_json(folder / INDEX):
        case {"weight_map": dict(names), "metadata": dict()} if names:
            pass
        case _:
            raise ModelError(
                f"{INDEX} of {str(folder)!r} cannot be read: it needs `weight_map` and `metadata`. "
                "Fetch the checkpoint again."
            )
    for name in names.values():
        if not _is_inside(name):
            raise ModelError(
                f"{INDEX} of {str(folder)!r} lists {shortened(name)}. Only *.safetensors files "
                "inside the folder are read; put the weights there, or fetch the checkpoint again."
            )
    return set(names.values())


def _is_inside(name: object) -> bool:
    """Whether a name is one of a safetensors file in the folder, on every system."""
    if not isinstance(name, str) or re.search(r"[\\:\0]", name):
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and path.suffix == ".safetensors"


def _module_folders(path: Path) -> Iterator[str]:
    """List the folders of the modules of sentence-transformers' layout."""
    modules = read_json(path) if path.is_file() else []
    if not isinstance(modules, list):
        return  # `check_layout` says what is wrong with it
    if len(modules) > MAX_MODULES:
        raise ModelError(
            f"{str(path)!r} lists {len(modules):,} modules; no checkpoint has more than "
            f"{MAX_MODULES}. Fetch the checkpoint again."
        )
    for module in modules:
        name = module.get("path") if isinstance(module, Mapping) else None
        if isinstance(name, str) and name not in ("", ".") and "\0" not in name:
            yield name


def _is_there(path: Path, roots: list[Path]) -> bool:
    """Whether a file exists. Does not open it, because opening a pipe can wait forever.

    Raises:
        ModelError: It exists and must not be read.
    """
    if not os.path.lexists(path):
        return False
    try:
        found = path.stat()
    except OSError as error:
        raise ModelError(
            f"{str(path)!r} cannot be read: {error.strerror}. If it is a link, put the file itself "
            "there; otherwise fetch the checkpoint again."
        ) from error
    if not stat.S_ISREG(found.st_mode):
        raise ModelError(
            f"{str(path)!r} is {_kind(found.st_mode)}, not a file. Put the checkpoint's own file "
            "there, or remove it."
        )
    target = Path(os.path.realpath(path))
    if not any(target.is_relative_to(root) for root in roots):
        raise ModelError(
            f"{str(path)!r} leads outside the checkpoint, to {str(target)!r}. Put the file itself "
            "into the folder, or link the whole folder."
        )
    limit = TOKENIZER_LIMIT if path.name == "tokenizer.json" else LIMIT
    if path.suffix == ".json" and found.st_size > limit:
        raise ModelError(
            f"{str(path)!r} has {found.st_size:,} bytes; no checkpoint's has more than {limit:,}, "
            "so it is not read. Fetch the checkpoint again."
        )
    return True


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a named pipe"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"


def refuse_pointer(path: Path) -> None:
    """Check that a file is not what Git LFS keeps in its place.

    Raises:
        ModelError: It is.
    """
    with path.open("rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            raise _lfs_pointer(path)


def _lfs_pointer(path: Path) -> ModelError:
    return ModelError(
        f"{str(path)!r} is a Git LFS pointer, not the file itself. Run `git lfs pull` in the "
        "folder, or fetch the checkpoint again."
    )
