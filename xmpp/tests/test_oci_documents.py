"""BroadsoftDocument XML, its frames and its envelope: pure, and safe whatever bytes come."""

from __future__ import annotations

import hashlib
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpaas.carriers.base import HttpResponse
from xmpp.broadworks.commands import get_imp_state
from xmpp.broadworks.documents import Answer, Command, Unreadable, read_document, write_document
from xmpp.broadworks.errors import Refused
from xmpp.broadworks.exchanges import require_answer
from xmpp.broadworks.framing import Framer, TooLong
from xmpp.broadworks.login import sign_password
from xmpp.broadworks.soap import over_http, read_envelope, write_envelope

XML_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=60)


def document(content: str, kind: str = "UserGetResponse23V2", session: str = "s1") -> bytes:
    return (
        '<?xml version="1.0" encoding="ISO-8859-1"?><BroadsoftDocument protocol="OCI" xmlns="C" '
        f'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><sessionId xmlns="">{session}</sessionId>'
        f'<command echo="" xsi:type="{kind}" xmlns="" xmlns:c="C">{content}</command></BroadsoftDocument>'
    ).encode("iso-8859-1")


def test_the_signed_password_is_that_of_the_published_scheme():
    """AuthenticationRequest, nonce, LoginRequest14sp4: md5(nonce:sha1(password)) (facts 4)."""
    inner = hashlib.sha1(b"secret").hexdigest()
    assert sign_password("1493647455426", "secret") == hashlib.md5(f"1493647455426:{inner}".encode()).hexdigest()


def test_a_command_is_written_in_latin_1_with_references_for_the_rest():
    written = write_document("s", Command("UserModifyRequest22", {"userId": "é€<&", "isActive": True}))
    assert "é".encode("iso-8859-1") in written
    assert b"&#8364;&lt;&amp;" in written
    root = ElementTree.fromstring(written)
    [_, command] = root
    assert (command[0].text, command[1].text) == ("é€<&", "true")
    assert command.get("{http://www.w3.org/2001/XMLSchema-instance}type") == "UserModifyRequest22"


@pytest.mark.parametrize("value", ["\x00", "a\x0bb", "\ud800", "\ufffe"])
def test_what_xml_cannot_hold_is_refused_before_it_is_sent(value):
    with pytest.raises(ValueError, match="XML"):
        write_document("s", Command("X", {"userId": value}))


def test_neither_repr_nor_error_shows_a_value():
    """Passwords are in no traceback: neither our objects nor BroadWorks' quoting of them."""
    command = Command("UserModifyRequest22", {"impPassword": "very secret indeed"}, secrets=("very secret indeed",))
    assert "secret" not in repr(command)
    assert "secret" not in command.without_secrets("Bad password: very secret indeed")
    escaped = Command("UserModifyRequest22", secrets=("pass<word>",))
    assert escaped.without_secrets("Bad: pass&lt;word&gt;") == "Bad: ••••"


def test_an_error_that_is_cut_shows_no_half_of_a_secret():
    """BroadWorks may quote the password at any place of a long sentence."""
    command = Command("UserModifyRequest22", {}, secrets=("very secret indeed",))
    said = document(f"<summary>{'x' * 290} very secret indeed</summary>", "c:ErrorResponse")
    with pytest.raises(Refused) as caught:
        require_answer(command, read_document(said))
    assert "secret" not in caught.value.detail
    assert len(caught.value.detail) <= 300


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("UserGetResponse23V2", True),
        ("UserGetResponse22", False),
        ("UserModifyResponse23V2", False),
        ("c:SuccessResponse", True),
        ("c:ErrorResponse", True),
    ],
)
def test_an_answer_is_known_by_its_type(name, answers):
    """A command is answered by its own response, by plain success, or by an error."""
    assert Command("UserGetRequest23V2").is_answered_by(read_document(document("", name))) is answers


def test_an_error_has_its_sentence_and_its_number():
    text = "[Error 4008] User not found: x"
    answer = read_document(
        document(f"<summary>{text}</summary><summaryEnglish>{text}</summaryEnglish>", "c:ErrorResponse")
    )
    assert answer.is_error
    assert answer.error == ("User not found: x", "4008")


def test_a_table_is_rows_by_heading():
    table = "<t><colHeading>User Id</colHeading><colHeading>Last</colHeading><row><col>a</col><col/></row></t>"
    assert read_document(document(table)).table("t") == [{"User Id": "a", "Last": ""}]
    assert read_document(document("")).table("t") == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html></html>",
        b"<BroadsoftDocument/>",
        b"<BroadsoftDocument><command/></BroadsoftDocument>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><BroadsoftDocument><command>&b;</command></BroadsoftDocument>',
        b'<?xml version="1.0" encoding="no-such"?><a/>',
    ],
)
def test_what_is_no_answer_is_unreadable(content):
    """Entities too: no document of BroadWorks has any."""
    with pytest.raises(Unreadable):
        read_document(content)


def test_a_cookie_goes_back_as_it_was_given():
    """What was quoted stays quoted, and nothing that would end our header goes into it."""
    exchange = over_http("http://bw.example/", get_imp_state("chris"))
    assert "Cookie" not in next(exchange).headers
    body = write_envelope(document("<isAssigned>true</isAssigned>", "UserServiceIsAssignedResponse"))
    body = body.replace(b"<arg0 ", b"<processOCIMessageReturn ").replace(b"</arg0>", b"</processOCIMessageReturn>")
    given = 'JSESSIONID="a\\012b"; path=/, folded="c\r\n d"; path=/'
    assert exchange.send(HttpResponse(200, {"set-cookie": given}, body)).headers["Cookie"] == 'JSESSIONID="a\\012b"'
    exchange.close()


def test_several_documents_of_one_read_are_all_kept():
    """The library that this replaces dropped what came after the first end tag (facts 4)."""
    framer = Framer(10_000)
    framer.feed(document("<a>1</a>") + b"\r\n" + document("<a>2</a>") + b"<Broads")
    first, second = framer.take(), framer.take()
    assert [read_document(found).text("a") for found in (first or b"", second or b"")] == ["1", "2"]
    assert framer.take() is None


def test_a_document_without_end_is_limited():
    framer = Framer(1000)
    framer.feed(b"x" * 1001)
    with pytest.raises(TooLong):
        framer.take()


@pytest.mark.fuzz
@given(st.lists(XML_TEXT, min_size=1, max_size=4), st.data())
def test_documents_survive_any_cut(texts: list[str], data: st.DataObject):
    """However the stream is cut, the same texts come out in the same order."""
    stream = b"".join(write_document("s", Command("X", {"a": text})) for text in texts)
    framer, found = Framer(1_000_000), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        framer.feed(stream[:size])
        stream = stream[size:]
        while (whole := framer.take()) is not None:
            found.append(read_document(whole).content.findtext("a") or "")
    assert found == texts


@pytest.mark.fuzz
@given(st.binary(max_size=400) | XML_TEXT.map(lambda text: document("").replace(b"23V2", text.encode()[:60])))
def test_any_bytes_are_an_answer_or_unreadable(content: bytes):
    """No input makes the reader fail in another way."""
    try:
        answer = read_document(content)
    except Unreadable:
        return
    assert isinstance(answer, Answer)
    assert isinstance(answer.error, tuple)
    assert isinstance(answer.table("userTable"), list)


@pytest.mark.fuzz
@given(st.binary(max_size=400))
def test_any_bytes_are_an_envelope_or_unreadable(content: bytes):
    try:
        assert read_envelope(content)
    except Unreadable:
        return


@pytest.mark.fuzz
@given(XML_TEXT)
def test_a_document_passes_the_envelope_unchanged(text: str):
    """Escaped twice, read twice, and the same in the end."""
    sent = write_envelope(write_document("s", Command("X", {"a": text})))
    answered = sent.replace(b"<arg0 ", b"<processOCIMessageReturn ").replace(b"</arg0>", b"</processOCIMessageReturn>")
    assert (read_document(read_envelope(answered)).content.findtext("a") or "") == text
