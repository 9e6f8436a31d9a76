"""A request's body as strict JSON: within its size, UTF-8, no key twice, no NaN."""

import json
from typing import Any, NoReturn

from starlette.requests import ClientDisconnect, Request

from outbox.api.problems import ProblemError

JSON = "application/json"


async def read_json_bytes(request: Request, limit: int) -> bytes:
    """The body, at most `limit` bytes. Raises ProblemError: 415 for what is not plain JSON, 413 for too much.

    Starlette's own max_body_size answers in plain text, and even over the API's 401, so it is not used.
    """
    refuse_other_media(request)
    declared = request.headers.get("content-length", "")
    body = bytearray()
    if not declared.isdecimal() or int(declared) <= limit:
        more = True
        while more and len(body) <= limit:
            more = await read_on(request, body)
        if len(body) <= limit:
            return bytes(body)
    raise ProblemError(
        413, "too-large", f"A body of at most {limit} bytes is taken.", headers={"Connection": "close"}
    )


async def read_on(request: Request, body: bytearray) -> bool:
    """The next part, put behind `body`; whether there is more. Raises ClientDisconnect. It is what request.stream()
    does, at half of its price for the small bodies that nearly all are."""
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    body += message.get("body", b"")
    return bool(message.get("more_body", False))


def refuse_other_media(request: Request) -> None:
    given = request.headers.get("content-type", "")
    media = given if given == JSON else given.partition(";")[0].strip().lower()
    if media != JSON:
        raise ProblemError(
            415, "unsupported-media-type", f"Content-Type must be {JSON}, is {media or 'missing'}."
        )
    if request.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        raise ProblemError(
            415,
            "unsupported-media-type",
            "Content-Encoding must not be set: bodies are taken as they are.",
            headers={"Accept-Encoding": "identity"},
        )


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`. Raises ProblemError, 400, saying where it is wrong."""
    try:
        text = body.decode()
        if text.startswith("\ufeff"):
            raise malformed("it begins with a BOM")
        document = STRICT.decode(text)
    except UnicodeDecodeError as error:
        raise malformed(f"byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise malformed(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise malformed("it is nested too deep") from None
    except ValueError as error:  # distinct_keys, refuse_constant, and numbers of thousands of digits
        raise malformed(str(error)) from None
    if not isinstance(document, dict):
        raise malformed("it is not an object")
    return document


def malformed(why: str) -> ProblemError:
    return ProblemError(400, "malformed", f"The body is not the JSON that is asked for: {why}.")


def distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {json.dumps(twice)} stands twice in one object")
    return document


def refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Made once: json.loads would make one for every body.
STRICT = json.JSONDecoder(object_pairs_hook=distinct_keys, parse_constant=refuse_constant)
