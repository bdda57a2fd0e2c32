"""The API's document: it is valid, its names are words, and the server has the methods of it and no others."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.web.serving import Web


@pytest.fixture(scope="module")
def document(web: Web) -> dict[str, Any]:
    found: dict[str, Any] = web.client.get("/v1/openapi.json").json()
    return found


def test_it_is_valid(document: dict[str, Any]) -> None:
    validator = pytest.importorskip("openapi_spec_validator")
    assert document["openapi"].startswith("3.1.")
    validator.validate(document)


def test_a_model_has_the_name_of_what_it_is(document: dict[str, Any]) -> None:
    assert [name for name in document["components"]["schemas"] if not re.fullmatch("([A-Z][a-z]+)+", name)] == []
    assert [name for name in document["components"]["schemas"] if name.endswith(("Body", "Model"))] == []


def test_each_operation_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    names = [one["operationId"] for methods in document["paths"].values() for one in methods.values()]
    assert len(names) == len(set(names))
    assert [name for name in names if not re.fullmatch("[a-z]+([A-Z][a-z]+)*", name)] == []


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "BREW"])
def test_a_method_that_a_path_does_not_have_is_refused_with_those_that_it_has(
    web: Web, document: dict[str, Any], method: str
) -> None:
    for path, methods in document["paths"].items():
        reply = web.client.request(method, path.replace("{", "").replace("}", ""))
        assert (reply.status_code, reply.headers["Content-Type"]) == (405, "application/problem+json")
        assert set(reply.headers["Allow"].lower().split(", ")) == methods.keys()


def test_the_pages_path_has_its_methods(web: Web) -> None:
    assert web.client.post("/deliveries").headers["Allow"] == "GET, HEAD"
