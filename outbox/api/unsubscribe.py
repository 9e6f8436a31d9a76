"""/v1/unsubscribe/<token>: one click in a mail program (RFC 8058), or a page with one button for people.

A GET changes nothing, because mail scanners follow every link. A POST needs no login and no cookie; it is safe to
repeat. The token is all that is needed, and it says all: whose mail, on which channel, of which kind.
"""

import base64
import hashlib
import html
from pathlib import Path
from string import Template

from pydantic import RootModel
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from db.pool import Pool
from db.suppressions import unsubscribe
from outbox.api.contract import Contract, Endpoint
from outbox.api.raw import read_beginning
from outbox.log import get
from outbox.settings import Settings
from outbox.unsubscribe import ALL, PATH, Wish, read

log = get("api")

ACQUIRE_SECONDS = 5.0
FORM_BYTES = 4_096
PAGE = Template((Path(__file__).parent / "unsubscribe.html").read_text(encoding="utf-8"))
STYLE = (Path(__file__).parent / "unsubscribe.css").read_text(encoding="utf-8")
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",  # the link is a secret of sorts
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex, nofollow",
    "X-Content-Type-Options": "nosniff",
}
BUTTON = """<form method="post">
<input type="hidden" name="List-Unsubscribe" value="One-Click">
<button>Unsubscribe</button>
</form>"""


class Page(RootModel[str]):
    """For people."""


HTML = "text/html"
SHOW = Contract("show_unsubscribe_page", "Ask whether to unsubscribe", {200: Page, 404: Page}, gives=HTML)
TAKE = Contract(
    *("unsubscribe", "Unsubscribe with one click", {200: Page, 400: Page, 404: Page}),
    takes="application/x-www-form-urlencoded",
    gives=HTML,
)


class Unsubscribe:
    def __init__(self, settings: Settings, pool: Pool) -> None:
        self.key, self.pool = settings.link_key("unsubscribe"), pool

    def routes(self) -> list[Endpoint]:
        path = f"{PATH}/{{token}}"
        return [
            Endpoint("GET", path, self.show, SHOW),
            Endpoint("POST", path, self.take, TAKE),
        ]

    async def show(self, request: Request) -> Response:
        """A page with one button. It changes nothing, as mail scanners follow every link."""
        wish = read(self.key, request.path_params["token"])
        if wish is None:
            return not_valid()
        about = html.escape(what(wish))
        return page("Unsubscribe?", f"<p>You will no longer get {about}.</p>{BUTTON}")

    async def take(self, request: Request) -> Response:
        """The button, or a mail program's one click (RFC 8058). Safe to repeat."""
        wish = read(self.key, request.path_params["token"])
        if wish is None:
            return not_valid()
        if not one_click(await read_beginning(request, FORM_BYTES)):
            return page("Please use the button", f"<p>Nothing was changed.</p>{BUTTON}", 400)
        async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            changed = await unsubscribe(conn, wish)
        log.info("api.unsubscribed", channel=wish.channel, event_type=wish.event_type, changed=changed)
        about = html.escape(what(wish))
        return page("You are unsubscribed", f"<p>You will no longer get {about}.</p>")


def what(wish: Wish) -> str:
    medium = "e-mail" if wish.channel == "email" else wish.channel
    return f"any {medium} from us" if wish.event_type == ALL else f"{medium} about “{wish.event_type}”"


def one_click(body: bytes) -> bool:
    """List-Unsubscribe=One-Click, as a form of either kind (RFC 8058 §3.2)."""
    return b"List-Unsubscribe" in body and b"One-Click" in body


def not_valid() -> Response:
    return page(
        "This link does not work",
        "<p>It is not complete. Please open it from the mail again, or answer that mail.</p>",
        404,
    )


def page(title: str, content: str, status: int = 200) -> Response:
    return HTMLResponse(PAGE.substitute(title=title, style=STYLE, content=content), status, HEADERS)
