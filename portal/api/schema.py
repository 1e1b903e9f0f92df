"""How the OpenAPI document is made from the views, so that it says what the server does."""

from __future__ import annotations

import functools
from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from portal.api.strict import Query, may_be_empty

PROBLEM = "application/problem+json"
_PROBLEM_SCHEMA = {
    "type": "object",
    "required": ["type", "code", "title", "status", "detail", "errors"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "code": {"type": "string", "description": "A word for programs, such as not_found."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "A sentence a person can act on."},
        "errors": {
            "type": "object",
            "description": "Field or parameter → sentences.",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
        },
    },
}
_WHEN = {
    400: "Malformed or invalid; `errors` names the fields.",
    401: "No valid token, or it has expired.",
    403: "Your role may not do this.",
    404: "Not there, or not yours.",
    409: "The state forbids it; `code` says which.",
    413: "The body is too large.",
    415: "Send the body as application/json.",
    429: "Too often; see Retry-After.",
    502: "The carrier could not be asked.",
    503: "Try again soon.",
}


class PortalSchema(AutoSchema):
    """Reads `serializer_class` and `query_classes` of our views and adds the problems every operation may answer.

    A view may say more: `answers` {method: {status: serializer or None}}, `problems` {method: extra statuses},
    `bodies` {method: serializer or None}, `public_methods`.
    """

    def get_operation_id(self) -> str:
        words = [part.replace("-", "_") for part in self.path.removeprefix("/api/v1/").split("/") if part]
        names = [word for word in words if not word.startswith("{")]
        verbs = {"GET": "list" if hasattr(self.view, "order") else "get", "POST": "post", "PATCH": "change"}
        return "_".join([*names, verbs.get(self.method, self.method.lower())])

    def get_tags(self) -> list[str]:
        parts = self.path.removeprefix("/api/v1/").strip("/").split("/")
        if parts[0] == "provisioning":
            return [f"Provisioning: {parts[1]}"]
        return [f"End user: {parts[0]}"]

    def get_auth(self) -> list[dict[str, Any]]:
        return [] if self.method in getattr(self.view, "public_methods", ()) else super().get_auth()

    def get_request_serializer(self) -> Any:
        bodies = getattr(self.view, "bodies", {})
        if self.method in bodies:
            return bodies[self.method]
        if self.method not in ("POST", "PATCH", "PUT") or _is_action(self.view):
            return None
        serializer_class = getattr(self.view, "serializer_class", None)
        return serializer_class and serializer_class(partial=self.method == "PATCH")

    def get_response_serializers(self) -> Any:
        answers = getattr(self.view, "answers", {}).get(self.method) or self._usual_answer()
        responses: dict[Any, Any] = {
            (status, "application/json") if serializer is not None else status: serializer
            for status, serializer in answers.items()
        }
        problem = ResolvedComponent("Problem", ResolvedComponent.SCHEMA, _PROBLEM_SCHEMA, "Problem")  # type: ignore[no-untyped-call]
        self.registry.register_on_missing(problem)
        for status in self._problem_statuses():
            responses[(status, PROBLEM)] = OpenApiResponse(problem.ref, description=_WHEN[status])
        return responses

    def _usual_answer(self) -> dict[int, Any]:
        serializer = getattr(self.view, "serializer_class", None)
        if self.method == "DELETE":
            return {204: None}
        if self.method == "GET" and hasattr(self.view, "order"):
            return {200: page_of(serializer)}
        return {201 if self.method == "POST" and not _is_action(self.view) else 200: serializer}

    def _problem_statuses(self) -> list[int]:
        statuses = {400, 503, *getattr(self.view, "problems", {}).get(self.method, ())}
        if self.get_auth():
            statuses.add(401)
        if "{" in self.path:
            statuses.add(404)
        if self.method in ("POST", "PATCH", "PUT", "DELETE"):
            statuses |= {403, 404, 409}
        if self.get_request_serializer() is not None:
            statuses |= {413, 415}
        return sorted(statuses)

    def get_override_parameters(self) -> list[Any]:
        query_class = getattr(self.view, "query_classes", {}).get(self.method)
        parameters: list[Any] = [query_class] if query_class else []
        if hasattr(getattr(self.view, self.method.lower(), None), "honours_idempotency_key"):
            parameters.append(IDEMPOTENCY_KEY)
        return parameters

    def _get_parameters(self) -> list[dict[str, Any]]:
        parameters: list[dict[str, Any]] = super()._get_parameters()
        query = getattr(self.view, "query_classes", {}).get(self.method, Query)()
        for parameter in parameters:
            if (
                parameter["in"] == "query"
                and parameter["name"] in query.fields
                and may_be_empty(query, parameter["name"])
            ):
                parameter["allowEmptyValue"] = True
                # Said in the schema too, since tools read only that.
                parameter["schema"] = {"anyOf": [parameter["schema"], {"type": "string", "maxLength": 0}]}
        return parameters

    def _map_basic_serializer(self, serializer: Any, direction: str) -> Any:
        mapped = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        if direction == "request":
            # Unknown fields are refused.
            mapped["additionalProperties"] = False
        return mapped

    def _resolve_path_parameters(self, variables: list[str]) -> list[dict[str, Any]]:
        return [{"in": "path", "name": name, "required": True, "schema": {"type": "string"}} for name in variables]


IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="The same key with the same body gets the first answer for 24 hours. At most 200 characters.",
)


def _is_action(view: Any) -> bool:
    return hasattr(view, "act")


@functools.cache
def page_of(serializer: Any) -> type[serializers.Serializer[Any]]:
    """The schema of a wrapped list of `serializer` objects."""
    item = serializer if isinstance(serializer, type) else type(serializer)
    name = f"{item.__name__.removesuffix('Serializer')}Page"
    return type(
        name,
        (serializers.Serializer,),
        {
            "results": item(many=True),
            "next": serializers.CharField(allow_null=True),
            "previous": serializers.CharField(allow_null=True),
        },
    )
