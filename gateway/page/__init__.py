"""The page of development: the inbox of whoever's token is given, as an application would embed it."""

from html import escape
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

FOLDER = Path(__file__).parent
FILES = ("page.css", "page.js", "icon.svg")


class Page:
    """`api_url`: where the page's browser reaches the API, for older items and preferences."""

    def __init__(self, api_url: str) -> None:
        html = (FOLDER / "index.html").read_text()
        self.html = html.replace("{api_url}", escape(api_url))
        # Nothing but what the page itself brings; no inline script or style, no foreign host, in nobody's frame.
        policy = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
            f"connect-src 'self' {api_url}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        self.headers = {
            "content-security-policy": policy,
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cache-control": "no-cache",
        }

    def routes(self) -> list[Route]:
        return [Route("/", self.front), Route("/page/{file}", self.file)]

    async def front(self, _: Request) -> Response:
        return Response(self.html, media_type="text/html", headers=self.headers)

    async def file(self, request: Request) -> Response:
        name = request.path_params["file"]
        if name not in FILES:
            return PlainTextResponse("not found", 404)
        return FileResponse(FOLDER / name, headers=self.headers)
