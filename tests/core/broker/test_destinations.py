"""Names: patterns, composites, pubsub, temporary queues; expiry and selectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.core import Client, Listener, Server, bodies, clean_server, errors, publish
from support.stomp import frame_bytes

from rtchat.core.broker.broker import Broker
from rtchat.core.broker.encoder import selectable_headers
from rtchat.core.broker.message import Message
from rtchat.core.broker.patterns import MAX_WORDS, is_pattern
from rtchat.core.session.connection import CloseReason
from rtchat.core.stomp.frames import Frame, Head, Version
from rtchat.errors import ProtocolError

VERSIONS = list(Version)


@pytest.fixture
def server() -> Iterator[Server]:
    yield from clean_server()


def listener(server: Server, *destinations: str, **headers: str) -> Client:
    """Return a client with a subscription for each destination, called like it."""
    client = server.client()
    for destination in destinations:
        client.subscribe(destination, destination, **headers)
    return client


def ids(client: Client) -> list[str]:
    """Return the ids of the subscriptions that got messages, sorted."""
    return sorted(frame.headers["subscription"] for frame in client.messages())


# ---------------------------------------------------------------- patterns


@pytest.mark.parametrize(
    "pattern, matching, others",
    [
        ("/topic/*", "a *", "a.b a/b a."),
        ("/topic/a.*", "a.b a/b a.", "a a.b.c b.a"),
        ("/topic/*.b", "a.b c/b .b", "b a.c a.b.b"),
        ("/topic/a.*.c", "a.b.c a/b/c a..c", "a.c a.b.b.c"),
        ("/topic/a.#", "a a.b a/b/c a.b.c.d", "b ab"),
        ("/topic/#.c", "c a.c a.b/c", "a c.a cc"),
        ("/topic/a.#.c", "a.c a.b.c a.b.b.c a.c.c", "a c a.b"),
        ("/topic/#", "a a.b a.b.c", ""),
        ("/topic/>", "a a.b a.b.c", ""),
        ("/topic/a.>", "a a.b a.b.c", "b"),
        ("/topic/a/>", "a a.b a.b.c", "b"),
        ("/topic/*.#", "a a.b a.b.c", ""),
        ("/topic/*.*.#", "a.b a.b.c", "a"),
        ("/topic/#.#", "a a.b", ""),
        ("/topic/#.b.#", "b a.b b.a a.b.a b.b", "a a.a"),
        ("/topic/*.>", "a a.b a.b.c", ""),
        ("/topic/a.>.*", "a.>.b a.>.c", "a.x.b a.>"),  # special at the end only
    ],
)
def test_a_pattern_matches_these_names(
    server: Server, pattern: str, matching: str, others: str
) -> None:
    client = listener(server, pattern)
    publisher = server.client()
    for name in matching.split():
        publisher.publish(f"/topic/{name}", name)
        assert client.message().headers["destination"] == f"/topic/{name}"
    for name in others.split():
        publisher.publish(f"/topic/{name}", name)
        assert client.messages() == []


@pytest.mark.parametrize(
    "name", ["/topic/a*", "/topic/*a.b", "/topic/a#", "/topic/>.a", "/topic/a>"]
)
def test_a_wildcard_is_a_word_of_its_own(server: Server, name: str) -> None:
    assert not is_pattern(name)
    client = listener(server, name)
    publisher = server.client()
    publisher.publish(name.replace("*", "x").replace("#", "x").replace(">", "x"))
    assert client.messages() == []
    publisher.publish(name, "literally")
    assert client.bodies() == ["literally"]


@pytest.mark.parametrize("prefix", ["", "/", "/exchange/", "chat."])
def test_a_destination_with_another_prefix_can_be_matched(server: Server, prefix: str) -> None:
    client = listener(server, f"{prefix}*")
    server.client().publish(f"{prefix}x")
    assert ids(client) == [f"{prefix}*"]


def test_a_pattern_matches_topics_only(server: Server) -> None:
    client = listener(server, "#")
    publisher = server.client()
    publisher.publish("/queue/a")
    publisher.publish("/topic/a", "topic")
    assert client.bodies() == ["topic"]


@pytest.mark.parametrize("order", [0, 1])
def test_a_name_and_a_pattern_each_deliver_once(server: Server, order: int) -> None:
    names = ["/topic/a.b", "/topic/a.*", "/topic/#", "/topic/a.>"]
    client = listener(server, *(names if order else names[::-1]))
    publisher = server.client()
    for _ in range(2):
        publisher.publish("/topic/a.b")
        assert ids(client) == sorted(names)


def test_equal_patterns_of_many_sessions_each_deliver(server: Server) -> None:
    clients = [listener(server, "/topic/*", "/topic/>") for _ in range(3)]
    server.client().publish("/topic/a")
    assert [ids(client) for client in clients] == [["/topic/*", "/topic/>"]] * 3


def test_who_sends_to_a_pattern_reaches_it_once(server: Server) -> None:
    client = listener(server, "/topic/*", "/topic/a")
    server.client().publish("/topic/*")
    assert ids(client) == ["/topic/*"]


def test_a_pattern_that_comes_later_matches_known_names(server: Server) -> None:
    publisher = server.client()
    exact = listener(server, "/topic/a")
    publisher.publish("/topic/a", "1")
    pattern = listener(server, "/topic/*")
    publisher.publish("/topic/a", "2")
    late = listener(server, "/topic/a")
    publisher.publish("/topic/a", "3")
    assert exact.bodies() == ["1", "2", "3"]
    assert pattern.bodies() == ["2", "3"]
    assert late.bodies() == ["3"]


def test_a_pattern_that_has_ended_matches_nothing(server: Server) -> None:
    publisher = server.client()
    client = listener(server, "/topic/*", "/topic/#")
    publisher.publish("/topic/a")
    assert ids(client) == ["/topic/#", "/topic/*"]
    client.unsubscribe("/topic/*")
    publisher.publish("/topic/a")
    assert ids(client) == ["/topic/#"]
    client.unsubscribe("/topic/#")
    publisher.publish("/topic/a")
    assert client.messages() == []
    assert server.broker.statistics.topic_count == 0


def test_many_names_are_remembered_for_a_while_only(server: Server) -> None:
    client = listener(server, "/topic/#")
    publisher = server.client()
    count = 5000
    publisher.send(b"".join(frame_bytes("SEND", destination=f"/topic/{n}") for n in range(count)))
    assert len(client.messages()) == count
    assert len(server.broker.router._routes) < count


def test_a_pattern_s_messages_are_observed_once(server: Server) -> None:
    observed: list[Message] = []
    server.broker.events.add(Listener(observed.append))
    listener(server, "/topic/*", "/topic/a")
    server.client().publish("/topic/a", "x")
    assert [message.destination for message in observed] == ["/topic/a"]


@pytest.mark.parametrize("count, fits", [(63, True), (64, True), (65, False)])
def test_a_pattern_has_64_words_at_most(server: Server, count: int, fits: bool) -> None:
    pattern = ".".join(["a"] * (count - 1) + ["*"])
    client = server.client()
    frames = client.ask("SUBSCRIBE", id="0", destination=pattern, receipt="r")
    assert errors(frames) == ([] if fits else ["pattern over the limit of 64 words"])
    statistics = server.broker.statistics
    assert statistics.topic_count == statistics.subscription_count == int(fits)
    if fits:
        server.client().publish(pattern.replace("*", "b"), "x")
        assert client.bodies() == ["x"]


def test_a_name_that_is_no_pattern_may_have_many_words(server: Server) -> None:
    name = "/topic/" + ".".join("a" * 200)
    client = listener(server, name)
    server.client().publish(name, "x")
    assert client.bodies() == ["x"]


@pytest.mark.parametrize("pattern", ["#", "/topic/#", "/topic/a.#", "/topic/a.>", "/topic/*.a.#"])
def test_a_pattern_s_end_matches_very_long_names(server: Server, pattern: str) -> None:
    client = listener(server, pattern)
    server.client().publish("/topic/" + ".".join("a" * 200), "x")
    assert client.bodies() == ["x"]


def test_a_very_long_name_is_not_taken_for_a_shorter_one(server: Server) -> None:
    words = ["a"] * 199
    words[MAX_WORDS - 2] = "z"  # the last word that is looked at, after "topic"
    client = listener(server, "/topic/#.z", "/topic/" + ".".join("*" * 63))
    server.client().publish("/topic/" + ".".join(words), "x")
    assert client.messages() == []


# ---------------------------------------------------------------- composite


def test_a_composite_message_goes_to_each_destination(server: Server) -> None:
    client = listener(server, "/topic/a", "/queue/b", "/topic/c")
    server.client().publish("/topic/a,/queue/b", "x")
    got = [(m.headers["subscription"], m.headers["destination"]) for m in client.messages()]
    assert got == [("/topic/a", "/topic/a"), ("/queue/b", "/queue/b")]


@pytest.mark.parametrize(
    "name",
    [
        "/queue/a,/queue/a",
        "/queue/a, /queue/a",
        " /queue/a ,/queue/a ",
        "/queue/a,/queue/a,/queue/a",
    ],
)
def test_the_same_destination_twice_gets_it_once(server: Server, name: str) -> None:
    server.client().publish(name, "x")
    assert bodies(server.drain("/queue/a")) == ["x"]


def test_spaces_around_names_do_not_count(server: Server) -> None:
    server.client().publish(" /queue/a , /queue/b ", "x")
    assert bodies(server.drain("/queue/a")) == bodies(server.drain("/queue/b")) == ["x"]


@pytest.mark.parametrize(
    "name", [",", "/queue/a,", ",/queue/a", "/queue/a,,/queue/b", "/queue/a, "]
)
def test_an_empty_name_is_refused_before_anything_is_sent(server: Server, name: str) -> None:
    client = listener(server, "/queue/a")
    frames = server.client().ask("SEND", destination=name)
    assert errors(frames) == ["an empty destination"]
    assert client.messages() == []


@pytest.mark.parametrize(
    "name, error",
    [
        ("/queue/", "destination without a name"),
        ("/temp-queue/x", "no such temporary queue"),
        ("/pubsub/x", "no such pubsub destination"),
        ("/reply-queue/", "destination without a name"),
    ],
)
def test_one_wrong_name_stops_a_composite_message(server: Server, name: str, error: str) -> None:
    client = listener(server, "/queue/a", "/topic/a")
    frames = server.client().ask("SEND", destination=f"/queue/a,/topic/a,{name}")
    assert errors(frames) == [error]
    assert client.messages() == []
    assert server.broker.publishing.message_count == 0


@pytest.mark.parametrize("name", ["/topic/a,/topic/b", "/queue/a,b", "/topic/*,/topic/b"])
def test_nobody_subscribes_to_a_composite_name(server: Server, name: str) -> None:
    """Nothing could ever be sent to it, as it is split there."""
    frames = server.client().ask("SUBSCRIBE", id="0", destination=name)
    assert errors(frames) == ["a composite destination cannot be subscribed to"]
    assert server.broker.statistics.subscription_count == 0


def test_a_composite_message_reaches_patterns(server: Server) -> None:
    client = listener(server, "/topic/*")
    server.client().publish("/topic/a,/topic/b", "x")
    assert [m.headers["destination"] for m in client.messages()] == ["/topic/a", "/topic/b"]


@pytest.mark.parametrize(
    "name, names",
    [
        ("/queue/a,b", ["/queue/a", "/queue/b"]),
        ("/queue/a, b ,a", ["/queue/a", "/queue/b"]),
        ("/topic/a,b,c", ["/topic/a", "/topic/b", "/topic/c"]),
        ("/queue/a,/topic/b,c", ["/queue/a", "/topic/b", "/queue/c"]),
        ("/topic/a,/queue/b,c", ["/topic/a", "/queue/b", "/topic/c"]),
        ("/topic/a,/b", ["/topic/a", "/b"]),
        ("a,b", ["a", "b"]),
        ("/a,b", ["/a", "b"]),
    ],
)
@pytest.mark.parametrize("transaction", ["", "t"])
def test_later_names_are_of_the_first_one_s_kind(
    server: Server, name: str, names: list[str], transaction: str
) -> None:
    everywhere = [kind + word for kind in ("/queue/", "/topic/", "/", "") for word in "abc"]
    client, publisher = listener(server, *everywhere), server.client()
    if transaction:
        publisher.say("BEGIN", transaction="t")
        publisher.publish(name, "x", transaction="t")
        publisher.say("COMMIT", transaction="t")
    else:
        publisher.publish(name, "x")
    assert [message.headers["destination"] for message in client.messages()] == names


def test_a_composite_message_gets_one_receipt(server: Server) -> None:
    frames = server.client().ask("SEND", destination="/queue/a,/queue/b", receipt="r")
    assert [frame.command for frame in frames] == ["RECEIPT"]


# ---------------------------------------------------------------- pubsub


@pytest.fixture
def news(server: Server) -> Server:
    server.declare("news", "/queue/a", "/queue/b")
    server.declare("sport", "/queue/b", "/queue/c")
    return server


def test_pubsub_copies_to_its_queues(news: Server) -> None:
    news.client().publish("/pubsub/news", "x", app="1")
    for queue in ("/queue/a", "/queue/b"):
        [message] = news.drain(queue)
        assert message.body == b"x"
        assert message.headers["destination"] == queue
        assert message.headers["app"] == "1"


def test_pubsub_keeps_its_messages_while_nobody_listens(news: Server) -> None:
    publisher = news.client()
    for text in "ab":
        publisher.publish("/pubsub/news", text)
    assert bodies(news.drain("/queue/a")) == ["a", "b"]
    assert news.size_of("/queue/b") == 2


def test_pubsub_may_be_a_part_of_a_composite(news: Server) -> None:
    client = listener(news, "/topic/t")
    news.client().publish("/pubsub/news,/topic/t,/pubsub/sport,/queue/a", "x")
    assert client.bodies() == ["x"]
    for queue in ("/queue/a", "/queue/b", "/queue/c"):
        assert bodies(news.drain(queue)) == ["x"]


def test_pubsub_names_after_the_first_need_no_prefix(news: Server) -> None:
    news.client().publish("/pubsub/news,sport", "x")
    for queue in ("/queue/a", "/queue/b", "/queue/c"):
        assert bodies(news.drain(queue)) == ["x"]


def test_pubsub_copies_to_topics(server: Server) -> None:
    server.declare("all", "/queue/a", "/topic/b")
    client = listener(server, "/topic/b", "/topic/*")
    server.client().publish("/pubsub/all", "x")
    got = [(m.headers["subscription"], m.headers["destination"]) for m in client.messages()]
    assert sorted(got) == [("/topic/*", "/topic/b"), ("/topic/b", "/topic/b")]
    assert bodies(server.drain("/queue/a")) == ["x"]


@pytest.mark.parametrize("name", ["/pubsub/other", "/pubsub/news/x"])
def test_a_pubsub_that_was_not_declared_is_refused(news: Server, name: str) -> None:
    frames = news.client().ask("SEND", destination=name)
    assert errors(frames) == ["no such pubsub destination"]
    assert name.encode() in frames[0].body


def test_nobody_subscribes_to_a_pubsub(news: Server) -> None:
    frames = news.client().ask("SUBSCRIBE", id="0", destination="/pubsub/news")
    assert errors(frames) == ["/pubsub/ cannot be subscribed to"]
    assert news.broker.statistics.subscription_count == 0


# ---------------------------------------------------------------- temporary queues


@pytest.mark.parametrize("version", VERSIONS)
def test_an_answer_reaches_who_asked(server: Server, version: Version) -> None:
    """As RabbitMQ does it: the reply-to alone makes the queue."""
    asker, answerer = server.client(version), listener(server, "/queue/service")
    asker.publish("/queue/service", "question", reply_to="/temp-queue/mine", correlation_id="7")
    question = answerer.message()
    address = question.headers["reply-to"]
    assert address != "/temp-queue/mine"
    answerer.publish(address, "answer", correlation_id=question.headers["correlation-id"])
    answer = asker.message()
    assert answer.body == b"answer"
    assert answer.headers["subscription"] == "/temp-queue/mine"
    assert answer.headers["destination"] == address
    assert answer.headers["correlation-id"] == "7"


@pytest.mark.parametrize("version", VERSIONS)
def test_an_answer_reaches_who_subscribed(server: Server, version: Version) -> None:
    """As ActiveMQ does it: a SUBSCRIBE makes the queue, and its id is used."""
    asker, answerer = server.client(version), listener(server, "/queue/service")
    asker.subscribe("/temp-queue/mine", "my id")
    asker.publish("/queue/service", "question", reply_to="/temp-queue/mine")
    answerer.publish(answerer.message().headers["reply-to"], "answer")
    answer = asker.message()
    assert (answer.body, answer.headers["subscription"]) == (b"answer", "my id")


def test_an_answer_reaches_nobody_else(server: Server) -> None:
    asker, answerer = server.client(), listener(server, "/queue/service")
    other = server.client()
    other.subscribe("/temp-queue/mine")
    other.publish("/queue/service", "", reply_to="/temp-queue/mine")
    asker.publish("/queue/service", "", reply_to="/temp-queue/mine")
    first, second = (message.headers["reply-to"] for message in answerer.messages())
    assert first != second
    answerer.publish(second, "answer")
    assert (asker.bodies(), other.bodies()) == (["answer"], [])


def test_a_reply_to_keeps_its_address(server: Server) -> None:
    asker, answerer = server.client(), listener(server, "/queue/service")
    for name in "aab":
        asker.publish("/queue/service", "", reply_to=f"/temp-queue/{name}")
    first, again, other = (message.headers["reply-to"] for message in answerer.messages())
    assert first == again != other
    assert server.broker.statistics.subscription_count == 3


def test_a_client_may_write_to_its_own_temporary_queue(server: Server) -> None:
    client = server.client()
    client.subscribe("/temp-queue/mine")
    client.publish("/temp-queue/mine", "note")
    assert client.bodies() == ["note"]


def test_a_question_to_oneself_opens_the_queue_that_answers(server: Server) -> None:
    client = server.client()
    client.publish("/temp-queue/mine", "note", reply_to="/temp-queue/mine")
    assert client.bodies() == ["note"]


def test_a_route_with_many_targets_is_not_kept(server: Server) -> None:
    """A client that names a thousand destinations at a time must not fill the memory with them."""
    server.limit(max_names=17)
    client = server.client()
    for names, is_kept in ((16, True), (17, False)):
        destination = ",".join(f"/topic/{number}" for number in range(names))
        router = server.broker.router
        client.publish(destination, "x")
        assert (router.resolve(destination) is router.resolve(destination)) is is_kept
    name = "/topic/" + "x" * 600
    client.publish(name, "x")
    assert server.broker.router.resolve(name) is not server.broker.router.resolve(name)


def test_a_large_head_holds_no_route(server: Server) -> None:
    heads: list[Head | None] = []
    listener = Listener(lambda message: heads.append(message.frame.head))
    server.broker.events.add(listener)
    client = server.client()
    client.publish("/topic/a", "x", note="n" * 100)
    client.publish("/topic/a", "x", note="n" * 600)
    assert [head is not None and head.route is not None for head in heads] == [True, False]


def test_a_long_subscription_id_is_not_shared(server: Server) -> None:
    for length, is_shared in ((64, True), (65, False)):
        client = server.client()
        client.subscribe("/topic/a", "i" * length)
        assert (("i" * length, Version.V12) in server.broker.encoders) is is_shared
        client.publish("/topic/a", "x")
        assert client.message().headers["subscription"] == "i" * length


def test_a_composite_may_hold_an_answer(server: Server) -> None:
    asker, answerer = server.client(), listener(server, "/queue/service")
    asker.publish("/queue/service", "", reply_to="/temp-queue/mine")
    address = answerer.message().headers["reply-to"]
    answerer.publish(f"{address},/queue/log", "answer")
    assert asker.bodies() == bodies(server.drain("/queue/log")) == ["answer"]


@pytest.mark.parametrize("name", ["/temp-queue/mine", "/temp-queue/x,/queue/a"])
def test_nobody_writes_to_another_one_s_name(server: Server, name: str) -> None:
    asker = server.client()
    asker.subscribe("/temp-queue/mine")
    frames = server.client().ask("SEND", destination=name)
    assert errors(frames) == ["no such temporary queue"]
    assert asker.messages() == []
    assert server.size_of("/queue/a") == 0


def test_nobody_listens_at_another_one_s_address(server: Server) -> None:
    asker, spy = server.client(), listener(server, "/queue/service")
    asker.publish("/queue/service", "", reply_to="/temp-queue/mine")
    address = spy.message().headers["reply-to"]
    frames = spy.ask("SUBSCRIBE", id="spy", destination=address)
    assert errors(frames) == ["/reply-queue/ cannot be subscribed to"]
    server.client().publish(address, "answer")
    assert asker.bodies() == ["answer"]


@pytest.mark.parametrize("pattern", ["#", "/reply-queue/*", "/*/*"])
def test_no_pattern_sees_an_answer(server: Server, pattern: str) -> None:
    asker, answerer = server.client(), listener(server, "/queue/service")
    asker.publish("/queue/service", "", reply_to="/temp-queue/mine")
    address = answerer.message().headers["reply-to"]
    spy = server.client()
    frames = spy.ask("SUBSCRIBE", id="0", destination=pattern)
    answerer.publish(address, "answer")
    assert asker.bodies() == ["answer"]
    assert spy.messages() == []
    assert len(errors(frames)) == (1 if pattern.startswith("/reply") else 0)


def test_an_answer_that_comes_too_late_reaches_nobody(server: Server) -> None:
    asker, answerer = server.client(), listener(server, "/queue/service")
    asker.publish("/queue/service", "", reply_to="/temp-queue/mine")
    address = answerer.message().headers["reply-to"]
    asker.drop()
    frames = answerer.ask("SEND", destination=address, receipt="r")
    assert [frame.command for frame in frames] == ["RECEIPT"]
    assert server.broker.statistics.queue_count == 1


@pytest.mark.parametrize("subscription_id", ["", "my id"])
def test_a_temporary_queue_can_be_unsubscribed(server: Server, subscription_id: str) -> None:
    asker, answerer = server.client(), listener(server, "/queue/service")
    if subscription_id:
        asker.subscribe("/temp-queue/mine", subscription_id)
    asker.publish("/queue/service", "", reply_to="/temp-queue/mine")
    asker.unsubscribe(subscription_id or "/temp-queue/mine")
    answerer.publish(answerer.message().headers["reply-to"], "answer")
    assert asker.messages() == []
    assert server.broker.statistics.subscription_count == 1


def test_a_1_0_client_unsubscribes_a_temporary_queue_by_name(server: Server) -> None:
    client = server.client(Version.V10)
    client.say("SUBSCRIBE", destination="/temp-queue/mine")
    client.publish("/temp-queue/mine", "x")
    assert "subscription" not in client.message().headers
    client.say("UNSUBSCRIBE", destination="/temp-queue/mine")
    assert server.broker.statistics.subscription_count == 0


@pytest.mark.parametrize("address", ["/reply-queue/none", "/reply-queue/run-1"])
def test_an_address_that_was_never_given_reaches_nobody(server: Server, address: str) -> None:
    frames = server.client().ask("SEND", destination=address, receipt="r")
    assert [frame.command for frame in frames] == ["RECEIPT"]


def test_addresses_are_made_of_what_nobody_can_guess() -> None:
    tokens = iter(["secret", "other"])
    server = Server()
    server._broker = Broker("run", new_token=lambda: next(tokens))
    asker, answerer = server.client(), listener(server, "/queue/service")
    asker.publish("/queue/service", "", reply_to="/temp-queue/mine")
    assert answerer.message().headers["reply-to"] == "/reply-queue/secret"


def test_a_reply_to_that_is_no_temporary_queue_is_passed_on(server: Server) -> None:
    answerer = listener(server, "/queue/service")
    server.client().publish("/queue/service", "", reply_to="/queue/answers")
    assert answerer.message().headers["reply-to"] == "/queue/answers"


def test_a_topic_may_carry_a_reply_to(server: Server) -> None:
    asker = server.client()
    answerers = [listener(server, "/topic/t"), listener(server, "/topic/*")]
    asker.publish("/topic/t", "", reply_to="/temp-queue/mine")
    for answerer in answerers:
        answerer.publish(answerer.message().headers["reply-to"], "answer")
    assert asker.bodies() == ["answer", "answer"]


def test_a_reply_to_may_be_sent_in_a_transaction(server: Server) -> None:
    asker, answerer = server.client(), listener(server, "/queue/service")
    asker.say("BEGIN", transaction="t")
    asker.publish("/queue/service", "", reply_to="/temp-queue/mine", transaction="t")
    asker.say("COMMIT", transaction="t")
    answerer.publish(answerer.message().headers["reply-to"], "answer")
    assert asker.bodies() == ["answer"]


def test_a_reply_to_with_the_same_header_block_has_the_right_address(server: Server) -> None:
    """Two clients send the very same bytes; each has a queue of its own."""
    askers, answerer = [server.client(), server.client()], listener(server, "/queue/service")
    frame = frame_bytes("SEND", destination="/queue/service", reply_to="/temp-queue/mine")
    for asker in askers:
        asker.send(frame)
    for number, question in enumerate(answerer.messages()):
        answerer.publish(question.headers["reply-to"], str(number))
    assert [asker.bodies() for asker in askers] == [["0"], ["1"]]


def test_reply_to_needs_a_name(server: Server) -> None:
    frames = server.client().ask("SEND", destination="/queue/a", reply_to="/temp-queue/")
    assert errors(frames) == ["reply-to without a name"]
    assert server.broker.statistics.queue_count == 0


def test_a_temporary_queue_needs_a_name(server: Server) -> None:
    frames = server.client().ask("SUBSCRIBE", id="0", destination="/temp-queue/")
    assert errors(frames) == ["destination without a name"]


@pytest.mark.parametrize("ack", ["client", "client-individual"])
def test_a_temporary_queue_has_auto_only(server: Server, ack: str) -> None:
    frames = server.client().ask("SUBSCRIBE", id="0", destination="/temp-queue/mine", ack=ack)
    assert errors(frames) == ["a temporary queue has ack:auto only"]
    assert server.broker.statistics.subscription_count == 0


@pytest.mark.parametrize("is_implicit", [True, False])
def test_a_temporary_queue_is_subscribed_to_once(server: Server, is_implicit: bool) -> None:
    client = server.client()
    if is_implicit:
        client.publish("/topic/t", "", reply_to="/temp-queue/mine")
    else:
        client.subscribe("/temp-queue/mine", "first")
    frames = client.ask("SUBSCRIBE", id="second", destination="/temp-queue/mine")
    assert errors(frames) == ["temporary queue in use"]


@pytest.mark.parametrize("destination", ["/topic/t", "/temp-queue/other"])
def test_a_temporary_queue_s_id_is_taken(server: Server, destination: str) -> None:
    client = server.client()
    client.subscribe("/temp-queue/mine", "id")
    frames = client.ask("SUBSCRIBE", id="id", destination=destination)
    assert errors(frames) == ["subscription id in use"]


def test_a_temporary_queue_takes_no_id_in_use(server: Server) -> None:
    client = server.client()
    client.subscribe("/topic/t", "id")
    frames = client.ask("SUBSCRIBE", id="id", destination="/temp-queue/mine")
    assert errors(frames) == ["subscription id in use"]
    assert server.broker.statistics.subscription_count == 0


def test_temporary_queues_count_as_subscriptions(server: Server) -> None:
    client = server.client(max_subscriptions=2)
    client.subscribe("/topic/t")
    client.publish("/topic/u", "", reply_to="/temp-queue/mine")
    frames = client.ask("SEND", destination="/topic/u", reply_to="/temp-queue/more")
    assert errors(frames) == ["more than 2 subscriptions"]
    assert client.close_reason is CloseReason.LIMIT
    assert server.broker.statistics.subscription_count == 0


def test_an_answer_can_be_selected(server: Server) -> None:
    client = server.client()
    client.subscribe("/temp-queue/mine", selector="JMSCorrelationID = '7'")
    for number in "678":
        client.publish("/temp-queue/mine", number, correlation_id=number)
    assert client.bodies() == ["7"]


def test_an_answer_may_expire(server: Server) -> None:
    client = server.client()
    client.subscribe("/temp-queue/mine")
    client.publish("/temp-queue/mine", "late", expires="1")
    assert client.messages() == []


# ---------------------------------------------------------------- expiry


def in_ms(server: Server, milliseconds: int) -> str:
    return str(int(server.broker.now * 1000) + milliseconds)


def test_a_message_expires_while_it_waits(server: Server) -> None:
    publisher = server.client()
    publisher.publish("/queue/a", "short", expires=in_ms(server, 1000))
    publisher.publish("/queue/a", "long", expires=in_ms(server, 9000))
    publisher.publish("/queue/a", "for ever")
    server.advance(1)
    server.expire()
    assert server.size_of("/queue/a") == 2
    assert bodies(server.drain("/queue/a")) == ["long", "for ever"]


@pytest.mark.parametrize("after_ms, is_there", [(999, True), (1000, False), (1001, False)])
@pytest.mark.parametrize("header", ["expires", "expiration"])
def test_a_message_lives_to_the_millisecond(
    server: Server, after_ms: int, is_there: bool, header: str
) -> None:
    time = in_ms(server, 1000) if header == "expires" else "1000"
    server.client().publish("/queue/a", "x", **{header: time})
    server.advance(after_ms / 1000)
    assert len(server.drain("/queue/a")) == is_there


def test_a_queue_whose_messages_have_expired_disappears(server: Server) -> None:
    server.client().publish("/queue/a", "x", expiration="1")
    server.advance(1)
    assert server.broker.statistics.queue_count == 1
    server.expire()
    assert server.broker.statistics.queue_count == 0
    assert server.broker.budget.used == 0


def test_nobody_need_look_for_expired_messages(server: Server) -> None:
    """They are not delivered although they are there still."""
    publisher = server.client()
    for text, life in [("a", "1000"), ("b", "9000"), ("c", "1000")]:
        publisher.publish("/queue/a", text, expiration=life)
    server.advance(2)
    client = listener(server, "/queue/a", ack="client-individual", prefetch_count="2")
    assert client.bodies() == ["b"]
    assert server.size_of("/queue/a") == 1


def test_a_message_may_expire_after_it_was_delivered(server: Server) -> None:
    client = listener(server, "/queue/a", ack="client-individual")
    server.client().publish("/queue/a", "x", expiration="1000")
    message = client.message()
    server.advance(5)
    server.expire()
    assert server.size_of("/queue/a") == 1
    client.ack(message)
    assert server.broker.statistics.queued_count == 0


def test_a_message_that_comes_back_too_late_is_gone(server: Server) -> None:
    client = listener(server, "/queue/a", ack="client-individual")
    server.client().publish("/queue/a", "x", expiration="1000")
    message = client.message()
    server.advance(5)
    client.nack(message)
    assert client.messages() == []
    assert server.broker.statistics.queued_count == 0


def test_messages_of_every_priority_expire(server: Server) -> None:
    publisher = server.client()
    for priority in "0459":
        publisher.publish("/queue/a", priority, priority=priority, expiration="1000")
        publisher.publish("/queue/a", f"{priority}!", priority=priority)
    server.advance(2)
    server.expire()
    assert bodies(server.drain("/queue/a")) == ["9!", "5!", "4!", "0!"]


def test_order_survives_expiry(server: Server) -> None:
    publisher = server.client()
    for number in range(200):
        publisher.publish("/queue/a", str(number), expiration="1000" if number % 3 else "9000")
    client = listener(server, "/queue/a", ack="client-individual", prefetch_count="100")
    assert client.bodies() == [str(number) for number in range(100)]
    server.advance(2)
    server.expire()
    client.stall()
    client.drop()
    expected = [str(number) for number in range(200) if not number % 3]
    assert bodies(server.drain("/queue/a")) == expected


@pytest.mark.parametrize("destination", ["/topic/a", "/queue/a", "/topic/x,/queue/a"])
@pytest.mark.parametrize("pattern", [True, False])
@pytest.mark.parametrize("headers", [{"expires": "1"}])
def test_what_has_expired_when_it_comes_reaches_nobody(
    server: Server, destination: str, pattern: bool, headers: dict[str, str]
) -> None:
    client = listener(server, "/topic/a", "/queue/a", "/topic/x", *(["#"] if pattern else []))
    frames = server.client().ask("SEND", destination=destination, receipt="r", **headers)
    assert [frame.command for frame in frames] == ["RECEIPT"]
    assert client.messages() == []


@pytest.mark.parametrize("expires", ["", "0", "x", "-1", "1.5", "1" * 19, "٣"])
def test_an_expiry_that_is_none_is_passed_on_and_means_never(server: Server, expires: str) -> None:
    client = listener(server, "/topic/a")
    server.client().publish("/topic/a", "x", expires=expires)
    assert client.message().headers["expires"] == expires


@pytest.mark.parametrize("zero", ["0", "000"])
@pytest.mark.parametrize("more", [{}, {"expires": "1"}, {"transaction": "t"}])
@pytest.mark.parametrize("destination", ["/queue/a", "/topic/x,/queue/a"])
def test_expiration_0_is_for_ever(
    server: Server, destination: str, more: dict[str, str], zero: str
) -> None:
    publisher = server.client()
    publisher.say("BEGIN", transaction="t")
    publisher.publish(destination, "x", expiration=zero, **more)
    publisher.say("COMMIT", transaction="t")
    server.advance(1e9)
    server.expire()
    [message] = server.drain("/queue/a")
    assert message.headers["expiration"] == zero
    assert message.headers.get("expires") == ("0" if "expires" in more else None)


def test_expiration_is_told_as_a_time_as_well(server: Server) -> None:
    client = listener(server, "/topic/a")
    server.client().publish("/topic/a", "x", expiration="1500")
    headers = client.message().headers
    assert (headers["expiration"], headers["expires"]) == ("1500", in_ms(server, 1500))


@pytest.mark.parametrize("expiration", ["", "x", "-1", "1.5", "1" * 16, "٣"])
@pytest.mark.parametrize("destination", ["/topic/a", "/queue/a"])
def test_an_expiration_that_is_no_number_is_refused(
    server: Server, expiration: str, destination: str
) -> None:
    client = listener(server, "/topic/a", "/queue/a")
    frames = server.client().ask("SEND", destination=destination, expiration=expiration)
    assert errors(frames) == ["expiration is not a number"]
    assert client.messages() == []


def test_a_repeated_header_block_expires_when_its_own_time_is_over(server: Server) -> None:
    """The server remembers header blocks; the time it came is not a part of them."""
    publisher = server.client()
    for _ in range(3):
        publisher.publish("/queue/a", "x", expiration="1000")
        server.advance(0.6)
    assert len(server.drain("/queue/a")) == 1


# ---------------------------------------------------------------- selectors


def test_a_topic_s_subscriber_gets_what_it_selects(server: Server) -> None:
    red = listener(server, "/topic/a", selector="color = 'red'")
    every = listener(server, "/topic/a")
    publisher = server.client()
    for color in ("red", "blue", "red"):
        publisher.publish("/topic/a", color, color=color)
    assert red.bodies() == ["red", "red"]
    assert every.bodies() == ["red", "blue", "red"]


def test_equal_ids_may_have_different_selectors(server: Server) -> None:
    clients = {color: server.client() for color in ("red", "blue", "green")}
    for color, client in clients.items():
        client.subscribe("/topic/a", "0", selector=f"color = '{color}'")
    publisher = server.client()
    publisher.publish("/topic/a", "x", color="red")
    publisher.publish("/topic/a", "y", color="blue")
    assert {color: client.bodies() for color, client in clients.items()} == {
        "red": ["x"],
        "blue": ["y"],
        "green": [],
    }


def test_a_pattern_s_subscriber_may_select(server: Server) -> None:
    client = listener(server, "/topic/*", selector="destination LIKE '%b'")
    publisher = server.client()
    publisher.publish("/topic/a")
    publisher.publish("/topic/b", "x")
    assert client.bodies() == ["x"]


def test_an_empty_selector_selects_everything(server: Server) -> None:
    client = listener(server, "/topic/a", selector="")
    server.client().publish("/topic/a", "x")
    assert client.bodies() == ["x"]


@pytest.mark.parametrize("destination", ["/topic/a", "/queue/a", "/temp-queue/a", "/topic/*"])
def test_a_selector_that_cannot_be_read_is_refused(server: Server, destination: str) -> None:
    frames = server.client().ask("SUBSCRIBE", id="0", destination=destination, selector="a = ")
    assert len(errors(frames)) == 1
    assert b"a = \n" in frames[0].body
    assert server.broker.statistics.subscription_count == 0


def test_a_selector_sees_the_headers_that_a_subscriber_sees(server: Server) -> None:
    seen = {
        "message-id": "'run-1'",
        "destination": "'/queue/a'",
        "reply-to": "'/queue/r'",
        "JMSPriority": "7",
    }
    text = " AND ".join(f"{name} = {value}" for name, value in seen.items())
    client = listener(server, "/queue/a", selector=f"{text} AND receipt IS NULL")
    server.client().publish("/queue/a", "x", priority="7", reply_to="/queue/r", receipt="r")
    assert client.bodies() == ["x"]


def test_a_queue_s_consumer_gets_what_it_selects(server: Server) -> None:
    red = listener(server, "/queue/a", selector="color = 'red'")
    blue = listener(server, "/queue/a", selector="color = 'blue'")
    publisher = server.client()
    for color in ("red", "green", "blue", "blue", "red"):
        publisher.publish("/queue/a", color, color=color)
    assert red.bodies() == ["red", "red"]
    assert blue.bodies() == ["blue", "blue"]
    assert server.size_of("/queue/a") == 1


def test_consumers_that_select_the_same_take_turns(server: Server) -> None:
    workers = [listener(server, "/queue/a", selector="color = 'red'") for _ in range(2)]
    picky = listener(server, "/queue/a", selector="color = 'blue'")
    publisher = server.client()
    for text in "abcd":
        publisher.publish("/queue/a", text, color="red")
    assert [worker.bodies() for worker in workers] == [["a", "c"], ["b", "d"]]
    assert picky.messages() == []


def test_what_nobody_selects_waits_for_who_does(server: Server) -> None:
    listener(server, "/queue/a", selector="color = 'red'")
    publisher = server.client()
    for text in "abc":
        publisher.publish("/queue/a", text)
    assert bodies(server.drain("/queue/a")) == ["a", "b", "c"]


def test_every_consumer_gets_its_messages_in_order(server: Server) -> None:
    publisher = server.client()
    for number in range(30):
        publisher.publish("/queue/a", str(number), third=str(number % 3))
    clients = [
        listener(server, "/queue/a", selector=f"third = {third}", ack="client", prefetch_count="2")
        for third in range(3)
    ]
    got: list[list[str]] = [[], [], []]
    for _ in range(10):
        for client, texts in zip(clients, got, strict=True):
            messages = client.messages()
            texts += bodies(messages)
            if messages:
                client.ack(messages[-1])
    assert got == [[str(n) for n in range(30) if n % 3 == third] for third in range(3)]


def test_a_consumer_looks_again_at_what_comes_back(server: Server) -> None:
    """It had looked further already, and must not miss it."""
    every = listener(server, "/queue/a", ack="client-individual", prefetch_count="1")
    publisher = server.client()
    for text, color in [("a", "red"), ("b", "blue"), ("c", "red"), ("d", "blue")]:
        publisher.publish("/queue/a", text, color=color)
    red = listener(server, "/queue/a", selector="color = 'red'")
    assert red.bodies() == ["c"]
    assert every.bodies() == ["a"]
    every.stall()
    every.drop()
    assert red.bodies() == ["a"]
    publisher.publish("/queue/a", "e", color="red")
    assert red.bodies() == ["e"]
    assert bodies(server.drain("/queue/a")) == ["b", "d"]


def test_a_consumer_does_not_look_twice_at_what_it_does_not_want(server: Server) -> None:
    publisher = server.client()
    for _ in range(100):
        publisher.publish("/queue/a", "x", color="blue")
    client = listener(server, "/queue/a", selector="color = 'red'")
    looked: list[str] = []

    def counted(message: Message) -> Any:
        looked.append(message.id)
        return selectable_headers(message)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rtchat.core.broker.selection.selectable_headers", counted)
        for _ in range(5):
            publisher.publish("/queue/a", "y", color="blue")
    assert len(looked) == 5
    assert client.messages() == []


def test_priority_counts_among_what_is_selected(server: Server) -> None:
    publisher = server.client()
    for text, color, priority in [
        ("a", "red", "1"),
        ("b", "blue", "9"),
        ("c", "red", "5"),
        ("d", "red", "1"),
        ("e", "red", "5"),
    ]:
        publisher.publish("/queue/a", text, color=color, priority=priority)
    client = listener(server, "/queue/a", selector="color = 'red'")
    assert client.bodies() == ["c", "e", "a", "d"]


def test_selectors_and_expiry_go_together(server: Server) -> None:
    publisher = server.client()
    for text, life in [("a", "1000"), ("b", "9000"), ("c", "1000"), ("d", "9000")]:
        publisher.publish("/queue/a", text, color="red", expiration=life)
        publisher.publish("/queue/a", text.upper(), color="blue", expiration=life)
    server.advance(2)
    client = listener(server, "/queue/a", selector="color = 'red'")
    assert client.bodies() == ["b", "d"]
    assert server.size_of("/queue/a") == 4
    server.expire()
    assert bodies(server.drain("/queue/a")) == ["B", "D"]


# ---------------------------------------------------------------- the broker's own doors


def test_publishing_raises_before_anybody_gets_anything() -> None:
    """Code that calls the broker directly gets the same treatment."""
    broker = Broker("run")
    with pytest.raises(ProtocolError, match="no such temporary queue"):
        publish(broker, "/queue/a,/temp-queue/x", Frame("SEND"))
    assert broker.statistics.queue_count == broker.publishing.message_count == 0
