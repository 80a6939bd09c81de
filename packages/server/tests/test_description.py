"""The OpenAPI description, by requests that are generated from it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import positive_data_acceptance

from packages.server.tests.served_process import KEY, ServedProcess
from qwen3_rag_server import Served, make_app

load_all_checks()

#: It wants each body accepted that has the right types; but a query must not be blank, a model be
#: known, a dim fit the model.
BEYOND_TYPES: list[Any] = [positive_data_acceptance]


@pytest.fixture(scope="module")
def description(apart: ServedProcess) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{apart.url}/openapi.json").json()
    return found


def test_all_paths_are_described_and_no_others(description: dict[str, Any]) -> None:
    routes = {
        (path, method.lower())
        for route in make_app(Served()).routes
        for path, methods in [(route.path, route.methods)]  # type: ignore[attr-defined]  # all are `Route`
        for method in methods - {"HEAD"}
    }
    described = {
        (path, method) for path, methods in description["paths"].items() for method in methods
    }
    assert routes == described


@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize("count", [500, pytest.param(5_000, marks=pytest.mark.slow)])
def test_answers_to_generated_requests_are_as_described(
    apart: ServedProcess, description: dict[str, Any], mode: str, count: int
) -> None:
    schema = schemathesis.openapi.from_dict(description)
    schema.config.update(base_url=apart.url)
    cases = schema.as_strategy(generation_mode=schemathesis.GenerationMode(mode))
    statuses: Counter[int] = Counter()

    @settings(
        max_examples=count,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
    )
    # What a negative case says is wrong may be the model's name, which then stays.
    @given(cases, st.booleans() if mode == "positive" else st.just(value=False))
    def ask(case: schemathesis.Case[Any], names_the_model: bool) -> None:
        if names_the_model and isinstance(case.body, dict) and "model" in case.body:
            case.body["model"] = "tiny"
        answer = case.call(headers={"authorization": f"Bearer {KEY}"})
        statuses[answer.status_code] += 1
        assert answer.status_code < 500 or answer.status_code == 501, answer.text
        case.validate_response(answer, excluded_checks=BEYOND_TYPES)

    ask()
    assert sum(statuses.values()) >= count
    assert statuses[200] > count / 4 if mode == "positive" else statuses[400] > count / 2
    with apart.client() as client:
        assert client.post("/embed", json={"inputs": "a"}).status_code == 200
    assert KEY not in apart.log
