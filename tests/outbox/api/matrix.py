"""Who may call what, told once more and apart from the contracts, so that a contract that says something else is found.

A route that is not here fails the matrix, and so does a row whose route is gone.
"""

from dataclasses import dataclass

ME, SOMEBODY = "me", "somebody"  # whose token it is, and whose it is not


@dataclass(frozen=True, slots=True)
class Row:
    """`scopes`: each is enough. `own`: a user reaches only what is the user's own. `limited`: a key limited to event
    types or channels may come in, and is held to its limits inside. `signed`: without a token, but with a signature of
    its own, so that anybody else gets 403 from the handler."""

    scopes: frozenset[str] = frozenset()
    own: bool = False
    limited: bool = False
    signed: bool = False


OPEN, SIGNED = Row(), Row(signed=True)
ADMIN = Row(frozenset({"admin"}))
PRODUCER = Row(frozenset({"producer"}), limited=True)
BOUNCES = Row(frozenset({"producer", "bounces"}))
OWN = Row(frozenset({"user", "producer"}), own=True)
STAFF = Row(frozenset({"producer", "admin"}))
OWN_OR_STAFF = Row(frozenset({"user", "producer", "admin"}), own=True)
OWN_OR_ADMIN = Row(frozenset({"user", "admin"}), own=True)

ID = "01890a5d-ac96-774b-bcce-b302099a8057"
# What stands in the places of a path. A user's is filled by whoever asks.
PLACES = {
    "{id}": ID,
    "{channel}": "email",
    "{name}": "welcome",
    "{token}": "abc",
    "{version}": "1",
    "{file}": "docs.css",
}

TABLE: dict[tuple[str, str], Row] = {
    ("POST", "/v1/notifications"): PRODUCER,
    ("POST", "/v1/notifications:batch"): PRODUCER,
    ("GET", "/v1/notifications/{id}"): PRODUCER,
    ("DELETE", "/v1/notifications/{id}"): PRODUCER,
    ("GET", "/v1/notifications"): STAFF,
    ("GET", "/v1/users/{user_id:path}/preferences"): OWN,
    ("PUT", "/v1/users/{user_id:path}/preferences"): OWN,
    ("GET", "/v1/users/{user_id:path}/devices"): OWN,
    ("PUT", "/v1/users/{user_id:path}/devices"): OWN,
    ("DELETE", "/v1/users/{user_id:path}/devices"): OWN,
    ("DELETE", "/v1/users/{user_id:path}/devices/{token}"): OWN,
    ("GET", "/v1/users/{user_id:path}/inbox"): OWN,
    ("GET", "/v1/users/{user_id:path}/inbox/count"): OWN,
    ("POST", "/v1/users/{user_id:path}/inbox:read"): OWN,
    ("POST", "/v1/users/{user_id:path}/inbox:unread"): OWN,
    ("POST", "/v1/users/{user_id:path}/inbox:archive"): OWN,
    ("POST", "/v1/users/{user_id:path}/inbox:unarchive"): OWN,
    ("POST", "/v1/users/{user_id:path}/inbox:read-all"): OWN,
    ("POST", "/v1/users/{user_id:path}/inbox:archive-all"): OWN,
    ("GET", "/v1/recipients"): STAFF,
    ("GET", "/v1/users/{user_id:path}/export"): OWN_OR_ADMIN,
    ("POST", "/v1/erasures"): ADMIN,
    ("GET", "/v1/erasures/{id}"): ADMIN,
    ("GET", "/v1/recipients/{user_id:path}"): OWN_OR_STAFF,
    ("PUT", "/v1/recipients/{user_id:path}"): STAFF,
    ("PATCH", "/v1/recipients/{user_id:path}"): STAFF,
    ("DELETE", "/v1/recipients/{user_id:path}"): STAFF,
    ("GET", "/v1/dead-letters"): ADMIN,
    ("GET", "/v1/dead-letters:count"): ADMIN,
    ("POST", "/v1/dead-letters:redrive"): ADMIN,
    ("POST", "/v1/dead-letters:discard"): ADMIN,
    ("GET", "/v1/templates"): ADMIN,
    ("GET", "/v1/templates/{channel}/{name}"): ADMIN,
    ("PUT", "/v1/templates/{channel}/{name}"): ADMIN,
    ("POST", "/v1/templates/{channel}/{name}:preview"): ADMIN,
    ("POST", "/v1/templates/{channel}/{name}:test"): ADMIN,
    ("GET", "/v1/templates/{channel}/{name}/versions/{version}"): ADMIN,
    ("POST", "/v1/templates/{channel}/{name}/versions/{version}:restore"): ADMIN,
    ("POST", "/v1/channels"): ADMIN,
    ("GET", "/v1/channels"): ADMIN,
    ("GET", "/v1/channels/{name}"): ADMIN,
    ("PATCH", "/v1/channels/{name}"): ADMIN,
    ("DELETE", "/v1/channels/{name}"): ADMIN,
    ("POST", "/v1/api-keys"): ADMIN,
    ("GET", "/v1/api-keys"): ADMIN,
    ("GET", "/v1/api-keys/{id}"): ADMIN,
    ("PATCH", "/v1/api-keys/{id}"): ADMIN,
    ("DELETE", "/v1/api-keys/{id}"): ADMIN,
    ("GET", "/v1/audit-log"): ADMIN,
    ("GET", "/v1/suppressions"): ADMIN,
    ("POST", "/v1/suppressions"): ADMIN,
    ("POST", "/v1/suppressions:remove"): ADMIN,
    ("GET", "/v1/statistics"): ADMIN,
    ("GET", "/v1/statistics/now"): ADMIN,
    ("POST", "/v1/bounces"): BOUNCES,
    ("GET", "/v1/unsubscribe/{token}"): OPEN,
    ("POST", "/v1/unsubscribe/{token}"): OPEN,
    ("POST", "/v1/callbacks/twilio"): SIGNED,
    ("POST", "/v1/callbacks/twilio/inbound"): SIGNED,
    ("GET", "/openapi.json"): OPEN,
    ("GET", "/docs"): OPEN,
    ("GET", "/docs/{file}"): OPEN,
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/metrics"): OPEN,
}
