"""The parameters of an operation: what stands in its path, its query and its headers."""

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from openapi_pydantic import Parameter, Schema

from outbox.api.contract import Contract
from outbox.api.openapi.schemas import Schemas, not_null
from outbox.envelope import PRINTABLE

CONVERTOR = re.compile(r"\{(\w+)(?::\w+)?\}")
TEXT = {"type": "string", "minLength": 1, "maxLength": 200, "pattern": PRINTABLE}
# Parameters of the path whose names say what they are. A contract's `path` comes first.
PATH: dict[str, dict[str, Any]] = {
    "id": {"type": "string", "format": "uuid"},
    "user_id": TEXT | {"description": "The producer's own id of the user; percent-encoded, slashes too."},
    "channel": {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,39}$"},
    "token": {"type": "string", "pattern": "^[0-9A-Za-z_:.~=+-]{1,2000}$"},
}
HEADERS: dict[str, dict[str, Any]] = {
    "If-Match": {"type": "string", "pattern": r'^(\*|"[0-9a-f]{1,32}")$', "examples": ['"3"', "*"]},
    "If-None-Match": {"type": "string", "enum": ["*"]},
    "Idempotency-Key": {"type": "string", "pattern": "^[!-~]{1,255}$", "examples": ["order-4711-paid"]},
}


def plain_path(path: str) -> str:
    """As OpenAPI writes it: without Starlette's convertors."""
    return CONVERTOR.sub(r"{\1}", path)


def parameters_of(path: str, contract: Contract, schemas: Schemas) -> list[Parameter]:
    return [
        *in_path(path, contract, schemas),
        *in_query(contract, schemas),
        *in_headers(contract),
    ]


def in_path(path: str, contract: Contract, schemas: Schemas) -> Iterator[Parameter]:
    own = schemas.properties(contract.path)[0] if contract.path else {}
    for name in CONVERTOR.findall(path):
        schema = dict(own.get(name) or PATH.get(name) or TEXT)
        yield parameter(name, "path", schema, required=True)


def in_query(contract: Contract, schemas: Schemas) -> Iterator[Parameter]:
    if contract.query is None:
        return
    properties, required = schemas.properties(contract.query)
    for name, schema in properties.items():
        yield parameter(name, "query", not_null(schema), required=name in required)


def in_headers(contract: Contract) -> Iterator[Parameter]:
    for name, meaning in contract.headers.items():
        required = name == "If-Match" and HTTPStatus.PRECONDITION_REQUIRED in contract.problems
        known = (
            {} if HTTPStatus.NOT_MODIFIED in contract.answers else HEADERS
        )  # there, any tag may be asked about
        schema = known.get(name, {"type": "string"}) | {"description": meaning}
        yield parameter(name, "header", schema, required=required)


def parameter(name: str, place: str, schema: dict[str, Any], *, required: bool) -> Parameter:
    shown = {"name": name, "in": place, "required": required, "description": schema.pop("description", None)}
    return Parameter.model_validate(shown | {"schema": Schema.model_validate(schema)})
