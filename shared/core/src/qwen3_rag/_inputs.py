"""Validates arguments before any work is done."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from qwen3_rag._published import CONTEXT
from qwen3_rag.errors import InputError, InputTypeError

__all__ = [
    "check_count",
    "check_device",
    "check_instruction",
    "check_max_length",
    "check_min_score",
    "check_model",
    "check_pairs",
    "check_query",
    "check_text",
    "check_texts",
    "full_path",
    "spread_instruction",
]

#: How many characters of a path are shown in the message that it is too long.
SHOWN_PATH = 80

# Approximate number of tokens in a reranking prompt without any text.
MIN_LENGTH = 64

# White space, and characters that only affect layout: soft hyphen, zero-width space and joiners,
# marks of direction, byte order mark.
_BLANK = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000\xad\u061c\u180e\ufeff"
) + "".join(map(chr, (*range(0x2000, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070))))


def check_texts(texts: Iterable[str], name: str) -> list[str]:
    """Convert texts to a list of strings that can be encoded.

    Args:
        texts: Any iterable of strings, except a single string.
        name: The argument's name for error messages.

    Raises:
        InputTypeError: `texts` is a single string, or an item is not a string.
        InputError: An item has a lone surrogate.
    """
    if isinstance(texts, (str, bytes, Mapping)) or not isinstance(texts, Iterable):
        raise InputTypeError(
            f"`{name}` must be a list of strings, got {type(texts).__name__}."
            + (f" Put it in a list: `[{name}]`." if isinstance(texts, str) else "")
        )
    items = list(texts)
    for index, item in enumerate(items):
        check_text(item, f"{name}[{index}]")
    return items


def check_text(text: str, name: str) -> str:
    """Check that a value is a string that can be encoded."""
    if not isinstance(text, str):
        raise InputTypeError(
            f"`{name}` must be a string, got {type(text).__name__}. Convert it, or leave it out."
        )
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(
                f"`{name}` has a lone surrogate ({text[error.start]!r}) at character "
                f"{error.start}, which is not valid Unicode. Clean it with "
                "`text.encode('utf-8', 'replace').decode('utf-8')`."
            ) from None
    return text


def check_query(query: str, name: str = "query") -> str:
    """Check that a query is a string and not blank."""
    if not check_text(query, name).strip(_BLANK):
        raise InputError(
            f"`{name}` is empty or only white space ({query!r}), and would match anything. "
            "Leave it out."
        )
    return query


def check_pairs(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Convert pairs to a list of (query, document) tuples."""
    if isinstance(pairs, (str, bytes, Mapping)) or not isinstance(pairs, Iterable):
        raise InputTypeError(
            f"`pairs` must be a list of (query, document) pairs, got {type(pairs).__name__}."
        )
    checked = []
    for index, pair in enumerate(pairs):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise InputTypeError(
                f"`pairs[{index}]` must be a (query, document) pair, got {pair!r}."
            )
        query, document = pair
        check_query(query, f"pairs[{index}][0]")
        check_text(document, f"pairs[{index}][1]")
        checked.append((query, document))
    return checked


def check_instruction(instruction: str, name: str = "instruction") -> str:
    """Check that an instruction is a string and not blank."""
    if not check_text(instruction, name).strip():
        raise InputError(
            f"`{name}` is empty, and the models were trained with one. Omit it for the default; to "
            "embed a text without an instruction, use `embed_documents`."
        )
    return instruction


def spread_instruction(
    instruction: str | Sequence[str] | None, default: str | None, count: int
) -> list[str | None]:
    """Return one instruction for each of `count` queries.

    Args:
        instruction: One for all queries, one per query, or `None` for the default.
        default: The model object's instruction; `None` for the checkpoint's own.
        count: Number of queries.

    Raises:
        InputError: The numbers of instructions and queries differ, or an instruction is blank.
    """
    if instruction is None:
        return [default] * count
    if isinstance(instruction, str):
        return [check_instruction(instruction)] * count
    items = check_texts(instruction, "instruction")
    if len(items) != count:
        raise InputError(
            f"`instruction` has {len(items)} items for {count} queries. Give one string for all, "
            "or one per query."
        )
    return [check_instruction(item, f"instruction[{i}]") for i, item in enumerate(items)]


def check_count(
    value: int | None,
    name: str,
    lowest: int,
    highest: int | None = None,
    *,
    required: bool = False,
) -> None:
    """Check that an integer is in range; `None` is allowed unless it is required."""
    if value is None and not required:
        return
    # All integer types have `__index__`, including numpy's.
    if value is None or isinstance(value, bool) or not hasattr(value, "__index__"):
        raise InputTypeError(f"`{name}` must be a whole number, got {value!r}.")
    if value < lowest or (highest is not None and value > highest):
        allowed = f"at least {lowest}" if highest is None else f"from {lowest} to {highest}"
        raise InputError(f"`{name}` must be {allowed}, got {value}.")


def check_min_score(value: float | None, name: str = "min_score") -> None:
    """Check that a minimum score is a number or `None`."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise InputTypeError(f"`{name}` must be a number or None, got {value!r}.")


def check_model(model: str | os.PathLike[str]) -> str:
    """Convert a model's name or folder to a string."""
    if isinstance(model, os.PathLike):
        model = os.fspath(model)
    if not isinstance(model, str) or not model.strip():
        raise InputTypeError(
            f"`model` must be the name or folder of a checkpoint, got {model!r}. Give for example "
            "'Qwen/Qwen3-Embedding-0.6B'."
        )
    if "://" in model:
        raise InputError(
            "A model is named by its folder or its id, such as 'Qwen/Qwen3-Embedding-0.6B', and "
            "this name is an address, which is not repeated here because it may hold a password. "
            "Where the model is on a server, give the server's address as its base URL."
        )
    return model


def full_path(path: str | os.PathLike[str]) -> Path:
    """Return the absolute form of a path from a user, with `~` replaced; links are kept.

    Raises:
        InputError: It names an unknown user or is too long, or it is relative and the current
            folder no longer exists.
    """
    shown = os.fspath(path)
    shown = repr(shown if len(shown) <= SHOWN_PATH else f"{shown[:SHOWN_PATH]}...")
    try:
        full = Path(os.path.abspath(Path(path).expanduser()))
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            full.lstat()
    except RuntimeError:
        raise InputError(
            f"The path {shown} begins with the folder of a user who is not known here. Give the "
            "folder's full path."
        ) from None
    except ValueError:
        raise InputError(f"The path {shown} has a NUL character. Remove it.") from None
    except FileNotFoundError:
        raise InputError(
            f"The path {shown} is relative to the current folder, which no longer exists. Change "
            "to another folder, or give a full path."
        ) from None
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            return full
        raise InputError(
            f"The path {shown} is too long ({len(os.fspath(path)):,} characters). Give a shorter "
            "one."
        ) from None
    return full


def check_device(device: object) -> str | tuple[str, ...] | None:
    """Convert one or more devices, given as names or torch objects, to names."""
    if device is None:
        return None
    several = isinstance(device, Sequence) and not isinstance(device, str)
    names = tuple(str(item) for item in (device if several else [device]))  # type: ignore[attr-defined]  # a sequence
    if not names or not all(name[:1].isalpha() for name in names):
        raise InputTypeError(
            f"`device` must be a torch device or several, got {device!r}. Use 'cpu', 'cuda', "
            "'cuda:1' or 'mps', or omit it."
        )
    return names if several else names[0]


def check_max_length(value: int | None) -> None:
    """Check that the models support a limit on prompt tokens."""
    check_count(value, "max_length", MIN_LENGTH, CONTEXT)
