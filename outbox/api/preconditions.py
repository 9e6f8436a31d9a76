"""If-Match and If-None-Match (RFC 9110 §13.1): nobody overwrites what they have not seen, unless they want to.

Where a row has a version that is its ETag, and `wanted_version` must be given. Where the caller's own data are the
truth, the ETag stands for the content, and `check` asks for nothing.
"""

import hashlib
import json
import re
from typing import Any

from starlette.requests import Request

from outbox.api.problems import ProblemError, refused
from outbox.errors import InvalidNotificationError

HEADERS = {
    "If-Match": "The ETag that GET gave: change it only if it is still that; * only if there is one.",
    "If-None-Match": "* where nothing must be there yet.",
}
IF_MATCH = {"If-Match": "The ETag that GET gave, or * to change whatever is there (RFC 9110 §13.1.1)."}
ETAG = {"ETag": "Stands for what is shown, for If-Match."}


def wanted_version(request: Request) -> int | None:
    """Of If-Match; None for `*`. Raises ProblemError: 428 without one (RFC 6585 §3), so that nobody overwrites what
    they have not seen; 412 for a tag that was never given out."""
    tag = request.headers.get("if-match")
    if tag is None:
        raise ProblemError(
            428,
            "precondition-required",
            "Send If-Match with the ETag that GET gave, or * to change whatever is there.",
        )
    if tag.strip() == "*":
        return None
    if not (match := re.fullmatch(r'"([1-9][0-9]{0,8})"', tag.strip())):
        raise ProblemError(412, "precondition-failed", "If-Match holds no ETag of this kind.")
    return int(match[1])


def changed_meanwhile(what: str) -> ProblemError:
    return ProblemError(
        412, "precondition-failed", f"{what} has changed meanwhile: GET it, and decide again."
    )


def etag(content: Any) -> str:
    """The same for the same content, whoever wrote it."""
    text = json.dumps(content, sort_keys=True, default=str)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def only_new(request: Request) -> bool:
    """Raises ProblemError, 422, for what only a GET could ask."""
    given = request.headers.get("if-none-match")
    if given is not None and given.strip() != "*":
        raise refused(InvalidNotificationError("If-None-Match", "must be *"))
    return given is not None


def check(request: Request, current: str | None) -> None:
    """`current`: the ETag of what is there, None where nothing is. Raises ProblemError, 412."""
    if only_new(request) and current is not None:
        raise ProblemError(412, "precondition-failed", "There is one already, and If-None-Match is *.")
    wanted = request.headers.get("if-match")
    if wanted is None:
        return
    if current is None:
        raise ProblemError(412, "precondition-failed", "There is none, and If-Match asks for one.")
    tags = [tag.strip() for tag in wanted.split(",")]
    if "*" not in tags and current not in tags:
        raise changed_meanwhile("It")
