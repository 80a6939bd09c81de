"""Which files can be read: by suffix or name, the kind of file, and what has to be installed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import PurePath
from typing import Literal, TypeAlias, get_args

__all__ = ["KINDS", "Format", "Kind", "kind_of", "of", "suffixes"]

Kind: TypeAlias = Literal[
    "markdown",
    "text",
    "code",
    "html",
    "csv",
    "jsonl",
    "notebook",
    "mail",
    "epub",
    "pdf",
    "word",
    "slides",
    "spreadsheet",
]

#: All kinds, in the order of the documentation.
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Format:
    """How files with certain suffixes are read.

    Attributes:
        kind: The kind of file, which decides how it is read and is a field of each hit.
        extra: The extra of qwen3-rag-cli that installs the library; empty if none is needed.
        library: The library's module; empty if none is needed.
    """

    kind: Kind
    extra: str = ""
    library: str = ""

    @property
    def missing(self) -> str | None:
        """What to install to read such files; `None` if they can be read."""
        if not self.library or find_spec(self.library) is not None:
            return None
        return f"qwen3-rag-cli[{self.extra}]"


_SUFFIXES: dict[Format, str] = {
    Format("markdown"): ".md .markdown .mdown .mkd .mdx .qmd .rmd",
    Format("text"): ".txt .text .rst .rest .adoc .asciidoc .org .tex .bib .srt .vtt",
    Format("code"): """
        .bash .bat .c .cc .cfg .cjs .clj .cmake .conf .cpp .cs .css .cts .cu .cxx .dart .el .erl
        .ex .exs .f90 .fish .fs .go .gradle .graphql .groovy .h .hh .hpp .hs .hxx .ini .java .jl
        .js .json .json5 .jsonc .jsx .kt .kts .less .lua .m .mjs .mk .ml .mts .nim .nix .pas .php
        .pl .pm .properties .proto .ps1 .py .pyi .r .rb .rs .sass .scala .scss .sh .sol .sql
        .svelte .swift .tcl .tf .toml .ts .tsx .vb .vim .vue .xml .yaml .yml .zig .zsh""",
    Format("html"): ".html .htm .xhtml",
    Format("csv"): ".csv .tsv",
    Format("jsonl"): ".jsonl .ndjson",
    Format("notebook"): ".ipynb",
    Format("mail"): ".eml .mbox",
    Format("epub"): ".epub",
    Format("pdf", "pdf", "pypdfium2"): ".pdf",
    Format("word", "office", "mammoth"): ".docx .docm",
    Format("slides", "office", "pptx"): ".pptx .pptm",
    Format("spreadsheet", "office", "openpyxl"): ".xlsx .xlsm",
}
_BY_SUFFIX = {suffix: format_ for format_, names in _SUFFIXES.items() for suffix in names.split()}

# Files without a suffix.
_BY_NAME = {
    **dict.fromkeys(
        (
            *("makefile", "gnumakefile", "dockerfile", "containerfile", "jenkinsfile", "justfile"),
            *("procfile", "rakefile", "gemfile", "vagrantfile", "brewfile", "pipfile"),
        ),
        Format("code"),
    ),
    **dict.fromkeys(
        (
            *("readme", "license", "licence", "copying", "notice", "changelog", "changes", "news"),
            *("authors", "contributing", "contributors", "maintainers", "install", "todo"),
        ),
        Format("text"),
    ),
}


def of(path: PurePath) -> Format | None:
    """Find the format of a file by its name; `None` if the name is not known."""
    suffix = path.suffix.lower()
    return _BY_SUFFIX.get(suffix) if suffix else _BY_NAME.get(path.name.lower())


def kind_of(path: PurePath) -> Kind:
    """Tell the kind of a file by its name; a file of an unknown name is text."""
    known = of(path)
    return known.kind if known else "text"


def suffixes() -> Iterator[tuple[Format, list[str]]]:
    """List each format with its suffixes, in the order of the documentation."""
    for format_, names in _SUFFIXES.items():
        yield format_, names.split()
