"""The API's own description: OpenAPI 3.1, made from the contracts of its endpoints; and pages to read it."""
