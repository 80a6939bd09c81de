"""Writes checkpoints that load in `qwen3_rag`, in transformers and in sentence-transformers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from qwen3_rag.backends import Role
from qwen3_rag.errors import InputError
from qwen3_rag.integration import Checkpoint
from qwen3_rag_training.modules import TEMPLATE, write_modules

__all__ = ["copy_layout", "make_folder", "quiet", "save_model", "write_weights"]

# The tokenizer, and what says how texts become prompts, vectors and scores.
_LAYOUT_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    TEMPLATE,
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "*_*/config.json",
)


@contextmanager
def quiet() -> Iterator[None]:
    """Turn off the progress bars of transformers."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def make_folder(folder: Path) -> None:
    """Create an output folder if it does not exist.

    Raises:
        InputError: The folder cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"`output` {str(folder)!r} cannot be created: {error.strerror or error}. Give a "
            "folder you can write to."
        ) from error


def copy_layout(source: Checkpoint, target: Path) -> None:
    """Copy the tokenizer, prompts and module files of a checkpoint, all but weights and config.

    If its weights are in a folder of their own, the copy's are beside the module files instead.
    """
    for folder in dict.fromkeys((source.root, source.folder)):
        for pattern in _LAYOUT_FILES:
            for file in folder.glob(pattern):
                if file.parent == source.folder != folder:
                    continue
                place = target / file.relative_to(folder)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, place)
    modules = target / "modules.json"
    if source.root != source.folder and modules.is_file():
        inner = source.folder.relative_to(source.root).as_posix()
        entries = json.loads(modules.read_text(encoding="utf-8-sig"))
        moved = [{**one, "path": ""} if one.get("path") == inner else one for one in entries]
        modules.write_text(json.dumps(moved, indent=2) + "\n", encoding="utf-8")


def write_weights(model: PreTrainedModel, folder: Path) -> None:
    """Write a model's weights and config, in its own dtype.

    An adapter from an earlier run in the same folder is removed, because the folder would open as
    that adapter.
    """
    for stale in folder.glob("adapter_*"):
        stale.unlink()
    architectures = model.config.architectures
    with quiet():
        model.save_pretrained(folder)
    if architectures:
        # transformers names the class that was trained. Servers choose by this name how to run a
        # checkpoint, so it stays what it was.
        model.config.architectures = architectures
        model.config.save_pretrained(folder)
    for file in folder.glob("*.safetensors"):
        file.chmod(0o644)  # safetensors makes files readable by the owner only
    (folder / "generation_config.json").unlink(missing_ok=True)


def save_model(model: PreTrainedModel, folder: Path, role: Role, answers: tuple[int, int]) -> None:
    """Write weights, config and the module files of the published layout.

    The tokenizer files are not changed: write them first.

    Args:
        model: The model to write, in its own dtype.
        folder: Target folder; created if needed.
        role: Decides the module files.
        answers: Token ids of "no" and "yes"; used for a reranker only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(model, folder)
    write_modules(folder, role, int(model.config.hidden_size), answers)
