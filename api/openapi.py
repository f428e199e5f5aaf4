"""The description of the surface (OpenAPI 3.1), made from the table of routes and the types in it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec

from api.problems import NotJson, Packed, TooLarge, TooSlow
from api.route import Route
from api.shapes import Path, Problem
from messaging.errors import (
    BadJson,
    BadRequest,
    Forbidden,
    Misdirected,
    RateLimited,
    RecadoError,
    Unauthorized,
    Unavailable,
)
from messaging.model import MAX_SEQ

VERSION = "1"
_REF = "#/components/schemas/{name}"
_HEADERS = {
    "Action": {"enum": ["encode", "decode"]},
    "Idempotency-Key": {"$ref": _REF.format(name="Name")},
    "Last-Event-ID": {"type": "integer", "minimum": 0, "maximum": MAX_SEQ},
}
_ABOUT = (
    "Recado keeps messages for those who are not there. Errors are `{code, message}`. In URLs `/` within a name is"
    " `%2F`, `+` is `%2B`. Backends show the API key, users their token, as `Authorization: Bearer`; with"
    " AUTH_MODE=open nothing needs to be shown."
)

Schema = dict[str, Any]


def describe(routes: Iterable[Route]) -> dict[str, Any]:
    """The whole document."""
    described = [route for route in routes if route.group]
    types = _Types([Path, Problem, *(kind for route in described for kind in _types(route))])
    names = types.components.pop("Path")["properties"]
    types.components["Name"] = _bare(names["topic"])
    types.in_path = {name: _bare(schema) for name, schema in names.items()}
    paths: dict[str, dict[str, Any]] = {}
    for route in described:
        paths.setdefault(route.path, {})[route.method.lower()] = _Operation(route, types).all()
    return {
        "openapi": "3.1.0",
        "info": {"title": "Recado", "version": VERSION, "description": _ABOUT, "license": {"name": "MIT"}},
        "servers": [{"url": "/"}],
        "tags": [{"name": group} for group in dict.fromkeys(route.group for route in described)],
        "paths": paths,
        "components": {
            "schemas": types.components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _types(route: Route) -> list[Any]:
    kinds = [route.query, route.body, *route.answers.values()]
    return [each for kind in kinds if kind is not None for each in _choices(kind)]


def _choices(kind: Any) -> tuple[Any, ...]:
    return kind if isinstance(kind, tuple) else (kind,)


class _Types:
    """The schemas of all types in the table."""

    def __init__(self, types: list[Any]) -> None:
        schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
        self.components: dict[str, Schema] = {name: _portable(each) for name, each in components.items()}
        self.in_path: dict[str, Schema] = {}
        self._by_type = {repr(kind): _portable(schema) for kind, schema in zip(types, schemas, strict=True)}

    def schema(self, kind: Any) -> Schema:
        """Of a type, or of a tuple of types that are all possible."""
        found = [self._by_type[repr(choice)] for choice in _choices(kind)]
        return found[0] if len(found) == 1 else {"anyOf": found}

    def properties(self, kind: Any) -> tuple[dict[str, Schema], list[str]]:
        """The fields of a Struct, and which of them are required."""
        whole = self.components[self.schema(kind)["$ref"].rpartition("/")[2]]
        return whole["properties"], whole.get("required", [])


def _portable(schema: Any) -> Any:
    """With the end of a pattern as JavaScript, whose patterns JSON Schema uses, writes it."""
    if isinstance(schema, dict):
        return {
            key: value.replace(r"\Z", "$") if key == "pattern" else _portable(value) for key, value in schema.items()
        }
    return [_portable(item) for item in schema] if isinstance(schema, list | tuple) else schema


def _bare(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key != "default"}


class _Operation:
    """One route as the document has it."""

    def __init__(self, route: Route, types: _Types) -> None:
        self._route = route
        self._types = types

    def all(self) -> dict[str, Any]:
        route = self._route
        headers = (
            {"name": name, "in": "header", "required": False, "schema": _HEADERS[name]} for name in route.headers
        )
        found: dict[str, Any] = {
            "operationId": f"{route.method.lower()}{re.sub(r'[^A-Za-z0-9]+', '_', route.path)}".rstrip("_"),
            "tags": [route.group],
            "summary": route.summary,
            "parameters": [*self._in_path(), *self._in_query(), *headers],
            "responses": {**self._problems(), **self._answers()},
        }
        if route.access != "anyone":
            found["security"] = [{"bearer": []}, {}]
        if route.body is not None:
            example = {} if route.example is None else {"example": route.example}
            body = {"schema": self._types.schema(route.body), **example}
            found["requestBody"] = {"required": True, "content": {"application/json": body}}
        return found

    def _in_path(self) -> list[dict[str, Any]]:
        return [
            {"name": name, "in": "path", "required": True, "schema": self._types.in_path[name]}
            for name in re.findall(r"{(\w+)}", self._route.path)
        ]

    def _in_query(self) -> list[dict[str, Any]]:
        if self._route.query is None:
            return []
        properties, required = self._types.properties(self._route.query)
        return [
            {"name": name, "in": "query", "required": name in required, "schema": _unless_null(schema)}
            for name, schema in properties.items()
        ]

    def _answers(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for status, kind in self._route.answers.items():
            found[str(status)] = {"description": HTTPStatus(status).phrase}
            if kind is not None:
                media = self._route.media.replace(" ", "") if status < 300 else "application/json"
                found[str(status)]["content"] = {media: {"schema": self._types.schema(kind)}}
        return found

    def _problems(self) -> dict[str, Any]:
        texts: dict[int, list[str]] = {}
        for error in (*_usual(self._route), *self._route.errors):
            texts.setdefault(error.status, []).append(f"`{error.code}`: {error.__doc__}")
        content = {"application/json": {"schema": self._types.schema(Problem)}}
        return {
            str(status): {"description": " ".join(dict.fromkeys(said)), "content": content}
            for status, said in sorted(texts.items())
        }


def _unless_null(schema: Schema) -> Schema:
    """Left out is what null would be: a URL has no null."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    return choices[0] if len(choices) == 1 else schema


def _usual(route: Route) -> list[type[RecadoError]]:
    """What any route of this form may answer."""
    found: list[type[RecadoError]] = [Forbidden]
    if route.access != "anyone":
        found += [Unauthorized, Misdirected, RateLimited, Unavailable]
    if route.query is not None or route.body is not None or "{" in route.path:
        found.append(BadRequest)
    if route.body is not None:
        found += [BadJson, TooSlow, TooLarge, NotJson, Packed]
    return found
