"""Options, declared once with types, defaults and documentation; those of the local engine."""

from __future__ import annotations

import inspect
import os
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import (
    Annotated,
    Any,
    Literal,
    TypedDict,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from qwen3_rag._inputs import check_count, check_device
from qwen3_rag.errors import InputError, InputTypeError

__all__ = [
    "LoadingOptions",
    "LocalOptions",
    "Option",
    "check_names",
    "check_options",
    "declared_options",
    "given_options",
    "local_options",
    "with_local_options",
    "with_options",
]

F = TypeVar("F", bound=Callable[..., Any])

#: Arguments of `from_pretrained` that would load files or code of which the checks and the
#: fingerprint know nothing, with what to do instead.
_REFUSED = {
    "subfolder": "Give that folder itself as the model.",
    "variant": "Give a folder whose model.safetensors holds those weights as the model.",
    "revision": "Use the option `revision`.",
    "token": "Use the option `token`.",
    "cache_dir": "Use the option `cache_folder`.",
    **dict.fromkeys(
        ("gguf_file", "transformers_weights", "adapter_kwargs", "_adapter_model_path"),
        "Save the model with save_pretrained and give its folder as the model.",
    ),
    **dict.fromkeys(
        ("config", "state_dict", "configuration_files", "_configuration_file", "attribute_map"),
        "Load the model yourself and use `from_model`.",
    ),
    **dict.fromkeys(
        ("trust_remote_code", "code_revision", "auto_map"),
        "Leave it out: a checkpoint's own code is never run.",
    ),
    **dict.fromkeys(
        ("use_kernels", "kernel_config", "allow_all_kernels", "fusion_config"),
        "Leave it out: the engine has kernels of its own.",
    ),
}

#: What a value of a type is called in messages.
_WORDS = {bool: "True or False", str: "a string", Mapping: "a dictionary"}


class LoadingOptions(TypedDict, total=False):
    """Options of the local engine whose values are the same in every framework."""

    revision: Annotated[
        str | None,
        "Branch, tag or commit. Published models default to a pinned commit of the Hub; "
        "ModelScope, which numbers its commits differently, to its main branch.",
    ]
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        "Number format of the weights. Defaults to bfloat16 on GPUs (Ampere or newer) and on CPUs "
        "that multiply it natively, else float32.",
        lambda dtype: None if dtype is None else str(dtype).removeprefix("torch."),
    ]
    attention: Annotated[
        Literal["sdpa", "eager"] | None,
        "'sdpa' for torch's fused kernel (the default), or 'eager' for plain matrix products.",
    ]
    batch_tokens: Annotated[
        int | None,
        "Tokens per batch. The default suits the device; a batch that does not fit in memory is "
        "halved and tried again.",
    ]
    compile: Annotated[
        bool,
        "Whether torch compiles parts of the model, which takes ten seconds at the first load.",
    ]
    cache_folder: Annotated[str | None, "Where downloads are kept."]
    local_files_only: Annotated[bool, "Whether to work without the network."]
    model_kwargs: Annotated[
        Mapping[str, Any] | None, "Further arguments for transformers' `from_pretrained`."
    ]


class LocalOptions(LoadingOptions, total=False):
    """All options of the local engine.

    Frameworks have their own classes for devices and secrets. An adapter declares these two with
    its framework's types and takes the rest from `LoadingOptions`.
    """

    device: Annotated[
        str | Sequence[str] | None,
        "A torch device, or several to share the work. Defaults to CUDA, then MPS, then the CPU.",
        check_device,
    ]
    token: Annotated[str | None, "Access token for private repositories."]


@dataclass(frozen=True)
class Option:
    """One option of how a model is run.

    Attributes:
        name: Name of the keyword argument.
        type: Its type.
        default: The default value.
        doc: A description.
        normalize: Turns what a caller may pass, such as objects of torch, into a plain value.
    """

    name: str
    type: Any
    default: Any
    doc: str
    normalize: Callable[[Any], Any]


@cache
def local_options() -> Mapping[str, Option]:
    """List the options of the local engine, in the order of their declaration."""
    return declared_options(LocalOptions, {"compile": False, "local_files_only": False})


def declared_options(declaration: type, defaults: Mapping[str, Any]) -> dict[str, Option]:
    """Read the options that a `TypedDict` declares; a default that is not given is `None`."""
    options = {}
    for name, hint in get_type_hints(declaration, include_extras=True).items():
        kind, doc, *normalize = get_args(hint)
        [normalized] = normalize or [_unchanged]
        options[name] = Option(name, kind, defaults.get(name), doc, normalized)
    return options


def _unchanged(value: Any) -> Any:
    return value


def given_options(adapter: object) -> dict[str, Any]:
    """Read the options that differ from their defaults from the attributes of the same names."""
    return {
        name: value
        for name, option in local_options().items()
        if (value := getattr(adapter, name)) != option.default
    }


def check_options(given: Mapping[str, Any]) -> LocalOptions:
    """Check options and add the defaults.

    Raises:
        InputError: A value is out of range.
        InputTypeError: A name is unknown, or a value has the wrong type.
    """
    known = local_options()
    check_names(given, known)
    values = {
        name: option.normalize(option.default if given.get(name) is None else given[name])
        for name, option in known.items()
    }
    if isinstance(values["cache_folder"], os.PathLike):
        values["cache_folder"] = os.fspath(values["cache_folder"])
    for option in known.values():
        if option.name != "device":
            _check_value(option, values[option.name])
    values["model_kwargs"] = _checked_kwargs(values["model_kwargs"] or {})
    return cast(LocalOptions, values)


def check_names(given: Iterable[str], known: Iterable[str]) -> None:
    """Check that options exist.

    Raises:
        InputTypeError: One does not.
    """
    names = list(known)
    for name in given:
        if name not in names:
            close = get_close_matches(str(name), names, 1)
            raise InputTypeError(
                f"There is no option {name!r}"
                + (f". Did you mean {close[0]!r}?" if close else f"; there are {', '.join(names)}.")
            )


def _check_value(option: Option, value: Any) -> None:
    """Check a value by the option's declared type; `None` stands for the default."""
    if value is None:
        return
    [kind] = (k for k in get_args(option.type) or (option.type,) if k is not type(None))
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            allowed = ", ".join(get_args(kind))
            raise InputError(f"`{option.name}` must be one of {allowed}, got {value!r}.")
    elif kind is int:
        check_count(value, option.name, 1)
    elif not isinstance(value, get_origin(kind) or kind):
        # The value is not shown: it may be a token.
        words = _WORDS[get_origin(kind) or kind]
        raise InputTypeError(f"`{option.name}` must be {words}, got {type(value).__name__}.")


def _checked_kwargs(given: Mapping[str, Any]) -> dict[str, Any]:
    """Copy `model_kwargs`, and reject what would load other files or code than the checkpoint's."""
    for name, remedy in _REFUSED.items():
        if given.get(name):  # a value that turns it off does no harm
            raise InputError(
                f"`model_kwargs` has {name!r}, which loads files or code that are not checked and "
                f"not part of the model's fingerprint. {remedy}"
            )
    for name in ("attn_implementation", "experts_implementation"):
        value = given.get(name)
        if value is not None and (not isinstance(value, str) or "/" in value):
            raise InputError(
                f"`{name}` in `model_kwargs` must be the name of an implementation in "
                f"transformers, such as 'sdpa', got {value!r}. None is loaded from the Hub."
            )
    return dict(given)


def with_local_options(constructor: F) -> F:
    """Show the options of the local engine; see `with_options`."""
    return with_options(constructor, local_options())


def with_options(constructor: F, declared: Mapping[str, Option]) -> F:
    """Show options in the signature and docstring of a constructor that takes `**options`."""
    signature = inspect.signature(constructor)
    named = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    options = [one for name, one in declared.items() if name not in signature.parameters]
    added = [
        inspect.Parameter(
            option.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=option.default,
            annotation=option.type,
        )
        for option in options
    ]
    # Read by `inspect.signature`, and therefore by `help()` and notebooks.
    constructor.__signature__ = signature.replace(parameters=[*named, *added])  # type: ignore[attr-defined]  # functions can have attributes
    lines = []
    for line in inspect.cleandoc(constructor.__doc__ or "").splitlines():
        if line.lstrip().startswith("**options:"):
            for option in options:
                lines += textwrap.wrap(
                    f"{option.name}: {option.doc}",
                    92,
                    initial_indent=" " * 4,
                    subsequent_indent=" " * 8,
                )
        else:
            lines.append(line)
    constructor.__doc__ = "\n".join(lines)
    return constructor
