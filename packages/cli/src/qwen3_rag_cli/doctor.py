"""What is installed, where models run, whether an index is sound, and how fast it goes here.

Knows where to ask; decides nothing. Downloads nothing, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from qwen3_rag.errors import BackendError, MissingExtraError, ModelError, StoreError
from qwen3_rag_cli.measuring import embedding_speed, reranking_speed
from qwen3_rag_cli.models import TINY, Models, Runtime
from qwen3_rag_cli.store import MANIFEST, Store
from qwen3_rag_hybrid import HybridSearcher

__all__ = ["Examination", "examine"]

#: Distribution, and what brings it where it is missing.
PACKAGES = {
    "qwen3-rag": "qwen3-rag",
    "qwen3-rag-hybrid": "qwen3-rag-hybrid[edge]",
    "qwen3-rag-cli": "qwen3-rag-cli",
    "qwen3-rag-tiny": "qwen3-rag[tiny]",
    "torch": "qwen3-rag[local]",
    "transformers": "qwen3-rag[local]",
    "qdrant-edge-py": "qwen3-rag-hybrid[edge]",
    "qdrant-client": "qwen3-rag-hybrid[qdrant]",
    "modelscope": "qwen3-rag[modelscope]",
}


@dataclass
class Examination:
    """What was found, a table for each subject."""

    packages: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    models: dict[str, Any] = field(default_factory=dict)
    index: dict[str, Any] = field(default_factory=dict)
    speed: dict[str, Any] = field(default_factory=dict)
    broken: bool = False

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Give the tables by their titles, those without a line left out."""
        titles = ("packages", "machine", "models", "index", "speed")
        return {title: getattr(self, title) for title in titles if getattr(self, title)}


def examine(
    folder: Path, model: str | None, reranker: str | None, runtime: Runtime, *, documents: int
) -> Examination:
    """Look at everything.

    Args:
        folder: The index's, which need not be there.
        model: As on the command line.
        reranker: As on the command line.
        runtime: As on the command line; offline.
        documents: Documents of the timed query; 0 measures nothing.
    """
    found = Examination(packages=_packages())
    store: Store | None = None
    try:
        try:
            store = Store(folder)
        except StoreError as error:
            found.broken = (folder / MANIFEST).is_file()
            found.index["state"] = str(error)
        models = Models.chosen(
            model,
            reranker,
            dim=store.settings.dim if store and store.settings else None,
            runtime=runtime,
            recorded=store.recorded if store else None,
        )
        found.machine = _machine(runtime, models)
        ready = {role: _on_disk(found, models, role) for role in ("embedding", "reranking")}
        if store is not None:
            _index(found, store, models, ready["embedding"])
        if documents:
            _speed(found, models, ready, documents)
    finally:
        if store is not None:
            store.close()
    return found


def _packages() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, brought_by in PACKAGES.items():
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = f'not installed: pip install "{brought_by}"'
    return found


def _machine(runtime: Runtime, models: Models) -> dict[str, Any]:
    try:
        from qwen3_rag.backends._local.device import (
            allowed_threads,
            choose_devices,
            choose_dtype,
            container_quota,
            cpu_has_bfloat16,
        )
    except ModuleNotFoundError as error:
        return {"state": f'no {error.name}: pip install "qwen3-rag[local]"'}
    (device,) = choose_devices(runtime.device)
    dtype = str(choose_dtype(runtime.dtype, device, hidden_size=0)).removeprefix("torch.")
    native = cpu_has_bfloat16()
    if runtime.dtype:
        why = "as asked for"
    elif models.embedding == TINY:
        dtype, why = "float32", "tiny always runs in it"
    elif device == "cpu":
        why = "the CPU multiplies bfloat16 natively" if native else "no AMX-BF16 or AVX512-BF16"
    else:
        why = "what suits the device"
    quota = container_quota()
    return {
        "device": device,
        "dtype": f"{dtype} ({why})",
        "threads": f"{allowed_threads()}"
        + (f" (the container may use {quota} CPUs)" if quota else " (the CPUs of this process)"),
    }


def _on_disk(found: Examination, models: Models, role: Any) -> bool:
    """Tell whether a checkpoint can be used without a download."""
    from huggingface_hub import constants

    found.models.setdefault("cache", constants.HF_HUB_CACHE)
    name = models.embedding if role == "embedding" else models.reranking
    try:
        source = models.source(role)
    except (ModelError, MissingExtraError) as error:
        reason = str(error)
        if isinstance(error, ModelError) and name.count("/") == 1 and not Path(name).is_absolute():
            reason = "not downloaded yet; the first use fetches it"
        found.models[role] = f"{name}: {reason}"
        return False
    found.models[role] = f"{name} in {source.folder}, fingerprint {source.fingerprint}"
    return True


def _index(found: Examination, store: Store, models: Models, ready: bool) -> None:
    settings = store.settings
    found.index["folder"] = str(store.folder)
    if settings is None:
        found.index["state"] = "empty"
        return
    record = store.manifest.record()
    chunks, listed = store.legs.count(), store.manifest.count()
    found.index |= {
        "model": f"{settings.model}, vectors of {settings.dim}",
        "files": len(store.manifest.files()),
        "chunks": chunks,
        "chunking": f"{record.get('chunk_tokens')} tokens, overlap {record.get('overlap')}",
    }
    problems = []
    if chunks != listed:
        problems.append(
            f"warning: the manifest lists {listed} chunks; `qwen3-rag index` with the same paths "
            "brings both together"
        )
    try:
        if ready:
            searcher = HybridSearcher(store.legs, models.embedder())
            findings = searcher.check_collection()
            searcher.embedder.close()
        else:
            findings = store.legs.check(settings)
        problems += [f"{finding.severity}: {finding}" for finding in findings]
        found.broken = any(finding.severity == "error" for finding in findings)
    except (ModelError, BackendError) as error:
        problems.append(f"not checked against the model: {error}")
    found.index["state"] = problems or "sound"


def _speed(found: Examination, models: Models, ready: dict[str, bool], documents: int) -> None:
    """Time each model that can be loaded; what goes wrong with one is its result."""
    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "embedding": lambda: embedding_speed(models),
        "reranking": lambda: reranking_speed(models, documents),
    }
    for role, measured in measures.items():
        if not ready[role]:
            found.speed[role] = "not measured: the model is not on this disk"
            continue
        try:
            found.speed |= measured()
        except (ModelError, BackendError) as error:
            found.speed[role] = f"not measured: {error}"
