"""The answers of an operation: the good ones with their headers, and the problems that may come instead."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from openapi_pydantic import Header, Link, MediaType, Reference, Response

from outbox.api.contract import Contract
from outbox.api.openapi.schemas import Schemas
from outbox.api.problems import Problem

PROBLEMS: Mapping[int, str] = {
    400: "The body is not what is asked for: no JSON, or a key twice.",
    401: "No token, or none that holds.",
    403: "The token does not allow it.",
    404: "There is no such thing.",
    409: "It is in the way of something that is there.",
    412: "It has changed meanwhile: look at it, and decide again.",
    413: "The body is too large.",
    415: "The body is of another media type, or compressed.",
    422: "It is understood, but breaks rules; `errors` names each with its field.",
    428: "If-Match is missing.",
    429: "Too many requests; Retry-After says when to come again.",
    500: "Something broke here. The problem names an incident, which is in the log.",
    503: "Postgres does not answer at the moment; Retry-After says when to come again.",
}
TOLD_WITH: Mapping[int, Mapping[str, str]] = {
    401: {"WWW-Authenticate": "RFC 6750"},
    403: {"WWW-Authenticate": "RFC 6750"},
    429: {"Retry-After": "Seconds."},
    503: {"Retry-After": "Seconds."},
}


def expected(path: str, contract: Contract) -> set[int]:
    """The statuses of problems: what the contract says, and what follows from it."""
    found = {500, 503, *contract.problems}
    if contract.scopes:
        found |= {401, 403, 422, 429}  # 422: parameters of a query that are not known
    if contract.body is not None and contract.takes == "application/json":
        found |= {400, 413, 415, 422}
    if "{" in path:
        found |= {404}
    return found - contract.answers.keys()


def answers_of(path: str, contract: Contract, schemas: Schemas) -> dict[str, Response | Reference]:
    good: dict[int, Response | Reference] = {
        status: good_answer(status, contract, schemas) for status in contract.answers
    }
    problems = {status: shared(status) for status in expected(path, contract)}
    return {str(status): answer for status, answer in sorted((good | problems).items())}


def shared(status: int) -> Reference:
    return Reference.model_validate({"$ref": f"#/components/responses/Problem{status}"})


def good_answer(status: int, contract: Contract, schemas: Schemas) -> Response:
    model = contract.answers[status]
    content = {contract.gives: MediaType(media_type_schema=schemas.reference(model))} if model else None
    links = {operation: link(operation, given) for operation, given in contract.links.items()}
    return Response(
        description=HTTPStatus(status).phrase,
        headers={name: header(meaning) for name, meaning in contract.sends.items()} or None,
        content=content,
        links=links or None,
    )


def link(operation: str, given: Mapping[str, str]) -> Link | Reference:
    return Link(operationId=operation, parameters=dict(given))


def header(meaning: str) -> Header | Reference:
    return Header.model_validate({"description": meaning, "schema": {"type": "string"}})


def problem_answers(schemas: Schemas) -> dict[str, Response | Reference]:
    """The shared ones, for the components of the document."""
    return {f"Problem{status}": problem_answer(status, schemas) for status in PROBLEMS}


def problem_answer(status: int, schemas: Schemas) -> Response:
    content: dict[str, Any] = {"application/problem+json": {"schema": schemas.reference(Problem)}}
    return Response.model_validate(
        {
            "description": PROBLEMS[status],
            "headers": {name: header(what) for name, what in TOLD_WITH.get(status, {}).items()} or None,
            "content": content,
        }
    )
