"""The backend interface: what runs a model, the prompts it gets and the results it returns.

To write a backend, subclass `BackendSpec`; `qwen3_rag_testkit.contracts` has the tests that every
backend must pass.
"""

from qwen3_rag._prompts import EmbedPrompt, Prompt, RerankPrompt
from qwen3_rag._published import Role
from qwen3_rag.backends._base import (
    UNKNOWN,
    WHOLE,
    Backend,
    BackendSpec,
    Capabilities,
    Limits,
    Output,
)
from qwen3_rag.backends._remote.spec import Remote

__all__ = [
    "UNKNOWN",
    "WHOLE",
    "Backend",
    "BackendSpec",
    "Capabilities",
    "EmbedPrompt",
    "Limits",
    "Output",
    "Prompt",
    "Remote",
    "RerankPrompt",
    "Role",
]
