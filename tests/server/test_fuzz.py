"""Whatever is asked of the API by its own document, and against it: it never fails itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from fooocus_nb.engine.grants import grant
from fooocus_nb.server.status import document

from .conftest import NAME
from .live import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fooocus_nb import Engine

pytestmark = pytest.mark.slow  # with `-p schemathesis`, whose plugin it needs

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
#: What would end the engine that the others ask about is only asked about others.
ENDING = {"stopEngine", "restartEngine"}
#: One that the fuzzer does not quote a second time.
BASE = "/user/x/"
schema = schemathesis.openapi.from_dict(document(BASE))


@pytest.fixture(scope="module")
def live(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"), BASE)
    server.start()
    yield server
    server.close()


@schema.exclude(operation_id="followLog").parametrize()
@settings(
    max_examples=8, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
def test_nothing_that_is_asked_for_is_an_error_of_the_server(
    case: Any, live: Server, engine: Engine
):
    call(case, live)
    operation = case.operation.definition.raw["operationId"]
    known = {"name": NAME, "identity": grant(engine.last_result[0].path)}
    if operation not in ENDING and case.path_parameters:
        # The rest of what was drawn, asked of what is there.
        case.path_parameters.update({key: known[key] for key in case.path_parameters})
        call(case, live)


def call(case: Any, live: Server) -> None:
    response = case.call(
        base_url=f"{live.url}fooocus-nb/api",
        headers={"Authorization": f"token {live.token}"},
        timeout=60,
    )
    case.validate_response(response, checks=CHECKS)
