"""Where the service does not wait long for an answer, because somebody else waits for its own. Here a machine that
stands still for some seconds is no outage; what is to be seen of an outage sets its own time."""

import importlib
import pkgutil

import outbox.api

PLACES = [
    ("outbox.rates", "ANSWER_SECONDS"),
    ("outbox.inbox_hints", "NODE_SECONDS"),
    ("outbox.api.statistics", "REDIS_SECONDS"),
    ("gateway.door", "AUTH_SECONDS"),
    *((each.name, "ACQUIRE_SECONDS") for each in pkgutil.iter_modules(outbox.api.__path__, "outbox.api.")),
]
SECONDS = 60.0


def be_patient() -> None:
    for name, setting in PLACES:
        module = importlib.import_module(name)
        if hasattr(module, setting):
            setattr(module, setting, SECONDS)
