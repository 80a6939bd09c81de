"""SLERP merging of checkpoints, tensor by tensor, without loading a whole checkpoint.

Spherical interpolation as in the Qwen3 Embedding report (arXiv 2506.05176, section 3.3).
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from qwen3_rag.errors import InputError, ModelError
from qwen3_rag_training.checkpoints import make_folder

__all__ = ["MergeReport", "Merging", "TensorAngle", "merge", "slerp"]

# Below this sine, the formula divides rounding errors by rounding errors.
_NEARLY_PARALLEL = 1e-6

_PREFIX = "model."


@dataclass(frozen=True, kw_only=True)
class Merging:
    """The checkpoints to merge, and their weights.

    Attributes:
        models: Two or more checkpoint folders of one architecture.
        output: Folder for the result; configuration and tokenizer come from the first model.
        shares: One positive, finite weight per model; equal weights when omitted.
    """

    models: tuple[Path, ...]
    output: Path
    shares: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if len(self.models) < 2:
            raise InputError(f"Merging needs two or more models, got {len(self.models)}.")
        shares = self.shares
        if shares is not None and (
            len(shares) != len(self.models)
            or not all(0 < share < math.inf for share in shares)
            or not math.isfinite(sum(shares))
        ):
            raise InputError(
                f"`shares` must be one positive, finite number per model, got {shares} for "
                f"{len(self.models)} models."
            )


@dataclass(frozen=True, slots=True)
class TensorAngle:
    """The angles between a tensor's versions in the merged checkpoints.

    Attributes:
        name: The tensor's name.
        angles: Angles in radians between the running merge and each further checkpoint.
        linear: Whether any interpolation fell back to linear.
    """

    name: str
    angles: tuple[float, ...]
    linear: bool


@dataclass(frozen=True)
class MergeReport:
    """The result of a merge.

    Attributes:
        folder: The merged checkpoint's folder.
        tensors: One entry per interpolated tensor.
    """

    folder: Path
    tensors: tuple[TensorAngle, ...]

    @property
    def largest(self) -> TensorAngle:
        """The tensor with the largest angle."""
        return max(self.tensors, key=lambda tensor: max(tensor.angles))


def slerp(first: Tensor, second: Tensor, share: float) -> tuple[Tensor, float, bool]:
    """Interpolate spherically between two tensors, each taken as one flat vector.

    Parallel and opposite tensors have no unique arc between them, so they are interpolated
    linearly.

    Args:
        first: A tensor of any shape.
        second: A tensor of the same shape.
        share: Weight of `second`: 0 gives exactly `first`, 1 exactly `second`.

    Returns:
        The tensor in the dtype of `first`, the angle in radians, and whether the interpolation
        was linear.

    Raises:
        InputError: The share or a tensor is not finite.
    """
    if not (math.isfinite(share) and first.isfinite().all() and second.isfinite().all()):
        raise InputError(
            f"Tensors and `share` must be finite; `share` is {share}, and the tensors hold "
            f"{int((~first.isfinite()).sum())} and {int((~second.isfinite()).sum())} numbers that "
            "are not."
        )
    one, two = first.double(), second.double()
    lengths = float(one.norm()), float(two.norm())
    if min(lengths) == 0.0:
        angle = 0.0
    else:
        # Half-angle formula: acos loses half its digits at small angles.
        left, right = one / lengths[0], two / lengths[1]
        angle = 2 * math.atan2(float((left - right).norm()), float((left + right).norm()))
    linear = abs(math.sin(angle)) < _NEARLY_PARALLEL
    if share in (0.0, 1.0) or torch.equal(first, second):
        return (second if share == 1.0 else first).to(first.dtype).clone(), angle, linear
    if linear:
        weights = 1 - share, share
    else:
        weights = (
            math.sin((1 - share) * angle) / math.sin(angle),
            math.sin(share * angle) / math.sin(angle),
        )
    return (weights[0] * one + weights[1] * two).to(first.dtype), angle, linear


def merge(config: Merging) -> MergeReport:
    """Merge checkpoints one after another; each is weighted against the merge so far.

    One tensor of each checkpoint is in memory at a time. The result has the files, names, shapes
    and dtypes of the first model.

    Args:
        config: The checkpoints to merge, and the output folder.

    Returns:
        The angles between the checkpoints, to judge whether they can be merged well.

    Raises:
        ModelError: A checkpoint lacks a tensor, has it in another shape or with numbers that are
            not finite, or is an adapter or quantised; or the result would not be finite.
        InputError: The output is one of the models, or cannot be written.
    """
    if config.output.resolve() in [model.resolve() for model in config.models]:
        raise InputError(f"`output` {str(config.output)!r} is one of the models. Choose another.")
    for model in config.models:
        _check_mergeable(model)
    places = [_places(model) for model in config.models]
    shares = config.shares or (1.0,) * len(config.models)
    make_folder(config.output)
    files = sorted(set(places[0].values()))
    parts = {file: config.output / file.with_suffix(".part").name for file in files}
    report: list[TensorAngle] = []
    try:
        for file, part in parts.items():
            names = [name for name, place in places[0].items() if place == file]
            report += _write_merged(file, part, names, places, config.models, shares)
    except BaseException:
        for part in parts.values():
            part.unlink(missing_ok=True)
        raise
    for file, part in parts.items():
        part.replace(config.output / file.name)
    _copy_other_files(config.models[0], config.output)
    return MergeReport(config.output, tuple(report))


def _check_mergeable(folder: Path) -> None:
    """Refuse folders whose tensors cannot be interpolated one by one."""
    if (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"{str(folder)!r} is an adapter, and adapters are not merged: the product of two "
            "averages is not the average of two products. Train with `merged`, or use "
            "`merge_and_unload` of peft, and merge the checkpoints."
        )
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8-sig")) if file.is_file() else {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{str(file)!r} cannot be read: {error}. Give checkpoint folders.") from (
            error
        )
    if isinstance(config, dict) and config.get("quantization_config"):
        raise ModelError(
            f"{str(folder)!r} is quantised, and quantised weights cannot be merged. Merge the "
            "checkpoints that were quantised."
        )


def _write_merged(
    file: Path,
    part: Path,
    names: Sequence[str],
    places: Sequence[dict[str, Path]],
    models: Sequence[Path],
    shares: Sequence[float],
) -> list[TensorAngle]:
    """Merge the tensors of one file of the first model."""
    report = []
    with ExitStack() as stack:
        readers = _Readers(stack, places, models)
        header = _header(file)
        stream = stack.enter_context(part.open("wb"))
        stream.write(header.raw)
        for name in sorted(names, key=lambda name: header.offsets[name]):
            tensor, entry = _merged(name, readers, shares)
            stream.write(_bytes(tensor))
            report += [entry] if entry else []
    return report


@dataclass(frozen=True)
class _Header:
    raw: bytes
    offsets: dict[str, int]


def _header(file: Path) -> _Header:
    """Read a file's header, with the offset of each tensor. The merged file has the same header."""
    with file.open("rb") as stream:
        size = stream.read(8)
        body = stream.read(int.from_bytes(size, "little"))
    content: dict[str, Any] = json.loads(body)
    offsets = {
        name: entry["data_offsets"][0] for name, entry in content.items() if name != "__metadata__"
    }
    return _Header(size + body, offsets)


def _places(folder: Path) -> dict[str, Path]:
    """Map each tensor's name to its file."""
    places: dict[str, Path] = {}
    for file in sorted(Path(folder).glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt") as reader:
                places |= dict.fromkeys(reader.keys(), file)
        except SafetensorError as error:
            raise ModelError(f"The weights {str(file)!r} cannot be read: {error}.") from error
    if not places:
        raise ModelError(f"{str(folder)!r} holds no *.safetensors files. Give checkpoint folders.")
    return places


def _name_variants(name: str) -> tuple[str, str]:
    """Return a tensor's name with and without the prefix `model.`.

    The published embedding checkpoints omit the prefix; transformers writes it.
    """
    bare = name.removeprefix(_PREFIX)
    return name, (_PREFIX + name if bare == name else bare)


class _Readers:
    """Reads tensors from all checkpoints, opening each file once."""

    def __init__(
        self, stack: ExitStack, places: Sequence[dict[str, Path]], models: Sequence[Path]
    ) -> None:
        self._stack, self._places, self._models = stack, places, models
        self._open: dict[Path, Any] = {}

    def tensors(self, name: str) -> list[Tensor]:
        found = []
        for model, places in zip(self._models, self._places, strict=True):
            own_name = next((one for one in _name_variants(name) if one in places), None)
            if own_name is None:
                raise ModelError(f"{str(model)!r} lacks the tensor {name!r} of the first model.")
            file = places[own_name]
            if file not in self._open:
                self._open[file] = self._stack.enter_context(safe_open(file, framework="pt"))
            found.append(self._open[file].get_tensor(own_name))
            if found[-1].is_floating_point() and not found[-1].isfinite().all():
                raise ModelError(
                    f"{name!r} of {str(model)!r} holds NaN or infinity, and so would the merged "
                    "model. Fetch the checkpoint again, or train it with a lower learning rate."
                )
            if found[-1].shape != found[0].shape:
                raise ModelError(
                    f"{name!r} has the shape {tuple(found[-1].shape)} in {str(model)!r} and "
                    f"{tuple(found[0].shape)} in the first model. Merge models of one architecture."
                )
        return found


def _merged(
    name: str, readers: _Readers, shares: Sequence[float]
) -> tuple[Tensor, TensorAngle | None]:
    tensors = readers.tensors(name)
    if not tensors[0].is_floating_point():
        return tensors[0], None
    total, so_far = tensors[0].double(), shares[0]
    if all(torch.equal(tensor, tensors[0]) for tensor in tensors[1:]):
        return tensors[0], TensorAngle(name, (0.0,) * (len(tensors) - 1), linear=True)
    angles, linear = [], False
    for tensor, share in zip(tensors[1:], shares[1:], strict=True):
        so_far += share
        # In double precision; rounded to the checkpoint's dtype once, at the end.
        total, angle, is_linear = slerp(total, tensor.double(), share / so_far)
        angles.append(angle)
        linear = linear or is_linear
    merged = total.to(tensors[0].dtype)
    if not merged.isfinite().all():
        raise ModelError(
            f"{name!r} becomes too large for {merged.dtype} when merged. Give a first model in "
            "float32."
        )
    return merged, TensorAngle(name, tuple(angles), linear)


def _bytes(tensor: Tensor) -> bytes:
    flat = tensor.contiguous().flatten().view(torch.uint8)
    return flat.numpy().tobytes()


def _copy_other_files(source: Path, target: Path) -> None:
    """Copy everything but the weights: configuration, tokenizer and module files."""
    for path in sorted(source.rglob("*.json")):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    for name in ("merges.txt", "chat_template.jinja"):
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
