"""The envelope as JSON Schema, published in docs: `python -m outbox.schema > docs/envelope.schema.json`."""

import json
import sys

from outbox.envelope import VERSION, Envelope

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def envelope_schema() -> str:
    """The schema of what an entry of a stream holds in its field `envelope`, as a JSON document."""
    schema = Envelope.model_json_schema()
    title = {"$schema": DIALECT, "title": f"Outbox envelope, version {VERSION}"}
    return json.dumps(title | {key: schema[key] for key in schema if key != "title"}, indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(envelope_schema())
