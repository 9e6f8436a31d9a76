"""A shop's page with an inbox: one script tag, and one route that gives the signed-in user a token.

    OUTBOX_JWT_SECRET=… uvicorn examples.inbox_page:app --port 3000

with the secret of your installation (with `make up` it is in .outbox/local.env), then open http://localhost:3000.
"""

import os
from datetime import UTC, datetime, timedelta

import jwt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

GATEWAY = os.environ.get("OUTBOX_GATEWAY_URL", "http://127.0.0.1:8081")
API = os.environ.get("OUTBOX_API_URL", "http://127.0.0.1:8080")
PAGE = f"""<!doctype html><html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark">
<title>Shop</title><script type="module" src="{GATEWAY}/v1/client/outbox-inbox.js"></script>
<h1>Shop <outbox-inbox gateway="{GATEWAY}" api="{API}" token-url="/outbox-token"></outbox-inbox></h1></html>"""


def signed_in_user(request: Request) -> str:
    """Here your own session goes; this shop knows only Alice."""
    return str(request.cookies.get("user", "alice"))


async def page(_: Request) -> Response:
    return HTMLResponse(PAGE)


async def token(request: Request) -> Response:
    """Good for ten minutes, and for this user's inbox only."""
    claims = {"sub": signed_in_user(request), "scope": "user", "iss": "outbox", "aud": "outbox"}
    expires = datetime.now(UTC) + timedelta(minutes=10)
    made = jwt.encode(claims | {"exp": expires}, os.environ["OUTBOX_JWT_SECRET"], "HS256")
    return JSONResponse({"token": made}, headers={"Cache-Control": "no-store"})


app = Starlette(routes=[Route("/", page), Route("/outbox-token", token, methods=["POST"])])
