"""A JSON document or a query as a model, or a problem that names each field that is wrong."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from outbox.api.problems import ProblemError, refused
from outbox.errors import InvalidNotificationError

Model = TypeVar("Model", bound=BaseModel)


def read(model: type[Model], document: Mapping[str, Any]) -> Model:
    """Raises ProblemError, 422, with every rule that is broken."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise broken(error, model) from None


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
            return f"is not known here; known are {', '.join(model.model_fields)}"
        case _:
            return str(problem["msg"]).removeprefix("Value error, ")
