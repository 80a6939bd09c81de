"""The public names and signatures of the core, held against a recorded list.

After a change that is meant: `python shared/core/tests/test_public_api.py` records the list anew;
a removed or changed line is a breaking change and belongs into the changelog.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Protocol

RECORDED = Path(__file__).with_name("public_api.txt")

MODULES = (
    "qwen3_rag",
    "qwen3_rag.backends",
    "qwen3_rag.cache",
    "qwen3_rag.chat",
    "qwen3_rag.errors",
    "qwen3_rag.fusion",
    "qwen3_rag.integration",
    "qwen3_rag.lexical",
    "qwen3_rag.search",
)


def public_api() -> Iterator[str]:
    for name in MODULES:
        module = import_module(name)
        yield f"[{name}]"
        for exported in sorted(module.__all__):
            yield from described(exported, getattr(module, exported))
        yield ""


def described(name: str, value: object) -> Iterator[str]:
    if inspect.isclass(value):
        bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
        yield f"class {name}({bases})" if bases else f"class {name}"
        if dataclasses.is_dataclass(value):
            for field in dataclasses.fields(value):
                plain = isinstance(field.default, (int, float, str, tuple, type(None)))
                default = f" = {field.default!r}" if plain else ""
                yield f"    {field.name}: {field.type}{default}"
        elif inspect.isfunction(vars(value).get("__init__")) and Protocol not in value.__bases__:
            yield f"    __init__{signature(value.__init__)}"
        for member, attribute in sorted(vars(value).items()):
            if member.startswith("_"):
                continue
            function = getattr(attribute, "__func__", attribute)  # class and static methods
            if isinstance(attribute, property):
                yield f"    {member} -> property"
            elif inspect.isfunction(function):
                prefix = "async " if inspect.iscoroutinefunction(function) else ""
                yield f"    {prefix}{member}{signature(function)}"
    elif inspect.isfunction(value):
        yield f"{name}{signature(value)}"
    else:
        constant = isinstance(value, (int, str))
        yield f"{name} = {value!r}" if constant else name


def signature(function: object) -> str:
    """Parameters as written in the source; evaluated types differ between versions of Python."""
    assert callable(function)
    found = inspect.signature(function)
    parameters = [
        p if isinstance(p.annotation, str) else p.replace(annotation=inspect.Parameter.empty)
        for p in found.parameters.values()
    ]
    return str(found.replace(parameters=parameters)).replace("'", "").replace('"', "")


def test_public_names_and_signatures_are_the_recorded_ones() -> None:
    found = "\n".join(public_api())

    assert found.splitlines() == RECORDED.read_text(encoding="utf-8").splitlines(), __doc__


def test_every_other_module_of_the_core_is_private() -> None:
    root = Path(import_module("qwen3_rag").__file__ or "").parent
    for path in root.rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(("qwen3_rag", *(part for part in parts if part != "__init__")))
        private = any(part.startswith("_") and part != "__init__" for part in parts)
        assert private or name in MODULES, f"{name} is neither public nor underscored"


if __name__ == "__main__":
    RECORDED.write_text("\n".join(public_api()), encoding="utf-8")
