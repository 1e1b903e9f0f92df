"""A private Debian Prosody: the XMPP server that the tests' users and UC-One clients are connected to.

It asks for STARTTLS with a certificate of `authority`, and then offers SCRAM and PLAIN as an installed one does: that
nothing of ours ever takes PLAIN can be seen in `mechanisms`. It listens on loopback below 32768, ends with the
tests, keeps its data while it is stopped and loses it with `close`.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.certificates import Authority
from tests.faults.programs import Program
from tests.faults.servers import with_services
from tests.ports import free_port
from tests.sandbox_process import ROOT, wait_for

DOMAIN = "im.example"
# A second host of the same server, as another organisation's would be reached by federation (S0.29).
FOREIGN_DOMAIN = "other.example"
# Domains at which components may connect, with `component_secret`.
COMPONENTS = ("sms.im.example", "sms2.im.example")
SCRAM_ROUNDS = 10_000
MODULES = (
    "roster saslauth tls disco private blocklist carbons pep smacks mam csi ping time version "
    "user_account_management admin_shell recorder"
)

CONFIGURATION = """
daemonize = false
pidfile = "{folder}/prosody.pid"
data_path = "{folder}/data"
certificates = "{folder}"
plugin_paths = {{ "{folder}/modules" }}
admin_socket = "{folder}/admin.sock"
log = {{ {log_level} = "{folder}/prosody.log" }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
component_ports = {{ {component_port} }}
component_interfaces = {{ "127.0.0.1" }}
modules_enabled = {{ {modules} }}
modules_disabled = {{ {without} }}
c2s_require_encryption = true
authentication = "internal_hashed"
disable_sasl_mechanisms = {{ {disabled_mechanisms} }}
gc = {{ mode = "generational" }}
smacks_hibernation_time = {hibernation_s}
smacks_max_queue_size = 100000
c2s_stanza_size_limit = {stanza_limit}
storage = {{ archive = "{archive}" }}
default_archive_policy = true
archive_expires_after = "never"
ssl = {{ certificate = "{folder}/server.crt", key = "{folder}/server.key" }}
"""

# Says which mechanism each client tried for which user, before the server looks at it.
RECORDER = """
local base64 = require "util.encodings".base64;
module:hook("stanza/urn:ietf:params:xml:ns:xmpp-sasl:auth", function (event)
    local first = base64.decode(event.stanza:get_text() or "") or "";
    local user = first:match("n=([^,]*)") or first:match("%z([^%z]*)%z") or "";
    module:log("info", "SASL attempt with %s of %s@%s", event.stanza.attr.mechanism, user, module.host);
end, 1000);
"""

# Sends back what comes from those that the user has not allowed to see the own presence. (mod_block_strangers of Debian
# drops it without a word.) Not among the modules unless it is asked for.
CONTACTS_ONLY = """
local st = require "util.stanza";
local jid = require "util.jid";
local is_contact_subscribed = require "core.rostermanager".is_contact_subscribed;
module:hook("message/bare", function (event)
    local user, host = jid.split(event.stanza.attr.to);
    if is_contact_subscribed(user, host, jid.bare(event.stanza.attr.from)) then return; end
    event.origin.send(st.error_reply(event.stanza, "cancel", "not-allowed", "Contacts only"));
    return true;
end, 200);
"""

# The second page of an archive fails the first time that an account asks for it: the connection breaks, or the answer
# is an error. Not among the modules unless they are asked for.
ARCHIVE_FAULT = """
local st = require "util.stanza";
local failed = {{}};
module:hook("iq-set/self/urn:xmpp:mam:2:query", function (event)
    local session, query = event.origin, event.stanza.tags[1];
    local page = query:get_child("set", "http://jabber.org/protocol/rsm");
    if failed[session.username] or not page or not page:get_child("after") then return; end
    failed[session.username] = true;
    {fault}
    return true;
end, 200);
"""
ARCHIVE_FAULTS = {
    "archive_cuts": "session.conn:close();",
    "archive_fails": 'session.send(st.error_reply(event.stanza, "wait", "internal-server-error"));',
}

# Sessions that cannot be resumed; and a server that says once of each user to have had more stanzas than there were.
NO_RESUMPTION = """
module:hook("stanza/urn:xmpp:sm:3:enable", function (event) event.stanza.attr.resume = nil; end, 100);
"""
FALSE_COUNT = """
local st = require "util.stanza";
local lied = {};
module:hook("stanza/urn:xmpp:sm:3:r", function (event)
    local session = event.origin;
    if lied[session.username] then return; end
    lied[session.username] = true;
    session.send(st.stanza("a", { xmlns = "urn:xmpp:sm:3", h = "4000" }));
    return true;
end, 100);
"""

# Has no room for a text that begins with "Full", the first time. Not among the modules unless it is asked for.
FULL_ONCE = """
local st = require "util.stanza";
local seen = {};
module:hook("message/bare", function (event)
    local id, body = event.stanza.attr.id, event.stanza:get_child_text("body");
    if not (body and body:match("^Full")) or seen[id] then return; end
    seen[id] = true;
    event.origin.send(st.error_reply(event.stanza, "wait", "resource-constraint", "No room now"));
    return true;
end, 200);
"""


class Prosody:
    """Started at once; also a context manager. All methods may be called while it is stopped, but `shell`.

    `archive`: "internal" keeps it in files, "memory" loses it at a restart but costs no time (facts: benchmarks).
    `plain` False offers SCRAM only. `hibernation_s`: how long a session whose connection broke can be resumed.
    `modules` are further ones, with blanks between, and `without` those of the usual ones that are left out
    (such as `offline`, which sends what the archive has too).
    """

    domain, component_domain, host = DOMAIN, COMPONENTS[0], "127.0.0.1"
    _domains = (DOMAIN, FOREIGN_DOMAIN)
    _components: tuple[str, ...] = COMPONENTS

    def __init__(
        self,
        *,
        archive: str = "internal",
        plain: bool = True,
        hibernation_s: int = 60,
        log_level: str = "info",
        modules: str = "",
        without: str = "",
        stanza_limit: int = 256 * 1024,
    ) -> None:
        self.port, self.component_port = free_port(), free_port()
        self.component_secret = secrets.token_urlsafe(16)
        self.authority = Authority()
        services = with_services()
        user = services.server_user()
        self._user = services.as_user(user)
        self.folder = Path(tempfile.mkdtemp(prefix="prosody-", dir=services.base_folder(user)))
        self.folder.chmod(0o755)
        self._settings = {
            "folder": self.folder,
            "port": self.port,
            "component_port": self.component_port,
            "log_level": log_level,
            "archive": archive,
            "hibernation_s": hibernation_s,
            "stanza_limit": stanza_limit,
            "modules": _lua_list(f"{MODULES} {modules}".split()),
            "without": _lua_list(f"s2s {without}".split()),
            "disabled_mechanisms": _lua_list(["DIGEST-MD5"] + ([] if plain else ["PLAIN"])),
        }
        for name in ("data", "modules"):
            (self.folder / name).mkdir()
        programs = {"recorder": RECORDER, "contacts_only": CONTACTS_ONLY, "full_once": FULL_ONCE}
        programs |= {"no_resumption": NO_RESUMPTION, "false_count": FALSE_COUNT}
        programs |= {name: ARCHIVE_FAULT.format(fault=fault) for name, fault in ARCHIVE_FAULTS.items()}
        for name, program in programs.items():
            (self.folder / "modules" / f"mod_{name}.lua").write_text(program)
        self._configuration = self.folder / "prosody.cfg.lua"
        self._configuration.write_text(self._configured())
        # What a client program must trust; the same as `authority.pem`.
        self.ca_file = self.folder / "ca.crt"
        self.ca_file.write_text(self.authority.pem)
        self.use_certificate(*self.authority.issue(*self._domains))
        program = shutil.which("prosody")
        assert program, "prosody is not installed: apt-get install prosody"
        command = [program, "--config", str(self._configuration), "-F"]
        output = self.folder / "output.log"
        self.program = Program("prosody", command, os.environ, output, cwd="/", **self._user)
        self._own(self.folder)
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def log(self) -> str:
        return (self.folder / "prosody.log").read_text(errors="replace")

    def mechanisms(self, jid: str | None = None) -> list[str]:
        """The SASL mechanism of each attempt to log in since the start, also of failed ones; of all or of one JID."""
        found = re.findall(r"SASL attempt with (\S+) of (\S+)", self.log)
        return [mechanism for mechanism, of in found if jid in (None, of)]

    def start(self) -> None:
        self.program.start()
        services = with_services()
        for port in (self.port, self.component_port):
            wait_for(partial(services.listens, port), what=f"Prosody\n{self.program.said()}")
        assert "Failed to open server port" not in self.log, "another server has taken its port"

    def stop(self) -> None:
        """In order: clients are told."""
        self.program.end()

    def kill(self) -> None:
        self.program.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        self.program.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def add_account(self, jid: str, password: str, *, rounds: int = SCRAM_ROUNDS) -> None:
        """Make an account, or give it another password. Nobody is disconnected by it: it is only a file. `rounds` is
        what the server asks for; with others nobody can log in.

        (A change through `prosodyctl` or the admin interfaces ends the account's sessions, facts/xmpp.md 2d.)
        """
        user, domain = jid.split("@")
        salt = secrets.token_hex(16)
        salted = hashlib.pbkdf2_hmac("sha1", password.encode(), salt.encode(), SCRAM_ROUNDS)
        fields = {
            "salt": salt,
            "stored_key": hashlib.sha1(hmac.digest(salted, b"Client Key", "sha1")).hexdigest(),
            "server_key": hmac.digest(salted, b"Server Key", "sha1").hex(),
        }
        lines = "".join(f'\t["{name}"] = "{value}";\n' for name, value in fields.items())
        folder = self.folder / "data" / _encoded(domain) / "accounts"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{_encoded(user)}.dat"
        fresh = path.with_suffix(".new")
        fresh.write_text(f'return {{\n{lines}\t["iteration_count"] = {rounds};\n}};\n')
        fresh.rename(path)
        self._own(folder.parent)

    set_password = add_account

    def new_account(self, name: str = "user", domain: str = "") -> tuple[str, str]:
        """JID and password of an account that no other test has."""
        jid, password = f"{name}-{secrets.token_hex(4)}@{domain or self.domain}", secrets.token_urlsafe(18)
        self.add_account(jid, password)
        return jid, password

    def remove_account(self, jid: str) -> None:
        user, domain = jid.split("@")
        (self.folder / "data" / _encoded(domain) / "accounts" / f"{_encoded(user)}.dat").unlink()

    def use_certificate(self, certificate: str, key: str) -> None:
        """Another one than `authority` issued at first (expired, wrong name, unknown issuer), from the next start."""
        (self.folder / "server.crt").write_text(certificate)
        (self.folder / "server.key").write_text(key)
        self._own(self.folder / "server.key")

    def shell(self, *words: str) -> str:
        """A command of Prosody's own shell, such as `shell("c2s", "close", jid)`; returns what it says."""
        command = ["prosodyctl", "--config", str(self._configuration), "shell", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd="/", **self._user)
        return done.stdout + done.stderr

    def drop(self, jid: str) -> None:
        """End all sessions of a bare JID, as an administrator's change of its password does."""
        answer = self.shell("c2s", "close", jid)
        assert "closed" in answer, answer

    def _own(self, path: Path) -> None:
        """The server's user owns it, and what is in it."""
        if self._user:
            for each in [path, *path.rglob("*")]:
                with suppress(FileNotFoundError):  # a running server renames its files
                    os.chown(each, self._user["user"], self._user["group"])

    def _configured(self) -> str:
        hosts = "".join(f'VirtualHost "{domain}"\n' for domain in self._domains)
        components = "".join(
            f'Component "{domain}"\n    component_secret = "{self.component_secret}"\n'
            '    component_conflict_resolve = "kick_old"\n'
            for domain in self._components
        )
        return CONFIGURATION.format(**self._settings) + hosts + components


class DeployedProsody(Prosody):
    """One that reads deploy/prosody, with the addresses and places of this machine put in."""

    domain, component_domain = "im.example.com", "sms.im.example.com"
    _domains = (domain,)

    def _configured(self) -> str:
        text = (ROOT / "deploy" / "prosody" / "prosody.cfg.lua").read_text()
        self.component_secret = "a-long-random-secret"
        assert self.component_secret in text
        for place in ("/run/prosody", "/var/log/prosody"):
            text = text.replace(place, str(self.folder))
        text = text.replace("{ 5347 }", f"{{ {self.component_port} }}").replace('"certs"', f'"{self.folder}/certs"')
        text = text.replace('"admin_shell"', '"admin_shell", "recorder"')
        here = (
            f'daemonize = false\ndata_path = "{self.folder}/data"\nplugin_paths = {{ "{self.folder}/modules" }}\n'
            f'admin_socket = "{self.folder}/admin.sock"\n'
            f'interfaces = {{ "127.0.0.1" }}\nc2s_ports = {{ {self.port} }}\n'
        )
        return here + text

    def use_certificate(self, certificate: str, key: str) -> None:
        folder = self.folder / "certs"
        folder.mkdir(exist_ok=True)
        (folder / f"{self.domain}.crt").write_text(certificate)
        (folder / f"{self.domain}.key").write_text(key)
        self._own(folder)


def _lua_list(words: Iterable[str]) -> str:
    return ", ".join(f'"{word}"' for word in words)


def _encoded(text: str) -> str:
    """As Prosody names its files."""
    return "".join(char if char.isascii() and char.isalnum() else f"%{ord(char):02x}" for char in text)
