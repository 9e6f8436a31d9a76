"""Whether an answer is one that the route's contract promises. Asked of every answer that a test gets."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

import httpx
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.routing import Match

from outbox.api.contract import Contract, Endpoint
from outbox.api.openapi.answers import expected
from outbox.api.problems import Problem

TOLD = ("etag", "location", "idempotent-replayed")  # headers that mean something, and so are promised


def endpoints(app: Starlette) -> list[Endpoint]:
    return [route for route in app.routes if isinstance(route, Endpoint)]


async def check(app: Starlette, answer: httpx.Response) -> None:
    await answer.aread()
    endpoint = asked(endpoints(app), answer.request)
    if endpoint is not None and answer.status_code != 499:
        keeps(endpoint.path, endpoint.contract, answer)


def asked(every: Iterable[Endpoint], request: httpx.Request) -> Endpoint | None:
    scope = {
        "type": "http",
        "method": request.method,
        "path": unquote(request.url.raw_path.partition(b"?")[0].decode()),
    }
    return next((one for one in every if one.matches(scope)[0] is Match.FULL), None)


def keeps(path: str, contract: Contract, answer: httpx.Response) -> None:
    said = f"{contract.id} answered {answer.status_code}: {answer.text}"
    if answer.status_code not in contract.answers:
        assert answer.status_code in expected(path, contract), said
        assert answer.headers["content-type"] == "application/problem+json", said
        fits(Problem, answer, said)
        return
    model = contract.answers[answer.status_code]
    unpromised = {name for name in TOLD if name in answer.headers} - {name.lower() for name in contract.sends}
    assert not unpromised, f"{said} with {unpromised}"
    if model is None or answer.request.method == "HEAD":
        assert answer.content == b"", said
    elif contract.gives == "application/json":
        fits(model, answer, said)
    else:
        assert answer.headers["content-type"].startswith(contract.gives.partition("*")[0]), said


def fits(model: type[BaseModel], answer: httpx.Response, said: str) -> None:
    """Of the right types, and with nothing that the model does not tell of."""
    read = model.model_validate_json(answer.content, strict=True)
    assert shape(read.model_dump(mode="json", by_alias=True, exclude_unset=True)) == shape(answer.json()), (
        said
    )


def shape(value: Any) -> Any:
    match value:
        case dict():
            return {key: shape(item) for key, item in value.items()}
        case list():
            return [shape(item) for item in value]
        case _:
            return None
