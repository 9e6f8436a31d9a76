"""The element <outbox-inbox>, for pages anywhere: made from clients/js by `make client`, served as one module."""

import gzip
from hashlib import sha256
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

FILE = Path(__file__).parent / "client" / "outbox-inbox.js"
PATH = f"/v1/client/{FILE.name}"


class Script:
    """Held in memory, packed once. Pages of every origin may load it: it holds no secret and asks no cookie."""

    def __init__(self) -> None:
        self.plain = FILE.read_bytes()
        self.packed = gzip.compress(self.plain, 9, mtime=0)
        self.etag = f'"{sha256(self.plain).hexdigest()[:16]}"'

    def routes(self) -> list[Route]:
        return [Route(PATH, self.send)]

    async def send(self, request: Request) -> Response:
        headers = {
            "etag": self.etag,
            # An hour, and then one conditional request: a new release reaches every page within that time.
            "cache-control": "public, max-age=3600, stale-while-revalidate=86400",
            "access-control-allow-origin": "*",  # what `type="module"` asks for, from other origins
            "cross-origin-resource-policy": "cross-origin",
            "x-content-type-options": "nosniff",
            "vary": "accept-encoding",
        }
        if self.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(
                self.packed, headers=headers | {"content-encoding": "gzip"}, media_type="text/javascript"
            )
        return Response(self.plain, headers=headers, media_type="text/javascript")
