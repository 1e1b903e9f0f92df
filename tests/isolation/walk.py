"""The walk of one visitor through all routes. It yields a sentence for every door that is open.

The measure is the same everywhere: what a stranger's row answers is, byte for byte and after as many SQL statements,
what a row answers that never was, so that the time it takes tells nothing either; and no answer of any kind names a
stranger.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

from django.db import transaction

from portal.admin.site import site
from portal.api.enduser.events import Events
from portal.api.fields import Id
from portal.encryption import encrypt
from portal.events import rendering
from portal.models import Event, IdempotencyKey
from tests.isolation import bodies
from tests.isolation.keys import Keys, links_of, rows_by_model
from tests.isolation.routes import Route, all_routes
from tests.isolation.visitors import CARRIER_ASKED, Answer, Visitor
from tests.isolation.world import ACME, UUID, Party, World

_FORM = re.compile(r"<form\b([^>]*)>(.*?)</form>", re.DOTALL)
_INPUT = re.compile(r'<(?:input|select)[^>]*\bname="([\w-]+)"')
_CLOSED = {401, 403, 404, 405}
_MOST_FILTERS = 6  # for those who are not thorough
Step = Callable[[Route], Iterator[str]]


class Walk:
    """`open_doors()` tries everything; `steps` are the ways of knocking, each for one route. `filters` are the links of
    filters and neighbouring pages that were followed."""

    def __init__(
        self,
        world: World,
        keys: Keys,
        visitor: Visitor,
        routes: Iterable[Route] | None = None,
    ) -> None:
        self.world, self.keys, self.visitor = world, keys, visitor
        self.routes = all_routes() if routes is None else tuple(routes)
        self.own = world[ACME]
        self.filters: set[str] = set()
        self.steps: list[Step] = [
            self.own_pages,
            self.rows_of_strangers,
            self.bodies_that_name_strangers,
            self.questions_about_strangers,
            self.cursors_of_strangers,
            self.idempotency_keys_of_strangers,
            self.events_about_strangers,
        ]

    def open_doors(self) -> Iterator[str]:
        for route in self.routes:
            for step in self.steps:
                yield from step(route)

    # --- Own pages name nobody else ------------------------------------------------------------------------------
    def own_pages(self, route: Route) -> Iterator[str]:
        if "GET" not in route.methods:
            return
        for url in self.own_urls(route, 2 if self.visitor.is_thorough else 1):
            answer = self.visitor.ask("GET", url)
            yield from self._names_nobody("GET", url, answer)
            if route.is_page and answer.status == 200:
                yield from self._filters(url, answer)
                yield from self._searches(url, answer)
        if route.pattern.name == "autocomplete":
            yield from self._autocomplete(route)

    def own_urls(self, route: Route, most: int) -> list[str]:
        """The addresses of a route with own rows in its places."""
        if not route.parameters:
            return [route.url()]
        return list(dict.fromkeys(route.url(values) for values in self.keys.of(route, self.own, most)))

    def _filters(self, url: str, answer: Answer) -> Iterator[str]:
        """The filters and neighbouring pages a list offers, each once."""
        links = [link for link in links_of(answer) if urlsplit(link).query and urlsplit(link).path == url]
        for link in links if self.visitor.is_thorough else links[:_MOST_FILTERS]:
            self.filters.add(link)
            yield from self._names_nobody("GET", link, self.visitor.ask("GET", link))

    def _searches(self, url: str, answer: Answer) -> Iterator[str]:
        """Every field the page can be searched by, asked for what names a stranger."""
        for name in questions_of(answer):
            for party in self.visitor.strangers:
                for value in self._telling(party):
                    asked = f"{url}?{urlencode({name: value})}"
                    found = self.visitor.ask("GET", asked, sent=[value])
                    yield from self._names_nobody("GET", asked, found)

    def _telling(self, party: Party) -> list[str]:
        """What somebody would type, or put into an address, to find a row of `party`."""
        number = party.number(0)
        return [party.mark[:4], number[2:], number[-4:], str(party.user.pk)]

    def _autocomplete(self, route: Route) -> Iterator[str]:
        """Every relation of every model on the site, with and without a beginning of a stranger's name."""
        for model in site._registry:
            for field in [*model._meta.fields, *model._meta.many_to_many]:
                if not field.is_relation:
                    continue
                where = {"app_label": model._meta.app_label, "model_name": model._meta.model_name}
                for term in ("", *(party.mark[:4] for party in self.visitor.strangers)):
                    url = f"{route.url()}?{urlencode({**where, 'field_name': field.name, 'term': term})}"
                    yield from self._names_nobody("GET", url, self.visitor.ask("GET", url, sent=[term]))

    # --- Rows of strangers are rows that never were --------------------------------------------------------------
    def rows_of_strangers(self, route: Route) -> Iterator[str]:
        if not route.parameters:
            return
        for method in route.methods:
            for body in self._bodies_for(route, method):
                never: dict[str, Answer] = {}
                for party in [*self.visitor.strangers, *self.visitor.closed]:
                    for values in self.keys.of(route, party, 4 if self.visitor.is_thorough else 2):
                        if self.visitor.may_open(route.url(values)):
                            continue
                        words = {k: str(uuid.uuid4()) if UUID.fullmatch(v) else v for k, v in values.items()}
                        kind = route.url({k: "*" if UUID.fullmatch(v) else v for k, v in values.items()})
                        if kind not in never:
                            never[kind] = self._ask_row(route, method, body, words)
                        answer = self._ask_row(route, method, body, values)
                        if _only_statements_differ(answer, never[kind]):  # what is remembered is not asked for again
                            never[kind], answer = (self._ask_row(route, method, body, at) for at in (words, values))
                        yield from self._same(f"{method} {route.url(values)}", answer, never[kind])
                        if party in self.visitor.strangers:
                            yield from self._names_nobody(method, route.url(values), answer)

    def _same(self, what: str, answer: Answer, never: Answer) -> Iterator[str]:
        if not _is_closed(never):
            yield f"{self.visitor.name}: {what} takes an id that never was: {_short(never)}"
        elif answer.plain != never.plain:
            yield f"{self.visitor.name}: {what} answers {_short(answer)}, an id that never was {_short(never)}"
        elif answer.statements != never.statements:
            statements = f"{answer.statements} statements, for an id that never was {never.statements}"
            yield f"{self.visitor.name}: {what} takes {statements}"

    def _ask_row(self, route: Route, method: str, body: Any, values: Mapping[str, str]) -> Answer:
        url = route.url(values)
        return self.visitor.ask(method, url, body, is_json=not route.is_page, sent=list(values.values()))

    def _bodies_for(self, route: Route, method: str) -> list[Any]:
        if method == "GET":
            return [None]
        if route.is_page:
            return [{"post": "yes", "name": "changed"}]
        serializer = bodies.serializer_of(route, method)
        return [{}] if serializer is None or method == "DELETE" else [{}, bodies.api_body(serializer, self.own)]

    # --- Bodies and forms that name a stranger's row -------------------------------------------------------------
    def bodies_that_name_strangers(self, route: Route) -> Iterator[str]:
        if route.is_page:
            yield from self._forms(route)
        for method in route.methods:
            serializer = bodies.serializer_of(route, method)
            if serializer is None or not self.visitor.strangers:
                continue
            base = bodies.api_body(serializer, self.own)
            for url in self.own_urls(route, 1):
                for relation in bodies.api_relations(serializer):
                    is_id = bodies.is_id(serializer, relation)
                    if not is_id and not self.visitor.is_thorough:
                        continue
                    choices = list(bodies.api_choices(serializer)) if is_id and relation[1] is None else [{}]
                    # Alone as well: what is checked first shows when the rest is missing.
                    filled = choices if method == "PATCH" else [base | chosen for chosen in choices]
                    for body in [{}, *filled] if is_id else filled:
                        send = self._sender(method, url, body, relation, is_json=True, keep=is_id)
                        yield from self._same_as_never(f"{method} {url}", relation, send)

    def _forms(self, route: Route) -> Iterator[str]:
        """Each form of the route's pages, with each of its relations set to a stranger's row."""
        tried: set[bodies.Relation] = set()
        for url in self.own_urls(route, 1):
            for form in self.visitor.ask("GET", url).forms:
                for relation in bodies.form_relations(form):
                    if relation not in tried:
                        tried.add(relation)
                        data = bodies.form_data(form)
                        send = self._sender("POST", url, data, relation, is_json=False, keep=True)
                        yield from self._same_as_never(f"POST {url}", relation, send)

    def _sender(
        self, method: str, url: str, body: dict[str, Any], relation: bodies.Relation, *, is_json: bool, keep: bool
    ) -> Callable[[str], Answer]:
        name, _, is_list = relation

        def send(value: str) -> Answer:
            filled = body | {name: [value] if is_list else value}
            return self.visitor.ask(method, url, filled, is_json=is_json, sent=[value], keep=keep)

        return send

    def _same_as_never(self, what: str, relation: bodies.Relation, send: Callable[[str], Answer]) -> Iterator[str]:
        """A stranger's id is refused like one that never was."""
        name, model, _ = relation
        never = send(str(uuid.uuid4()))
        if model is None and never.status in (401, 403):
            return
        if model is not None and never.status in (201, 202, 204, 302):
            yield f"{self.visitor.name}: {what} takes any id as {name}: {never.status}"
        for party in self.visitor.strangers:
            rows = self._rows_with_doors(party) if model is None else party.rows.get(model, [])[:1]
            for row in rows:
                if self.visitor.may_name(what, row.pk):
                    continue
                answer = send(str(row.pk))
                if _comparable(answer) != _comparable(never):
                    row_name = f"{party.mark}'s {type(row).__name__}"
                    yield f"{self.visitor.name}: {what} {name}={row_name} answers {_short(answer)}, not {_short(never)}"
                yield from self._names_nobody(what, name, answer)

    def _rows_with_doors(self, party: Party) -> list[Any]:
        """A row of each model that any route opens to."""
        kinds = {model for route in all_routes() for model in self.keys.kinds_of(route)}
        return [row for row in rows_by_model(party) if type(row) in kinds]

    # --- Filters --------------------------------------------------------------------------------------------------
    def questions_about_strangers(self, route: Route) -> Iterator[str]:
        """A list asked for what is a stranger's is as empty as one asked for what never was."""
        fields = bodies.query_fields(route) if "GET" in route.methods else {}
        for url in self.own_urls(route, 1) if fields and self.visitor.strangers else []:
            for name, field in fields.items():
                if hasattr(field, "choices"):
                    continue
                rest = {other: "none" for other, known in fields.items() if known.required and other != name}
                unknown = str(uuid.uuid4()) if isinstance(field, Id) else uuid.uuid4().hex[:12]
                never = self._question(url, rest | {name: unknown})
                if never.status == 400:
                    continue  # a time or a word of another kind
                for party in self.visitor.strangers:
                    for value in self._asked_for(route, name, field, party):
                        answer = self._question(url, rest | {name: value})
                        if answer.status != 400 and answer.plain != never.plain:
                            what = f"{self.visitor.name}: GET {url}?{name}={value}"
                            yield f"{what} answers {_short(answer)}, not {_short(never)}"
                        yield from self._names_nobody("GET", f"{url}?{name}={value}", answer)

    def _asked_for(self, route: Route, name: str, field: Any, party: Party) -> list[str]:
        """Values of `party` for a filter: ids of the model it filters by, of every model when that is not known."""
        model = bodies.filtered_model(route, name)
        rows = party.rows.get(model, [])[:1] if model else rows_by_model(party)
        ids = [str(row.pk) for row in rows]
        return ids if isinstance(field, Id) else [*ids[:1], *self._words_of(party)]

    def _question(self, url: str, query: dict[str, str]) -> Answer:
        return self.visitor.ask("GET", f"{url}?{urlencode(query)}", sent=list(query.values()))

    def _words_of(self, party: Party) -> list[str]:
        names = [account.username for account in party.accounts.values()][:1]
        return [party.mark, party.user.login, party.number(0), party.number(0)[2:], *names]

    # --- Places in a list, and keys ------------------------------------------------------------------------------
    def cursors_of_strangers(self, route: Route) -> Iterator[str]:
        """A cursor another got is no cursor."""
        if "GET" not in route.methods or not bodies.is_paged(route) or not self.visitor.strangers:
            return
        cursor = self.keys.cursor_of(route)
        for url in self.own_urls(route, 1):
            sent = {"cursor": cursor, **{name: "none" for name, f in bodies.query_fields(route).items() if f.required}}
            answer = self.visitor.ask("GET", f"{url}?{urlencode(sent)}")
            if answer.status not in (400, *_CLOSED):
                yield f"{self.visitor.name}: GET {url} takes a cursor of another: {_short(answer)}"

    def idempotency_keys_of_strangers(self, route: Route) -> Iterator[str]:
        """A key another has used is a new one."""
        if not hasattr(getattr(route.view, "post", None), "honours_idempotency_key"):
            return
        for url in self.own_urls(route, 1):
            for party in self.visitor.strangers:
                with used_key(party, url) as used:
                    known, new = (
                        self.visitor.ask("POST", url, {}, keep=False, **{"Idempotency-Key": key})
                        for key in (used, str(uuid.uuid4()))
                    )
                if known.plain != new.plain:
                    yield f"{self.visitor.name}: POST {url} knows the key of another: {_short(known)}"
                yield from self._names_nobody("POST", url, known)

    def events_about_strangers(self, route: Route) -> Iterator[str]:
        """An event that points at a stranger's row shows it as gone. The stream is served apart from the other routes,
        so its events are rendered here; that it is bound to its user, `test_stream` says."""
        user = self.visitor.user
        if route.view is not Events or user is None:
            return
        for kind in sorted(rendering._renderers):
            for party in self.visitor.strangers:
                rows = [row for rows in party.rows.values() for row in rows[:12] if UUID.fullmatch(str(row.pk))]
                rows.append(user)
                events = [Event(user=user, number=n, type=kind, object_id=row.pk) for n, row in enumerate(rows)]
                for event, shown in zip(events, rendering.render({user: events})[user.pk], strict=True):
                    self.visitor.tried += 1
                    answer = Answer(200, json.dumps(shown).encode(), "", frozenset({str(event.object_id).encode()}))
                    yield from self._names_nobody("event", kind, answer)

    # --- Judging --------------------------------------------------------------------------------------------------
    def _names_nobody(self, method: str, url: str, answer: Answer) -> Iterator[str]:
        if answer.status >= 500 and answer.status != CARRIER_ASKED:
            yield f"{self.visitor.name}: {method} {url} fails with {answer.status}"
        for word in self.visitor.seen(answer)[:3]:
            yield f"{self.visitor.name}: {method} {url} names {word}"


@contextmanager
def used_key(party: Party, url: str) -> Iterator[str]:
    """An Idempotency-Key that everybody of `party` has used for that address."""
    key = f"{party.mark} {url}"
    answer = {"sealed": encrypt(json.dumps({"name": party.mark}))}
    with transaction.atomic():
        for person in [party.user, *party.accounts.values()]:
            digest = hashlib.sha256(json.dumps([{}, []]).encode()).hexdigest()
            IdempotencyKey.objects.create(
                owner=person.pk, path=url, key=key, body_digest=digest, status=201, answer=answer
            )
        yield key
        transaction.set_rollback(True)


def questions_of(answer: Answer) -> list[str]:
    """The fields of the forms that ask and change nothing."""
    forms = _FORM.findall(answer.body.decode(errors="replace"))
    asking = [inside for head, inside in forms if "post" not in head.lower()]
    return sorted({name for inside in asking for name in _INPUT.findall(inside)})


def _only_statements_differ(answer: Answer, never: Answer) -> bool:
    return answer.plain == never.plain and answer.statements != never.statements


def _is_closed(answer: Answer) -> bool:
    return answer.status in _CLOSED or (answer.status == 302 and answer.location.startswith("/login/"))


def _comparable(answer: Answer) -> Any:
    """The answer without what is new in every row that is made: its own id and time."""
    status, body, location = answer.plain
    if status >= 300 or not body.startswith(b"{"):
        return status, body, location
    return status, sorted(json.loads(answer.body))


def _short(answer: Answer) -> str:
    return f"{answer.status} {answer.plain[1][:160].decode(errors='replace')!r}"
