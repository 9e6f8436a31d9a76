"""A JSON document or a query as a model, or a problem that names each field that is wrong."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import QueryParams

from outbox.api.problems import ProblemError, refused
from outbox.errors import InvalidNotificationError

Model = TypeVar("Model", bound=BaseModel)


def read(model: type[Model], document: Mapping[str, Any]) -> Model:
    """Raises ProblemError, 422, with every rule that is broken."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise broken(error, model) from None


def read_strictly(model: type[Model], document: Mapping[str, Any]) -> Model:
    """As `read`, for the document of a body: 1 is not true, and "5" is no number. Times and ids are text in JSON, which
    is why pydantic has to know that it is JSON."""
    try:
        return model.model_validate_json(json.dumps(document), strict=True)
    except ValidationError as error:
        raise broken(error, model) from None


def check_query(given: QueryParams, model: type[BaseModel] | None) -> None:
    """Raises ProblemError, 422, for parameters that the model does not know, and for those that stand twice: which of
    them would count?"""
    known = [field.alias or name for name, field in model.model_fields.items()] if model else []
    names = [name for name, _ in given.multi_items()]
    wrong = [InvalidNotificationError(name, unknown(known)) for name in given if name not in known]
    wrong += [InvalidNotificationError(name, "stands twice") for name in known if names.count(name) > 1]
    if wrong:
        raise refused(*wrong)


def unknown(known: Iterable[str]) -> str:
    return f"is not known here; known are {', '.join(known) or 'none'}"


def broken(error: ValidationError, model: type[BaseModel]) -> ProblemError:
    problems = error.errors(include_url=False, include_input=False)
    return refused(
        *(
            InvalidNotificationError(".".join(map(str, each["loc"])) or "body", word(each, model))
            for each in problems
        )
    )


def word(problem: Any, model: type[BaseModel]) -> str:
    match problem["type"]:
        case "missing":
            return "is required"
        case "extra_forbidden":
            return unknown(model.model_fields)
        case _:
            return str(problem["msg"]).removeprefix("Value error, ")
