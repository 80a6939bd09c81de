"""The exceptions of this project.

    Qwen3RagError
    ├── InputError (ValueError)             what the caller gave cannot be used
    │   └── InputTypeError (TypeError)      it is of the wrong type
    ├── MissingExtraError (ImportError)     an optional dependency is not installed
    ├── ModelError                          a checkpoint is missing, broken or gives broken numbers
    ├── StoreError                          a vector store cannot be used as asked
    └── BackendError                        the model could not be run: closed, out of memory

Each has one message and can be pickled.
"""

from __future__ import annotations

__all__ = [
    "BackendError",
    "InputError",
    "InputTypeError",
    "MissingExtraError",
    "ModelError",
    "Qwen3RagError",
    "StoreError",
]


class Qwen3RagError(Exception):
    """Any error raised by this project."""


class InputError(Qwen3RagError, ValueError):
    """The caller's input cannot be used."""


class InputTypeError(InputError, TypeError):
    """The caller's input is of the wrong type."""


class MissingExtraError(Qwen3RagError, ImportError):
    """An optional dependency is not installed."""


class ModelError(Qwen3RagError):
    """A checkpoint is missing, broken, of another model family, or gives meaningless numbers."""


class StoreError(Qwen3RagError):
    """A vector store cannot do what was asked."""


class BackendError(Qwen3RagError):
    """The model could not be run."""
