"""A real OpenLDAP server on loopback, with its own certificate authority."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.ports import free_port

SUFFIX = "dc=acme,dc=example"
ADMIN, PASSWORD = f"cn=reader,{SUFFIX}", "ldap-reader-password-42"
PEOPLE = f"ou=people,{SUFFIX}"
START_S = 60
_CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile {folder}/server.pem
TLSCertificateKeyFile {folder}/server.key
disallow bind_anon
database mdb
suffix "{suffix}"
rootdn "{admin}"
rootpw {password}
directory {folder}/data
maxsize 10485760
sizelimit unlimited
"""
_LDIF = """
dn: {suffix}
objectClass: dcObject
objectClass: organization
o: Acme
dc: acme

dn: {people}
objectClass: organizationalUnit
ou: people

{entries}
"""


class LdapServer:
    """`people` are (name, attributes). LDAP at `port`, LDAP over TLS at `tls_port`, trusted by `ca_certificate`."""

    def __init__(self, people: list[tuple[str, dict[str, str]]]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="slapd-"))
        self.ca_certificate = _make_certificates(self.folder)
        (self.folder / "data").mkdir()
        config = _CONFIG.format(folder=self.folder, suffix=SUFFIX, admin=ADMIN, password=PASSWORD)
        (self.folder / "slapd.conf").write_text(config)
        self._load(people)
        self._start()

    def _load(self, people: list[tuple[str, dict[str, str]]]) -> None:
        entries = "\n\n".join(_entry(name, attributes) for name, attributes in people)
        ldif = self.folder / "people.ldif"
        ldif.write_text(_LDIF.format(suffix=SUFFIX, people=PEOPLE, entries=entries))
        command = [_slapd(), "-T", "add", "-q", "-f", self.folder / "slapd.conf", "-l", ldif]
        subprocess.run(command, check=True, capture_output=True)

    def _start(self) -> None:
        for _ in range(5):
            self.port, self.tls_port = free_port(), free_port()
            urls = f"ldap://127.0.0.1:{self.port}/ ldaps://127.0.0.1:{self.tls_port}/"
            log = (self.folder / "slapd.log").open("wb")
            command = [_slapd(), "-d", "0", "-f", str(self.folder / "slapd.conf"), "-h", urls]
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
            deadline = time.monotonic() + START_S
            while self._process.poll() is None and time.monotonic() < deadline:
                if all(_listens(port) for port in (self.port, self.tls_port)):
                    return
                time.sleep(0.05)
        raise AssertionError((self.folder / "slapd.log").read_text())

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def settings(self, **changes: Any) -> dict[str, Any]:
        """The settings of a directory that looks here."""
        usual = {
            "host": "127.0.0.1",
            "port": self.tls_port,
            "security": "tls",
            "ca_certificate": self.ca_certificate,
            "bind_dn": ADMIN,
            "password": PASSWORD,
            "base_dn": PEOPLE,
        }
        return {**usual, **changes}


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _entry(name: str, attributes: dict[str, str]) -> str:
    values = {"cn": name, "sn": name.split()[-1], **attributes}
    lines = [f"dn: uid={uuid.uuid4()},{PEOPLE}", "objectClass: inetOrgPerson"]
    lines += [f"{attribute}:: {base64.b64encode(value.encode()).decode()}" for attribute, value in values.items()]
    return "\n".join(lines)


def _slapd() -> str:
    found = shutil.which("slapd", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/libexec")
    assert found, "slapd is not installed: apt-get install slapd"
    return found


def _make_certificates(folder: Path) -> str:
    """Write a certificate for loopback; returns that of the authority, in PEM."""
    now = datetime.datetime.now(datetime.UTC)
    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
    server_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])

    def certificate(name: x509.Name, key: Any, is_authority: bool) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(authority_name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=30))
        builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(authority_key, hashes.SHA256())

    authority = certificate(authority_name, authority_key, is_authority=True)
    pem = serialization.Encoding.PEM
    (folder / "server.pem").write_bytes(certificate(server_name, server_key, is_authority=False).public_bytes(pem))
    key = server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.key").write_bytes(key)
    return authority.public_bytes(pem).decode()
