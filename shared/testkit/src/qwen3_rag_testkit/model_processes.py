"""Starts servers of models as processes on free loopback ports, for tests of real servers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from qwen3_rag.backends import Role
from qwen3_rag_testkit.server_processes import ServerProcess, answers

__all__ = ["VLLM_TEMPLATE", "TEIProcess", "VLLMProcess"]

#: Qwen3-Reranker's prompt as a chat template for vLLM, which hands over the instruction of a
#: request as the variable `instruction`.
VLLM_TEMPLATE = """\
<|im_start|>system
Judge whether the Document meets the requirements based on the Query and the Instruct provided. \
Note that the answer can only be "yes" or "no".<|im_end|>
<|im_start|>user
<Instruct>: {{ instruction | \
default("Given a web search query, retrieve relevant passages that answer the query") }}
<Query>: {{ (messages | selectattr("role", "eq", "query") | first).content }}
<Document>: {{ (messages | selectattr("role", "eq", "document") | first).content }}<|im_end|>
<|im_start|>assistant
<think>

</think>


"""

#: What makes vLLM read the scores of an unchanged Qwen3-Reranker from "yes" and "no".
_CLASSIFIER = {
    "architectures": ["Qwen3ForSequenceClassification"],
    "classifier_from_token": ["no", "yes"],
    "is_original_qwen3_reranker": True,
}

Runner = Literal["embed", "classify", "generate"]


class VLLMProcess(ServerProcess):
    """A vLLM server on the CPU in float32, from its command `vllm`.

    Attributes:
        url: The server's address.
    """

    patience = 600  # the first start compiles

    def __init__(
        self,
        binary: str | os.PathLike[str],
        checkpoint: Path,
        role: Role,
        *,
        runner: Runner | None = None,
        template: str | None = VLLM_TEMPLATE,
        limit: int = 2_048,
        api_key: str | None = None,
    ) -> None:
        """Choose a port.

        Args:
            binary: The command, of an environment of its own.
            checkpoint: Folder of the checkpoint.
            role: What the checkpoint is for.
            runner: What the server makes of it; by default, "embed" for an embedder and "generate"
                for a reranker.
            template: The chat template of "classify"; `None` for none.
            limit: Longest input in tokens.
            api_key: The key that clients must send.
        """
        super().__init__()
        self._binary = Path(binary).expanduser().absolute()
        self._checkpoint, self._limit, self._api_key = checkpoint, limit, api_key
        self._runner = runner or ("embed" if role == "embedding" else "generate")
        self._template = template
        self.url = f"http://127.0.0.1:{self.port}"

    def _command(self) -> Sequence[str | Path]:
        options: list[str | Path] = []
        if self._runner == "classify":
            options += ["--hf-overrides", json.dumps(_CLASSIFIER)]
            if self._template is not None:
                file = self.folder / "template.jinja"
                file.write_text(self._template)
                options += ["--chat-template", file]
        return [
            *(self._binary, "serve", self._checkpoint, "--host", "127.0.0.1"),
            *("--port", str(self.port), "--served-model-name", "served", "--dtype", "float32"),
            *("--runner", "generate" if self._runner == "generate" else "pooling"),
            *("--max-model-len", str(self._limit), "--enforce-eager"),
            *options,
            *(("--api-key", self._api_key) if self._api_key else ()),
        ]

    def _environment(self) -> Mapping[str, str]:
        return {
            "HF_HUB_OFFLINE": "1",
            "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "VLLM_NO_USAGE_STATS": "1",
        }

    def _answers(self) -> bool:
        return answers(f"{self.url}/health")


class TEIProcess(ServerProcess):
    """A server of Text Embeddings Inference on the CPU, from its binary.

    Attributes:
        url: The server's address.
    """

    def __init__(
        self,
        binary: str | os.PathLike[str],
        checkpoint: Path,
        *,
        default_prompt: str | None = None,
        pooling: str | None = None,
        api_key: str | None = None,
    ) -> None:
        """Choose a port.

        Args:
            binary: The command `text-embeddings-router`.
            checkpoint: Folder of an embedder.
            default_prompt: A text that the server sets before every input.
            pooling: What it reads vectors from, instead of what the checkpoint says.
            api_key: The key that clients must send.
        """
        super().__init__()
        self._binary = Path(binary).expanduser().absolute()
        self._checkpoint = checkpoint
        options = {"--default-prompt": default_prompt, "--pooling": pooling, "--api-key": api_key}
        self._options = [(name, value) for name, value in options.items() if value is not None]
        self.url = f"http://127.0.0.1:{self.port}"

    def _command(self) -> Sequence[str | Path]:
        return [
            *(self._binary, "--model-id", self._checkpoint, "--dtype", "float32"),
            *("--hostname", "127.0.0.1", "--port", str(self.port)),
            *(part for option in self._options for part in option),
        ]

    def _answers(self) -> bool:
        return answers(f"{self.url}/health")
