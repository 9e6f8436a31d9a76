"""The OpenAPI document (https://spec.openapis.org/oas/v3.1.1.html) of a set of endpoints. Pure."""

import inspect
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version

from openapi_pydantic import (
    Components,
    Info,
    MediaType,
    OpenAPI,
    Operation,
    PathItem,
    RequestBody,
    Schema,
    SecurityScheme,
    Server,
    Tag,
)
from pydantic import BaseModel

from outbox.api.contract import Contract, Endpoint
from outbox.api.openapi.answers import answers_of, problem_answers
from outbox.api.openapi.parameters import parameters_of, plain_path
from outbox.api.openapi.schemas import Schemas, schemas_of
from outbox.api.problems import Problem

ABOUT = """A self-hosted notification service whose queue commits with your data.

Errors are problems (RFC 9457). Lists come in pages: `next_cursor` of one is the `cursor` of the next. What could be
lost by two edits at a time has an ETag, and asks for it back in If-Match."""
BEARER = "bearer"
SCHEME = SecurityScheme(
    type="http",
    scheme="bearer",
    bearerFormat="JWT or API key",
    description="`Authorization: Bearer …`. The names beside it are scopes; one of them is enough.",
)
FORM = {"type": "object", "additionalProperties": {"type": "string"}}


def document(endpoints: Iterable[Endpoint], url: str) -> OpenAPI:
    """`url`: where the API is, seen from the document."""
    every = sorted(endpoints, key=lambda endpoint: (plain_path(endpoint.path), endpoint.contract.id))
    schemas = schemas_of([Problem, *models_of(every)])
    return OpenAPI(
        openapi="3.1.1",
        info=Info(title="Outbox", version=version("outbox"), description=ABOUT),
        servers=[Server(url=url)],
        tags=[Tag(name=name) for name in sorted({tag(endpoint) for endpoint in every})],
        paths=paths_of(every, schemas),
        components=Components(
            schemas=schemas.components(without=parameter_models(every)),
            responses=problem_answers(schemas),
            securitySchemes={BEARER: SCHEME},
        ),
    )


def models_of(endpoints: Sequence[Endpoint]) -> Iterator[type[BaseModel]]:
    yield from parameter_models(endpoints)
    for endpoint in endpoints:
        yield from filter(None, (endpoint.contract.body, *endpoint.contract.answers.values()))


def parameter_models(endpoints: Sequence[Endpoint]) -> Iterator[type[BaseModel]]:
    bodies = {endpoint.contract.body for endpoint in endpoints}
    for endpoint in endpoints:
        for model in (endpoint.contract.query, endpoint.contract.path):
            if model is not None and model not in bodies:
                yield model


def paths_of(endpoints: Sequence[Endpoint], schemas: Schemas) -> dict[str, PathItem]:
    items: dict[str, dict[str, Operation]] = {}
    for endpoint in endpoints:
        items.setdefault(plain_path(endpoint.path), {})[endpoint.method.lower()] = operation(
            endpoint, schemas
        )
    return {path: PathItem.model_validate(operations) for path, operations in items.items()}


def operation(endpoint: Endpoint, schemas: Schemas) -> Operation:
    contract = endpoint.contract
    shown = Operation(
        tags=[tag(endpoint)],
        operationId=contract.id,
        summary=contract.summary,
        description=inspect.getdoc(endpoint.handler),
        parameters=list(parameters_of(endpoint.path, contract, schemas)) or None,
        requestBody=body_of(contract, schemas),
        responses=answers_of(endpoint.path, contract, schemas),
        security=[{BEARER: [str(scope)]} for scope in sorted(contract.scopes)],
    )
    asked = {"x-required-scopes": sorted(map(str, contract.scopes)), "x-own-only": contract.own}
    return shown.model_copy(update=asked if contract.scopes else {})


def body_of(contract: Contract, schemas: Schemas) -> RequestBody | None:
    """Without a model, and of another type than JSON: a form, or bytes, which have no schema."""
    if contract.body is not None:
        taken = MediaType(media_type_schema=schemas.reference(contract.body))
    elif contract.takes.endswith("form-urlencoded"):
        taken = MediaType(media_type_schema=Schema.model_validate(FORM))
    elif contract.takes != "application/json":
        taken = MediaType()
    else:
        return None
    return RequestBody(content={contract.takes: taken}, required=contract.body is not None)


def tag(endpoint: Endpoint) -> str:
    """What it is about: the first word of its path; of what stands under a user, the next."""
    words = [word.partition(":")[0].partition(".")[0] for word in plain_path(endpoint.path).split("/")]
    named = [word for word in words if word and not word.startswith("{") and word != "v1"]
    return named[1] if named[0] == "users" and len(named) > 1 else named[0]
