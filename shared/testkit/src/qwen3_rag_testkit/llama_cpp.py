"""Serves a checkpoint with llama.cpp, for tests of a real model server.

Needs the packages `gguf` and `xllamacpp`.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from qwen3_rag import DEFAULT_INSTRUCTION
from qwen3_rag.backends import RerankPrompt, Role
from qwen3_rag.integration import FloatArray

__all__ = ["LlamaCppServer", "write_gguf"]

_PATIENCE = 60  # seconds until the server must answer

# Kinds of tokens in a GGUF file.
_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5

_TENSORS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}

_SERVE = """
import sys
import xllamacpp

settings = xllamacpp.CommonParams()
settings.model.path = sys.argv[1]
settings.embedding = True
settings.pooling_type = getattr(xllamacpp.llama_pooling_type, "LLAMA_POOLING_TYPE_" + sys.argv[2])
# By default, attention is computed in float16, which moves a score by 0.001.
settings.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
settings.cache_type_k = settings.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
settings.n_ctx = 16_384
settings.n_batch = settings.n_ubatch = 4_096
settings.n_parallel = 4
# More threads wait for each other in loops, and hardly get on beside other work.
settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
settings.hostnames = ["127.0.0.1"]
settings.port = int(sys.argv[3])
server = xllamacpp.Server(settings)
print("serving", server.listening_address, flush=True)
sys.stdin.read()
"""


class LlamaCppServer:
    """A context manager that serves a GGUF file with llama.cpp on a free loopback port.

    Attributes:
        url: The server's address, once started.
    """

    url: str

    def __init__(self, file: Path, role: Role) -> None:
        """Store the arguments; nothing is started yet.

        Args:
            file: What `write_gguf` wrote.
            role: Whether it embeds or reranks.
        """
        self._file = file
        self._pooling = "LAST" if role == "embedding" else "RANK"
        self._port = 0
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> LlamaCppServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start the server, on the same port as before.

        Raises:
            RuntimeError: It ended or did not start in time; the message has its last lines.
        """
        with tempfile.TemporaryFile("w+") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVE, str(self._file), self._pooling, str(self._port)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
            assert self._process.stdout is not None
            lines: queue.Queue[str] = queue.Queue()
            threading.Thread(
                target=_forward, args=(self._process.stdout, lines), daemon=True
            ).start()
            try:
                while not (line := lines.get(timeout=_PATIENCE)).startswith("serving "):
                    if not line:
                        raise queue.Empty
            except queue.Empty:
                self.kill()
                log.seek(0)
                raise RuntimeError(f"llama.cpp does not start: {log.read()[-2_000:]}") from None
        self.url = line.split()[1]
        self._port = int(self.url.rpartition(":")[2])

    def kill(self) -> None:
        """Kill the server without any warning."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process = None


def write_gguf(
    folder: Path, file: Path, role: Role, *, end_token: bool = True, template: bool = True
) -> None:
    """Write a checkpoint as llama.cpp's own converter does.

    Args:
        folder: A checkpoint folder with one file of weights.
        file: The file to write.
        role: Whether it embeds or reranks.
        end_token: Whether the server appends the end token to texts.
        template: Whether a reranker gets its template.
    """
    import gguf

    config = json.loads((folder / "config.json").read_text())
    tensors = _read(folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokens, kinds, ids = _tokens(tokenizer, config["vocab_size"])
    writer = gguf.GGUFWriter(file, "qwen3")
    writer.add_type("model")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_freq_base(config.get("rope_theta") or config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_file_type(0)
    writer.add_quantization_version(2)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    merges = tokenizer["model"]["merges"]
    writer.add_token_merges([one if isinstance(one, str) else " ".join(one) for one in merges])
    writer.add_pad_token_id(ids["<|endoftext|>"])
    writer.add_bos_token_id(ids["<|endoftext|>"])
    writer.add_add_bos_token(False)
    if role == "embedding":
        writer.add_pooling_type(gguf.PoolingType.LAST)
        writer.add_eos_token_id(ids["<|endoftext|>"])
        writer.add_add_eos_token(end_token)
    else:
        writer.add_pooling_type(gguf.PoolingType.RANK)
        writer.add_eos_token_id(ids["<|im_end|>"])
        writer.add_add_eos_token(False)
        writer.add_classifier_output_labels(["yes", "no"])
        if template:
            prompt = RerankPrompt("{query}", "{document}", DEFAULT_INSTRUCTION).rendered
            writer.add_chat_template([{"name": "rerank", "template": prompt}])
        head = tensors.get("lm_head.weight", tensors["embed_tokens.weight"])
        writer.add_tensor("cls.output.weight", head[[ids["yes"], ids["no"]]])
    writer.add_tensor("token_embd.weight", tensors["embed_tokens.weight"])
    writer.add_tensor("output_norm.weight", tensors["norm.weight"])
    for layer in range(config["num_hidden_layers"]):
        for theirs, ours in _TENSORS.items():
            name = f"layers.{layer}.{ours}.weight"
            writer.add_tensor(f"blk.{layer}.{theirs}.weight", tensors[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _read(folder: Path) -> Mapping[str, FloatArray]:
    from safetensors.torch import load_file

    weights = load_file(folder / "model.safetensors")
    return {
        name.removeprefix("model."): np.ascontiguousarray(tensor.float().numpy())
        for name, tensor in weights.items()
    }


def _tokens(tokenizer: Any, size: int) -> tuple[list[str], list[int], dict[str, int]]:
    ids = dict(tokenizer["model"]["vocab"])
    kinds = [_NORMAL] * size
    for added in tokenizer["added_tokens"]:
        ids[added["content"]] = added["id"]
        kinds[added["id"]] = _CONTROL if added["special"] else _USER_DEFINED
    texts = {number: text for text, number in ids.items()}
    for number in range(size):
        if number not in texts:
            texts[number], kinds[number] = f"[PAD{number}]", _UNUSED
    return [texts[number] for number in range(size)], kinds, ids


def _forward(stream: IO[str], lines: queue.Queue[str]) -> None:
    with stream:
        for line in stream:
            lines.put(line)
    lines.put("")
