"""What runs the models: the interface, the prompts it is given, and what it answers.

`BackendSpec` is for those who make another backend; `qwen3_rag_testkit.contracts` has the tests
that every backend has to pass.
"""

from qwen3_rag._prompts import EmbedPrompt, Prompt, RerankPrompt
from qwen3_rag._published import Role
from qwen3_rag.backends._base import WHOLE, Backend, BackendSpec, Capabilities, Limits, Output

__all__ = [
    "WHOLE",
    "Backend",
    "BackendSpec",
    "Capabilities",
    "EmbedPrompt",
    "Limits",
    "Output",
    "Prompt",
    "RerankPrompt",
    "Role",
]
