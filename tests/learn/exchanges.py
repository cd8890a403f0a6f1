"""Programs of which it is known what changes from run to run and what comes back: what is to be ignored, and bound.

An Exchange is a grpc server and a client, and the Proposals that learning from each of them has to come to, exactly.
Both are made for a run, by number. Run 0 is recorded; what is new each time is drawn from a Random of the run, and what
is equal in the recording by chance is so whenever it is recorded. Messages are dicts by field number (runs.py).

Who has chosen an id, or granted a lease, insists on it: an answer to another id makes a client cancel, another lease
makes a server refuse, and neither gets any further.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import grpc

import duplexmock
from duplexmock.learn.proposals import Proposals
from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.scalars import Scalar, read
from duplexmock.schema.wirescan import scan
from tests.learn.runs import DESCRIPTORS, TALK, wire
from tests.net.chats import channel
from tests.net.wires import LIMIT_S

NOTHING = Proposals()
"""What is proposed where nothing changes, or nothing that the other side could see."""

Heard = dict[int, Scalar]
"""What a message says, by field number."""

Answer = Callable[[Iterator[Heard], Any], Iterator[Mapping[int, object]]]
"""Serves a call: yields what it says to what it hears; with it comes the context."""

Serve = Callable[[int], Mapping[str, Answer]]
"""Makes the methods of a server in a run, by name; they share what it knows."""


class Talk:
    """A client's call, a message at a time."""

    def __init__(self, dialled: grpc.Channel, method: str) -> None:
        self._said: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._call = dialled.stream_stream(method)(iter(self._said.get, None), timeout=LIMIT_S)

    def say(self, message: Mapping[int, object]) -> None:
        self._said.put(wire(message))

    def hear(self) -> Heard:
        """Return the next message; an empty one where no more will come."""
        try:
            return heard(next(self._call))
        except (StopIteration, grpc.RpcError):
            return {}

    def say_no_more(self) -> None:
        self._said.put(None)

    def hear_out(self) -> None:
        while self.hear():
            pass

    def half_close(self) -> None:
        """Half-close, and hear the rest."""
        self.say_no_more()
        self.hear_out()

    def cancel(self) -> None:
        self._call.cancel()
        self._said.put(None)


@dataclass(frozen=True, slots=True)
class Exchange:
    """Two programs, and what is proposed of each where the other one is played."""

    name: str
    serve: Serve
    client: Callable[[grpc.Channel, Random, int], None]
    of_server: Proposals = NOTHING
    of_client: Proposals = NOTHING
    method: str = TALK
    descriptors: Descriptors | None = None

    def __str__(self) -> str:
        return self.name

    def run_client(self, target: str, run: int) -> None:
        """Make the calls of a run."""
        with channel(target) as dialled:
            self.client(dialled, Random(f"client {run}"), run)


@contextmanager
def serving(exchange: Exchange, run: int) -> Iterator[str]:
    """Serve a run; yields the address."""
    service = exchange.method.split("/")[1]

    def handler(answer: Answer) -> Any:
        def handle(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
            return map(wire, answer(map(heard, requests), context))

        return grpc.stream_stream_rpc_method_handler(handle)

    with ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads, options=[("grpc.so_reuseport", 0)])
        methods = {name: handler(answer) for name, answer in exchange.serve(run).items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(0).wait()


def recorded(exchange: Exchange, path: Path) -> None:
    """Record run 0 into `path`."""
    descriptors = exchange.descriptors
    with serving(exchange, 0) as target, duplexmock.record(target, out=path, descriptors=descriptors) as proxy:
        exchange.run_client(proxy.target, 0)


def heard(payload: bytes) -> Heard:
    """Read a message."""
    found: Heard = {}
    for place in scan(payload, 0, len(payload)):
        (found[place.number],) = read(place.wire_type, payload[place.value_start : place.value_end], None)
    return found


def _id(random: Random) -> bytes:
    return b"%016x" % random.getrandbits(64)


# Ids that the client chooses


def _answers_calls(run: int) -> Mapping[str, Answer]:
    def talk(requests: Iterator[Heard], _: Any) -> Iterator[Mapping[int, object]]:
        """Answer three calls, the last one first."""
        asked = [next(requests) for _ in range(3)]
        for request in reversed(asked):
            yield {1: request[1], 2: b"result of %b" % request[2]}
        yield from ()
        assert next(requests, None) is None

    return {"Talk": talk}


def _makes_calls(dialled: grpc.Channel, random: Random, run: int) -> None:
    """Make three calls over one stream, each under an id of its own."""
    talk = Talk(dialled, TALK)
    open_calls = {_id(random): b"method %d" % number for number in range(3)}
    for number, method in open_calls.items():
        talk.say({1: number, 2: method})
    while open_calls:
        method = open_calls.pop(talk.hear().get(1), None)
        if method is None:
            talk.cancel()
            return
    talk.half_close()


def _makes_two_calls(dialled: grpc.Channel, random: Random, run: int) -> None:
    """Make two calls at a time, which are alike but for their ids; the second when the first has been answered.

    Opened at once, either may be the first to come, and which is which only their ids could tell.
    """
    talks: dict[bytes, Talk] = {}
    for number in (_id(random), _id(random)):
        talk = talks[number] = Talk(dialled, TALK)
        talk.say({1: number, 2: "hello"})
        if talk.hear().get(1) != number:
            talk.cancel()
    for number, talk in talks.items():
        talk.say({1: number, 2: "hello again"})
    for number, talk in talks.items():
        if talk.hear().get(1) != number:
            talk.cancel()
    for talk in talks.values():
        talk.say_no_more()
    for talk in talks.values():
        talk.hear_out()


# Leases that the server grants


def _grants(run: int) -> Mapping[str, Answer]:
    random = Random(f"server {run}")
    granted: set[Scalar] = set()

    def grant() -> int:
        lease = random.getrandbits(62)
        granted.add(lease)
        return lease

    def talk(requests: Iterator[Heard], context: Any) -> Iterator[Mapping[int, object]]:
        next(requests)
        yield {2: grant(), 4: 30}
        yield from renew(requests, context)

    def lease(requests: Iterator[Heard], _: Any) -> Iterator[Mapping[int, object]]:
        for _request in requests:
            yield {2: grant(), 4: 30}

    def renew(requests: Iterator[Heard], context: Any) -> Iterator[Mapping[int, object]]:
        for request in requests:
            if request[3] not in granted:
                context.abort(grpc.StatusCode.NOT_FOUND, "no such lease")
            yield {4: 30, 1: b"renewed"}

    return {"Talk": talk, "Lease": lease, "Renew": renew}


def _renews(dialled: grpc.Channel, random: Random, run: int) -> None:
    talk = Talk(dialled, TALK)
    talk.say({1: "acquire"})
    lease = talk.hear().get(2)
    for _ in range(2):
        if lease is None:
            break
        talk.say({1: "renew", 3: lease})
        if not talk.hear():
            break
    talk.half_close()


_LEASE, _RENEW = "/desk.Desk/Lease", "/desk.Desk/Renew"


def _renews_by_another_call(dialled: grpc.Channel, random: Random, run: int) -> None:
    talk = Talk(dialled, _LEASE)
    talk.say({1: "acquire"})
    lease = talk.hear().get(2, 0)
    talk.half_close()
    talk = Talk(dialled, _RENEW)
    talk.say({1: "renew", 3: lease})
    talk.hear()
    talk.half_close()


# Ids, tokens, nonces and times in the same messages


def _welcomes(run: int) -> Mapping[str, Answer]:
    random = Random(f"server {run}")

    def talk(requests: Iterator[Heard], context: Any) -> Iterator[Mapping[int, object]]:
        """Give out a token, which each later request has to have; say it once more in each answer, and an etag."""
        login = next(requests)
        token = _id(random)
        yield {1: login[1], 2: b"welcome", 3: _at(run), 4: token}
        for request in requests:
            if request.get(4) != token:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "no such token")
            yield {1: request[1], 2: b"items", 3: _at(run), 6: token, 7: _id(random)}

    return {"Talk": talk}


def _logs_in(dialled: grpc.Channel, random: Random, run: int) -> None:
    talk = Talk(dialled, TALK)
    token: Scalar = b""
    for text in ("login", "list", "list more"):
        number = _id(random)
        talk.say({1: number, 2: text, 3: _at(run), 5: _id(random)} | ({4: token} if token else {}))
        answer = talk.hear()
        if answer.get(1) != number:
            talk.cancel()
            return
        token = answer.get(4, token)
    talk.half_close()


def _at(run: int) -> int:
    """Return the time of a run, in seconds: the same for its client and its server."""
    return 1_795_348_800 + 60 * run


# What only looks as if it came back


_KEY = b"key of the only one who may come in"


def _asks_for_the_key(run: int) -> Mapping[str, Answer]:
    random = Random(f"server {run}")

    def talk(requests: Iterator[Heard], context: Any) -> Iterator[Mapping[int, object]]:
        next(requests)
        yield {1: _KEY if run == 0 else _id(random)}
        for request in requests:
            if request[2] != _KEY:
                context.abort(grpc.StatusCode.PERMISSION_DENIED, "another key")
            yield {3: "come in"}

    return {"Talk": talk}


def _has_the_key(dialled: grpc.Channel, random: Random, run: int) -> None:
    talk = Talk(dialled, TALK)
    talk.say({3: "hello"})
    talk.hear()
    talk.say({2: _KEY})
    talk.hear()
    talk.half_close()


def _retries(run: int) -> Mapping[str, Answer]:
    def talk(requests: Iterator[Heard], _: Any) -> Iterator[Mapping[int, object]]:
        for _request in requests:
            yield {1: 30, 2: 1, 3: "", 4: "fixed", 5: _at(run)}

    return {"Talk": talk}


def _has_priorities(dialled: grpc.Channel, random: Random, run: int) -> None:
    """Say small numbers, a boolean, a short text and the time, all of which are the server's in the recording."""
    talk = Talk(dialled, TALK)
    for _ in range(2):
        talk.say({1: 30 + run, 2: (run + 1) % 2, 3: "", 4: b"fixed", 5: _at(run), 6: b"client %d" % run})
        talk.hear()
    talk.half_close()


def _echoes(run: int) -> Mapping[str, Answer]:
    def talk(requests: Iterator[Heard], _: Any) -> Iterator[Mapping[int, object]]:
        for request in requests:
            yield {1: request[1], 2: "heard"}

    return {"Talk": talk}


def _says_the_same(dialled: grpc.Channel, random: Random, run: int) -> None:
    talk = Talk(dialled, TALK)
    for text in ("a text that comes back", "another text that comes back"):
        talk.say({1: text})
        talk.hear()
    talk.half_close()


# All of them


def _bound(*binds: tuple[str, str], ignore: tuple[str, ...] = ()) -> Proposals:
    return Proposals(ignore, binds)


EXCHANGES = (
    Exchange(
        "calls by the client's ids",
        _answers_calls,
        _makes_calls,
        of_client=_bound((f"{TALK}>1", f"{TALK}<1")),
    ),
    Exchange(
        "calls by the client's ids, by name",
        _answers_calls,
        _makes_calls,
        of_client=_bound(("desk.Ask.id", "desk.Answer.id")),
        descriptors=DESCRIPTORS,
    ),
    Exchange(
        "two calls at a time, by the client's ids",
        _echoes,
        _makes_two_calls,
        of_client=_bound((f"{TALK}>1", f"{TALK}<1")),
    ),
    Exchange("a lease", _grants, _renews, of_server=_bound((f"{TALK}<2", f"{TALK}>3"))),
    Exchange(
        "a lease that another call renews",
        _grants,
        _renews_by_another_call,
        of_server=_bound((f"{_LEASE}<2", f"{_RENEW}>3")),
    ),
    Exchange(
        "ids, a token, nonces and times",
        _welcomes,
        _logs_in,
        of_server=_bound((f"{TALK}<4", f"{TALK}>4"), ignore=(f"{TALK}<3", f"{TALK}<6", f"{TALK}<7")),
        of_client=_bound((f"{TALK}>1", f"{TALK}<1"), ignore=(f"{TALK}>3", f"{TALK}>5")),
    ),
    Exchange("a key that once was the nonce", _asks_for_the_key, _has_the_key, _bound(ignore=(f"{TALK}<1",))),
    Exchange(
        "small numbers, and a second",
        _retries,
        _has_priorities,
        of_server=_bound(ignore=(f"{TALK}<5",)),
        of_client=_bound(ignore=(f"{TALK}>1", f"{TALK}>2", f"{TALK}>5", f"{TALK}>6")),
    ),
    Exchange("texts that never change", _echoes, _says_the_same),
)
