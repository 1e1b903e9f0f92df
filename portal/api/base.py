"""The two kinds of provisioning views, a collection and one of its rows, and what all views share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, cast

from django.db.models import Model
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.api.authentication import DeviceTokenAuthentication, StaffTokenAuthentication
from portal.api.idempotency import idempotent
from portal.api.paging import Page, list_name, paginate
from portal.api.parsing import JSONObjectParser
from portal.api.schema import PortalSchema
from portal.api.strict import ListQuery, Query, StrictSerializer, read_query
from portal.models import Device, EndUser, PortalAccount, StaffToken
from portal.problems import not_found
from portal.scoping import TenantQuerySet, get_visible, require_writer


class AlwaysJSON(BaseContentNegotiation):
    """There is one representation, whatever `Accept` says."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> Any:
        content_type = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == content_type), None)


class ApiView(APIView):
    """A view whose query parameters are checked, whoever calls. `query_classes` has those of a method."""

    renderer_classes = [JSONRenderer]
    parser_classes = [JSONObjectParser]
    content_negotiation_class = AlwaysJSON
    metadata_class = None
    http_method_names = ["get", "head", "post", "put", "patch", "delete"]
    schema = PortalSchema()

    serializer_class: ClassVar[type[StrictSerializer] | None] = None
    query_classes: ClassVar[dict[str, type[Query]]] = {}
    query: dict[str, Any]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        method = "GET" if request.method == "HEAD" else str(request.method)
        if method not in self.allowed_methods:
            raise MethodNotAllowed(method)
        self.query = read_query(request, self.query_classes.get(method, Query))

    def read_body(
        self, serializer_class: type[StrictSerializer] | None = None, *, partial: bool = False
    ) -> dict[str, Any]:
        """The checked fields of the body. Raises Problem or ValidationError naming what is wrong."""
        chosen = serializer_class or self.serializer_class
        assert chosen is not None
        serializer = chosen(data=self.request.data, partial=partial, context={"request": self.request})
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def page_of(self, rows: TenantQuerySet[Any], order: Sequence[str] = ("-id",)) -> Page[Any]:
        """The page of `rows` that the query asks for."""
        name = list_name(self.request.path, self.query, self.request.user.pk)
        return paginate(
            rows, order=order, name=name, cursor=self.query.get("cursor"), limit=self.query.get("limit", 50)
        )


class StaffView(ApiView):
    """Called with a staff token."""

    authentication_classes: Sequence[type[BaseAuthentication]] = [StaffTokenAuthentication]

    @property
    def actor(self) -> PortalAccount:
        return cast(PortalAccount, self.request.user)

    @property
    def token(self) -> StaffToken:
        return cast(StaffToken, self.request.auth)


class UserView(ApiView):
    """Called with a device token."""

    authentication_classes: Sequence[type[BaseAuthentication]] = [DeviceTokenAuthentication]

    @property
    def user(self) -> EndUser:
        return cast(EndUser, self.request.user)

    @property
    def device(self) -> Device:
        return cast(Device, self.request.auth)


class RowsView(StaffView, ABC):
    """What a collection and its rows have in common: which rows there are and how one looks."""

    @abstractmethod
    def rows(self) -> TenantQuerySet[Any]:
        """All rows, with what showing them needs; `visible_to` is applied by the base."""

    def show(self, rows: Sequence[Model]) -> list[Any]:
        """The rows as objects of the API."""
        assert self.serializer_class is not None
        serializer = self.serializer_class(rows, many=True, context={"request": self.request})
        return list(serializer.data)

    def show_one(self, row: Model) -> Any:
        """One row as written, read again so that the answer is what a GET would say."""
        shown = self.rows().filter(pk=row.pk).first()
        if shown is None:
            raise not_found()
        return self.show([shown])[0]


class ListView(RowsView):
    """GET a page of the rows the caller may see."""

    order: ClassVar[Sequence[str]] = ("-id",)
    query_classes: ClassVar[dict[str, type[Query]]] = {"GET": ListQuery}

    def visible_rows(self) -> TenantQuerySet[Any]:
        return self.rows().visible_to(self.actor)

    def filtered(self, rows: TenantQuerySet[Any]) -> TenantQuerySet[Any]:
        """`rows` by the filters of the query; each parameter named as its lookup unless overridden."""
        filters = {name: value for name, value in self.query.items() if name not in ("cursor", "limit")}
        return rows.filter(**filters)

    def get(self, request: Request, **kwargs: Any) -> Response:
        page = self.page_of(self.filtered(self.visible_rows()), self.order)
        return Response(page.answer(self.show(page.rows)))


class CollectionView(ListView):
    """GET a page; POST a new row by the service that `create` calls."""

    @abstractmethod
    def create(self, fields: dict[str, Any]) -> Model:
        """The new row, made by its service."""

    @idempotent()
    def post(self, request: Request, **kwargs: Any) -> Response:
        return self._create()

    def _create(self) -> Response:
        require_writer(self.actor)
        return Response(self.show_one(self.create(self.read_body())), status=201)


class OutsideCollectionView(CollectionView):
    """A collection whose `create` asks a carrier, so that no transaction may be open around it."""

    @idempotent(talks_outside=True)
    def post(self, request: Request, **kwargs: Any) -> Response:
        return self._create()


class RowView(RowsView):
    """GET one row. A stranger's is 404 before anything else is said."""

    def get_row(self) -> Any:
        return get_visible(self.rows(), self.actor, self.kwargs["pk"])

    def writable_row(self) -> Any:
        row = self.get_row()
        require_writer(self.actor)
        return row

    def get(self, request: Request, **kwargs: Any) -> Response:
        return Response(self.show([self.get_row()])[0])


class RemovableView(RowView):
    """GET one row, DELETE it."""

    @abstractmethod
    def remove(self, row: Any) -> None:
        """Done by the row's service."""

    def delete(self, request: Request, **kwargs: Any) -> Response:
        self.remove(self.writable_row())
        return Response(status=204)


class ItemView(RemovableView):
    """GET one row, PATCH it, DELETE it."""

    @abstractmethod
    def update(self, row: Any, changes: dict[str, Any]) -> Model:
        """The row as its service has changed it."""

    def patch(self, request: Request, **kwargs: Any) -> Response:
        row = self.writable_row()
        return Response(self.show_one(self.update(row, self.read_body(partial=True))))


class ActionView(RowView):
    """POST something done to one row, answered with the row."""

    http_method_names = ["post"]

    @abstractmethod
    def act(self, row: Any) -> None:
        """Done by the row's service."""

    def post(self, request: Request, **kwargs: Any) -> Response:
        row = self.writable_row()
        self.read_body(StrictSerializer)
        self.act(row)
        return Response(self.show_one(row))
