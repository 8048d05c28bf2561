"""Requests made from the OpenAPI schema find no answer that it does not tell of, and no 500."""

import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

schemathesis = pytest.importorskip("schemathesis")
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def _images():
    def encode(pixels, kind):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, kind)
        return file.getvalue()

    sizes = st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(0, 9))
    pixels = sizes.map(lambda s: np.random.default_rng(s[2]).integers(0, 255, (s[0], s[1], 3), np.uint8))
    return st.builds(encode, pixels, st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP"]))


for kind in ("image/*", "application/octet-stream"):
    schemathesis.openapi.media_type(kind, st.one_of(_images(), st.binary(max_size=300)))


@pytest.fixture(scope="module")
def app(make_app):
    return make_app(max_megapixels=0.01)


@pytest.fixture(scope="module")
def schema(app):
    return schemathesis.openapi.from_asgi("/api/openapi.json", app)


@pytest.fixture
def session(app, red_square):
    return app.sessions.put(app.service.session(red_square))


OPERATIONS = [
    ("GET", "/api/health"),
    ("POST", "/api/segment"),
    ("POST", "/api/refine"),
    ("POST", "/api/sessions"),
    ("GET", "/api/sessions/{key}"),
    ("DELETE", "/api/sessions/{key}"),
    ("POST", "/api/sessions/{key}/crf"),
    ("POST", "/api/sessions/{key}/close"),
]


def test_all_operations_are_tried(schema):
    assert {(o.ok().method.upper(), o.ok().path) for o in schema.get_all_operations()} == set(OPERATIONS)


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: " ".join(o))
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_what_the_schema_allows_and_what_not(schema, session, operation, mode):
    method, path = operation
    if mode.is_negative and (method == "GET" or path.endswith(("{key}", "close"))):
        pytest.skip("has nothing that could be wrong")
    statuses = set()

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=schema[path][method].as_strategy(generation_mode=mode), known=st.booleans())
    def check(case, known):
        if known and "key" in (case.path_parameters or {}) and method != "DELETE":
            case.path_parameters["key"] = session
        answer = case.call()
        case.validate_response(answer, checks=CHECKS)
        statuses.add(answer.status_code)

    check()
    assert max(statuses) < 500
    if not mode.is_negative and path not in ("/api/refine", "/api/sessions/{key}"):
        assert statuses & {200, 204}
