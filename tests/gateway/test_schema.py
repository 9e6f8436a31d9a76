"""The protocol's documents say what the code does."""

import re
from typing import get_args

from gateway import schema
from gateway.protocol import ClientFrame, ServerFrame
from outbox.settings import PROJECT

DOCS = PROJECT / "docs"


def test_the_kept_document_is_what_the_models_make() -> None:
    assert (DOCS / "realtime.json").read_text() == schema.text(), (
        "run: .venv/bin/python -m gateway.schema > docs/realtime.json"
    )


def test_every_reference_leads_somewhere() -> None:
    document = schema.document()
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', schema.text()):
        found = document
        for part in reference.split("/"):
            found = found[part]


def test_the_tables_name_every_frame_and_every_field_of_it() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", (DOCS / "realtime.md").read_text(), re.MULTILINE))
    for model in (*get_args(ClientFrame), *get_args(ServerFrame)):
        [kind] = get_args(model.model_fields["type"].annotation)
        fields = model.model_fields.keys() - {"type"}
        assert fields == set(re.findall(r"`(\w+)`", rows[kind])), kind
