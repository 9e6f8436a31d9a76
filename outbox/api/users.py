"""Users in a path: a producer's own ids, which may hold slashes."""

from starlette.requests import Request

from outbox.api.problems import refused
from outbox.envelope import UNPRINTABLE
from outbox.errors import InvalidNotificationError

USER = "/v1/users/{user_id:path}"


def user_of(request: Request) -> str:
    """The id in the path. Raises ProblemError, 422, for one that no user can have."""
    user_id: str = request.path_params["user_id"]
    if not 1 <= len(user_id) <= 200 or UNPRINTABLE.search(user_id):
        raise refused(InvalidNotificationError("user_id", "must be 1 to 200 printable characters"))
    return user_id
