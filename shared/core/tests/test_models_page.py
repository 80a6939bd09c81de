"""The table of docs/models.md is what happens, row by row."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag import ModelError, Qwen3Embedder, Qwen3Reranker
from qwen3_rag.backends import Role

pytest.importorskip("torch")

# Where the part begins that test_quantised.py reads.
QUANTISED = "## Quantised checkpoints"
PAGE = Path(__file__).resolve().parents[3] / "docs" / "models.md"
SETTINGS = "config_sentence_transformers.json"

#: Opens a checkpoint and uses it.
Use = Callable[[], None]


def rows() -> dict[str, str]:
    """Read the table of what opens: folder and result."""
    section = PAGE.read_text(encoding="utf-8").partition("## What opens")[2].partition("\n## ")[0]
    cells = [line.strip("| ").split(" | ") for line in section.splitlines() if "|" in line]
    return {folder: result for folder, result in cells[2:]}


class Kinds:
    """Makes the folder of every row."""

    def __init__(self, make_checkpoint: Callable[..., Path], place: Path) -> None:
        self.make = make_checkpoint
        self.place = place

    def copy(self, role: Role = "embedding", **settings: Any) -> Path:
        return Path(shutil.copytree(self.make(role, **settings), self.place / "folder"))

    def changed(self, file: str, entries: dict[str, Any], role: Role = "embedding") -> Path:
        folder = self.copy(role)
        path = folder / file
        content = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        path.write_text(json.dumps({**content, **entries}), encoding="utf-8")
        return folder

    def tokenizer(self, change: Callable[[dict[str, Any]], None]) -> Path:
        folder = self.copy()
        path = folder / "tokenizer.json"
        definition = json.loads(path.read_text("utf-8"))
        change(definition)
        path.write_text(json.dumps(definition), encoding="utf-8")
        return folder

    def modules(self, change: Callable[[list[dict[str, Any]]], Any]) -> Path:
        folder = self.copy()
        path = folder / "modules.json"
        entries = json.loads(path.read_text("utf-8"))
        change(entries)
        path.write_text(json.dumps(entries), encoding="utf-8")
        return folder

    def added(self) -> Path:
        def change(definition: dict[str, Any]) -> None:
            last = definition["added_tokens"][-1]
            definition["added_tokens"].append({**last, "content": "[DOC]", "id": last["id"] + 1})

        return self.tokenizer(change)

    def with_row(self) -> Path:
        from qwen3_rag_testkit.checkpoints import write_checkpoint

        definition = json.loads((self.added() / "tokenizer.json").read_text("utf-8"))
        rows = definition["added_tokens"][-1]["id"] + 1
        folder = write_checkpoint(self.place / "with row", "embedding", config={"vocab_size": rows})
        shutil.copy(self.place / "folder" / "tokenizer.json", folder / "tokenizer.json")
        return folder

    def other_end(self) -> Path:
        def change(definition: dict[str, Any]) -> None:
            ids = {token["content"]: token["id"] for token in definition["added_tokens"]}
            text = json.dumps(definition["post_processor"])
            text = text.replace("<|endoftext|>", "<|im_end|>")
            text = text.replace(f'"ids": [{ids["<|endoftext|>"]}]', f'"ids": [{ids["<|im_end|>"]}]')
            definition["post_processor"] = json.loads(text)

        return self.tokenizer(change)

    def inner(self) -> Path:
        folder = self.modules(lambda entries: entries[0].update(path="0_Transformer"))
        (folder / "0_Transformer").mkdir()
        for file in folder.glob("*.*"):
            if file.name not in ("modules.json", SETTINGS):
                file.rename(folder / "0_Transformer" / file.name)
        return folder

    def prefixed(self) -> Path:
        from safetensors.torch import load_file, save_file

        folder = self.copy()
        weights = load_file(folder / "model.safetensors")
        renamed = {f"_orig_mod.{name}": value for name, value in weights.items()}
        save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    def pointer(self) -> Path:
        folder = self.copy()
        (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
        return folder

    def gguf(self) -> Path:
        path = self.place / "model.gguf"
        path.write_bytes(b"GGUF")
        return path

    def cached(self) -> Path:
        place = self.place / "hub" / "models--somebody--embedder" / "snapshots" / ("1" * 40)
        shutil.copytree(self.make("embedding"), place)
        return self.place / "hub"

    def unfinished(self) -> Path:
        folder = self.copy()
        (folder / "model.safetensors").unlink()
        place = folder / ".cache" / "huggingface" / "download"
        place.mkdir(parents=True)
        (place / "model.safetensors.incomplete").touch()
        return folder

    def adapter(self, *, beside: bool = False, **settings: Any) -> Path:
        peft = pytest.importorskip("peft", reason="makes the adapter")
        from transformers import AutoModelForCausalLM

        base = self.make("reranking")
        kind = peft.PromptTuningConfig if "num_virtual_tokens" in settings else peft.LoraConfig
        model = AutoModelForCausalLM.from_pretrained(base)
        folder = self.place / "adapter"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # peft asks for a name that transformers will drop
            adapted = peft.get_peft_model(model, kind(task_type="CAUSAL_LM", **settings))
            adapted.save_pretrained(folder)
        if beside:
            shutil.copytree(base, folder, dirs_exist_ok=True)
        return folder

    def orphan(self) -> Path:
        folder = self.adapter()
        config = folder / "adapter_config.json"
        settings = json.loads(config.read_text("utf-8"))
        settings["base_model_name_or_path"] = str(self.place / "gone")
        config.write_text(json.dumps(settings), encoding="utf-8")
        return folder

    def made(self) -> dict[str, tuple[Any, Callable[[], Path]]]:
        """Return the class and the folder for every row."""
        embedder, reranker = Qwen3Embedder, Qwen3Reranker
        pooling = {"pooling_mode_lasttoken": False, "pooling_mode_cls_token": True}
        dense = {"idx": 3, "path": "3_Dense", "type": "sentence_transformers.models.Dense"}

        def own_code(entries: list[dict[str, Any]]) -> None:
            entries[1]["type"] = "custom.Pooling"

        def scorer() -> Path:
            return self.changed(SETTINGS, {"model_type": "CrossEncoder"})

        def prompts(**texts: str) -> Callable[[], Path]:
            return lambda: self.changed(SETTINGS, {"prompts": texts})

        def config(**entries: Any) -> Callable[[], Path]:
            return lambda: self.changed("config.json", entries)

        instruction = {"prompts": {"law": "Find law"}, "default_prompt_name": "law"}
        return {
            "the published layout, or without sentence-transformers' files": (
                embedder,
                lambda: self.copy(modules=False),
            ),
            "prompts of its own, with another text before queries and documents": (
                embedder,
                prompts(query="query: ", document="passage: "),
            ),
            "a saved default instruction of a reranker": (
                reranker,
                lambda: self.changed(SETTINGS, instruction, "reranking"),
            ),
            "other answer tokens of a reranker": (
                reranker,
                lambda: self.changed(
                    "1_LogitScore/config.json",
                    {"true_token_id": 5, "false_token_id": 6},
                    "reranking",
                ),
            ),
            "another end token": (embedder, self.other_end),
            "no end token in the tokenizer": (embedder, lambda: self.copy(append_end=False)),
            "added tokens, with rows in the embedding table": (embedder, self.with_row),
            "fewer rows in the table than tokens, if no prompt needs them": (
                embedder,
                lambda: self.copy(config={"vocab_size": 380}),
            ),
            "an added token without a row": (embedder, self.added),
            "a folder of its own for the transformer, such as `0_Transformer`": (
                embedder,
                self.inner,
            ),
            "a reranker saved as a classifier with one label": (
                reranker,
                lambda: self.copy("reranking", classifier=True),
            ),
            "an adapter of peft that names its base model": (reranker, self.adapter),
            "an adapter of peft beside its base's weights": (
                reranker,
                lambda: self.adapter(beside=True),
            ),
            "an adapter that adds virtual tokens": (
                reranker,
                lambda: self.adapter(num_virtual_tokens=3),
            ),
            "an adapter without its base model": (reranker, self.orphan),
            "weights quantised by a method that is not [below](#quantised-checkpoints)": (
                embedder,
                config(quantization_config={"quant_method": "hqq"}),
            ),
            "another family": (embedder, config(model_type="llama")),
            "attention in both directions, or in windows": (embedder, config(is_causal=False)),
            "code of its own (`auto_map`)": (embedder, config(auto_map={"AutoModel": "x.Y"})),
            "a query prompt with gaps such as `{query}`": (embedder, prompts(query="{query}")),
            "several query prompts, none of which is known": (
                embedder,
                prompts(sts_query="a", bitext_query="b"),
            ),
            "a pooling other than the last token's": (
                embedder,
                lambda: self.changed("1_Pooling/config.json", pooling),
            ),
            "a dense layer behind the pooling": (
                embedder,
                lambda: self.modules(lambda entries: entries.append(dense)),
            ),
            "a reranker with a pooling and a layer": (reranker, scorer),
            "modules with code of their own": (embedder, lambda: self.modules(own_code)),
            "texts put into lower case": (
                embedder,
                lambda: self.changed("sentence_bert_config.json", {"do_lower_case": True}),
            ),
            "tensors with the prefix of a trainer": (embedder, self.prefixed),
            "a Git LFS pointer": (embedder, self.pointer),
            "a GGUF file": (embedder, self.gguf),
            "a cache of the Hub": (embedder, self.cached),
            "the cache of one model": (
                embedder,
                lambda: self.cached() / "models--somebody--embedder",
            ),
            "an interrupted download": (embedder, self.unfinished),
            "a folder around checkpoints": (embedder, lambda: self.copy().parent),
        }


def test_every_row_is_tried(make_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    assert list(rows()) == list(Kinds(make_checkpoint, tmp_path).made())


@pytest.mark.parametrize("row", rows())
def test_a_row_is_what_happens(
    row: str, make_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    kind, make = Kinds(make_checkpoint, tmp_path).made()[row]
    said = re.findall(r'"(.*?)"', rows()[row])
    opens = rows()[row].startswith("opens")

    with (
        kind(make(), dtype="float32", device="cpu") as model,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        if opens:
            use(model)
            told = " ".join(str(each.message) for each in caught)
        else:
            with pytest.raises(ModelError) as refused:
                use(model)
            told = str(refused.value)

    assert bool(said) == bool(told)
    for words in said:
        assert words in told


def use(model: Any) -> None:
    if isinstance(model, Qwen3Embedder):
        model.embed_queries(["a query"])
        model.embed_documents(["a document", ""])
    else:
        model.score([("a query", "a document")])


def test_the_settings_of_the_page_run() -> None:
    code = re.findall(
        r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8").partition(QUANTISED)[0], re.S
    )
    pytest.importorskip("qwen3_rag_tiny")

    for example in code:
        names: dict[str, Any] = {}
        exec(compile(example, PAGE.name, "exec"), names)
        names["embedder"].close()
    assert len(code) == 1
