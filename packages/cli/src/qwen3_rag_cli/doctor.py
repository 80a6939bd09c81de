"""Reports what is installed, where the models run, the state of an index, and the models' speed.

Downloads nothing and changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from qwen3_rag.backends import Role
from qwen3_rag.errors import BackendError, InputError, MissingExtraError, ModelError, StoreError
from qwen3_rag.integration import device_report
from qwen3_rag_cli import formats
from qwen3_rag_cli.index import Index, NoIndexError
from qwen3_rag_cli.models import TINY, Models, Runtime, no_reranker
from qwen3_rag_cli.places import Place
from qwen3_rag_cli.threads import idle_threads
from qwen3_rag_hybrid import HybridSearcher

__all__ = ["Examination", "examine"]

#: Distributions, and what to install for each. pip finds this project's own on no index, but takes
#: the extras of those that are installed.
PACKAGES = {
    "qwen3-rag": "qwen3-rag",
    "qwen3-rag-hybrid": "qwen3-rag-hybrid[edge]",
    "qwen3-rag-cli": "qwen3-rag-cli",
    "qwen3-rag-server": "./packages/server",
    "qwen3-rag-tiny": "./shared/tiny",
    "torch": "qwen3-rag[local]",
    "transformers": "qwen3-rag[local]",
    "qdrant-edge-py": "qwen3-rag-hybrid[edge]",
    "qdrant-client": "qwen3-rag-hybrid[qdrant]",
    "weaviate-client": "qwen3-rag-hybrid[weaviate]",
    "pymilvus": "qwen3-rag-hybrid[milvus]",
    "milvus-lite": "qwen3-rag-hybrid[milvus-lite]",
    "modelscope": "qwen3-rag[modelscope]",
}

# About 100 tokens of plain English, like a chunk of documentation.
PARAGRAPH = (
    "The index is brought up to date in small steps. Each step notes what is about to change, "
    "writes the vectors, and notes that they are there. When the machine stops in between, the "
    "next run finds the note and does the step again, so that nothing is lost and nothing is "
    "there twice. Files that did not change are not read by the model again, because their "
    "digests and the settings they were cut with are kept beside the vectors. "
)
QUERY = "What happens to the index when the machine stops?"

# A measurement takes about two seconds; the first texts warm the model up.
SECONDS = 2.0
FIRST, MOST = 4, 256


@dataclass
class Examination:
    """The findings, one table per subject."""

    packages: dict[str, Any] = field(default_factory=dict)
    formats: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    models: dict[str, Any] = field(default_factory=dict)
    index: dict[str, Any] = field(default_factory=dict)
    speed: dict[str, Any] = field(default_factory=dict)
    broken: bool = False

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return the non-empty tables by title."""
        titles = ("packages", "formats", "machine", "models", "index", "speed")
        return {title: getattr(self, title) for title in titles if getattr(self, title)}


def examine(
    place: Place,
    model: str | None,
    reranker: str | None,
    runtime: Runtime,
    *,
    documents: int,
    tenant: str | None = None,
) -> Examination:
    """Examine the installation and an index.

    Args:
        place: Where the index is; it may be missing.
        model: The value from the command line.
        reranker: The value from the command line.
        runtime: Where the models run; must be offline.
        documents: Number of documents to rerank when measuring; 0 skips the measurement.
        tenant: The tenant whose index to examine, in a collection with tenants; all of them when
            omitted.
    """
    found = Examination(packages=_packages(), formats=_formats())
    index: Index | None = None
    try:
        try:
            index = Index(place, tenant=tenant, overall=True)
        except (StoreError, MissingExtraError) as error:
            found.broken = not isinstance(error, NoIndexError)
            found.index["state"] = str(error)
        if index is None:
            models = Models.chosen(model, reranker, runtime=runtime)
        else:
            models = index.models(model, reranker, runtime)
        found.machine = _machine(runtime, models)
        ready: dict[Role, bool] = {}
        named: dict[Role, str | None] = {"embedding": model, "reranking": reranker}
        for role, name in named.items():
            if found.broken and name is None:
                found.models[role] = "the index's, which is not known: it cannot be opened"
                ready[role] = False
            else:
                ready[role] = _is_ready(found, models, role)
        if index is not None:
            _index(found, index, models, ready["embedding"])
        if documents:
            _speed(found, models, ready, documents)
    finally:
        if index is not None:
            index.close()
    return found


def _packages() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, source in PACKAGES.items():
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            where = "in a clone, " if source.startswith("./") else ""
            found[name] = f'not installed: {where}pip install "{source}"'
    return found


def _formats() -> dict[str, Any]:
    """List the suffixes of each kind of file, and what to install for those that cannot be read."""
    found: dict[str, list[str]] = {}
    for format_, suffixes in formats.suffixes():
        missing = format_.missing
        told = suffixes if missing is None else [f'not read: pip install "{missing}"']
        found.setdefault(format_.kind, []).extend(told)
    return dict(found)


def _machine(runtime: Runtime, models: Models) -> dict[str, Any]:
    try:
        report = device_report(runtime.device, runtime.dtype)
    except ModuleNotFoundError as error:
        return {"state": f'no {error.name}: pip install "qwen3-rag[local]"'}
    [device], dtype = report.devices, report.dtype
    if runtime.dtype:
        why = "as asked for"
    elif models.embedding == TINY:
        dtype, why = "float32", "tiny always runs in it"
    elif device == "cpu" and report.native_bfloat16:
        why = "the CPU multiplies bfloat16 natively"
    elif device == "cpu":
        why = "the CPU has neither AMX-BF16 nor AVX512-BF16"
    else:
        why = "the default of the device"
    limit = f"of {report.cpus} CPUs" + (", the container's quota" if report.quota else "")
    if runtime.threads:
        limit = f"--threads, {limit}"
    return {
        "device": device,
        "dtype": f"{dtype} ({why})",
        "threads": f"{report.threads} ({limit})",
        "idle threads": idle_threads(),
    }


def _is_ready(found: Examination, models: Models, role: Role) -> bool:
    """Check whether a model can be used now."""
    server = models.embedding_server if role == "embedding" else models.reranking_server
    if role == "reranking" and models.reranking is None:
        found.models[role] = f"none. {no_reranker(models.embedding)}"
        return False
    if server is None:
        return _on_disk(found, models, role)
    name = models.embedding if role == "embedding" else models.reranking
    try:
        with models.embedder() if role == "embedding" else models.reranker() as model:
            capabilities = model.warm_up()
    except (InputError, ModelError, BackendError, MissingExtraError) as error:
        found.models[role] = f"{name} on a server: error: {error}"
        return False
    found.models[role] = (
        f"{name} by {capabilities.server}, fingerprint {capabilities.fingerprint}; it answers the "
        "test inputs as such a model does, and which weights it has it does not tell"
    )
    return True


def _on_disk(found: Examination, models: Models, role: Role) -> bool:
    """Check whether a model can be used without a download."""
    from huggingface_hub import constants

    found.models.setdefault("cache", constants.HF_HUB_CACHE)
    name = models.embedding if role == "embedding" else models.reranking
    try:
        checkpoint = models.checkpoint(role)
    except (ModelError, MissingExtraError) as error:
        is_absent = name is not None and _is_absent(name)
        reason = "not downloaded yet; the first use fetches it" if is_absent else error
        found.models[role] = f"{name}: {reason}"
        return False
    where = "" if name == TINY else f" in {checkpoint.folder}"
    found.models[role] = f"{name}{where}, fingerprint {checkpoint.fingerprint}"
    return True


def _is_absent(name: str) -> bool:
    """Check whether a model of the Hugging Face Hub is missing from the cache."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return "/" in name and not isinstance(try_to_load_from_cache(name, "config.json"), str)
    except HFValidationError:  # a folder, or an id of another hub
        return False


def _index(found: Examination, index: Index, models: Models, ready: bool) -> None:
    record, made = index.collection.record(), index.manifest.record()
    found.index["store"] = str(index.place)
    if record is None:
        found.index["state"] = "empty"
        return
    found.index["model"] = f"{record.model}, vectors of size {record.dim}"
    problems = []
    if record.tenants and index.tenant is None:
        found.index["tenants"] = index.store.tenants()
    else:
        chunks, listed = index.collection.count(), index.manifest.count()
        found.index |= {} if index.tenant is None else {"tenant": index.tenant}
        found.index |= {"files": len(index.manifest.files()), "chunks": chunks}
        if chunks != listed:
            problems.append(
                f"warning: the manifest lists {listed} chunks; `qwen3-rag index` with the same "
                "paths repairs the index"
            )
    found.index["chunking"] = f"{made.get('chunk_tokens')} tokens, overlap {made.get('overlap')}"
    try:
        if ready:
            with models.embedder() as embedder:
                findings = HybridSearcher(index.store, embedder).check_collection()
        else:
            findings = index.store.check(record)
        # `check_encoder` says the same in the words of the command line.
        findings = [finding for finding in findings if finding.code != "encoder"]
        problems += [f"{finding.severity}: {finding}" for finding in findings]
        found.broken = any(finding.severity == "error" for finding in findings)
        try:
            index.check_encoder()
        except StoreError as error:
            problems.append(f"error: {error}")
            found.broken = True
    except (ModelError, BackendError) as error:
        problems.append(f"not checked against the model: {error}")
    found.index["state"] = problems or "sound"


def _speed(found: Examination, models: Models, ready: dict[Role, bool], documents: int) -> None:
    """Measure each model that can be loaded, and report errors."""
    measures: dict[Role, Callable[[], dict[str, Any]]] = {
        "embedding": lambda: _embedding_speed(models),
        "reranking": lambda: _reranking_speed(models, documents),
    }
    for role, measure in measures.items():
        if not ready[role]:
            found.speed[role] = "not measured: the model cannot be used; see above"
            continue
        try:
            found.speed |= measure()
        except (ModelError, BackendError) as error:
            found.speed[role] = f"not measured: {error}"


def _embedding_speed(models: Models) -> dict[str, Any]:
    with models.embedder() as embedder:
        embedder.embed_documents(_documents(FIRST))  # loads the model
        start = time.perf_counter()
        embedder.embed_documents(_documents(FIRST))
        once = time.perf_counter() - start
        count = min(max(int(FIRST * SECONDS / max(once, 1e-6)), FIRST), MOST)
        start = time.perf_counter()
        details = embedder.embed_documents(_documents(count), details=True)
        seconds = time.perf_counter() - start
    return {"embedding, tokens per second": sum(details.tokens or ()) / seconds}


def _reranking_speed(models: Models, documents: int) -> dict[str, Any]:
    with models.reranker() as reranker:
        reranker.rank(QUERY, _documents(min(documents, FIRST)))  # loads the model
        start = time.perf_counter()
        reranker.rank(QUERY, _documents(documents))
        seconds = time.perf_counter() - start
    return {f"reranking {documents} documents, seconds per query": seconds}


def _documents(count: int) -> list[str]:
    """Make texts whose first words differ, so that no computation is shared."""
    return [f"{number}. {PARAGRAPH}" for number in range(count)]
