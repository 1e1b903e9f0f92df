"""Every page of the staff site, found by its links: no error in the browser, clean for axe, fits 360 pixels."""

from __future__ import annotations

from collections import Counter
from typing import Any
from urllib.parse import urlsplit

from django.urls import Resolver404, resolve
from playwright.sync_api import Page

from portal.admin.site import site
from tests.e2e.conftest import TenantMaker
from tests.e2e.looking import Look
from tests.e2e.staff_site import log_in
from tests.e2e.world import Tenant

LINKS = "[...document.querySelectorAll('a[href], form[method=get]')].map(e => e.href || e.action)"
# Those that leave, those that are no page but a file or data, and Swagger UI, whose own colours and buttons axe finds
# fault with.
LEFT_OUT = {
    "logout",
    "jsi18n",
    "autocomplete",
    "api-schema",
    "api-docs",
    "charges_csv",
    "cpaas_numberimport_report",
    "cpaas_message_export",
}
# A page of a row looks different for different rows.
MOST_OF_A_ROW = 2


DIRECTORIES = {"crm": {}, "ldap": {"host": "ldap.example.com", "base_dn": "ou=people,dc=example,dc=com"}}


class Walk:
    """Looks at pages, each kind once, and remembers what is wrong with them."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.seen: Counter[str] = Counter()
        self.wrong: dict[str, list[Any]] = {}
        self._look = Look(page)

    def look(self, path: str) -> None:
        found = self._look.go(path)
        if found:
            self.wrong[path] = found

    def follow(self, start: str) -> None:
        """Look at `start` and at everything that is linked from there on and was not seen yet."""
        self.look(start)
        todo = self.links()
        while todo:
            path = todo.pop(0)
            kind = kind_of(path)
            if kind is None or self.seen[kind] >= (MOST_OF_A_ROW if kind.endswith("_detail") else 1):
                continue
            self.seen[kind] += 1
            self.look(path)
            todo += [link for link in self.links() if link not in todo]

    def links(self) -> list[str]:
        """The paths that the page leads to."""
        here = urlsplit(self.page.url).netloc
        found = [urlsplit(link) for link in self.page.evaluate(LINKS)]
        return [link.path for link in found if link.netloc == here]


def kind_of(path: str) -> str | None:
    """The name of the page, with that of its tab."""
    try:
        match = resolve(path)
    except Resolver404:
        return path
    if match.url_name in LEFT_OUT:
        return None
    return f"{match.url_name}{match.kwargs.get('tab', '')}"


def test_every_page_is_clean_and_fits_a_phone(page: Page, make_tenant: TenantMaker) -> None:
    tenant = make_tenant()
    walk = Walk(page)
    walk.look("/login/")
    log_in(page, tenant.administrator)
    look_at_the_empty_ones(walk, tenant)
    tenant.platform()
    number = tenant.number(friendly_name="A rather long friendly name")
    fill_the_log(tenant, number)
    tenant.number(tenant.new_user("bea"), answer="no")
    table = f"number,login\n{tenant.carrier.new_number()},{tenant.user['login']}\n5,nobody\n"
    tenant.staff.call("POST", "numbers/import/?dry_run=1", data=table, headers={"Content-Type": "text/csv"})
    tenant.staff.post("media-streams/", {"group": tenant.group["id"], "name": f"{tenant.mark} Sales"})
    gateway = {"domain": "sms.example.com", "host": "im.example.com", "secret": "component-secret-of-a-test"}
    tenant.staff.post("sms-gateways/", {"system_provider": tenant.provider["id"], **gateway})
    on = {"assigned": True, "enabled": True}
    tenant.staff.patch(f"users/{tenant.user['id']}/", {"integrated_imp": on})
    tenant.staff.post("broadworks/", {"system_provider": tenant.provider["id"], "imp_domain": "im.example.com"})
    for kind, settings in DIRECTORIES.items():
        body = {"group": tenant.group["id"], "kind": kind, "name": f"{tenant.mark} {kind}", "settings": settings}
        tenant.staff.post("directories/", body)
    walk.follow("/")
    page.context.clear_cookies()
    log_in(page, {"username": "first"})
    walk.follow("/")
    assert walk.wrong == {}
    site.load()
    models = {f"{model._meta.app_label}_{model._meta.model_name}" for model in site._registry}
    assert {name for name in models if not walk.seen[f"{name}_changelist"]} == set()
    rows = {name for name in models if walk.seen[f"{name}_detail"] or walk.seen[f"{name}_change"]}
    assert models - rows == set()


def fill_the_log(tenant: Tenant, number: Any) -> None:
    """A text, a ticket about it, and a text to nobody."""
    sent = tenant.device().send("+12125550134", "Shall we meet?")
    order = {"message": sent["id"], "to": "carrier", "subject": "Not delivered", "text": "It is missing."}
    tenant.staff.post("tickets/", order)
    [hook] = tenant.carrier.hooks(number["number"])
    tenant.carrier.inbound("+12125550134", "+15515559999", "Lost", url=hook["url"])


def look_at_the_empty_ones(walk: Walk, tenant: Tenant) -> None:
    for path in ("/", f"/system-providers/{tenant.provider['id']}/", f"/users/{tenant.user['id']}/"):
        walk.look(path)
    listed = ("platforms", "numbers", "imports", "charges", "media-streams", "directories", "opt-in-evidence")
    for name in (*listed, "api-tokens", "imp-accounts", "broadworks"):
        walk.look(f"/{name}/")
    walk.look("/search/?q=nobody")
    walk.look("/numbers/?q=0000")
