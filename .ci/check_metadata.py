"""Check the metadata of each distribution in dist/, and that they agree."""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"

# Fields that have the same value in every distribution.
COMMON_FIELDS = (
    "Version",
    "Project-URL",
    "Author",
    "License-Expression",
    "License-File",
    "Requires-Python",
    "Description-Content-Type",
)
COMMON_CLASSIFIERS = (
    "Development Status",
    "Intended Audience",
    "Operating System",
    "Programming Language",
    "Typing",
)
URLS = {"Homepage", "Documentation", "Source", "Changelog", "Issues"}
LINK = re.compile(r"\]\((?!https://|#)([^)]*)\)")


def main() -> int:
    """Print each problem; return 1 if there is any."""
    wheels = {wheel: _wheel(wheel) for wheel in sorted(DIST.glob("*.whl"))}
    projects = [*ROOT.glob("shared/*/pyproject.toml"), *ROOT.glob("packages/*/pyproject.toml")]
    problems = []
    if len(wheels) != len(projects):
        problems.append(f"dist: {len(wheels)} wheels for {len(projects)} projects")
    for wheel, (metadata, licence, typed) in wheels.items():
        name = wheel.name.split("-")[0]
        problems += [f"{name}: {problem}" for problem in _problems(metadata)]
        if licence != (ROOT / "LICENSE").read_bytes():
            problems.append(f"{name}: its LICENSE differs from the repository's")
        if not typed:
            problems.append(f"{name}: no py.typed")
        sdist = DIST / f"{wheel.name.removesuffix('-py3-none-any.whl')}.tar.gz"
        if _sdist(sdist).as_bytes() != metadata.as_bytes():
            problems.append(f"{name}: sdist and wheel differ in their metadata")
    for field, values in _fields([metadata for metadata, _, _ in wheels.values()]).items():
        if len(values) > 1:
            problems.append(f"{field} differs between distributions: {values}")
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print(f"{len(wheels)} wheels: licence, URLs and metadata agree, sdists are complete")
    return bool(problems)


def _wheel(path: Path) -> tuple[Message, bytes, bool]:
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        info = next(name.split("/")[0] for name in names if name.endswith(".dist-info/METADATA"))
        licence = f"{info}/licenses/LICENSE"
        return (
            message_from_bytes(wheel.read(f"{info}/METADATA")),
            wheel.read(licence) if licence in names else b"",
            any(name.endswith("/py.typed") for name in names),
        )


def _sdist(path: Path) -> Message:
    with tarfile.open(path) as sdist:
        file = sdist.extractfile(f"{path.name.removesuffix('.tar.gz')}/PKG-INFO")
        return message_from_bytes(file.read() if file else b"")


def _problems(metadata: Message) -> list[str]:
    problems = []
    missing = URLS - {url.split(",")[0] for url in metadata.get_all("Project-URL", [])}
    if missing:
        problems.append(f"no URL for {', '.join(sorted(missing))}")
    for field in ("Summary", "Keywords", "Author", "License-Expression"):
        if not metadata[field]:
            problems.append(f"no {field}")
    readme = metadata.get_payload()
    for link in LINK.findall(str(readme)):
        problems.append(f"its README links {link!r}, which is dead on a package index")
    return problems


def _fields(all_metadata: list[Message]) -> dict[str, set[str]]:
    """Collect the values of each field that should have only one."""
    found: dict[str, set[str]] = {}
    for metadata in all_metadata:
        for field in COMMON_FIELDS:
            found.setdefault(field, set()).add("; ".join(metadata.get_all(field, [])))
        for kind in COMMON_CLASSIFIERS:
            values = [one for one in metadata.get_all("Classifier", []) if one.startswith(kind)]
            found.setdefault(kind, set()).add("; ".join(values))
    return found


if __name__ == "__main__":
    sys.exit(main())
