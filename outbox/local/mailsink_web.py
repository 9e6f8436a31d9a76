"""The mail sink's page and JSON: a list of what came, and each mail as text, as sealed-off HTML and as source."""

from dataclasses import asdict
from email import message_from_bytes
from email.message import EmailMessage, MIMEPart
from email.policy import default

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from outbox.local import pages
from outbox.local.mailsink_store import Store
from outbox.local.pages import number

# A mail may bring its own styles and pictures inside it; it may run nothing and call nobody.
MAIL_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    "sandbox allow-popups allow-popups-to-escape-sandbox"
)
LINKS_OPEN_OUTSIDE = '<base target="_blank">'


def make_app(store: Store) -> Starlette:
    app = pages.app(
        "mailsink",
        [
            Route("/api/messages", list_mails),
            Route("/api/messages", clear, methods=["DELETE"]),
            Route("/api/messages/count", count),
            Route("/api/messages/{id:int}", show),
            Route("/api/messages/{id:int}/html", show_html),
            Route("/api/messages/{id:int}/raw", show_raw),
        ],
    )
    app.state.store = store
    return app


async def list_mails(request: Request) -> Response:
    """`?limit=&query=`, and `before=<id>`: the newest first. With `after=<id>`: what came since, oldest first."""
    store: Store = request.app.state.store
    limit = number(request, "limit", 100)
    query = request.query_params.get("query", "")
    if after := request.query_params.get("after"):
        found = store.after(after, limit, query)
    else:
        found = store.newest(limit, query, request.query_params.get("before"))
    return JSONResponse({"messages": [asdict(mail) for mail in found]})


async def count(request: Request) -> Response:
    store: Store = request.app.state.store
    newest = store.mails[-1].id if store.mails else None
    return JSONResponse({"total": len(store.mails), "distinct": len(store.message_ids), "newest": newest})


async def clear(request: Request) -> Response:
    request.app.state.store.clear()
    return Response(status_code=204)


async def show(request: Request) -> Response:
    mail = parsed(request)
    html, text = mail.get_body(("html",)), mail.get_body(("plain",))
    body = {
        "id": str(request.path_params["id"]),
        "headers": [[name, str(value)] for name, value in mail.items()],
        "text": content_of(text) if text else None,
        "has_html": html is not None,
        "attachments": [part.get_filename() or part.get_content_type() for part in mail.iter_attachments()],
    }
    return JSONResponse(body)


async def show_html(request: Request) -> Response:
    html = parsed(request).get_body(("html",))
    if html is None:
        raise HTTPException(404, "this mail has no HTML")
    headers = {"Content-Security-Policy": MAIL_POLICY, "X-Content-Type-Options": "nosniff"}
    return Response(LINKS_OPEN_OUTSIDE + content_of(html), media_type="text/html", headers=headers)


async def show_raw(request: Request) -> Response:
    headers = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": MAIL_POLICY}
    return Response(found(request), media_type="text/plain", headers=headers)


def found(request: Request) -> bytes:
    store: Store = request.app.state.store
    content = store.content(str(request.path_params["id"]))
    if content is None:
        raise HTTPException(404, "there is no such mail")
    return content


def parsed(request: Request) -> EmailMessage:
    return message_from_bytes(found(request), EmailMessage, policy=default)


def content_of(part: MIMEPart) -> str:
    """Its text, whatever charset it claims."""
    try:
        return str(part.get_content()).replace("\r\n", "\n")
    except (LookupError, ValueError):
        payload = part.get_payload(decode=True)
        return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""
