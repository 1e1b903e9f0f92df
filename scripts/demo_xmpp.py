"""`make xmpp`: a Prosody beside the running demo, so that users of it have XMPP until Ctrl-C.

It does by the interfaces of the portal what staff would do, and by that of the sandbox what makes this server the one
behind the simulated BroadWorks.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import requests

from tests.prosody import Prosody
from tests.sandbox_process import ROOT, wait_for

VAR = Path(os.environ.get("PORTAL_VAR_DIR") or ROOT / "var")
DOMAIN = "im.sandbox.example"
OPERATOR = "demo-operator"
CHRIS, DANA, HELEN = (f"{name}@kesslerboyd.example" for name in ("chris.doyle", "dana.whitfield", "helen.brandt"))
SWITCHED_ON = {"assigned": True, "enabled": True}


class DemoProsody(Prosody):
    domain, component_domain = DOMAIN, f"sms.{DOMAIN}"
    _domains, _components = (domain,), (component_domain,)


class Demo:
    """The running portal, to which we are an operator, and the sandbox beside it."""

    def __init__(self) -> None:
        logins = json.loads((VAR / "demo.json").read_text())
        self._token = next(row["token"] for row in logins["staff"] if row["username"] == OPERATOR)
        self._api, self._sandbox = (
            f"{logins['portal']}/api/v1/provisioning/",
            f"{logins['sandbox']}/_control/broadworks/",
        )

    def call(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self._token}"}
        return answer_of(requests.request(method, self._api + path, json=body, headers=headers, timeout=60))

    def broadworks(self, method: str, path: str, body: Any = None) -> Any:
        return answer_of(requests.request(method, self._sandbox + path, json=body, timeout=60))

    def provider(self) -> str:
        """The system provider whose BroadWorks is the sandbox's."""
        rows = self.call("GET", "broadworks/")["results"]
        key: str = next(row["id"] for row in rows if row["imp_domain"] == DOMAIN)
        return key

    def user(self, login: str) -> str:
        key: str = self.call("GET", f"users/?login={login}")["results"][0]["id"]
        return key


def answer_of(response: requests.Response) -> Any:
    if not response.ok:
        sys.exit(f"{response.request.method} {response.url} was answered with {response.status_code}: {response.text}")
    return response.json() if response.content else None


@contextmanager
def switched_on(demo: Demo, server: Prosody) -> Iterator[None]:
    """BroadWorks, three users and the SMS gateway are with this server; at the end all is as before."""
    provider = demo.provider()
    demo.broadworks("PUT", "", {"imp_domain": DOMAIN, "xmpp_accounts": str(server.folder / "data")})
    place = {"xmpp_host": server.host, "xmpp_port": server.port, "xmpp_ca": server.authority.pem}
    demo.call("PATCH", f"broadworks/{provider}/", place)
    users = [demo.user(login) for login in (CHRIS, DANA, HELEN)]
    for user in users:
        demo.call("PATCH", f"users/{user}/", {"integrated_imp": SWITCHED_ON})
        demo.call("POST", f"users/{user}/generate-imp-password/", {})
    gateway = {"host": server.host, "port": server.component_port, "secret": server.component_secret, "enabled": True}
    demo.call("PATCH", f"sms-gateways/{provider}/", {"domain": server.component_domain, **gateway})
    wait_for(lambda: demo.call("GET", f"sms-gateways/{provider}/")["status"]["state"] == "online", what="the gateway")
    try:
        yield
    finally:
        # The demo may have ended first.
        with suppress(requests.ConnectionError):
            demo.call("PATCH", f"sms-gateways/{provider}/", {"enabled": False})
            for user in users:
                demo.call("PATCH", f"users/{user}/", {"integrated_imp": dict.fromkeys(SWITCHED_ON, False)})
            demo.broadworks("PUT", "", {"xmpp_accounts": None})


def explain(demo: Demo, server: Prosody) -> None:
    """What can be tried now, to be copied into another terminal."""
    accounts = {login: demo.broadworks("GET", f"users/{login}/") for login in (CHRIS, DANA, HELEN)}
    print(f"\nProsody for {DOMAIN} at {server.host}:{server.port}, STARTTLS, the authority is {server.ca_file}\n")
    print("  XMPP account, for UC-One or any client               password")
    for account in accounts.values():
        print(f"  {account['imp']['id']:<52} {account['imp_password']}")
    common = f"--jserver {server.host}:{server.port}"
    dana, helen = (
        f"go-sendxmpp -u {accounts[login]['imp']['id']} -p {accounts[login]['imp_password']} {common}"
        for login in (DANA, HELEN)
    )
    chris = accounts[CHRIS]["imp"]["id"]
    print(f"\n  export SSL_CERT_FILE={server.ca_file}")
    print("  # Dana in UC-One, writing to Chris, and waiting for the answer:")
    print(f"  echo 'Court is over.' | {dana} {chris}")
    print(f"  {dana} --listen")
    print("  # Helen, texting from UC-One through the SMS gateway; the simulated carrier answers:")
    print(f"  echo 'Are you in the office?' | {helen} '+17036089795@{server.component_domain}'")
    print(f"  {helen} --listen\n\nCtrl-C stops it.", flush=True)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        demo = Demo()
        with DemoProsody() as server, switched_on(demo, server):
            explain(demo, server)
            signal.pause()
    except (FileNotFoundError, requests.ConnectionError):
        sys.exit("The demo does not run. Start it with `make run`, then call this in a second terminal.")
    except KeyboardInterrupt:
        print("\nXMPP is off again.")


if __name__ == "__main__":
    main()
