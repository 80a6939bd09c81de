"""Quantised checkpoints give the numbers of transformers' own model from the same folder."""

from __future__ import annotations

import json
import logging
import re
import shutil
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

import qwen3_rag_tiny
from qwen3_rag import MissingExtraError, ModelError, Qwen3Embedder, Qwen3Reranker
from qwen3_rag.backends._local.loading.quantised import METHODS
from qwen3_rag.integration import Checkpoint, resolve_checkpoint, trainable_model
from qwen3_rag_testkit.quantised import PACKAGES, quantise
from qwen3_rag_testkit.reference import reference_logits, reference_tokens, reference_vectors

pytestmark = pytest.mark.filterwarnings("ignore:.*(NumPy|Stored version|register_constant|inputs)")

WAYS = list(PACKAGES)
HEAD = ("lm_head", "score")

DOCUMENTS = [
    "Berlin is the capital of Germany.",
    "The recipe needs rice, salt and water. " * 6,
    "def read(path): return json.loads(path.read_text())",
    "x",
]
PAIRS = [("capital of germany", document) for document in DOCUMENTS]

MakeQuantised = Callable[..., Path]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The trained tiny models: the embedder, and the reranker with heads that can be quantised."""
    root = tmp_path_factory.mktemp("plain")
    embedder, reranker = qwen3_rag_tiny.embedding_folder(), qwen3_rag_tiny.reranking_folder()
    ignored = shutil.ignore_patterns("*.safetensors")

    trunk = AutoModel.from_pretrained(embedder, dtype=torch.float32)
    shutil.copytree(embedder, root / "embedder", ignore=ignored)
    trunk.save_pretrained(root / "embedder")

    untied = AutoModelForCausalLM.from_pretrained(reranker, dtype=torch.float32)
    untied.lm_head.weight = torch.nn.Parameter(untied.lm_head.weight.detach().clone())
    untied.config.tie_word_embeddings = False
    shutil.copytree(reranker, root / "reranker", ignore=ignored)
    untied.save_pretrained(root / "reranker")

    # An embedder as programs save it that load every model with a head.
    with_head = AutoModelForCausalLM.from_pretrained(embedder, dtype=torch.float32)
    shutil.copytree(embedder, root / "with head", ignore=ignored)
    with_head.save_pretrained(root / "with head")

    # A classifier of one label, the difference of the two rows.
    tokenizer = AutoTokenizer.from_pretrained(reranker)
    no, yes = (tokenizer.convert_tokens_to_ids(word) for word in ("no", "yes"))
    classifier = AutoModelForSequenceClassification.from_pretrained(
        reranker, num_labels=1, dtype=torch.float32
    )
    rows = untied.lm_head.weight.detach()
    classifier.score.weight.data = (rows[yes] - rows[no])[None].clone()
    shutil.copytree(reranker, root / "classifier", ignore=ignored)
    (root / "classifier" / "modules.json").unlink(missing_ok=True)
    classifier.save_pretrained(root / "classifier")
    return {folder.name: folder for folder in root.iterdir()}


@pytest.fixture(scope="module")
def quantised(sources: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> MakeQuantised:
    """Quantise one of the sources, once per arguments."""
    root = tmp_path_factory.mktemp("quantised")

    def make(way: str, source: str, *, kept: tuple[str, ...] = HEAD) -> Path:
        target = root / f"{way}, {source}, {' '.join(kept)}"
        return target if target.exists() else quantise(sources[source], target, way, kept=kept)

    return make


def vectors(folder: Path, **options: Any) -> NDArray[np.float32]:
    with Qwen3Embedder(str(folder), dtype="float32", device="cpu", **options) as embedder:
        return embedder.embed_documents(DOCUMENTS)


def logits(folder: Path, **options: Any) -> NDArray[np.float32]:
    with Qwen3Reranker(str(folder), dtype="float32", device="cpu", **options) as reranker:
        return np.array(reranker.score(PAIRS, details=True).logits, dtype=np.float32)


def assert_vectors(got: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    assert (got * expected).sum(axis=1).min() > 0.99999


def assert_logits(got: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(got, expected, atol=1e-4, rtol=0)


# ------------------------------------------------------------------ numbers


@pytest.mark.parametrize("way", WAYS)
def test_vectors_are_transformers(way: str, quantised: MakeQuantised) -> None:
    folder = quantised(way, "embedder")

    assert_vectors(vectors(folder), reference_vectors(folder, DOCUMENTS, batch=1))


@pytest.mark.parametrize("way", WAYS)
def test_logits_are_transformers(way: str, quantised: MakeQuantised, sources: Any) -> None:
    folder = quantised(way, "reranker")
    got = logits(folder)

    assert_logits(got, reference_logits(folder, PAIRS, batch=1))
    assert np.abs(got - reference_logits(sources["reranker"], PAIRS)).max() > 1e-3


@pytest.mark.parametrize("way", WAYS)
def test_logits_of_a_quantised_head_are_transformers(way: str, quantised: MakeQuantised) -> None:
    folder = quantised(way, "reranker", kept=())
    head = {name for name in load_file(folder / "model.safetensors") if "lm_head" in name}
    assert len(head) > 1, "the head was not quantised"

    assert_logits(logits(folder), last_logits(folder))


def last_logits(folder: Path) -> NDArray[np.float32]:
    """Compute as `reference_logits` does, but the head for the last token alone.

    LLM.int8 rounds a token otherwise if others are beside it. On some CPUs bitsandbytes multiplies
    4-bit weights in bfloat16, of which the head's rounding alone is 0.02: it is undone here.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if type(getattr(model.lm_head, "weight", None)).__name__ == "Params4bit":
        from bitsandbytes.functional import dequantize_4bit

        weight = model.lm_head.weight
        rows = dequantize_4bit(weight.data, weight.quant_state)
        model.lm_head = torch.nn.Linear(1, 1, bias=False)
        model.lm_head.weight = torch.nn.Parameter(rows, requires_grad=False)
    no, yes = (tokenizer.convert_tokens_to_ids(word) for word in ("no", "yes"))
    found = []
    for pair in PAIRS:
        ids = torch.tensor([reference_tokens(tokenizer, *pair)])
        with torch.no_grad():
            last = model(ids, logits_to_keep=1).logits[0, -1]
        found.append(float(last[yes] - last[no]))
    return np.array(found, dtype=np.float32)


@pytest.mark.parametrize("way", ["bitsandbytes int8", "torchao int8", "torchao int8, inputs too"])
@pytest.mark.parametrize("kept", [HEAD, ()])
def test_logits_of_a_classifier_are_transformers(
    way: str, kept: tuple[str, ...], quantised: MakeQuantised
) -> None:
    folder = quantised(way, "classifier", kept=kept)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)

    expected = []
    for pair in PAIRS:
        with torch.no_grad():
            hidden = model.model(torch.tensor([reference_tokens(tokenizer, *pair)]))
            expected.append(float(model.score(hidden.last_hidden_state[:, -1])))
    with Qwen3Reranker.from_model(model, tokenizer) as reranker:
        loaded = [reranker.score([pair], details=True).logits[0] for pair in PAIRS]

    assert_logits(logits(folder), np.array(expected, dtype=np.float32))
    assert_logits(np.array(loaded), np.array(expected, dtype=np.float32))


@pytest.mark.parametrize("way", WAYS)
def test_embedder_quantised_with_its_head_around_it(way: str, quantised: MakeQuantised) -> None:
    # The layers are named with `model.` in front, also those that are not quantised.
    folder = quantised(way, "with head", kept=("lm_head", "model.layers.1.mlp.down_proj"))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model(torch.tensor([[1]]))  # compressed-tensors decompresses its weights in it
    tokenizer = AutoTokenizer.from_pretrained(folder)

    expected = []
    for document in DOCUMENTS:
        with torch.no_grad():
            hidden = model.model(**tokenizer([document], return_tensors="pt")).last_hidden_state
        expected.append(torch.nn.functional.normalize(hidden[:, -1], dim=1).numpy()[0])

    assert_vectors(vectors(folder), np.stack(expected))


@pytest.mark.parametrize("way", WAYS)
def test_trunk_alone_under_the_name_of_a_class_with_a_head(
    way: str, quantised: MakeQuantised, tmp_path: Path
) -> None:
    # As the published embedding models are.
    trunk = quantised(way, "embedder")
    folder = shutil.copytree(trunk, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    config.update(architectures=["Qwen3ForCausalLM"], tie_word_embeddings=False)
    (folder / "config.json").write_text(json.dumps(config))

    assert_vectors(vectors(folder), vectors(trunk))


@pytest.mark.parametrize("way", ["torchao int8, inputs too", "compressed-tensors W8A8"])
def test_scores_do_not_depend_on_neighbours(
    way: str, reranking_folder: Path, tmp_path: Path
) -> None:
    # With this model, a batch of transformers' differs by 0.01 from one text after the other.
    folder = quantise(reranking_folder, tmp_path / "quantised", way, kept=HEAD)

    with Qwen3Reranker(str(folder), dtype="float32", device="cpu") as reranker:
        together = reranker.score(PAIRS, details=True).logits
        alone = np.concatenate([reranker.score([p], details=True).logits for p in PAIRS])

    assert_logits(np.array(together), alone)


@pytest.mark.parametrize("way", WAYS)
def test_callers_model_gives_the_same(way: str, quantised: MakeQuantised) -> None:
    folder = quantised(way, "reranker", kept=())
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)

    with Qwen3Reranker.from_model(model, tokenizer) as reranker:
        got = np.concatenate([reranker.score([p], details=True).logits for p in PAIRS])

    if way.startswith("bitsandbytes"):  # see `last_logits`
        np.testing.assert_allclose(got, last_logits(folder), atol=0.05)
    else:
        assert_logits(got, reference_logits(folder, PAIRS, batch=1))


def test_plain_weights_are_quantised_on_request(quantised: MakeQuantised, sources: Any) -> None:
    pytest.importorskip("bitsandbytes")
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=[*HEAD, "none"])
    got = logits(sources["reranker"], model_kwargs={"quantization_config": config})

    assert_logits(got, logits(quantised("bitsandbytes int8", "reranker")))


def test_other_attention_gives_the_same(quantised: MakeQuantised) -> None:
    folder = quantised("torchao int8, inputs too", "embedder")

    assert_vectors(vectors(folder, attention="eager"), vectors(folder))


# ------------------------------------------------------------------ messages


def test_option_that_has_no_effect_is_reported(
    quantised: MakeQuantised, caplog: pytest.LogCaptureFixture
) -> None:
    folder = quantised("torchao int8, inputs too", "embedder")

    with caplog.at_level(logging.WARNING, "qwen3_rag"):
        vectors(folder, compile=True)

    assert "`compile` is not used" in caplog.text


def test_nothing_is_logged_for_each_product(
    quantised: MakeQuantised, caplog: pytest.LogCaptureFixture
) -> None:
    folder = quantised("bitsandbytes int8", "embedder")

    with caplog.at_level(logging.WARNING):
        vectors(folder)

    assert not caplog.records


def claimed(folder: Path, target: Path, **settings: Any) -> str:
    """Copy a checkpoint of plain weights, and claim that they are quantised."""
    shutil.copytree(folder, target)
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**config, "quantization_config": settings}))
    return str(target)


@pytest.mark.parametrize(
    ("method", "package"),
    [
        ("bitsandbytes", "bitsandbytes"),
        ("torchao", "torchao"),
        ("compressed-tensors", "compressed-tensors"),
        ("fp8", "accelerate"),
        ("gptq", "gptqmodel and optimum"),
        ("awq", "gptqmodel"),
    ],
)
def test_missing_package_is_named(
    method: str,
    package: str,
    embedding_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in package.replace("-", "_").split(" and "):
        if find_spec(name) is not None:
            monkeypatch.setitem(sys.modules, name, None)
    folder = claimed(embedding_folder, tmp_path / "claimed", quant_method=method)

    with (
        Qwen3Embedder(folder, device="cpu") as embedder,
        pytest.raises(
            MissingExtraError, match=rf"quantised with '{method}', which needs {package}\. Install"
        ),
    ):
        embedder.warm_up()


@pytest.mark.parametrize("method", ["hqq", "mxfp4", "metal", "fbgemm_fp8", "", None, ["fp8"]])
def test_other_methods_are_refused_by_name(
    method: Any, reranking_folder: Path, tmp_path: Path
) -> None:
    folder = claimed(reranking_folder, tmp_path / "claimed", quant_method=method)

    with (
        Qwen3Reranker(folder, device="cpu") as reranker,
        pytest.raises(ModelError, match=r"is quantised with .*only bitsandbytes, torchao"),
    ):
        reranker.warm_up()


@pytest.mark.parametrize("way", WAYS)
def test_incomplete_weights_are_refused(way: str, quantised: MakeQuantised, tmp_path: Path) -> None:
    folder = shutil.copytree(quantised(way, "reranker", kept=()), tmp_path / "copy")
    file = folder / "model.safetensors"
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    tensors = load_file(file)
    lost = next(
        name
        for name in sorted(tensors)
        if "layers.1.mlp.up_proj" in name and ("scale" in name or "SCB" in name or "absmax" in name)
    )
    del tensors[lost]
    save_file(tensors, file, metadata=metadata)

    with Qwen3Reranker(str(folder), device="cpu") as reranker, pytest.raises(ModelError):
        reranker.warm_up()


def test_unreadable_settings_name_the_method(embedding_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("torchao")
    folder = claimed(embedding_folder, tmp_path / "claimed", quant_method="torchao", quant_type={})

    with (
        Qwen3Embedder(folder, device="cpu") as embedder,
        pytest.raises(ModelError, match="quantised with 'torchao', cannot be read"),
    ):
        embedder.warm_up()


PAGE = (Path(__file__).parents[3] / "docs" / "models.md").read_text(encoding="utf-8")
PAGE = PAGE.partition("## Quantised checkpoints")[2]


def test_documentation_lists_the_methods_and_their_packages() -> None:
    rows = re.findall(r"^\| `([\w-]+)`[^|]*\| `([^`]+)` \|", PAGE, re.M)

    listed = {method: set(packages.split()) for method, packages in rows}

    assert listed == {
        method: {package for _, package in packages} for method, packages in METHODS.items()
    }


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", PAGE, re.S))
def test_example_in_the_documentation_runs(
    code: str, embedding_folder: Path, reranking_folder: Path
) -> None:
    for package in ("bitsandbytes", "sentence_transformers"):
        if package in code.lower():
            pytest.importorskip(package)
    names: dict[str, Any] = {}

    code = code.replace("Qwen/Qwen3-Embedding-0.6B", str(embedding_folder))
    code = code.replace("Qwen/Qwen3-Reranker-0.6B", str(reranking_folder))
    exec(code, names)

    with names["embedder"] if "embedder" in names else names["reranker"] as opened:
        opened.warm_up()


def test_quantised_head_is_not_trained(quantised: MakeQuantised) -> None:
    trainable_model(resolve(quantised("bitsandbytes int8", "reranker")), "reranking")

    with pytest.raises(ModelError, match="is quantised, so it cannot be trained"):
        trainable_model(resolve(quantised("bitsandbytes int8", "reranker", kept=())), "reranking")


def resolve(folder: Path) -> Checkpoint:
    return resolve_checkpoint(str(folder), "reranking")


def test_trunk_of_any_class_is_run(quantised: MakeQuantised) -> None:
    # The vectors of a head's trunk and of the trunk alone are the same.
    folder = quantised("bitsandbytes int8", "with head")
    model = AutoModel.from_pretrained(folder, dtype=torch.float32)

    with Qwen3Embedder.from_model(model, AutoTokenizer.from_pretrained(folder)) as embedder:
        alone = np.concatenate([embedder.embed_documents([text]) for text in DOCUMENTS])

    assert_vectors(vectors(folder), alone)
