"""Learning from live peers: what is found of programs whose needs are known, and what is made of it in a replay.

The programs of protocols.py are learned from in both seats, a dozen at a time: most of it is waiting.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import queue
import re
import secrets
import shutil
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import grpc
import grpc.aio
import pytest
from chat_app import chat_pb2
from chat_app.chat_pb2 import ChatMessage

import duplexmock
from duplexmock import learn_client, learn_server
from duplexmock.core.events import Side
from duplexmock.core.learned import Ground, Need, Needs
from duplexmock.core.session import Session
from duplexmock.core.status import Code
from duplexmock.errors import FixtureError, MismatchError, ScriptError
from duplexmock.learn.learning import Lesson
from duplexmock.learn.probes import probes_for
from duplexmock.learn.proposals import Proposals
from duplexmock.store.amend import amend
from duplexmock.store.fixture import Fixture
from duplexmock.store.header import Expectations
from tests.learn.peers import answering, hand_made, shouts
from tests.learn.protocols import PROTOCOLS, Protocol, recorded, serving
from tests.net.chats import channel
from tests.net.ends import ANSWER, BARE, REQUEST, client, request, server, written
from tests.net.wires import LIMIT_S, listening
from tests.playbook import CANCEL, HALF_CLOSE, METHOD, OK, ask, fails, reply
from tests.playbook import recorded as session

SEEDS = (1, 2, 3) if os.environ.get("DUPLEXMOCK_SOAK") else (1,)

HOLD_S = 0.25
"""What reacts at once may come as late where the machine is busy, and takes a program away for tens of milliseconds."""

SHORT_HOLD_S = 0.15
"""Where there is a third probe, which holds five times as long, or the order is not what is looked at."""

AT_A_TIME = 12

TIMELESS = [protocol for protocol in PROTOCOLS if not protocol.has_timers]
TIMED = [protocol for protocol in PROTOCOLS if protocol.has_timers]


class Learned(NamedTuple):
    """A fixture, and the lesson that it holds."""

    path: Path
    lesson: Lesson


Lessons = Mapping[tuple[Protocol, Side, int], Learned]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.duplex"


@pytest.fixture(scope="module")
def lessons(tmp_path_factory: pytest.TempPathFactory) -> Lessons:
    """What is learned of every protocol, in both seats, by seed."""
    folder = tmp_path_factory.mktemp("lessons")

    async def every() -> Lessons:
        cases = [(protocol, side, seed) for protocol in PROTOCOLS for side in Side for seed in SEEDS]
        places = asyncio.Semaphore(AT_A_TIME)
        with ThreadPoolExecutor(AT_A_TIME) as threads:

            async def learned(protocol: Protocol, side: Side, seed: int) -> Learned:
                path = folder / f"{protocol} {seed} {side.name}.duplex"
                shutil.copy(folder / f"{protocol} {seed}.duplex", path)
                async with places:
                    return Learned(path, await _lesson(protocol, side, seed, path, threads))

            for protocol in PROTOCOLS:
                for seed in SEEDS:
                    await recorded(protocol, folder / f"{protocol} {seed}.duplex", seed)
            cases.sort(key=lambda case: case[0].name != "room")  # what takes longest begins first
            return dict(zip(cases, await asyncio.gather(*(learned(*case) for case in cases)), strict=True))

    return asyncio.run(every())


async def _lesson(protocol: Protocol, side: Side, seed: int, path: Path, threads: ThreadPoolExecutor) -> Lesson:
    loop = asyncio.get_running_loop()
    hold_s = SHORT_HOLD_S if protocol.name == "room" else HOLD_S

    def run_client(target: str) -> None:
        calls = protocol.run_client(target, Random(f"client again {seed}"))
        asyncio.run_coroutine_threadsafe(calls, loop).result(LIMIT_S)

    if side is Side.CLIENT:
        return await loop.run_in_executor(threads, partial(learn_client, path, run_client, hold_s=hold_s))
    async with serving(protocol, seed + 100) as target:
        return await loop.run_in_executor(threads, partial(learn_server, path, target, hold_s=hold_s))


def truth(protocol: Protocol, lesson: Lesson) -> list[tuple[int, ...]]:
    needs = protocol.client_needs if lesson.side is Side.CLIENT else protocol.server_needs
    return [needs(each) for each in lesson.recorded]


def demanded(lesson: Lesson) -> list[tuple[int, ...]]:
    return [needs.demand for needs in lesson.needs]


# What programs need is known, and found


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("side", Side, ids=lambda side: side.name.lower())
@pytest.mark.parametrize("protocol", TIMELESS, ids=str)
def test_what_is_needed_is_found_edge_by_edge(lessons: Lessons, protocol: Protocol, side: Side, seed: int) -> None:
    lesson = lessons[protocol, side, seed].lesson
    assert demanded(lesson) == truth(protocol, lesson), [list(map(str, needs.lane)) for needs in lesson.needs]
    assert [needs.gate for needs in lesson.needs] == truth(protocol, lesson)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("side", Side, ids=lambda side: side.name.lower())
@pytest.mark.parametrize("protocol", TIMED, ids=str)
def test_no_edge_is_lost_where_a_side_speaks_by_a_clock(
    lessons: Lessons, protocol: Protocol, side: Side, seed: int
) -> None:
    lesson = lessons[protocol, side, seed].lesson
    for demand, needed in zip(demanded(lesson), truth(protocol, lesson), strict=True):
        assert [at for at, (ours, true) in enumerate(zip(demand, needed, strict=True)) if ours < true] == []


def test_what_is_asserted_is_true(lessons: Lessons) -> None:
    asserted = true = 0
    for (protocol, side, _), (_, lesson) in lessons.items():
        for demand, needed in zip(demanded(lesson), truth(protocol, lesson), strict=True):
            before = 1 if side is Side.SERVER else 0
            for ours, really in zip(demand, needed, strict=True):
                asserted += ours > before
                true += ours > before and really >= ours
                before = ours
    assert asserted > 50 * len(SEEDS)
    assert true / asserted >= 0.99


@pytest.mark.parametrize("side", Side, ids=lambda side: side.name.lower())
def test_what_was_learned_is_in_the_fixture(lessons: Lessons, side: Side) -> None:
    for (_, learned_side, _), (path, lesson) in lessons.items():
        if learned_side is side:
            with Fixture.open(path) as fixture:
                assert tuple(fixture.sessions()) == lesson.recorded
                assert fixture.needs == {(needs.number, side): needs for needs in lesson.needs}
                assert fixture.expectations == Expectations()


def test_programs_that_say_the_same_each_time_have_nothing_that_changes(lessons: Lessons) -> None:
    found = {f"{case[0]} {case[1].name}": each.lesson.proposals for case, each in lessons.items()}
    assert found == dict.fromkeys(found, Proposals())


def test_calls_that_overlapped_are_probed_once_more(lessons: Lessons) -> None:
    """In each order that they can take; others twice, and once more where the machine was slow."""
    assert {each.lesson.probes for case, each in lessons.items() if case[0].name == "room"} == {3}
    assert {each.lesson.probes for each in lessons.values()} <= {2, 3}
    assert [probes_for(each.lesson.recorded) for each in lessons.values()] == [
        3 if case[0].name == "room" else 2 for case in lessons
    ]


# A replay of what was learned


@pytest.fixture
def both(lessons: Lessons, tmp_path: Path) -> Callable[[str], Path]:
    """`both(name)` is a fixture of a protocol of which both sides were learned."""

    def learned(name: str) -> Path:
        (protocol,) = (each for each in PROTOCOLS if each.name == name)
        path = tmp_path / f"{name.replace(' ', '_')}.duplex"
        shutil.copy(lessons[protocol, Side.SERVER, 1].path, path)
        amend(path, lessons[protocol, Side.CLIENT, 1].lesson.needs)
        return path

    return learned


CALL = "/learn.Protocol/Call"


async def in_rounds(call: Any, size: int, pause_s: float = 0) -> list[bytes]:
    """Say four messages, so many at a time, and read as many replies before the next ones; return what was heard."""
    heard = []
    for first in range(1, 5, size):
        for n in range(first, first + size):
            await asyncio.sleep(pause_s)
            await call.write(b"message %d" % n)
        heard += [await call.read() for _ in range(size)]
    await asyncio.sleep(pause_s)
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    return heard


@pytest.mark.parametrize(
    "client_of_its_own_pace",
    [
        pytest.param(partial(in_rounds, size=4), id="fast"),
        pytest.param(partial(in_rounds, size=4, pause_s=0.02), id="slow"),
        pytest.param(partial(in_rounds, size=2), id="batching"),
        pytest.param(partial(in_rounds, size=1), id="ping-pong"),
    ],
)
def test_clients_of_every_pace_agree_with_a_learned_echo(
    both: Callable[[str], Path], client_of_its_own_pace: Callable[[Any], Awaitable[list[bytes]]]
) -> None:
    path = both("echo")

    async def main() -> list[bytes]:
        async with duplexmock.replay(path, expect="order") as mock:
            async with grpc.aio.insecure_channel(mock.target) as dialled:
                return await client_of_its_own_pace(dialled.stream_stream(CALL)())

    assert asyncio.run(main()) == [b"echo message %d" % n for n in range(1, 5)]


def test_without_it_the_mock_waits_as_the_recording_did(path: Path) -> None:
    """The recorded server was slow, and answered when all had been said: a ping-pong client never gets that far."""
    sentence = (
        "Nothing came from the client within 300 ms, and its second message was expected: the client waits for "
        "ServerHeader; that needs ClientHalfClose (seen, not learned); nothing is on its way."
    )
    written(path, session(*enumerate((REQUEST, ask("a"), ask("b"), HALF_CLOSE, ANSWER, reply("A"), reply("B"), OK))))
    with pytest.raises(MismatchError) as caught, duplexmock.replay(path, timeout_s=0.3) as mock:
        assert pings(mock.target) == ([], grpc.StatusCode.FAILED_PRECONDITION, sentence)
    assert sentence in str(caught.value).splitlines()
    with answering(shouts) as target:
        learn_server(path, target, hold_s=HOLD_S)
    with duplexmock.replay(path) as mock:
        assert pings(mock.target) == ([b"A", b"B"], grpc.StatusCode.OK, "")


def pings(target: str) -> tuple[list[bytes], grpc.StatusCode, str]:
    """Say the second of two messages when the first is answered."""
    turns = threading.Semaphore(1)

    def messages() -> Iterator[bytes]:
        for message in (b"a", b"b"):
            turns.acquire()
            yield message

    came = []
    with channel(target) as dialled:
        call = dialled.stream_stream(METHOD)(messages(), timeout=LIMIT_S)
        try:
            for message in call:
                came.append(message)
                turns.release()
        except grpc.RpcError:
            turns.release()
        return came, call.code(), call.details()


def shown(error: MismatchError, path: Path) -> list[str]:
    """The lines of a mismatch, without what differs each time: its file, its times, and the metadata."""
    text = str(error).replace(str(path), "FILE")
    text = re.sub(r"(?m)^ +(! )?[0-9.]+ ms", lambda found: f"{found[1] or '  '}TIME", text)
    return re.sub(r"(?m)^(. TIME  .  (Client|Server)Header).*", r"\1", text).splitlines()


@pytest.fixture
def held(lessons: Lessons) -> Callable[[Side], str]:
    """`held(side)` says how it is known what a side of the ping-pong needs: `held in 2 of 2 probes`."""
    (protocol,) = (each for each in PROTOCOLS if each.name == "ping-pong")
    return lambda side: "held in {0} of {0} probes".format(lessons[protocol, side, 1].lesson.probes)


def test_a_client_that_breaks_a_needed_edge_is_told_which(
    both: Callable[[str], Path], held: Callable[[Side], str]
) -> None:
    path = both("ping-pong")
    heard = []

    def hasty(target: str) -> None:
        with client(target) as end:
            heard.extend(end.hear(end.open(request(method=CALL), ask("ping 1"), ask("ping 2")), 1))

    with pytest.raises(MismatchError) as caught, duplexmock.replay(path) as mock:
        hasty(mock.target)
    sentence = f"ClientMessage #2 came before ServerMessage #1, and has to come after it ({held(Side.CLIENT)})."
    assert heard == [replace(fails(Code.FAILED_PRECONDITION, sentence), metadata=ANSWER.metadata, http_status=200)]
    assert shown(caught.value, path) == [
        "FILE   session 1   /learn.Protocol/Call   the mock played the server",
        "  TIME  >  ClientHeader",
        "  TIME  >  ClientMessage #1  'ping 1'",
        "! TIME  >  ClientMessage #2  'ping 2'  too early",
        "             –    <  ServerHeader  not reached",
        "             –    <  ServerMessage #1  not reached",
        f"             –    <  ServerMessage #2  not reached: waited for ClientMessage #2 ({held(Side.SERVER)})",
        sentence,
        "",
        "1 session: 0 agreed, 1 did not",
    ]


def test_a_server_that_breaks_a_needed_edge_is_told_which(
    both: Callable[[str], Path], held: Callable[[Side], str]
) -> None:
    path = both("ping-pong")

    def hasty(listener: socket.socket) -> None:
        end = server(listener)
        stream_id = end.accept()
        end.hear(stream_id, 2)
        end.say(stream_id, ANSWER, reply("echo ping 1"), reply("echo ping 2"))
        end.to_the_end()

    with hand_made(hasty) as target, pytest.raises(MismatchError) as caught:
        duplexmock.replay_client(path, target).check()
    assert shown(caught.value, path) == [
        "FILE   session 1   /learn.Protocol/Call   the replay played the client",
        "  TIME  >  ClientHeader",
        "  TIME  >  ClientMessage #1  'ping 1'",
        "  TIME  <  ServerHeader",
        "  TIME  <  ServerMessage #1  'echo ping 1'",
        "! TIME  <  ServerMessage #2  'echo ping 2'  too early",
        "             –    >  ClientMessage #2  not reached",
        f"             –    >  ClientMessage #3  not reached: waited for ServerMessage #2 ({held(Side.CLIENT)})",
        f"             –    >  ClientMessage #4  not reached: waited for ServerMessage #3 ({held(Side.CLIENT)})",
        f"ServerMessage #2 came before ClientMessage #2, and has to come after it ({held(Side.SERVER)}).",
        "",
        "1 session: 0 agreed, 1 did not",
    ]


# Calls that are not what they were taken for


def test_calls_that_come_in_another_order_find_their_sessions(path: Path) -> None:
    """The first call is taken for session 1 until its message comes; then nothing may wait for it there."""

    def call(number: int, text: str) -> Session:
        events = (REQUEST, ask(text), ANSWER, reply(text.upper()), HALF_CLOSE, OK)
        return session(*((number / 10 + ms, event) for ms, event in enumerate(events)), number=number)

    def calls(target: str) -> None:
        with channel(target) as dialled, ThreadPoolExecutor() as threads:
            say = [partial(list, dialled.stream_stream(METHOD)(iter([text]), timeout=LIMIT_S)) for text in (b"b", b"a")]
            assert list(threads.map(lambda each: each(), say)) == [[b"B"], [b"A"]]

    written(path, call(1, "a"), call(2, "b"))
    lesson = learn_client(path, calls, hold_s=SHORT_HOLD_S)
    assert demanded(lesson) == [(0, 0, 0), (0, 0, 0)]
    assert lesson.probes == 3


# What changes from play to play


class Shop(NamedTuple):
    """A program: how it serves a call, how its client makes one, and what of both changes each time."""

    serve: Callable[[Any, Any], Any]
    call: Callable[[str], list[Any]]
    changes: tuple[str, ...]
    descriptors: Any = None


def said_by(sender: str, message: str, timestamp: int = 0) -> bytes:
    written: bytes = ChatMessage(sender=sender, message=message, timestamp=timestamp).SerializeToString()
    return written


def calls(target: str, messages: Sequence[bytes], metadata: Sequence[tuple[str, str]] = ()) -> list[bytes]:
    with channel(target) as dialled:
        return list(dialled.stream_stream(METHOD)(iter(messages), metadata=metadata, timeout=LIMIT_S))


async def receipts(_: Any, context: Any) -> None:
    """Answer each order with a receipt: its number is new each time."""
    while (order := await context.read()) is not grpc.aio.EOF:
        await context.write(said_by(secrets.token_hex(8), f"receipt for {len(order)} bytes"))


def orders(target: str) -> list[bytes]:
    """Two orders of a customer whose id is new each time."""
    customer = secrets.token_hex(8)
    return calls(target, [said_by(customer, "two apples"), said_by(customer, "a pear")])


async def stamps(_: Any, context: Any) -> None:
    while (message := await context.read()) is not grpc.aio.EOF:
        heard = ChatMessage.FromString(message)
        await context.write(said_by("Server", f"ack: {heard.message}", now()))


def stamped(target: str) -> list[bytes]:
    return calls(target, [said_by("Client", text, now()) for text in ("one", "two")])


def now() -> int:
    """Return a time of day, and never the same."""
    return 1_700_000_000_000_000 + secrets.randbits(48)


async def traces(_: Any, context: Any) -> None:
    await context.send_initial_metadata((("x-served-by", secrets.token_hex(4)), ("x-region", "eu")))
    await shouts(_, context)
    context.set_trailing_metadata((("x-took-ns", str(secrets.randbits(30))),))


def traced(target: str) -> list[bytes]:
    return calls(target, [b"a"], (("x-request-id", secrets.token_hex(16)), ("x-tenant", "acme")))


SHOPS = {
    "ids and nonces": Shop(receipts, orders, (f"{METHOD}<1", f"{METHOD}>1")),
    "timestamps": Shop(stamps, stamped, (f"{METHOD}<timestamp", f"{METHOD}>timestamp"), chat_pb2),
    "metadata": Shop(traces, traced, ("metadata:x-request-id", "metadata:x-served-by", "metadata:x-took-ns")),
}


@pytest.mark.parametrize("shop", SHOPS.values(), ids=SHOPS)
def test_what_changes_is_found_kept_and_not_compared(path: Path, shop: Shop) -> None:
    with answering(shop.serve) as target:
        with duplexmock.record(target, out=path, descriptors=shop.descriptors) as proxy:
            shop.call(proxy.target)
        with pytest.raises(MismatchError):
            duplexmock.replay_client(path, target).check()
        found = [
            learn_server(path, target, hold_s=SHORT_HOLD_S, write=True).proposals,
            learn_client(path, shop.call, hold_s=SHORT_HOLD_S, write=True).proposals,
        ]
        with Fixture.open(path) as fixture:
            expectations = fixture.expectations
        duplexmock.replay_client(path, target).check()
    with duplexmock.replay(path) as mock:
        shop.call(mock.target)
    assert tuple(sorted(path for each in found for path in each.ignore)) == shop.changes
    assert [each.bind for each in found] == [(), ()]
    assert expectations == Expectations((*found[0].ignore, *found[1].ignore))


def test_what_changes_is_not_kept_unasked_and_kept_once(path: Path) -> None:
    written(path, ONE_ECHO, header=replace(BARE, expectations=Expectations((f"{METHOD}>9",), (), "lanes")))

    def new_each_time(target: str) -> list[bytes]:
        return calls(target, [b"a"], [("x-request-id", secrets.token_hex(16))])

    changes = ("metadata:x-request-id",)
    for write, kept in ((False, ()), (True, changes), (True, changes)):
        assert learn_client(path, new_each_time, hold_s=SHORT_HOLD_S, write=write).proposals == Proposals(changes)
        with Fixture.open(path) as fixture:
            assert fixture.expectations == Expectations((f"{METHOD}>9", *kept), (), "lanes")


async def repeats(_: Any, context: Any) -> None:
    """Answer each message under the name of its sender."""
    while (message := await context.read()) is not grpc.aio.EOF:
        await context.write(said_by(ChatMessage.FromString(message).sender, "heard"))


def insists(target: str, name_bytes: int = 8) -> None:
    """Say two messages under a name that is new each time, the second when the first is answered to that name."""
    name = secrets.token_hex(name_bytes)
    answers: queue.SimpleQueue[str] = queue.SimpleQueue()

    def messages() -> Iterator[bytes]:
        yield said_by(name, "one")
        if answers.get() == name:
            yield said_by(name, "two")

    with channel(target) as dialled:
        for answer in dialled.stream_stream(METHOD)(messages(), timeout=LIMIT_S):
            answers.put(ChatMessage.FromString(answer).sender)


@pytest.mark.parametrize("is_given", [False, True])
def test_a_client_that_takes_only_its_own_answers_is_learned_from(path: Path, is_given: bool) -> None:
    bind = ((f"{METHOD}>1", f"{METHOD}<1"),)
    with answering(repeats) as target, duplexmock.record(target, out=path) as proxy:
        insists(proxy.target)
    lesson = learn_client(path, insists, hold_s=HOLD_S, bind=bind if is_given else (), write=True)
    assert (demanded(lesson), lesson.proposals) == ([(0, 0, 2, 2)], Proposals((), bind))
    with duplexmock.replay(path) as mock:
        insists(mock.target)


def test_a_name_too_short_to_prove_anything_is_bound_by_hand(path: Path) -> None:
    """Two letters come back by chance: the client is answered to the recorded name, and goes no further."""
    bind = ((f"{METHOD}>1", f"{METHOD}<1"),)
    short = partial(insists, name_bytes=1)
    with answering(repeats) as target, duplexmock.record(target, out=path) as proxy:
        short(proxy.target)
    with refused(path) as told:
        learn_client(path, partial(insists, name_bytes=2), hold_s=SHORT_HOLD_S)
    assert told == [
        f"session 1 ({METHOD}): the client sent 1 message and a half-close in every probe, and 2 messages and a "
        f"half-close in the recording; {NOTHING}"
    ]
    lesson = learn_client(path, partial(insists, name_bytes=2), hold_s=HOLD_S, bind=bind)
    assert lesson.proposals == Proposals((), bind)


# Peers from which nothing, or not all, can be learned

ONE_ECHO = session(*enumerate((REQUEST, ask("a"), ANSWER, reply("A"), HALF_CLOSE, OK)))
NOTHING = "nothing was learned, and the fixture is as it was"


@contextmanager
def refused(path: Path, kind: type[Exception] = MismatchError) -> Iterator[list[str]]:
    """Expect to be told that nothing was learned; yields a list that has, behind the block, what was said."""
    before = path.read_bytes()
    told: list[str] = []
    with pytest.raises(kind) as caught:
        yield told
    told.append(str(caught.value))
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


GIVES_UP = session(
    *enumerate((REQUEST, ANSWER, reply("hello"), ask("a"), reply("A"), ask("b"), reply("B"), HALF_CLOSE, OK))
)


@pytest.mark.parametrize("code", [grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED])
def test_what_a_server_gives_up_over_is_unknown_and_the_rest_is_learned(path: Path, code: grpc.StatusCode) -> None:
    async def impatient(_: Any, context: Any) -> None:
        """Wait as long as it takes for the first message, and hardly for the second."""
        await context.write(b"hello")
        await context.write((await context.read()).upper())
        reading = asyncio.ensure_future(context.read())
        if not (await asyncio.wait((reading,), timeout=HOLD_S / 10))[0]:
            await context.abort(code, "it takes too long")
        await context.write(reading.result().upper())
        await context.read()

    written(path, GIVES_UP)
    with answering(impatient) as target:
        lesson = learn_server(path, target, hold_s=HOLD_S)
    reason = f"in a probe the server gave up, with {code.name}"
    assert lesson.needs == (
        Needs(
            1,
            Side.SERVER,
            (
                Need(1, Ground.STRUCTURAL),
                Need(1, Ground.STRUCTURAL),
                Need(2, Ground.HELD, 2),
                Need(3, Ground.UNKNOWN, 2, reason),
                Need(4, Ground.UNKNOWN, 2, reason),
            ),
        ),
    )
    with Fixture.open(path) as fixture:
        assert fixture.learned(GIVES_UP) == {Side.SERVER: lesson.needs[0]}


def test_what_is_unknown_now_and_was_known_before_stays_known(path: Path) -> None:
    async def tires(_: Any, context: Any) -> None:
        await context.read()
        await context.abort(grpc.StatusCode.CANCELLED, "it takes too long")

    written(path, ONE_ECHO)
    with answering(shouts) as target:
        known = learn_server(path, target, hold_s=HOLD_S).needs
    with answering(tires) as target:
        unknown = learn_server(path, target, hold_s=SHORT_HOLD_S).needs
    assert [[need.ground for need in each.lane] for each in (*known, *unknown)] == [
        [Ground.HELD, Ground.STRUCTURAL, Ground.HELD],
        [Ground.UNKNOWN, Ground.UNKNOWN, Ground.UNKNOWN],
    ]
    with Fixture.open(path) as fixture:
        assert fixture.learned(ONE_ECHO) == {Side.SERVER: known[0]}


def test_one_more_probe_is_made_where_something_came_late_unless_the_runs_are_given(path: Path) -> None:
    slow = iter((True, False, False, True, False))

    async def wakes_up(request: Any, context: Any) -> None:
        await asyncio.sleep(2.5 * SHORT_HOLD_S if next(slow) else 0)
        await shouts(request, context)

    written(path, ONE_ECHO)
    with answering(wakes_up) as target:
        asked, given = (learn_server(path, target, hold_s=SHORT_HOLD_S, runs=runs) for runs in (None, 2))
    late = "it came later than the probes held, by a clock or slowly"
    assert (asked.probes, asked.needs[0].lane[0]) == (3, Need(2, Ground.HELD, 3))
    assert (given.probes, given.needs[0].lane[0]) == (2, Need(2, Ground.UNKNOWN, 2, late))


def test_what_a_client_gives_up_over_is_unknown_and_what_it_raises_then_is_not_raised(path: Path) -> None:
    """It needs the reply before its second message, and cancels the call when it has to wait for it."""

    def impatient(target: str) -> None:
        with client(target) as end:
            stream_id = end.open(REQUEST, ask("a"))
            end.sock.settimeout(HOLD_S / 10)
            try:
                end.hear(stream_id, 2)
            except TimeoutError:
                end.sock.settimeout(LIMIT_S)
                end.say(stream_id, CANCEL)
                end.sock.shutdown(socket.SHUT_WR)
                end.to_the_end()
                raise

    written(path, session(*enumerate((REQUEST, ask("a"), ANSWER, reply("A"), ask("b"), reply("B"), HALF_CLOSE, OK))))
    lesson = learn_client(path, impatient, hold_s=HOLD_S)
    reason = "in a probe the client gave up, with a cancel"
    assert lesson.needs == (
        Needs(
            1,
            Side.CLIENT,
            (
                Need(0, Ground.STRUCTURAL),
                Need(0, Ground.STRUCTURAL),
                Need(2, Ground.UNKNOWN, 2, reason),
                Need(3, Ground.UNKNOWN, 2, reason),
            ),
        ),
    )


def test_what_a_client_raises_when_it_has_done_all_is_not_raised(path: Path) -> None:
    def complains(target: str) -> None:
        with channel(target) as dialled:
            call = dialled.stream_stream(METHOD)(iter([b"a"]), timeout=LIMIT_S)
            list(call)
        raise AssertionError(f"it ended with {call.code()}")

    written(path, ONE_ECHO)
    assert demanded(learn_client(path, complains, hold_s=SHORT_HOLD_S)) == [(0, 0, 0)]


@pytest.mark.parametrize("does_something", [False, True])
def test_what_a_client_raises_before_it_has_done_all_is_raised(path: Path, does_something: bool) -> None:
    def breaks(target: str) -> None:
        if does_something:
            with client(target) as end:
                end.open(REQUEST)
        raise LookupError("a bug of the client's")

    written(path, ONE_ECHO)
    with refused(path, LookupError) as told:
        learn_client(path, breaks, hold_s=SHORT_HOLD_S)
    assert told == ["a bug of the client's"]


def test_a_server_that_dies_is_told(path: Path) -> None:
    def dies(listener: socket.socket) -> None:
        end = server(listener)
        end.accept()
        end.sock.close()

    written(path, ONE_ECHO)
    with hand_made(dies) as target, refused(path) as told:
        learn_server(path, target, hold_s=HOLD_S)
    assert told == [f"probe 1: the server was lost in session 1 ({METHOD}) (closed); {NOTHING}"]


def test_a_server_that_breaks_the_protocol_is_told(path: Path) -> None:
    def babbles(listener: socket.socket) -> None:
        end = server(listener)
        end.accept()
        end.sock.sendall(b"\xff" * 100)
        end.to_the_end()

    written(path, ONE_ECHO)
    with hand_made(babbles) as target, refused(path) as told:
        learn_server(path, target, hold_s=HOLD_S)
    reason = "a frame of 16777215 bytes, more than 16384"
    assert told == [f"probe 1: the server broke the protocol in session 1 ({METHOD}) ({reason}); {NOTHING}"]


def test_a_client_that_dies_is_told(path: Path) -> None:
    def dies(target: str) -> None:
        with client(target) as end:
            end.open(REQUEST)
            end.until(lambda: len(end.happened) > 1)  # or what is unread makes a reset of the close

    written(path, ONE_ECHO)
    with refused(path) as told:
        learn_client(path, dies, hold_s=HOLD_S)
    assert told == [f"probe 1: the client was lost in session 1 ({METHOD}) (closed); {NOTHING}"]


def test_a_client_that_does_not_open_a_call_is_told(path: Path) -> None:
    written(path, ONE_ECHO, session(*((50 + ms, event) for ms, event in enumerate(OTHER_CALL)), number=2))
    with refused(path) as told:
        learn_client(path, lambda target: calls(target, [b"a"]), hold_s=SHORT_HOLD_S)
    assert told == [f"probe 1: the client did not open session 2 (/other.Service/Call); {NOTHING}"]


OTHER_CALL = (request(method="/other.Service/Call"), HALF_CLOSE, ANSWER, OK)


@pytest.mark.parametrize(
    ("method", "sentence"),
    [
        (METHOD, f"probe 1: the client opened more calls of {METHOD} than were recorded; {NOTHING}"),
        (
            "/other.Service/Call",
            f"probe 1: the client opened a call of /other.Service/Call, which was not recorded; {NOTHING}",
        ),
    ],
    ids=["one more", "another method"],
)
def test_a_client_that_opens_a_call_that_was_not_recorded_is_told(path: Path, method: str, sentence: str) -> None:
    def opens_two(target: str) -> None:
        calls(target, [b"a"])
        with channel(target) as dialled, pytest.raises(grpc.RpcError):
            list(dialled.stream_stream(method)(iter([b"a"]), timeout=LIMIT_S))

    written(path, ONE_ECHO)
    with refused(path) as told:
        learn_client(path, opens_two, hold_s=SHORT_HOLD_S)
    assert told == [sentence]


def test_probes_that_disagree_are_told(path: Path) -> None:
    served = itertools.count(1)

    async def wears_out(_: Any, context: Any) -> None:
        if next(served) > 1:
            await context.abort(grpc.StatusCode.INTERNAL, "once is enough")
        await shouts(_, context)

    written(path, ONE_ECHO)
    with answering(wears_out) as target, refused(path) as told:
        learn_server(path, target, hold_s=SHORT_HOLD_S)
    assert told == [
        f"the probes disagree on session 1 ({METHOD}): in probe 1 the server sent 1 message and OK, in probe 2 "
        f"0 messages and INTERNAL; {NOTHING}"
    ]


def test_a_server_that_never_ends_as_recorded_is_told(path: Path) -> None:
    async def refuses(_: Any, context: Any) -> None:
        await context.abort(grpc.StatusCode.INTERNAL, "not today")

    written(path, ONE_ECHO)
    with answering(refuses) as target, refused(path) as told:
        learn_server(path, target, hold_s=SHORT_HOLD_S)
    assert told == [
        f"session 1 ({METHOD}): the server sent 0 messages and INTERNAL in every probe, and 1 message and OK in the "
        f"recording; {NOTHING}"
    ]


def test_a_server_that_is_gone_before_the_second_probe_is_told(path: Path) -> None:
    def once(listener: socket.socket) -> None:
        end = server(listener)
        listener.close()
        stream_id = end.accept()
        end.hear(stream_id, 3)
        end.say(stream_id, ANSWER, reply("A"), OK)
        end.to_the_end()

    written(path, ONE_ECHO)
    with hand_made(once) as target, refused(path, ScriptError) as told:
        learn_server(path, target, hold_s=SHORT_HOLD_S)
    assert told == [f"{target} cannot be reached: Connection refused"]


# What cannot be done


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"hold_s": 0}, "hold 0: not a number of seconds more than 0 and less than 1,000,000"),
        ({"hold_s": -0.5}, "hold -0.5: not a number of seconds more than 0 and less than 1,000,000"),
        ({"hold_s": float("inf")}, "hold inf: not a number of seconds more than 0 and less than 1,000,000"),
        ({"hold_s": float("nan")}, "hold nan: not a number of seconds more than 0 and less than 1,000,000"),
        ({"hold_s": 1e6}, "hold 1e+06: not a number of seconds more than 0 and less than 1,000,000"),
        ({"runs": 1}, "runs 1: at least 2; one probe cannot tell a reaction from a clock"),
        ({"timeout_s": 0}, "timeout 0: not more than 0 seconds"),
        ({"sessions": [2]}, "{path}: there is no session 2; the fixture holds session 1 alone"),
        ({"methods": ["*/None"]}, "{path}: no sessions to learn from"),
        ({"descriptors": "none.pb"}, "'none.pb': the descriptor set cannot be read: No such file or directory"),
    ],
)
@pytest.mark.parametrize("side", Side, ids=lambda side: side.name.lower())
def test_arguments_that_make_no_sense_are_refused(
    path: Path, arguments: dict[str, Any], sentence: str, side: Side
) -> None:
    """Before anything is said to anybody: nobody is at the target, and the client is not run."""
    written(path, ONE_ECHO)
    learn = partial(learn_server, target="127.0.0.1:1") if side is Side.SERVER else partial(learn_client, client=print)
    with refused(path, ScriptError) as told:
        learn(path, **arguments)
    assert told == [sentence.format(path=path)]


def test_addresses_that_are_none_are_refused(path: Path) -> None:
    written(path, ONE_ECHO)
    with refused(path, ScriptError) as told:
        learn_server(path, "nowhere")
    assert told == ["target 'nowhere': not HOST:PORT or unix:/path"]
    with refused(path, ScriptError) as told:
        learn_client(path, print, listen="nowhere")
    assert told == ["listen 'nowhere': not HOST:PORT or unix:/path"]


def test_nobody_at_the_target_is_told(path: Path) -> None:
    written(path, ONE_ECHO)
    with listening() as (listener, target):
        listener.close()
        with refused(path, ScriptError) as told:
            learn_server(path, target, hold_s=SHORT_HOLD_S)
    assert told == [f"{target} cannot be reached: Connection refused"]


def test_a_value_that_was_redacted_is_asked_for(path: Path) -> None:
    secret = request(("authorization", "redacted:" + "0" * 16))
    written(path, session(*enumerate((secret, ask("a"), ANSWER, reply("A"), HALF_CLOSE, OK))))
    with answering(shouts) as target:
        with refused(path, ScriptError) as told:
            learn_server(path, target, hold_s=SHORT_HOLD_S)
        assert told == [
            f"{path}: session 1: the value of 'authorization' was redacted; give one: --metadata authorization=VALUE"
        ]
        learn_server(path, target, hold_s=SHORT_HOLD_S, metadata={"Authorization": "Bearer x"})
    with Fixture.open(path) as fixture:
        assert list(fixture.needs) == [(1, Side.SERVER)]


def test_a_recording_that_is_not_whole_is_refused(path: Path) -> None:
    written(path, ONE_ECHO)
    path.write_bytes(path.read_bytes()[:-5])
    with Fixture.open(path) as fixture:
        why = fixture.why_incomplete
    assert why == "the file ends inside entry 3"
    for learn in (partial(learn_server, target="127.0.0.1:1"), partial(learn_client, client=print)):
        with refused(path, FixtureError) as told:
            learn(path)
        assert told == [f"{path}: {why}; only a whole recording can be learned from"]


def test_a_file_that_is_no_fixture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FixtureError) as caught:
        learn_client(tmp_path / "x.duplex", print)
    assert str(caught.value) == f"{tmp_path}/x.duplex: No such file or directory"


def test_it_may_not_be_called_where_a_loop_runs(path: Path) -> None:
    written(path, ONE_ECHO)

    async def main(learn: Callable[[], object]) -> None:
        learn()

    for name, learn in (
        ("learn_server", partial(learn_server, path, "127.0.0.1:1")),
        ("learn_client", partial(learn_client, path, print)),
    ):
        with refused(path, ScriptError) as told:
            asyncio.run(main(learn))
        assert told == [
            f"{name} would block the event loop that runs here, and a server on it could never answer; "
            f"there, await asyncio.to_thread({name}, ...)"
        ]


# Which sessions


def test_only_what_is_chosen_is_learned(path: Path) -> None:
    second = session(*((50 + ms, event) for ms, event in enumerate(OTHER_CALL)), number=2)
    written(path, ONE_ECHO, second)
    with answering(shouts) as target:
        for chosen in ({"sessions": [1]}, {"methods": ["*/Chat"]}):
            lesson = learn_server(path, target, hold_s=SHORT_HOLD_S, **chosen)
            assert [each.number for each in lesson.needs] == [1]
            assert [each.number for each in lesson.recorded] == [1]
    with Fixture.open(path) as fixture:
        assert set(fixture.needs) == {(1, Side.SERVER)}
