"""The protocol as a document: AsyncAPI 3.0 with JSON Schemas made from the frames' models. `python -m gateway.schema`.

docs/realtime.json is what this writes; a test keeps the two alike.
"""

import json
import sys
from typing import Any, get_args

from pydantic.json_schema import models_json_schema

from gateway.protocol import SUBPROTOCOL, ClientFrame, Close, ServerFrame

PLACE = "#/components/schemas/{model}"
CLIENT, SERVER = get_args(ClientFrame), get_args(ServerFrame)


def document() -> dict[str, Any]:
    _, schemas = models_json_schema(
        [*((model, "validation") for model in CLIENT), *((model, "serialization") for model in SERVER)],
        ref_template=PLACE,
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Outbox in real time",
            "version": SUBPROTOCOL.removeprefix("outbox."),
            "description": "Text frames of JSON over a WebSocket, or events of a stream. Rules: docs/realtime.md.",
        },
        "channels": {
            "socket": channel("/v1/ws", [*CLIENT, *(each for each in SERVER if named(each) != "Closed")]),
            "events": channel("/v1/events", [each for each in SERVER if named(each) not in ONLY_SOCKET]),
        },
        "operations": {
            "ask": operation("receive", "socket", CLIENT),
            "tell": operation("send", "socket", [each for each in SERVER if named(each) != "Closed"]),
            "stream": operation(
                "send", "events", [each for each in SERVER if named(each) not in ONLY_SOCKET]
            ),
        },
        "components": {
            "messages": {named(model): message(model) for model in (*CLIENT, *SERVER)},
            "schemas": schemas["$defs"],
        },
        "x-close-codes": {str(code.value): code.name for code in Close},
    }


ONLY_SOCKET = {"Renewed", "Pong", "Error"}


def named(model: Any) -> str:
    return str(model.__name__)


def channel(address: str, models: list[Any]) -> dict[str, Any]:
    messages = {named(model): {"$ref": f"#/components/messages/{named(model)}"} for model in models}
    return {"address": address, "messages": messages}


def operation(action: str, name: str, models: Any) -> dict[str, Any]:
    messages = [{"$ref": f"#/channels/{name}/messages/{named(model)}"} for model in models]
    return {"action": action, "channel": {"$ref": f"#/channels/{name}"}, "messages": messages}


def message(model: Any) -> dict[str, Any]:
    said = " ".join((model.__doc__ or "").split())
    described = {"description": said} if said else {}
    return {
        "contentType": "application/json",
        "payload": {"$ref": PLACE.format(model=named(model))},
    } | described


def text() -> str:
    return json.dumps(document(), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
