from __future__ import annotations

import pickle

import pytest

from qwen3_rag import errors


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_of_the_tree_and_survives_pickling(name: str) -> None:
    error = getattr(errors, name)("what went wrong")

    copy = pickle.loads(pickle.dumps(error))

    assert isinstance(error, errors.Qwen3RagError)
    assert type(copy) is type(error)
    assert str(copy) == "what went wrong"


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.InputError, ValueError),
        (errors.InputTypeError, TypeError),
        (errors.InputTypeError, ValueError),
        (errors.MissingExtraError, ImportError),
    ],
)
def test_errors_are_caught_by_the_builtin_a_caller_expects(
    error: type[Exception], builtin: type[Exception]
) -> None:
    with pytest.raises(builtin):
        raise error("x")


def test_docstring_draws_the_whole_tree() -> None:
    assert errors.__doc__ is not None
    for name in errors.__all__:
        assert name in errors.__doc__
