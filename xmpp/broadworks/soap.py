"""The SOAP service: the same documents inside an envelope, the session kept by a cookie.

An operation becomes one of HTTP requests, which the shared transport of carriers drives with its time-outs and bounds.
"""

from __future__ import annotations

import uuid
from http.cookies import CookieError, SimpleCookie
from xml.sax.saxutils import escape

from cpaas.carriers import base as http
from xmpp.broadworks.documents import Answer, Command, Operation, ResultT, Unreadable, read_document, read_xml
from xmpp.broadworks.errors import BroadworksError, Doubtful, Refused, Unreachable
from xmpp.broadworks.exchanges import document_of, require_answer
from xmpp.broadworks.framing import MOST_BYTES, TooLong

_ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>'
    '<processOCIMessage soapenv:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/">'
    '<arg0 xsi:type="soapenc:string" xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/">{}</arg0>'
    "</processOCIMessage></soapenv:Body></soapenv:Envelope>"
)
_HEADERS = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '""'}


def over_http(url: str, operation: Operation[ResultT]) -> http.Operation[ResultT]:
    """`operation` as exchanges with the SOAP service at `url`. Raises what the operation raises."""
    session_id, cookies = str(uuid.uuid4()), SimpleCookie()
    try:
        command = next(operation)
        while True:
            try:
                answer = yield from _exchange(url, session_id, cookies, command)
            except BroadworksError as error:
                command = operation.throw(error)
            else:
                command = operation.send(answer)
    except StopIteration as finished:
        result: ResultT = finished.value
        return result
    finally:
        operation.close()


def _exchange(url: str, session_id: str, cookies: SimpleCookie, command: Command) -> http.Operation[Answer]:
    # As they were given: what was quoted goes back quoted. Folded lines stay away from our header.
    given = {name: cookie.coded_value for name, cookie in cookies.items()}
    sent_back = "; ".join(f"{name}={value}" for name, value in given.items() if value.isprintable())
    headers = {**_HEADERS, "Cookie": sent_back}
    body = write_envelope(document_of(session_id, command))
    request = http.HttpRequest("POST", url, headers if sent_back else _HEADERS, body, MOST_BYTES)
    try:
        response = yield request
    except http.Refused as error:
        raise Refused(error.detail, error.code) from error
    except http.NotTaken as error:
        raise Unreachable(error.detail, error.code) from error
    except http.CarrierError as error:
        raise Doubtful(error.detail, error.code) from error
    _keep_cookies(cookies, response)
    return require_answer(command, _read(command, response))


def _read(command: Command, response: http.HttpResponse) -> Answer:
    try:
        if len(response.body) >= MOST_BYTES:
            raise TooLong("The answer is too long.")
        answer = read_document(read_envelope(response.body))
        if not command.is_answered_by(answer):
            raise Unreadable("This answers something else.")
        return answer
    except ValueError as error:
        code = f"http {response.status}" if response.status != 200 else "unreadable"
        raise Doubtful(f"BroadWorks' SOAP service gave no usable answer ({code}).", code) from error


def _keep_cookies(cookies: SimpleCookie, response: http.HttpResponse) -> None:
    try:
        cookies.load(response.headers.get("set-cookie", ""))
    except CookieError:
        return


def write_envelope(document: bytes) -> bytes:
    return _ENVELOPE.format(escape(document.decode("iso-8859-1"))).encode()


def read_envelope(content: bytes) -> str:
    """The document inside an answer, as text. Raises Unreadable."""
    root = read_xml(content)
    found = next(
        (element for element in root.iter() if element.tag.rpartition("}")[2] == "processOCIMessageReturn"), None
    )
    if found is None or not found.text:
        raise Unreadable("The envelope holds no answer.")
    return found.text.strip()
