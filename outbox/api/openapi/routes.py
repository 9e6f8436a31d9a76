"""GET /openapi.json and GET /docs: the document, and a page that shows it and lets one try it, without any other host.

The page is Swagger UI, as it is published (static/README.md says which); its files are read once.
"""

import asyncio
import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import RootModel
from starlette.requests import Request
from starlette.responses import Response

from outbox.api.contract import Contract, Endpoint
from outbox.api.openapi.document import document
from outbox.api.problems import ProblemError
from outbox.settings import Settings

STATIC = Path(__file__).parent / "static"
MEDIA = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
# Inline styles are Swagger UI's own; of scripts, and of all that could leave this host, there is none but ours.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Cache-Control": "no-cache",  # asked for again each time, and answered with 304
    "X-Content-Type-Options": "nosniff",
}


class Document(RootModel[dict[str, Any]]):
    """OpenAPI 3.1."""


class Page(RootModel[str]):
    """For people."""


CACHED = {"If-None-Match": "The ETag that is known."}
ETAG = {"ETag": "Of what it is made of: the same as long as nothing changes."}
DOCUMENT = Contract("show_openapi", "This document", {200: Document, 304: None}, headers=CACHED, sends=ETAG)
DOCS = Contract(
    *("show_docs", "The page that shows this document", {200: Page, 304: None}),
    headers=CACHED,
    sends=ETAG,
    gives="text/html",
)
FILE = Contract(
    *("show_docs_file", "A part of that page", {200: Page, 304: None}),
    headers=CACHED,
    problems=(404,),
    sends=ETAG,
    gives="*/*",
)


class Docs:
    """Open to everybody: what the API can do is no secret."""

    def __init__(self, settings: Settings) -> None:
        self.path = urlsplit(settings.public_api_url).path or "/"
        self.made: bytes | None = None

    def routes(self) -> list[Endpoint]:
        return [
            Endpoint("GET", "/openapi.json", self.openapi, DOCUMENT),
            Endpoint("GET", "/docs", self.page, DOCS),
            Endpoint("GET", "/docs/{file}", self.file, FILE),
        ]

    async def openapi(self, request: Request) -> Response:
        """Made from the code that answers, when it is first asked for."""
        if self.made is None:
            endpoints = [route for route in request.app.routes if isinstance(route, Endpoint)]
            self.made = await asyncio.to_thread(written, endpoints, self.path)
        return answer(request, self.made, "application/json")

    async def page(self, request: Request) -> Response:
        """Works without any other host."""
        return answer(request, self.files["docs.html"], "text/html", {"Content-Security-Policy": POLICY})

    async def file(self, request: Request) -> Response:
        name = request.path_params["file"]
        if name not in self.files or name == "docs.html":
            raise ProblemError(404, "not-found", "There is no such file; the page is at /docs.")
        return answer(request, self.files[name], MEDIA[Path(name).suffix])

    @cached_property
    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in STATIC.iterdir() if path.suffix in MEDIA}


def written(endpoints: list[Endpoint], path: str) -> bytes:
    made = document(endpoints, path).model_dump(
        mode="json", by_alias=True, exclude_unset=True, exclude_none=True
    )
    return (json.dumps(made, ensure_ascii=False, indent=1) + "\n").encode()


def answer(request: Request, content: bytes, media: str, more: dict[str, str] | None = None) -> Response:
    """With an ETag; 304 where it is known (RFC 9110 §13.1.2)."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = HEADERS | {"ETag": tag} | (more or {})
    known = {each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")}
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=media)
