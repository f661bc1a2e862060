"""STOMP 1.2, sentence by sentence.

Every sentence of the specification that says MUST, SHOULD or MAY (or REQUIRED, RECOMMENDED,
OPTIONAL) and can be observed at a server has one test; the first paragraph of its docstring is
that sentence, word for word (of a list that belongs to it, the names). A sentence about clients
is tested by what a server does when a client keeps to it, or does not. Where the server is free
to choose, the test accepts each choice and looks at what has to follow from it.

Specification: https://stomp.github.io/stomp-specification-1.2.html
"""

from __future__ import annotations

import re
import time

import pytest
from support.behaviour.brokers import Stomp
from support.behaviour.client import ABSENCE_S, Client, Frame, wire_frame

pytestmark = pytest.mark.live


# STOMP Frames


def test_lines_end_with_lf_or_crlf(stomp: Stomp) -> None:
    """The frame starts with a command string terminated by an end-of-line (EOL), which consists
    of an OPTIONAL carriage return (octet 13) followed by a REQUIRED line feed (octet 10).
    """
    for version in ("1.2", "1.2\r"):
        end = version.removeprefix("1.2") + "\n"
        headers = stomp.login_headers()
        lines = ["CONNECT", *(f"{name}:{value}" for name, value in headers.items()), "", "\0"]
        client = stomp.dial()
        client.send_bytes(end.join(lines).encode())
        assert client.expect("CONNECTED")["version"] == "1.2"
        topic = stomp.topic()
        for lines in (
            ["SUBSCRIBE", f"destination:{topic}", "id:1", "receipt:r", "", "\0"],
            ["SEND", f"destination:{topic}", "own:text", "", "body\0"],
        ):
            client.send_bytes(end.join(lines).encode())
            if lines[0] == "SUBSCRIBE":
                assert client.expect("RECEIPT")["receipt-id"] == "r"
        message = client.message()
        assert message["own"] == "text"
        assert message["destination"] == topic
        assert message.body == b"body"


# Value Encoding


def test_escapes_are_decoded(stomp: Stomp) -> None:
    r"""When decoding frame headers, the following transformations MUST be applied: \r (octet 92
    and 114) translates to carriage return (octet 13), \n (octet 92 and 110) translates to line
    feed (octet 10), \c (octet 92 and 99) translates to : (octet 58), \\ (octet 92 and 92)
    translates to \ (octet 92).
    """
    plain = "cr\rlf\ncolon:backslash\\and\\\\n and \\c"
    message = stomp.relay(headers={"value": plain, plain: "name"})
    assert message["value"] == plain
    assert message[plain] == "name"
    # A server that decodes knows that these two are the same destination.
    client, topic = stomp.connect(), stomp.topic()
    client.subscribe(topic, subscription_id="a:b\\c")
    client.publish(topic)
    assert client.message()["subscription"] == "a:b\\c"
    client.ask("UNSUBSCRIBE", {"id": "a:b\\c"})


def test_undefined_escapes_are_fatal(stomp: Stomp) -> None:
    r"""Undefined escape sequences such as \t (octet 92 and 116) MUST be treated as a fatal
    protocol error.
    """
    for escape in (rb"\t", rb"\x", rb"\R"):
        client = stomp.connect()
        client.send_bytes(b"SEND\ndestination:%b\nown:a%b\n\n\0" % (stomp.topic().encode(), escape))
        client.expect_refusal()


def test_escapes_are_encoded(stomp: Stomp) -> None:
    """Conversely when encoding frame headers, the reverse transformation MUST be applied."""
    message = stomp.relay(headers={"own": "cr\rlf\ncolon:backslash\\end"})
    assert rb"own:cr\rlf\ncolon\cbackslash\\end" in message.head.split(b"\n")
    client = stomp.connect()
    client.send_bytes(
        b"SEND\ndestination:%b\nreceipt:a\\cb\\\\c\\nd\n\n\0" % stomp.topic().encode()
    )
    assert rb"receipt-id:a\cb\\c\nd" in client.expect("RECEIPT").head.split(b"\n")


def test_headers_are_never_trimmed_or_padded(stomp: Stomp) -> None:
    """In STOMP 1.2, clients and servers MUST never trim or pad headers with spaces."""
    message = stomp.relay(headers={"value": "  two before, one after ", " name ": "x"})
    assert message["value"] == "  two before, one after "
    assert message[" name "] == "x"


# Body


def test_send_message_and_error_may_have_a_body(stomp: Stomp) -> None:
    """Only the SEND, MESSAGE, and ERROR frames MAY have a body."""
    assert stomp.relay(b"a body").body == b"a body"
    assert stomp.relay(b"").body == b""


def test_no_other_frame_has_a_body(stomp: Stomp) -> None:
    """All other frames MUST NOT have a body."""
    client = stomp.connect()
    assert client.connected is not None
    assert client.connected.body == b""
    assert client.ask("SUBSCRIBE", {"id": "1", "destination": stomp.topic()}).body == b""
    assert client.ask("BEGIN", {"transaction": "t"}).body == b""
    assert client.ask("DISCONNECT").body == b""


# Standard Headers


def test_standard_headers_are_taken_with_most_frames(stomp: Stomp) -> None:
    """Some headers MAY be used, and have special meaning, with most frames."""
    client, topic = stomp.connect(), stomp.topic()
    standard = {"content-length": "0", "content-type": "text/plain"}
    client.ask("SUBSCRIBE", {"id": "1", "destination": topic, **standard})
    client.ask("SEND", {"destination": topic, **standard})
    message = client.message()
    assert message.body == b""
    assert message["content-type"] == "text/plain"
    client.ask("DISCONNECT", standard)


def test_content_length_on_every_frame(stomp: Stomp) -> None:
    """All frames MAY include a content-length header."""
    client = stomp.dial()
    zero = {"content-length": "0"}
    client.connect({**stomp.login_headers(), **zero})
    queue = stomp.queue()
    client.ask("SUBSCRIBE", {"id": "1", "destination": queue, "ack": "client", **zero})
    client.ask("BEGIN", {"transaction": "t", **zero})
    client.send("SEND", {"destination": queue, "transaction": "t", **zero})
    client.ask("COMMIT", {"transaction": "t", **zero})
    client.ask("ACK", {"id": client.message()["ack"], **zero})
    client.ask("BEGIN", {"transaction": "u", **zero})
    client.ask("ABORT", {"transaction": "u", **zero})
    client.ask("UNSUBSCRIBE", {"id": "1", **zero})
    client.ask("DISCONNECT", zero)


def test_content_length_is_obeyed(stomp: Stomp) -> None:
    """If a content-length header is included, this number of octets MUST be read, regardless of
    whether or not there are NULL octets in the body.
    """
    for body in (b"\0", b"a\0b", b"\0\0\0", b"a\0\n\nSEND\n\n\0b", b"ends with NUL\0"):
        assert stomp.relay(body).body == body


def test_message_and_error_say_content_length(stomp: Stomp) -> None:
    """If a frame body is present, the SEND, MESSAGE and ERROR frames SHOULD include a
    content-length header to ease frame parsing.
    """
    assert stomp.relay(b"hello")["content-length"] == "5"
    assert stomp.relay(b"hello", length=False)["content-length"] == "5"
    error = _an_error(stomp)
    assert not error.body or error["content-length"] == str(len(error.body))


def test_nulls_come_with_content_length(stomp: Stomp) -> None:
    """If the frame body contains NULL octets, the frame MUST include a content-length header."""
    assert stomp.relay(b"a\0b\0c")["content-length"] == "5"


def test_message_and_error_say_content_type(stomp: Stomp) -> None:
    """If a frame body is present, the SEND, MESSAGE and ERROR frames SHOULD include a
    content-type header to help the receiver of the frame interpret its body.
    """
    assert stomp.relay(b"{}", {"content-type": "application/json"})["content-type"] == (
        "application/json"
    )
    error = _an_error(stomp)
    assert not error.body or "content-type" in error


def test_content_type_is_a_mime_type(stomp: Stomp) -> None:
    """If the content-type header is set, its value MUST be a MIME type which describes the format
    of the body.
    """
    message = stomp.relay(b"\x89PNG", {"content-type": "image/png"})
    assert message["content-type"] == "image/png"
    for frame in (message, _an_error(stomp), stomp.relay(b"no type given")):
        mime_type = frame.get("content-type")
        assert mime_type is None or re.fullmatch(r"[\w.+-]+/[\w.+-]+(\s*;.*)?", mime_type)


def test_a_body_without_content_type_is_a_blob(stomp: Stomp) -> None:
    """Otherwise, the receiver SHOULD consider the body to be a binary blob."""
    blob = bytes(range(256))
    message = stomp.relay(blob)
    assert message.body == blob
    # A client that relays the message must not treat it as text.
    assert not (message.get("content-type") or "").startswith("text/")


def test_another_charset_is_passed_on(stomp: Stomp) -> None:
    """If you are using a text based MIME type with a different encoding then you SHOULD append
    ;charset=<encoding> to the MIME type.
    """
    text = "Grüße".encode("latin-1")
    message = stomp.relay(text, {"content-type": "text/plain;charset=iso-8859-1"})
    assert message["content-type"] == "text/plain;charset=iso-8859-1"
    assert message.body == text


def test_html_in_utf_16_is_passed_on(stomp: Stomp) -> None:
    """For example, text/html;charset=utf-16 SHOULD be used if you're sending an HTML body in
    UTF-16 encoding.
    """
    html = "<p>Grüße</p>".encode("utf-16")
    message = stomp.relay(html, {"content-type": "text/html;charset=utf-16"})
    assert message["content-type"] == "text/html;charset=utf-16"
    assert message.body == html


def test_charset_of_other_types_is_passed_on(stomp: Stomp) -> None:
    """The ;charset=<encoding> SHOULD also get appended to any non text/ MIME types which can be
    interpreted as text.
    """
    message = stomp.relay(b"{}", {"content-type": "application/json;charset=utf-16"})
    assert message["content-type"] == "application/json;charset=utf-16"


def test_xml_in_utf_8_is_passed_on(stomp: Stomp) -> None:
    """Its content-type SHOULD get set to application/xml;charset=utf-8"""
    xml = "<größe/>".encode()
    message = stomp.relay(xml, {"content-type": "application/xml;charset=utf-8"})
    assert message["content-type"] == "application/xml;charset=utf-8"
    assert message.body == xml


def test_utf_8_is_supported(stomp: Stomp) -> None:
    """All STOMP clients and servers MUST support UTF-8 encoding and decoding."""
    text = "Grüße, Привет, 你好, 👋🏽, e\u0301"
    message = stomp.relay(text.encode(), {"value": text, f"name {text}": "x"})
    assert message.body.decode() == text
    assert message["value"] == text
    assert message[f"name {text}"] == "x"
    client, topic = stomp.connect(), stomp.topic()
    client.subscribe(topic, subscription_id="Grüße")
    client.publish(topic)
    assert client.message()["subscription"] == "Grüße"


def test_the_servers_own_text_is_utf_8(stomp: Stomp) -> None:
    """Therefore, for maximum interoperability in a heterogeneous computing environment, it is
    RECOMMENDED that text based content be encoded with UTF-8.
    """
    client = stomp.connect()
    client.send("SEND", {"destination": stomp.topic(), "transaction": "nie begonnen: Grüße"})
    error = client.expect_error()
    error.body.decode("utf-8")
    assert "charset" not in (error.get("content-type") or "").replace("charset=utf-8", "")


def test_any_frame_may_ask_for_a_receipt(stomp: Stomp) -> None:
    """Any client frame other than CONNECT MAY specify a receipt header with an arbitrary value."""
    values = [
        "1",
        "two words",
        "Grüße 👋",
        "a:b",
        "back\\slash",
        "two\nlines",
        " padded ",
        "x" * 500,
    ]
    client, queue = stomp.connect(), stomp.queue()
    client.send("SUBSCRIBE", {"id": "1", "destination": queue, "ack": "client", "receipt": "first"})
    assert client.expect("RECEIPT")["receipt-id"] == "first"
    for value in values:
        client.send("SEND", {"destination": queue, "receipt": value})
        assert client.expect("RECEIPT")["receipt-id"] == value
    client.subscribe(stomp.topic(), subscription_id="2")
    client.ask("UNSUBSCRIBE", {"id": "2"})
    client.ask("ACK", {"id": client.message()["ack"]})
    client.ask("NACK", {"id": client.message()["ack"]})
    for command in ("BEGIN", "COMMIT", "BEGIN", "ABORT"):
        client.ask(command, {"transaction": "t"})
    client.ask("DISCONNECT")


# Repeated Header Entries


def test_server_headers_come_first(stomp: Stomp) -> None:
    """A STOMP server MAY 'update' header values by either prepending headers to the message or
    modifying a header in-place in the message.
    """
    for name in ("subscription", "message-id"):
        client, topic = stomp.connect(), stomp.topic()
        client.subscribe(topic, subscription_id="mine")
        client.send("SEND", {"destination": topic, name: "forged", "own": "kept"})
        answer = client.frame()
        if answer.command == "ERROR":
            continue  # it may as well refuse what it would have to update
        assert answer[name] != "forged"
        assert answer["subscription"] == "mine"
        assert answer["own"] == "kept"


def test_the_first_of_repeated_headers_counts(stomp: Stomp) -> None:
    """If a client or a server receives repeated frame header entries, only the first header entry
    SHOULD be used as the value of header entry.
    """
    message = stomp.relay(headers=[("foo", "World"), ("foo", "Hello")])
    assert message["foo"] == "World"
    client, right, wrong = stomp.connect(), stomp.topic(), stomp.topic()
    client.subscribe(right, subscription_id="right")
    client.subscribe(wrong, subscription_id="wrong")
    client.ask("SEND", [("destination", right), ("destination", wrong)])
    assert client.message()["subscription"] == "right"
    client.expect_nothing()


def test_further_values_do_no_harm(stomp: Stomp) -> None:
    """Subsequent values are only used to maintain a history of state changes of the header and
    MAY be ignored.
    """
    headers = [("content-length", "5"), ("content-length", "1"), ("foo", "now"), ("foo", "before")]
    message = stomp.relay(b"hello", headers, length=False)
    assert message.body == b"hello"
    assert [value for name, value in message.pairs if name == "foo"] in (["now"], ["now", "before"])


# Size Limits


def _oversized(stomp: Stomp) -> dict[str, bytes]:
    head = b"SEND\ndestination:%b\nreceipt:r\n" % stomp.topic().encode()
    return {
        "headers": head + b"".join(b"h%d:x\n" % number for number in range(5_000)) + b"\n\0",
        "header line": head + b"long:" + b"x" * 262_144 + b"\n\n\0",
        "body": head + b"content-length:1099511627776\n\n" + b"x" * 1024,
    }


def _expect_end(client: Client) -> None:
    """Make sure that the server closes; the rest of the excess may cause further ERRORs."""
    try:
        while client.frame().command == "ERROR":
            pass
    except EOFError:
        return
    except TimeoutError:
        pytest.fail("not closed")
    pytest.fail("the conversation goes on")


def test_excess_does_not_bring_the_server_down(stomp: Stomp) -> None:
    """To prevent malicious clients from exploiting memory allocation in a server, servers MAY
    place maximum limits on: the number of frame headers allowed in a single frame, the maximum
    length of header lines, the maximum size of a frame body.
    """
    for data in _oversized(stomp).values():
        stomp.connect().send_bytes(data)
    assert stomp.relay(b"still there").body == b"still there"


def test_exceeded_limits_are_told(stomp: Stomp) -> None:
    """If these limits are exceeded the server SHOULD send the client an ERROR frame and then close
    the connection.
    """
    limits = 0
    for what, data in _oversized(stomp).items():
        client = stomp.connect()
        client.send_bytes(data)
        try:
            answer = client.frame(ABSENCE_S * 5)
        except TimeoutError:
            continue  # no limit was met
        except EOFError:
            pytest.fail(f"{what}: closed without an ERROR")
        if answer.command == "ERROR":
            limits += 1
            _expect_end(client)
    if not limits:
        pytest.skip("no limit was met")


# Connection Lingering


def test_rapid_connects_and_disconnects(stomp: Stomp) -> None:
    """STOMP servers must be able to support clients which rapidly connect and disconnect."""
    for number in range(60):
        client = stomp.dial()
        if number % 3 == 0:
            client.send("CONNECT", stomp.login_headers())
        elif number % 3 == 1:
            client.connect(stomp.login_headers())
            client.send("DISCONNECT")
        client.close()
    assert stomp.relay(b"still there").body == b"still there"


# Connecting


def test_a_rejected_connection_is_explained(stomp: Stomp) -> None:
    """The server SHOULD respond back with an ERROR frame explaining why the connection was
    rejected and then close the connection.
    """
    attempts = [stomp.login_headers("9.9")]
    if stomp.broker.login:
        attempts.append({**stomp.login_headers(), "passcode": "surely not this one"})
    for headers in attempts:
        client = stomp.dial()
        client.send("CONNECT", headers)
        error = client.expect_error_and_close()
        assert error.get("message") or error.body


def test_stomp_is_connect(stomp: Stomp) -> None:
    """STOMP servers MUST handle a STOMP frame in the same manner as a CONNECT frame."""
    by_connect = stomp.connect().connected
    client = stomp.dial()
    by_stomp = client.connect(stomp.login_headers(), command="STOMP")
    assert by_connect is not None
    assert {name for name, _ in by_stomp.pairs} == {name for name, _ in by_connect.pairs}
    assert by_stomp["version"] == by_connect["version"] == "1.2"
    topic = stomp.topic()
    client.subscribe(topic)
    client.publish(topic, b"works")
    assert client.message().body == b"works"


def test_connect_still_works(stomp: Stomp) -> None:
    """STOMP 1.2 clients SHOULD continue to use the CONNECT command to remain backward compatible
    with STOMP 1.0 servers.
    """
    for version, agreed in (("1.2", "1.2"), ("1.0", "1.0"), (None, "1.0")):
        client = stomp.connect(version)
        assert client.connected is not None
        assert (client.connected.get("version") or "1.0") == agreed


def test_accept_version_and_host_are_understood(stomp: Stomp) -> None:
    """STOMP 1.2 clients MUST set the following headers: accept-version, host."""
    client = stomp.dial()
    required = stomp.login_headers()
    assert {"accept-version", "host"} <= set(required)
    assert client.connect(required)["version"] == "1.2"


def test_an_unknown_host_is_rejected_or_served(stomp: Stomp) -> None:
    """If this header does not match a known virtual host, servers supporting virtual hosting MAY
    select a default virtual host or reject the connection.
    """
    client = stomp.dial()
    client.send("CONNECT", {**stomp.login_headers(), "host": "nobody.example"})
    answer = client.frame()
    assert answer.command in ("CONNECTED", "ERROR")
    if answer.command == "CONNECTED":
        client.subscribe(stomp.topic())


def test_optional_connect_headers_are_taken(stomp: Stomp) -> None:
    """STOMP 1.2 clients MAY set the following headers: login, passcode, heart-beat."""
    client = stomp.dial()
    given = {"login": "guest", "passcode": "guest", **stomp.login_headers(heart_beat="0,0")}
    assert client.connect(given)["version"] == "1.2"


def test_connected_says_the_version(stomp: Stomp) -> None:
    """STOMP 1.2 servers MUST set the following headers: version."""
    client = stomp.dial()
    assert client.connect(stomp.login_headers())["version"] == "1.2"


def test_optional_connected_headers_are_well_formed(stomp: Stomp) -> None:
    """STOMP 1.2 servers MAY set the following headers: heart-beat, session, server."""
    frames = [stomp.connect().connected, stomp.connect().connected]
    sessions = [frame["session"] for frame in frames if frame is not None and "session" in frame]
    assert len(set(sessions)) == len(sessions), "a session id is there to identify one session"
    for frame in frames:
        assert frame is not None
        assert re.fullmatch(r"\d+,\d+", frame.get("heart-beat") or "0,0")
        assert frame.get("server") != ""


def test_server_is_a_name_and_a_version(stomp: Stomp) -> None:
    """The field MUST contain a server-name field and MAY be followed by optional comment fields
    delimited by a space character.
    """
    connected = stomp.connect().connected
    assert connected is not None
    server = connected.get("server")
    if server is None:
        pytest.skip("the server does not say what it is, which it need not")
    assert re.fullmatch(r"[^\s/]+(/[^\s/]+)?( \S+)*", server)


# Protocol Negotiation


def test_without_accept_version_it_is_1_0(stomp: Stomp) -> None:
    """From STOMP 1.1 and onwards, the CONNECT frame MUST include the accept-version header."""
    client = stomp.connect(None)
    assert client.connected is not None
    assert client.connected.get("version") in (None, "1.0")
    topic = stomp.topic()
    client.subscribe(topic)
    client.publish(topic, b"old")
    assert "ack" not in client.message()


def test_accept_version_is_a_list(stomp: Stomp) -> None:
    """It SHOULD be set to a comma separated list of incrementing STOMP protocol versions that the
    client supports.
    """
    for versions, agreed in (("1.0,1.1,1.2", "1.2"), ("1.0,1.1,2.0", "1.1"), ("1.1,1.2", "1.2")):
        client = stomp.connect(versions)
        assert client.connected is not None
        assert client.connected["version"] == agreed


def test_no_common_version(stomp: Stomp) -> None:
    """If the client and server do not share any common protocol versions, then the sever MUST
    respond with an ERROR frame similar to the following and then close the connection:
    """
    client = stomp.dial()
    client.send("CONNECT", stomp.login_headers("2.7,3.1"))
    error = client.expect_error_and_close()
    assert "1.2" in f"{error.get('version')} {error.get('message')} {error.body.decode()}"


# Heart-beating


def test_heart_beat_is_two_numbers(stomp: Stomp) -> None:
    """When used, the heart-beat header MUST contain two positive integers separated by a comma."""
    for asked in (None, "0,0", "5000,5000", "0,7000"):
        connected = stomp.connect(heart_beat=asked).connected
        assert connected is not None
        assert re.fullmatch(r"\d+,\d+", connected.get("heart-beat") or "0,0")


def test_heart_beat_is_optional(stomp: Stomp) -> None:
    """The heart-beat header is OPTIONAL."""
    client = stomp.connect()
    client.ask("SEND", {"destination": stomp.topic()})


def test_without_heart_beat_there_are_none(stomp: Stomp) -> None:
    """A missing heart-beat header MUST be treated the same way as a "heart-beat:0,0" header, that
    is: the party cannot send and does not want to receive heart-beats.
    """
    silent, zero = stomp.connect(), stomp.connect(heart_beat="0,0")
    silent.expect_nothing()
    zero.expect_nothing(0.1)
    for client in (silent, zero):
        assert client.eols == 0
        client.ask("SEND", {"destination": stomp.topic()})


def _client_beats(stomp: Stomp, every_ms: int) -> tuple[Client, float]:
    """Promise heart-beats; give the seconds between them that both agreed on."""
    client = stomp.connect(heart_beat=f"{every_ms},0")
    assert client.connected is not None
    wanted_ms = int((client.connected.get("heart-beat") or "0,0").split(",")[1])
    if not wanted_ms:
        pytest.skip("the server does not want heart-beats from its clients")
    return client, max(every_ms, wanted_ms) / 1000


def _server_beats(stomp: Stomp, every_ms: int) -> tuple[Client, float]:
    """Wish for heart-beats; give the seconds between them that both agreed on."""
    client = stomp.connect(heart_beat=f"0,{every_ms}")
    assert client.connected is not None
    offered_ms = int((client.connected.get("heart-beat") or "0,0").split(",")[0])
    if not offered_ms:
        pytest.skip("the server does not send heart-beats")
    return client, max(every_ms, offered_ms) / 1000


def test_the_server_keeps_its_rhythm(stomp: Stomp) -> None:
    """the sender MUST send new data over the network connection at least every <n> milliseconds"""
    client, interval_s = _server_beats(stomp, 500)
    client.eols = 0
    for count in range(1, 4):
        # Each within n milliseconds of the one before; the way here may take a little longer.
        until = time.monotonic() + interval_s * 1.25 + 0.05
        while client.eols < count:
            left_s = until - time.monotonic()
            assert left_s > 0, f"no heart-beat {count} within {interval_s:g} s"
            client.expect_nothing(min(left_s, 0.02))


def test_a_heart_beat_is_an_end_of_line(stomp: Stomp) -> None:
    """if the sender has no real STOMP frame to send, it MUST send an end-of-line (EOL)"""
    client, interval_s = _server_beats(stomp, 300)
    client.eols = 0
    client.expect_nothing(interval_s * 1.2 + 0.05)
    assert client.eols >= 1


def test_silence_is_cut_late_or_never(stomp: Stomp) -> None:
    """if, inside a time window of at least <n> milliseconds, the receiver did not receive any new
    data, it MAY consider the connection as dead
    """
    client, interval_s = _client_beats(stomp, 300)
    begin_s = time.monotonic()
    try:
        frame = client.frame(interval_s * 4 + 0.5)
    except TimeoutError:
        return
    except EOFError:
        pass
    else:
        assert frame.command == "ERROR"
    assert time.monotonic() - begin_s >= interval_s


def test_late_heart_beats_are_tolerated(stomp: Stomp) -> None:
    """because of timing inaccuracies, the receiver SHOULD be tolerant and take into account an
    error margin
    """
    client, interval_s = _client_beats(stomp, 400)
    for _ in range(3):
        client.expect_nothing(interval_s * 1.15)
        client.send_bytes(b"\n")
    client.ask("SEND", {"destination": stomp.topic()})


# Client Frames


def test_an_unknown_command(stomp: Stomp) -> None:
    """A client MAY send a frame not in this list, but for such a frame a STOMP 1.2 server MAY
    respond with an ERROR frame and then close the connection.
    """
    client = stomp.connect()
    client.send("TELEPORT", {"destination": stomp.topic()})
    try:
        answer = client.frame(ABSENCE_S)
    except TimeoutError:
        client.ask("SEND", {"destination": stomp.topic()})
    else:
        assert answer.command == "ERROR"


# SEND


def test_send_needs_a_destination(stomp: Stomp) -> None:
    """It has one REQUIRED header, destination, which indicates where to send the message."""
    client = stomp.connect()
    client.send("SEND", {"receipt": "r"}, b"where to?")
    client.expect_error()


def test_send_with_length_and_type(stomp: Stomp) -> None:
    """SEND frames SHOULD include a content-length header and a content-type header if a body is
    present.
    """
    both = {"content-length": "5", "content-type": "text/plain"}
    message = stomp.relay(b"hello", both, length=False)
    assert (message.body, {name: message.get(name) for name in both}) == (b"hello", both)
    # A client that does neither is understood as well.
    assert stomp.relay(b"hello", length=False).body == b"hello"


def test_send_takes_any_header(stomp: Stomp) -> None:
    """An application MAY add any arbitrary user defined headers to the SEND frame."""
    own = {f"own-{number}": f"value {number}" for number in range(50)}
    message = stomp.relay(headers={**own, "Destination": "another name", "empty": "", "n": "1"})
    assert message.body == b"hello"


def test_user_defined_headers_are_passed_on(stomp: Stomp) -> None:
    """The user defined headers MUST be passed through in the MESSAGE frame."""
    own = {f"own-{number}": f"value {number}" for number in range(50)}
    own |= {"empty": "", "Content-Length": "another name", "colour": "grün", "a.b/c d": "x"}
    message = stomp.relay(headers=own)
    assert {name: message.get(name) for name in own} == own


def test_a_send_that_fails_is_an_error(stomp: Stomp) -> None:
    """If the sever cannot successfully process the SEND frame for any reason, the server MUST send
    the client an ERROR frame and then close the connection.
    """
    client = stomp.connect()
    client.send("SEND", {"destination": stomp.topic(), "transaction": "never begun"})
    client.expect_error_and_close()


# SUBSCRIBE


def test_a_subscribe_that_fails_is_an_error(stomp: Stomp) -> None:
    """If the sever cannot successfully create the subscription, the server MUST send the client an
    ERROR frame and then close the connection.
    """
    client = stomp.connect()
    client.send("SUBSCRIBE", {"id": "1"})
    client.expect_error_and_close()


def test_subscribe_takes_other_headers(stomp: Stomp) -> None:
    """STOMP servers MAY support additional server specific headers to customize the delivery
    semantics of the subscription.
    """
    client, topic = stomp.connect(), stomp.topic()
    client.subscribe(topic, {"x-nobody-knows-this": "1"})
    client.publish(topic, b"works")
    assert client.message().body == b"works"


def test_subscribe_needs_an_id(stomp: Stomp) -> None:
    """Since a single connection can have multiple open subscriptions with a server, an id header
    MUST be included in the frame to uniquely identify the subscription.
    """
    client = stomp.connect()
    client.send("SUBSCRIBE", {"destination": stomp.topic()})
    client.expect_error()


def test_subscription_ids_differ(stomp: Stomp) -> None:
    """Within the same connection, different subscriptions MUST use different subscription
    identifiers.
    """
    client, other, topic = stomp.connect(), stomp.connect(), stomp.topic()
    client.subscribe(topic, subscription_id="a")
    client.subscribe(topic, subscription_id="b")
    other.subscribe(topic, subscription_id="a")
    other.publish(topic)
    assert sorted(message["subscription"] for message in client.messages(2)) == ["a", "b"]
    assert other.message()["subscription"] == "a"
    client.send("SUBSCRIBE", {"id": "a", "destination": stomp.topic()})
    client.expect_error()


def test_ack_client_needs_acks(stomp: Stomp) -> None:
    """When the ack mode is client, then the client MUST send the server ACK frames for the
    messages it processes.
    """
    queue, publisher, consumer = stomp.queue(), stomp.connect(), stomp.connect()
    consumer.subscribe(queue, {"ack": "client"})
    publisher.publish(queue, b"processed")
    publisher.publish(queue, b"not processed")
    first, _ = consumer.messages(2)
    consumer.ack(first)
    consumer.close()
    publisher.subscribe(queue)
    assert publisher.message().body == b"not processed"
    publisher.expect_nothing()


def test_unacknowledged_messages_are_redelivered(stomp: Stomp) -> None:
    """If the connection fails before a client sends an ACK frame for the message the server will
    assume the message has not been processed and MAY redeliver the message to another client.
    """
    for mode in ("client", "client-individual"):
        queue, failing, other = stomp.queue(), stomp.connect(), stomp.connect()
        failing.subscribe(queue, {"ack": mode})
        failing.publish(queue, b"once more")
        assert failing.message().body == b"once more"
        failing.close()
        other.subscribe(queue)
        assert other.message().body == b"once more"


def test_nack_is_taken(stomp: Stomp) -> None:
    """In case the client did not process some messages, it SHOULD send NACK frames to tell the
    server it did not consume these messages.
    """
    queue, client = stomp.queue(), stomp.connect()
    client.subscribe(queue, {"ack": "client"})
    client.publish(queue, b"not this one")
    client.ack(client.message(), command="NACK")


def test_individual_acks_leave_others_alone(stomp: Stomp) -> None:
    """This means that an ACK or NACK frame for a subsequent message MUST NOT cause a previous
    message to get acknowledged.
    """
    queue, client, other = stomp.queue(), stomp.connect(), stomp.connect()
    client.subscribe(queue, {"ack": "client-individual"})
    for number in range(5):
        client.publish(queue, b"%d" % number)
    messages = client.messages(5)
    client.ack(messages[2])
    client.ack(messages[4], command="NACK")
    # It can be acknowledged now, so it was not before.
    client.ack(messages[1])
    client.close()
    other.subscribe(queue)
    assert [message.body for message in other.messages(2)] == [b"0", b"3"]


# UNSUBSCRIBE


def test_unsubscribe_needs_an_id(stomp: Stomp) -> None:
    """Since a single connection can have multiple open subscriptions with a server, an id header
    MUST be included in the frame to uniquely identify the subscription to remove.
    """
    client, first, second = stomp.connect(), stomp.topic(), stomp.topic()
    client.subscribe(first, subscription_id="a")
    client.subscribe(second, subscription_id="b")
    client.ask("UNSUBSCRIBE", {"id": "a"})
    client.publish(first)
    client.publish(second)
    assert client.message()["subscription"] == "b"
    client.expect_nothing()
    client.send("UNSUBSCRIBE", {"receipt": "r"})
    client.expect_error()


def test_unsubscribe_needs_a_known_id(stomp: Stomp) -> None:
    """This header MUST match the subscription identifier of an existing subscription."""
    client = stomp.connect()
    client.subscribe(stomp.topic(), subscription_id="a")
    client.send("UNSUBSCRIBE", {"id": "never subscribed"})
    client.expect_error()


# ACK


def test_ack_needs_the_id(stomp: Stomp) -> None:
    """The ACK frame MUST include an id header matching the ack header of the MESSAGE being
    acknowledged.
    """
    for headers in ({}, {"id": "no such ack"}):
        queue, client = stomp.queue(), stomp.connect()
        client.subscribe(queue, {"ack": "client"})
        client.publish(queue)
        client.message()
        client.send("ACK", headers)
        client.expect_error()


def test_ack_in_a_transaction(stomp: Stomp) -> None:
    """Optionally, a transaction header MAY be specified, indicating that the message
    acknowledgment SHOULD be part of the named transaction.
    """
    queue, client, other = stomp.queue(), stomp.connect(), stomp.connect()
    client.subscribe(queue, {"ack": "client-individual"})
    for body in (b"aborted", b"committed"):
        client.publish(queue, body)
    aborted, committed = client.messages(2)
    for name, message, end in (("a", aborted, "ABORT"), ("c", committed, "COMMIT")):
        client.ask("BEGIN", {"transaction": name})
        client.ack(message, {"transaction": name})
        client.ask(end, {"transaction": name})
    client.close()
    other.subscribe(queue)
    assert other.message().body == b"aborted"
    other.expect_nothing()


# NACK


def test_nack_takes_the_headers_of_ack(stomp: Stomp) -> None:
    """NACK takes the same headers as ACK: id (REQUIRED) and transaction (OPTIONAL)."""
    queue, client = stomp.queue(), stomp.connect()
    client.subscribe(queue, {"ack": "client-individual"})
    client.publish(queue)
    message = client.message()
    client.ask("BEGIN", {"transaction": "t"})
    client.ack(message, {"transaction": "t"}, command="NACK")
    client.ask("ABORT", {"transaction": "t"})
    # The NACK is gone with its transaction, so the message can still be acknowledged.
    client.ack(message)
    client.send("NACK", {"message-id": message["message-id"], "subscription": "1"})
    client.expect_error()


# BEGIN, COMMIT, ABORT


def test_begin_needs_a_transaction(stomp: Stomp) -> None:
    """The transaction header is REQUIRED, and the transaction identifier will be used for SEND,
    COMMIT, ABORT, ACK, and NACK frames to bind them to the named transaction.
    """
    client, topic = stomp.connect(), stomp.topic()
    client.subscribe(topic)
    client.ask("BEGIN", {"transaction": "t"})
    client.send("SEND", {"destination": topic, "transaction": "t"}, b"bound")
    client.publish(topic, b"free")
    assert client.message().body == b"free"
    client.ask("COMMIT", {"transaction": "t"})
    message = client.message()
    assert message.body == b"bound"
    client.send("BEGIN")
    client.expect_error()


def test_transaction_ids_differ(stomp: Stomp) -> None:
    """Within the same connection, different transactions MUST use different transaction
    identifiers.
    """
    client, other = stomp.connect(), stomp.connect()
    for name in ("a", "b"):
        client.ask("BEGIN", {"transaction": name})
    other.ask("BEGIN", {"transaction": "a"})
    client.send("BEGIN", {"transaction": "a"})
    client.expect_error()


def test_commit_needs_a_transaction(stomp: Stomp) -> None:
    """The transaction header is REQUIRED and MUST specify the identifier of the transaction to
    commit.
    """
    for headers in ({}, {"transaction": "never begun"}):
        client = stomp.connect()
        client.ask("BEGIN", {"transaction": "t"})
        client.send("COMMIT", headers)
        client.expect_error()


def test_abort_needs_a_transaction(stomp: Stomp) -> None:
    """The transaction header is REQUIRED and MUST specify the identifier of the transaction to
    abort.
    """
    for headers in ({}, {"transaction": "never begun"}):
        client = stomp.connect()
        client.ask("BEGIN", {"transaction": "t"})
        client.send("ABORT", headers)
        client.expect_error()


# DISCONNECT


def test_graceful_shutdown(stomp: Stomp) -> None:
    """To do a graceful shutdown, where the client is assured that all previous frames have been
    received by the server, the client SHOULD: send a DISCONNECT frame with a receipt header set,
    wait for the RECEIPT frame response to the DISCONNECT, close the socket.
    """
    topic, subscriber, client = stomp.topic(), stomp.connect(), stomp.connect()
    subscriber.subscribe(topic)
    for number in range(20):
        client.send("SEND", {"destination": topic}, b"%d" % number)
    client.send("DISCONNECT", {"receipt": "77"})
    assert client.expect("RECEIPT")["receipt-id"] == "77"
    client.close()
    bodies = [message.body for message in subscriber.messages(20)]
    assert bodies == [b"%d" % number for number in range(20)]


def test_nothing_counts_after_disconnect(stomp: Stomp) -> None:
    """Clients MUST NOT send any more frames after the DISCONNECT frame is sent."""
    topic, subscriber, client = stomp.topic(), stomp.connect(), stomp.connect()
    subscriber.subscribe(topic)
    client.send_bytes(
        wire_frame("SEND", {"destination": topic}, b"before")
        + wire_frame("DISCONNECT")
        + wire_frame("SEND", {"destination": topic}, b"after")
    )
    assert subscriber.message().body == b"before"
    subscriber.expect_nothing()


# Server Frames


def test_only_server_frames_come(stomp: Stomp) -> None:
    """These frames MAY be one of: MESSAGE, RECEIPT, ERROR."""
    client, topic = stomp.connect(), stomp.topic()
    client.send("SUBSCRIBE", {"id": "1", "destination": topic, "receipt": "r"})
    seen = [client.frame().command]
    client.send("SEND", {"destination": topic})
    seen.append(client.frame().command)
    client.send("ABORT", {"transaction": "never begun"})
    seen.append(client.frame().command)
    assert seen == ["RECEIPT", "MESSAGE", "ERROR"]


# MESSAGE


def test_message_says_its_destination(stomp: Stomp) -> None:
    """The MESSAGE frame MUST include a destination header indicating the destination the message
    was sent to.
    """
    client, topic, queue = stomp.connect(), stomp.topic(), stomp.queue()
    client.subscribe(topic, subscription_id="topic")
    client.subscribe(queue, subscription_id="queue")
    client.publish(topic)
    assert client.message().get("destination")
    client.publish(queue)
    assert client.message().get("destination")


def test_destination_is_as_it_was_sent(stomp: Stomp) -> None:
    """If the message has been sent using STOMP, this destination header SHOULD be identical to the
    one used in the corresponding SEND frame.
    """
    client = stomp.connect()
    names = [stomp.topic(), stomp.queue(), stomp.topic() + ".with.words", stomp.queue() + "-Ü"]
    for number, name in enumerate(names):
        client.subscribe(name, subscription_id=str(number))
        client.publish(name)
        assert client.message()["destination"] == name


def test_message_id_and_subscription(stomp: Stomp) -> None:
    """The MESSAGE frame MUST also contain a message-id header with a unique identifier for that
    message and a subscription header matching the identifier of the subscription that is receiving
    the message.
    """
    client, other, topic, queue = stomp.connect(), stomp.connect(), stomp.topic(), stomp.queue()
    client.subscribe(topic, subscription_id="by topic")
    client.subscribe(queue, subscription_id="by queue")
    for _ in range(5):
        other.publish(topic)
        other.publish(queue)
    messages = client.messages(10)
    assert len({message["message-id"] for message in messages}) == 10
    for message in messages:
        expected = "by topic" if message["destination"] == topic else "by queue"
        assert message["subscription"] == expected


def test_message_has_ack_if_it_wants_one(stomp: Stomp) -> None:
    """If the message is received from a subscription that requires explicit acknowledgment (either
    client or client-individual mode) then the MESSAGE frame MUST also contain an ack header with an
    arbitrary value.
    """
    client = stomp.connect()
    for mode in ("client", "client-individual"):
        queue = stomp.queue()
        client.subscribe(queue, {"ack": mode}, subscription_id=mode)
        client.publish(queue)
        message = client.message()
        assert message["ack"]
        client.ack(message)


def test_message_has_length_and_type(stomp: Stomp) -> None:
    """MESSAGE frames SHOULD include a content-length header and a content-type header if a body is
    present.
    """
    message = stomp.relay("Grüße".encode(), {"content-type": "text/plain"}, length=False)
    assert message["content-length"] == "7"
    assert message["content-type"] == "text/plain"


def test_own_headers_beside_the_servers(stomp: Stomp) -> None:
    """MESSAGE frames will also include all user defined headers that were present when the message
    was sent to the destination in addition to the server specific headers that MAY get added to
    the frame.
    """
    queue, client = stomp.queue(), stomp.connect()
    own = {"own": "1", "x-own": "2", "ownership": "3"}
    client.publish(queue, b"kept", own)
    client.subscribe(queue, {"ack": "client"})
    message = client.message()
    assert {name: message.get(name) for name in own} == own
    for name in ("subscription", "message-id", "destination", "ack"):
        assert name in message


# RECEIPT


def test_receipt_says_whose_it_is(stomp: Stomp) -> None:
    """A RECEIPT frame MUST include the header receipt-id, where the value is the value of the
    receipt header in the frame which this is a receipt for.
    """
    client, topic = stomp.connect(), stomp.topic()
    for number in range(20):
        client.send("SEND", {"destination": topic, "receipt": f"message-{number}"})
    receipts = {client.expect("RECEIPT")["receipt-id"] for _ in range(20)}
    assert receipts == {f"message-{number}" for number in range(20)}


def test_frames_before_the_end_are_processed(stomp: Stomp) -> None:
    """If the client disconnects, previously received frames SHOULD continue to get processed by the
    server.
    """
    topic, subscriber, client = stomp.topic(), stomp.connect(), stomp.connect()
    subscriber.subscribe(topic)
    frames = [wire_frame("SEND", {"destination": topic}, b"%d" % number) for number in range(200)]
    client.send_bytes(b"".join(frames))
    client.close()
    bodies = [message.body for message in subscriber.messages(200)]
    assert bodies == [b"%d" % number for number in range(200)]


# ERROR


def _an_error(stomp: Stomp) -> Frame:
    """Return the ERROR for a frame that is wrong with every server."""
    client = stomp.connect()
    client.send("SEND", {"receipt": "r-1"}, b"where to?")
    return client.expect_error()


def test_errors_are_told(stomp: Stomp) -> None:
    """The server MAY send ERROR frames if something goes wrong."""
    assert _an_error(stomp).command == "ERROR"


def test_an_error_ends_the_connection(stomp: Stomp) -> None:
    """In this case, it MUST then close the connection just after sending the ERROR frame."""
    client, topic, other = stomp.connect(), stomp.topic(), stomp.connect()
    client.subscribe(topic)
    client.send("SEND", {}, b"where to?")
    client.expect_error_and_close()
    other.publish(topic)


def test_an_error_has_a_message(stomp: Stomp) -> None:
    """The ERROR frame SHOULD contain a message header with a short description of the error, and
    the body MAY contain more detailed information (or MAY be empty).
    """
    message = _an_error(stomp)["message"]
    assert 0 < len(message) <= 100
    assert "\n" not in message


def test_an_error_identifies_its_frame(stomp: Stomp) -> None:
    """If the error is related to a specific frame sent from the client, the server SHOULD add
    additional headers to help identify the original frame that caused the error.
    """
    client = stomp.connect()
    client.send("SEND", {"destination": stomp.topic(), "receipt": "good"})
    client.send("SEND", {"receipt": "bad"}, b"where to?")
    client.send("SEND", {"destination": stomp.topic(), "receipt": "never looked at"})
    values = [value for _, value in client.expect_error().pairs]
    assert "bad" in values
    assert not {"good", "never looked at"} & set(values)


def test_an_error_has_the_receipt_id(stomp: Stomp) -> None:
    """For example, if the frame included a receipt header, the ERROR frame SHOULD set the
    receipt-id header to match the value of the receipt header of the frame which the error is
    related to.
    """
    assert _an_error(stomp)["receipt-id"] == "r-1"
    client = stomp.connect()
    client.send("COMMIT", {"transaction": "never begun", "receipt": "r-2"})
    assert client.expect_error()["receipt-id"] == "r-2"


def test_an_error_has_length_and_type(stomp: Stomp) -> None:
    """ERROR frames SHOULD include a content-length header and a content-type header if a body is
    present.
    """
    error = _an_error(stomp)
    if error.body:
        assert error["content-length"] == str(len(error.body))
        assert error["content-type"]


# Frames and Headers


def test_required_headers_are_enough_and_there(stomp: Stomp) -> None:
    """In addition to the standard headers described above (content-length, content-type and
    receipt), here are all the headers defined in this specification that each frame MUST or MAY
    use:
    """
    client, queue = stomp.connect(), stomp.queue()
    assert client.connected is not None
    assert "version" in client.connected
    client.send("SUBSCRIBE", {"destination": queue, "id": "1"})
    client.send("SEND", {"destination": queue})
    message = client.message()
    for name in ("destination", "message-id", "subscription"):
        assert name in message
    for command in ("BEGIN", "COMMIT", "BEGIN", "ABORT"):
        client.send(command, {"transaction": "t"})
    client.send("UNSUBSCRIBE", {"id": "1"})
    client.send("SUBSCRIBE", {"destination": queue, "id": "2", "ack": "client"})
    client.send("SEND", {"destination": queue})
    client.send("ACK", {"id": client.message()["ack"]})
    client.send("SEND", {"destination": queue})
    client.send("NACK", {"id": client.message()["ack"]})
    client.send("DISCONNECT", {"receipt": "r"})
    assert client.expect("RECEIPT")["receipt-id"] == "r"


def test_own_headers_are_part_of_the_message(stomp: Stomp) -> None:
    """In addition, the SEND and MESSAGE frames MAY include arbitrary user defined headers that
    SHOULD be considered as being part of the carried message.
    """
    queue, publisher, failing, other = (
        stomp.queue(),
        stomp.connect(),
        stomp.connect(),
        stomp.connect(),
    )
    publisher.publish(queue, b"kept", {"own": "kept, too"})
    failing.subscribe(queue, {"ack": "client"})
    assert failing.message()["own"] == "kept, too"
    failing.close()
    other.subscribe(queue)
    message = other.message()
    assert (message.body, message["own"]) == (b"kept", "kept, too")


def test_an_error_tells_frames_apart(stomp: Stomp) -> None:
    """Also, the ERROR frame SHOULD include additional headers to help identify the original frame
    that caused the error.
    """
    for command, headers in (
        ("UNSUBSCRIBE", {"id": "never subscribed"}),
        ("ACK", {"id": "never delivered"}),
        ("ABORT", {"transaction": "never begun"}),
    ):
        client = stomp.connect()
        client.send(command, {**headers, "receipt": f"for {command}"})
        assert f"for {command}" in [value for _, value in client.expect_error().pairs]


def test_features_have_headers(stomp: Stomp) -> None:
    """Finally, STOMP servers MAY use additional headers to give access to features like
    persistency or expiration.
    """
    for headers in ({"persistent": "true"}, {"expires": "0"}, {"priority": "4"}):
        assert stomp.relay(b"hello", headers).body == b"hello"
