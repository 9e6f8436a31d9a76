"""Somebody's web page, on an origin of its own and with a strict policy, that embeds the inbox with one script tag."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from outbox.local.ports import any_free
from outbox.probes import serve
from outbox.service import Stop
from tests.gateway.harness import answers, eventually

PAGE = """<!doctype html><html lang="{lang}" dir="{dir}"><head><meta charset="utf-8"><title>Shop</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="{scheme}">
<link rel="stylesheet" href="/look.css"><script type="module" src="{gateway}/v1/client/outbox-inbox.js"></script></head>
<body><header><strong>Shop</strong>
<outbox-inbox gateway="{gateway}" api="{api}" token-url="/token" {more}></outbox-inbox></header>
<main><p>Orders</p><button id="elsewhere">Elsewhere</button></main></body></html>"""
LOOK = """body { margin: 0; font: 15px system-ui } header { display: flex; justify-content: space-between;
align-items: center; padding: 8px 16px; border-bottom: 1px solid #8884 } main { padding: 16px }"""


@dataclass
class Site:
    gateway: str
    api: str
    token: Callable[[], str]
    port: int = field(default_factory=any_free)
    given: int = 0  # tokens
    lang: str = "en"
    dir: str = "ltr"
    scheme: str = "light dark"
    more: str = ""  # attributes

    @property
    def origin(self) -> str:
        return f"http://localhost:{self.port}"

    async def page(self, _: Request) -> Response:
        where = {"gateway": self.gateway, "api": self.api, "lang": self.lang, "dir": self.dir}
        policy = (
            f"default-src 'none'; script-src {self.gateway}; style-src 'self'; "
            f"connect-src 'self' {self.gateway} {self.gateway.replace('http', 'ws')} {self.api}; "
            "require-trusted-types-for 'script'; trusted-types 'none'"
        )
        html = PAGE.format(**where, scheme=self.scheme, more=self.more)
        return HTMLResponse(html, headers={"content-security-policy": policy})

    async def give_token(self, _: Request) -> Response:
        self.given += 1
        return JSONResponse({"token": self.token()})

    async def look(self, _: Request) -> Response:
        return Response(LOOK, media_type="text/css")

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/", self.page),
                Route("/look.css", self.look),
                Route("/token", self.give_token, methods=["POST"]),
            ]
        )


@asynccontextmanager
async def serving_site(site: Site) -> AsyncIterator[Site]:
    stop = Stop()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve(site.app(), "127.0.0.1", site.port, stop))
        await eventually(lambda: answers(site.port))
        yield site
        stop.ask()
