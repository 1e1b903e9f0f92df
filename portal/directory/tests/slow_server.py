"""A server that keeps a client waiting without ever being silent for long."""

from __future__ import annotations

import socket
import time

_PATIENT_S = 20


def drip(server: socket.socket, start: bytes) -> bool:
    """Let one client in, answer with `start` and then byte by byte; whether the client hung up."""
    with server.accept()[0] as client:
        client.settimeout(_PATIENT_S)
        client.recv(4096)
        client.sendall(start)
        until = time.monotonic() + _PATIENT_S
        try:
            while time.monotonic() < until:
                client.sendall(b"\0")
                time.sleep(0.1)
        except OSError:
            return True
        return False
