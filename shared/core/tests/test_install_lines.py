"""The lines `pip install ...` of README and guides work in a clone, and are complete."""

from __future__ import annotations

import re
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

requirements = pytest.importorskip("packaging.requirements")

ROOT = Path(__file__).resolve().parents[3]
PAGES = [
    *(ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))),
    *sorted(ROOT.glob("shared/*/README.md")),
    *sorted(ROOT.glob("packages/*/README.md")),
]
#: Pages that need nothing but what another page installs.
WITHOUT_LINES = {"cache.md", "lexical.md", "limits.md", "models.md", "operating.md"}
GUIDES = [
    page
    for page in PAGES
    if "```python" in page.read_text(encoding="utf-8") and page.name not in WITHOUT_LINES
]
_LINE = re.compile(r"pip install ((?:[^`#\n\\]|\\(?!n))+)")
_FENCED = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.M | re.S)


@cache
def projects() -> dict[str, dict[str, Any]]:
    """This project's packages by their names, each with its folder."""
    found = {}
    for file in [*ROOT.glob("shared/*/pyproject.toml"), *ROOT.glob("packages/*/pyproject.toml")]:
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        found[project["name"]] = {**project, "folder": file.parent}
    return found


def own(name: str, extras: set[str]) -> list[Any]:
    """What a package of this project requires."""
    project = projects()[name]
    known = project.get("optional-dependencies", {})
    texts = [*project.get("dependencies", []), *[one for extra in extras for one in known[extra]]]
    return [requirements.Requirement(text) for text in texts]


@cache
def foreign(name: str, extras: frozenset[str]) -> list[Any]:
    """What another package requires; nothing if it is not installed here."""
    try:
        texts = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []
    return [
        one
        for one in map(requirements.Requirement, texts)
        if one.marker is None
        or any(one.marker.evaluate({"extra": extra}) for extra in extras or {""})
    ]


def read_line(line: str) -> list[tuple[str, set[str]]]:
    """Return the packages of a line with their extras; folders are this project's."""
    found = []
    for word in line.replace('"', " ").split("--")[0].split():
        name, _, rest = word.partition("[")
        extras = set(rest.strip("],.;").split(",")) - {""}
        if name.startswith("./"):
            [name] = [
                one for one, it in projects().items() if it["folder"] == (ROOT / name).resolve()
            ]
            assert extras <= set(projects()[name].get("optional-dependencies", {})), word
        found.append((re.split("[=<>]", name)[0].rstrip(".,)"), extras))
    return found


def installed_by(line: str, *, alone: bool = False) -> set[str]:
    """Names of all packages that a line installs, as far as they are installed here.

    Args:
        line: What follows `pip install`.
        alone: Whether nothing of this project is installed before.
    """
    given = read_line(line)
    todo, done = list(given), set()
    while todo:
        name, extras = todo.pop()
        name = re.sub("[-_.]+", "-", name).lower()
        if (name, *sorted(extras)) in done:
            continue
        done.add((name, *sorted(extras)))
        if name in projects():
            needed = own(name, extras)
            for one in needed:
                if alone and one.name in projects():  # pip finds it nowhere else
                    assert one.name in {other for other, _ in given}, f"{line} lacks {one.name}"
        else:
            needed = foreign(name, frozenset(extras))
        todo += [(one.name, set(one.extras)) for one in needed]
    return {name for name, *_ in done}


modules_of = cache(metadata.packages_distributions)


@cache
def providers(module: str) -> set[str] | None:
    """Names of the packages that have a module; `None` if none is installed here."""
    path = module.replace(".", "/")
    for name, project in projects().items():
        source = project["folder"] / "src" / path
        if (source.is_dir() and any(source.glob("*.py"))) or source.with_suffix(".py").is_file():
            return {name}
    names = set(modules_of().get(module.partition(".")[0], []))
    if len(names) > 1:  # a namespace, such as llama_index
        names = {
            name
            for name in names
            if any(
                str(file).startswith((f"{path}/", f"{path}.py"))
                for file in metadata.files(name) or []
            )
        }
    return {re.sub("[-_.]+", "-", name).lower() for name in names} or None


def modules(page: Path) -> set[str]:
    """Modules that the examples of a page import, without the standard library."""
    code = "".join(
        code
        for language, code in _FENCED.findall(page.read_text(encoding="utf-8"))
        if language == "python"
    )
    found = re.findall(r"^\s*(?:from|import) ([\w.]+)", code, re.M)
    return {one for one in found if one.partition(".")[0] not in sys.stdlib_module_names}


def lines(page: Path) -> list[str]:
    return _LINE.findall(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_line_works_in_a_clone(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for line in _LINE.findall("".join(code for _, code in _FENCED.findall(text))):
        installed_by(line, alone="./" in line)
        for word in line.replace('"', " ").split():
            assert word.partition("[")[0] not in projects(), f"{word} is on no index: {line}"
    for line in lines(page):
        installed_by(line)


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_guide_installs_what_it_imports(page: Path) -> None:
    provided = set().union(*[installed_by(line) for line in lines(page)])

    for module in modules(page):
        names = providers(module)
        assert names is None or names & provided, f"{page} imports {module}, of {names}"


@pytest.mark.parametrize("guide", ["langchain", "llama-index", "haystack", "training"])
def test_the_readme_s_line_installs_what_a_guide_imports(guide: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [row] = re.findall(rf"^\| .*\(docs/{guide}\.md\) \|$", readme, re.M)
    [line] = _LINE.findall(row)
    provided = installed_by(line, alone=True)

    for module in modules(ROOT / "docs" / f"{guide}.md"):
        names = providers(module)
        assert names is None or names & provided, f"{guide} imports {module}, of {names}"
