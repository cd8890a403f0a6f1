"""The network guard, on grpcio itself: no channel that is blocked here, and none to a foreign host, ever dials."""

import asyncio
import gc
import inspect
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import SimpleNamespace

import grpc
import grpc.aio
import grpc.experimental.aio
import pytest
from chat_app import chat_pb2_grpc
from grpc import _channel, _simple_stubs, insecure_channel, secure_channel
from grpc.aio import _channel as _aio_channel
from grpc.aio import insecure_channel as aio_insecure_channel

from duplexmock.errors import DuplexmockError, ScriptError
from duplexmock.pytest_plugin.guard import arm

pytestmark = pytest.mark.filterwarnings("ignore::grpc.experimental.ExperimentalApiWarning")

TEST = "tests/test_chat.py::test_client"
AWAY = "api.example.com:443"


@pytest.fixture
def guard():
    """`guard(*allowed_hosts)` arms for TEST and returns what disarms; the end of the test disarms in any case."""
    disarms = []

    def start(*allowed_hosts, where=TEST):
        disarms.append(arm(allowed_hosts, lambda: where))
        return disarms[-1]

    yield start
    for disarm in reversed(disarms):
        disarm()


def _text(target, address, option=None, where=TEST):
    return (
        f"{where} opened a gRPC channel to {target!r}, and {address} is neither loopback nor an allowed host. "
        "If the test is meant to reach it, add it to duplexmock_allow_hosts in pytest's ini file, "
        f"or give --duplexmock-allow-hosts={option or address}."
    )


def _blocked(opening, *arguments):
    with pytest.raises(ScriptError) as caught:
        opening(*arguments)
    return str(caught.value)


def _opens(target):
    """Tell whether a channel can be opened; an idle one does not dial."""
    try:
        insecure_channel(target).close()
    except ScriptError:
        return False
    return True


def _patched():
    """What stands at this moment in the places that the guard replaces."""
    return [
        vars(_channel.Channel)["__init__"],
        vars(_aio_channel.Channel)["__init__"],
        vars(_simple_stubs.ChannelCache)["get_channel"],
        *sys.meta_path,
    ]


# However a channel is opened


class _Interceptor(grpc.UnaryUnaryClientInterceptor):
    def intercept_unary_unary(self, continuation, details, request):
        return continuation(details, request)


class _Subclass(_channel.Channel):
    pass


def _imported_now(target):
    from grpc import insecure_channel as imported

    return imported(target)


OPENINGS = {
    "grpc.insecure_channel": lambda target: grpc.insecure_channel(target),
    "grpc.secure_channel": lambda target: grpc.secure_channel(target, grpc.ssl_channel_credentials()),
    "grpc.aio.insecure_channel": lambda target: grpc.aio.insecure_channel(target),
    "grpc.aio.secure_channel": lambda target: grpc.aio.secure_channel(target, grpc.ssl_channel_credentials()),
    "grpc.experimental.aio": lambda target: grpc.experimental.aio.insecure_channel(target),
    "a name imported before": insecure_channel,
    "a secure name imported before": lambda target: secure_channel(target, grpc.local_channel_credentials()),
    "an aio name imported before": aio_insecure_channel,
    "a name imported while it is armed": _imported_now,
    "a target given by name": lambda target: grpc.insecure_channel(target=target),
    "a channel below an interceptor": lambda target: grpc.intercept_channel(
        grpc.insecure_channel(target), _Interceptor()
    ),
    "the class itself": lambda target: _channel.Channel(target, (), None, None),
    "the class of aio itself": lambda target: _aio_channel.Channel(target, (), None, None, None),
    "a class of one's own": lambda target: _Subclass(target, (), None, None),
    "unary_unary": lambda target: grpc.experimental.unary_unary(b"", target, "/a.B/C", insecure=True),
    "unary_stream": lambda target: grpc.experimental.unary_stream(b"", target, "/a.B/C", insecure=True),
    "stream_unary": lambda target: grpc.experimental.stream_unary(iter(()), target, "/a.B/C", insecure=True),
    "stream_stream": lambda target: grpc.experimental.stream_stream(iter(()), target, "/a.B/C"),
    "a generated static method": lambda target: chat_pb2_grpc.ChatService.Chat(iter(()), target, insecure=True),
}


@pytest.mark.parametrize("opening", OPENINGS.values(), ids=OPENINGS)
def test_a_channel_that_leads_away_is_blocked_however_it_is_opened(guard, opening, monkeypatch):
    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    guard()

    assert _blocked(opening, AWAY) == _text(AWAY, AWAY)

    gc.collect()
    assert unraisable == []


def test_a_channel_is_blocked_inside_an_event_loop(guard):
    guard()

    async def client():
        async with grpc.aio.insecure_channel(AWAY):
            raise AssertionError("opened")

    assert _blocked(lambda: asyncio.run(client())) == _text(AWAY, AWAY)


def test_a_channel_is_blocked_on_another_thread(guard):
    guard()
    with ThreadPoolExecutor(1) as pool:
        errors = [pool.submit(opening, AWAY).exception() for opening in OPENINGS.values()]
    assert [str(error) for error in errors] == [_text(AWAY, AWAY)] * len(OPENINGS)


def test_a_target_of_bytes_is_read_as_text(guard):
    guard()
    assert _blocked(insecure_channel, AWAY.encode()) == _text(AWAY, AWAY)
    assert _opens(b"127.0.0.1:1")


def test_a_call_that_names_its_target_is_blocked_though_its_channel_was_opened_before(guard):
    cache = _simple_stubs.ChannelCache.get()
    before, _ = cache.get_channel(AWAY, (), None, True, None, "/a.B/C", False)
    try:
        assert cache.get_channel(AWAY, (), None, True, None, "/a.B/C", False)[0] is before
        guard()
        assert _blocked(OPENINGS["unary_unary"], AWAY) == _text(AWAY, AWAY)
    finally:
        with cache._lock:
            for key in [key for key in cache._mapping if key[0] == AWAY]:
                cache._evict_locked(key)


def test_what_is_no_target_at_all_is_refused_as_grpc_refuses_it(guard):
    with pytest.raises(AttributeError) as without:
        insecure_channel(None)
    guard()
    with pytest.raises(AttributeError) as caught:
        insecure_channel(None)
    assert str(caught.value) == str(without.value)


def test_the_error_is_of_duplexmock_and_names_the_test_of_that_moment(guard):
    names = iter(["tests/test_a.py::test_one", "tests/test_a.py::test_two"])
    disarm = arm([], lambda: next(names))
    try:
        for name in ("tests/test_a.py::test_one", "tests/test_a.py::test_two"):
            with pytest.raises(DuplexmockError) as caught:
                insecure_channel(AWAY)
            assert str(caught.value) == _text(AWAY, AWAY, where=name)
    finally:
        disarm()


# What is this machine


@pytest.fixture(scope="module")
def echo(tmp_path_factory):
    """A server that answers what it was asked, by all ways into this machine; its addresses by name."""

    class Echo(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(lambda request, context: request)

    server = grpc.server(ThreadPoolExecutor(2), (Echo(),))
    path, name = tmp_path_factory.mktemp("echo") / "s", f"duplexmock-guard-{os.getpid()}"
    at = SimpleNamespace(port=server.add_insecure_port("127.0.0.1:0"), port6=0, path=path, name=name)
    server.add_insecure_port(f"unix:{path}")
    if sys.platform == "linux":
        server.add_insecure_port(f"unix-abstract:{name}")
    with suppress(RuntimeError):
        at.port6 = server.add_insecure_port("[::1]:0")
    server.start()
    yield at
    server.stop(None).wait()


FORMS = [
    "localhost:{at.port}",
    "LOCALHOST:{at.port}",
    "127.0.0.1:{at.port}",
    "127.0.0.1:{at.port}?key=value",
    "[::ffff:127.0.0.1]:{at.port}",
    "ipv4:127.0.0.1:{at.port}",
    "ipv4:///127.0.0.1:{at.port}",
    "ipv4:127.0.0.1:{at.port},127.0.0.1:{at.port}",
    "dns:localhost:{at.port}",
    "dns:///localhost:{at.port}",
    "dns:///local%68ost:{at.port}",
    "[::1]:{at.port6}",
    "[::1%lo]:{at.port6}",
    "ipv6:[::1]:{at.port6}",
    "ipv6:[::1%25lo]:{at.port6}",
    "ipv6:%5B::1%5D:{at.port6}",
    "unix:{at.path}",
    "unix://{at.path}",
    "unix-abstract:{at.name}",
]


@pytest.mark.parametrize("form", FORMS)
def test_this_machine_is_reached_in_every_form_that_grpc_reads(guard, echo, form):
    if "port6" in form and not echo.port6:
        pytest.skip("this machine has no IPv6")
    if sys.platform != "linux" and ("abstract" in form or "%" in form):
        pytest.skip("abstract sockets and the zone lo are Linux's")
    target = form.format(at=echo)
    guard()

    with insecure_channel(target) as channel:
        assert channel.unary_unary("/a.B/C")(b"sync", timeout=20) == b"sync"

    async def client():
        async with aio_insecure_channel(target) as channel:
            return await channel.unary_unary("/a.B/C")(b"aio", timeout=20)

    assert asyncio.run(client()) == b"aio"


def test_a_call_that_names_its_target_reaches_this_machine(guard, echo):
    guard()
    answer = grpc.experimental.unary_unary(b"simple", f"127.0.0.1:{echo.port}", "/a.B/C", insecure=True, timeout=20)
    assert answer == b"simple"


@pytest.mark.parametrize(
    "target",
    [
        "localhost",
        "127.255.0.9:80",
        "ipv4:127.0.0.1:80,127.0.0.2:81",
        "ipv6:[::1]:80,[::1]:81",
        "IPV4:127.0.0.1:80",
        "::1",
        "[::1]",
        "DNS:///localhost:80",
        "dns://127.0.0.1/localhost:80",
        "unix:relative",
        "unix:50051",
        "unix:///run/server",
        "UNIX:/run/server",
        "unix-abstract:server",
        "127.0.0.1:80#fragment",
    ],
)
def test_a_channel_to_this_machine_opens(guard, target):
    guard()
    assert _opens(target)


BLOCKED = [
    # A host alone, as DNS finds it.
    ("api.example.com", "api.example.com"),
    ("API.Example.com:443", "api.example.com:443"),
    ("10.0.0.1:50051", "10.0.0.1:50051"),
    ("dns:api.example.com:443", "api.example.com:443"),
    ("dns:///api.example.com:443", "api.example.com:443"),
    ("DNS:///api.example.com:443", "api.example.com:443"),
    ("dns:///api%2Eexample.com:443", "api.example.com:443"),
    # What only looks like this machine.
    ("localhost.example.com:80", "localhost.example.com:80"),
    ("localhost%2Eexample.com:80", "localhost.example.com:80"),
    ("app.localhost:80", "app.localhost:80"),
    ("localhost.:80", "localhost.:80"),
    ("127.1:80", "127.1:80"),
    ("0.0.0.0:80", "0.0.0.0:80"),
    ("[::]:80", "[::]:80"),
    ("::1:80", "::1:80"),
    ("[::ffff:10.0.0.1]:80", "10.0.0.1:80"),
    ("unix.example.com:80", "unix.example.com:80"),
    ("api.example.com:443?unix:/run/server", "api.example.com:443"),
    ("api.example.com:443#127.0.0.1", "api.example.com:443"),
    ("localhost:80,10.0.0.1:80", "localhost:80,10.0.0.1:80"),
    # Several addresses: the first that leads away.
    ("ipv4:10.0.0.1:1,10.0.0.2:2", "10.0.0.1:1"),
    ("ipv4:127.0.0.1:1,10.0.0.2:2", "10.0.0.2:2"),
    ("ipv4:127.0.0.1:1%2C10.0.0.2:2", "10.0.0.2:2"),
    ("IPV4:10.0.0.1:80", "10.0.0.1:80"),
    # IPv6, and its zones.
    ("ipv6:[2001:db8::1]:443", "[2001:db8::1]:443"),
    ("[2001:0DB8:0::1]:443", "[2001:db8::1]:443"),
    ("2001:db8::1", "2001:db8::1"),
    ("ipv6:%5B2001:db8::1%5D:443", "[2001:db8::1]:443"),
    ("ipv6:[::1]:1,[2001:db8::1]:2", "[2001:db8::1]:2"),
    ("[fe80::1%eth0]:80", "[fe80::1%eth0]:80"),
    ("ipv6:[fe80::1%25eth0]:80", "[fe80::1%eth0]:80"),
    # The DNS server that is asked.
    ("dns://8.8.8.8/localhost:80", "8.8.8.8"),
    ("dns://8.8.8.8:53/localhost:80", "8.8.8.8:53"),
    ("dns://8.8.8%2E8/localhost:80", "8.8.8.8"),
    # What does not say where it leads.
    ("xds:///orders", "xds:///orders"),
    ("XDS:///Orders", "xds:///orders"),
    ("xds://authority/orders", "xds://authority/orders"),
    ("google-c2p:///orders", "google-c2p:///orders"),
    ("vsock:2:50051", "vsock:2:50051"),
]


@pytest.mark.parametrize(("target", "address"), BLOCKED)
def test_a_channel_to_anything_else_is_blocked_by_its_address(guard, target, address):
    guard()
    option = f"'{address}'" if "[" in address else address
    assert _blocked(insecure_channel, target) == _text(target, address, option)


@pytest.mark.parametrize(("target", "address"), BLOCKED)
def test_what_the_error_says_to_allow_is_then_allowed(guard, target, address):
    guard(address, "10.0.0.2:2")
    assert _opens(target)


@pytest.mark.parametrize(
    "target",
    [
        "",
        ":50051",
        "?key=value",
        "dns:",
        "dns:///",
        "dns://localhost:50051",
        "dns:////localhost:50051",
        "ipv4:",
        "https://localhost:443",
        "https://localhost",
        "localhost/path:443",
        "unix%3A/run/server",
    ],
)
def test_a_target_without_a_host_is_blocked_whatever_is_allowed(guard, target):
    guard("*")
    assert _blocked(insecure_channel, target) == (
        f"{TEST} opened a gRPC channel to {target!r}, which names no host. "
        "A target is HOST:PORT, or a scheme that gRPC knows and what belongs to it."
    )


def test_a_long_target_is_cut_in_the_text_and_whole_in_the_advice(guard):
    guard()
    host = f"{'a' * 200}.example.com"
    assert _blocked(insecure_channel, host) == (
        f"{TEST} opened a gRPC channel to '{'a' * 59}… 94 more …{'a' * 47}.example.com', and "
        f"{'a' * 60}… 92 more …{'a' * 48}.example.com is neither loopback nor an allowed host. "
        "If the test is meant to reach it, add it to duplexmock_allow_hosts in pytest's ini file, "
        f"or give --duplexmock-allow-hosts={host}."
    )


# Allowed hosts


@pytest.mark.parametrize(
    ("entry", "target", "opens"),
    [
        ("api.example.com", "api.example.com", True),
        ("api.example.com", "api.example.com:443", True),
        ("API.example.com", "dns:///api.EXAMPLE.com:8080", True),
        ("api.example.com", "www.example.com:443", False),
        ("api.example.com", "api.example.com.evil.test:443", False),
        ("api.example.com:443", "api.example.com:443", True),
        ("api.example.com:443", "api.example.com", True),
        ("api.example.com:443", "api.example.com:444", False),
        ("api.example.com:44*", "api.example.com:444", True),
        ("*.example.com", "api.example.com:443", True),
        ("*.example.com", "a.b.example.com:443", True),
        ("*.example.com", "example.com:443", False),
        ("*.example.com:443", "api.example.com:444", False),
        ("api?.example.com", "api1.example.com:443", True),
        ("10.0.*", "10.0.7.1:80", True),
        ("10.0.*", "ipv4:10.0.7.1:80,10.0.7.2:80,127.0.0.1:80", True),
        ("10.0.*", "ipv4:10.0.7.1:80,10.1.7.1:80", False),
        ("2001:DB8:0::1", "[2001:db8::1]:443", True),
        ("2001:db8::1", "ipv6:[2001:db8::2]:443", False),
        ("[2001:db8::1]:443", "ipv6:[2001:db8::1]:443", True),
        ("[2001:db8::1]:443", "ipv6:[2001:db8::1]:444", False),
        ("2001:db8::*", "[2001:db8::7]:443", True),
        ("fe80::1%eth0", "ipv6:[fe80::1%25eth0]:80", True),
        ("fe80::1%eth1", "[fe80::1%eth0]:80", False),
        ("fe80::1", "[fe80::1%eth0]:80", False),
        ("fe80::1%*", "[fe80::1%eth0]:80", True),
        ("dns:///api.example.com:443", "api.example.com:443", True),
        ("8.8.8.8", "dns://8.8.8.8/api.example.com", False),
        ("8.8.8.8", "dns://8.8.8.8/localhost", True),
        ("xds:///orders", "xds:///orders", True),
        ("xds:///orders", "xds:///invoices", False),
        ("xds:///orders[1]", "xds:///orders[1]", True),
        ("xds:*", "xds:///orders", True),
        ("orders", "xds:///orders", False),
        ("*", "xds:///orders", True),
        ("*", "ipv4:10.0.0.1:1,10.0.0.2:2", True),
        ("*:443", "api.example.com:443", True),
        ("*:443", "api.example.com:80", False),
        ("unix:/run/server", "api.example.com:443", False),
    ],
)
def test_an_allowed_host_lets_its_targets_through_and_no_others(guard, entry, target, opens):
    guard("other.test", entry)
    assert _opens(target) is opens


@pytest.mark.parametrize("entry", ["", ":443", "https://api.example.com", "api.example.com/path", "10.0.0.0/8"])
def test_an_allowed_host_that_is_none_is_refused(entry):
    before = _patched()
    with pytest.raises(ScriptError) as caught:
        arm(["api.example.com", entry], lambda: TEST)
    assert str(caught.value) == (
        f"allowed host {entry!r}: not HOST or HOST:PORT; leave the scheme and the path out, "
        "and write a range of addresses as 10.0.*"
    )
    assert _patched() == before


# Arming and disarming


def test_disarming_leaves_what_was_there_before():
    before = _patched()
    disarm = arm([], lambda: TEST)
    assert [each for each in _patched() if each in before] == before[3:]
    disarm()
    assert all(one is other for one, other in zip(_patched(), before, strict=True))
    assert _opens(AWAY)


def test_the_guard_of_the_inner_arming_decides(guard):
    outer = guard("outer.test", where="the outer test")
    armed = _patched()
    inner = guard("inner.test", where="the inner test")
    assert _patched() == armed
    assert _opens("inner.test")
    assert _blocked(insecure_channel, "outer.test") == _text("outer.test", "outer.test", where="the inner test")

    inner()
    assert _opens("outer.test")
    assert _blocked(insecure_channel, "inner.test") == _text("inner.test", "inner.test", where="the outer test")

    outer()
    assert _opens("inner.test")


def test_guards_are_disarmed_in_any_order_and_any_number_of_times(guard):
    before = _patched()
    outer = guard("outer.test", where="the outer test")
    inner = guard("inner.test", where="the inner test")

    outer()
    outer()
    assert _blocked(insecure_channel, AWAY) == _text(AWAY, AWAY, where="the inner test")

    inner()
    inner()
    assert _patched() == before


def test_a_patch_of_somebody_else_stays_theirs(guard, monkeypatch):
    before = _patched()
    disarm = guard()
    ours = vars(_channel.Channel)["__init__"]
    seen = []

    def theirs(self, target, *arguments):
        seen.append(target)
        ours(self, target, *arguments)

    monkeypatch.setattr(_channel.Channel, "__init__", theirs)
    disarm()
    assert vars(_channel.Channel)["__init__"] is theirs
    assert _opens(AWAY)

    disarm = guard()
    assert _blocked(insecure_channel, AWAY) == _text(AWAY, AWAY)
    disarm()
    assert vars(_channel.Channel)["__init__"] is theirs
    assert seen == [AWAY]
    monkeypatch.undo()
    _channel.Channel.__init__ = before[0]


def test_arming_again_takes_hold_where_it_was_patched_away(guard):
    before = _patched()
    guard()
    _channel.Channel.__init__ = before[0]
    sys.meta_path[:] = before[3:]
    guard()
    assert _blocked(insecure_channel, AWAY) == _text(AWAY, AWAY)


def test_threads_that_arm_and_disarm_leave_nothing(guard):
    before = _patched()
    start = threading.Barrier(8)

    def test(number):
        start.wait()
        for _ in range(50):
            disarm = arm([], lambda: f"thread {number}")
            text = _blocked(insecure_channel, AWAY)
            disarm()
            assert text.startswith("thread ")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(test, range(8)))
    assert _patched() == before


def test_a_channel_that_was_open_before_goes_on(guard, echo):
    with insecure_channel(f"127.0.0.1:{echo.port}") as channel:
        disarm = guard()
        assert channel.unary_unary("/a.B/C")(b"before", timeout=20) == b"before"
        disarm()
        assert channel.unary_unary("/a.B/C")(b"after", timeout=20) == b"after"


def test_the_signatures_are_those_of_grpc(guard):
    places = [_channel.Channel.__init__, _aio_channel.Channel.__init__, _simple_stubs.ChannelCache.get_channel]
    guard()
    now = [_channel.Channel.__init__, _aio_channel.Channel.__init__, _simple_stubs.ChannelCache.get_channel]
    assert [inspect.signature(each) for each in now] == [inspect.signature(each) for each in places]
    assert [each.__qualname__ for each in now] == [each.__qualname__ for each in places]


def test_a_grpcio_that_it_does_not_know_is_an_error_and_no_hole(monkeypatch):
    before = _patched()
    monkeypatch.delattr(_simple_stubs.ChannelCache, "get_channel")
    with pytest.raises(DuplexmockError) as caught:
        arm([], lambda: TEST)
    assert str(caught.value) == (
        "the network guard finds no grpc._simple_stubs.ChannelCache.get_channel: "
        "grpc is being loaded on another thread, or this grpcio is one that duplexmock does not know"
    )
    monkeypatch.undo()
    assert _patched() == before


# Where grpc comes later


def _run(program):
    """Run a program in an interpreter of its own, where nothing of grpc is loaded; return the lines that it prints."""
    beginning = (
        "import importlib, importlib.util, sys\n"
        "from duplexmock.pytest_plugin.guard import arm\n"
        "def tell(opening, *arguments):\n"
        "    try: opening(*arguments)\n"
        "    except Exception as error: print(f'{type(error).__name__}: {error}')\n"
        "    else: print('opened')\n"
        "def intact():\n"
        "    import grpc.aio\n"
        "    from grpc import _channel, _simple_stubs\n"
        "    from grpc.aio import _channel as aio\n"
        "    places = [_channel.Channel.__init__, aio.Channel.__init__, _simple_stubs.ChannelCache.get_channel]\n"
        "    return [each.__globals__ is vars(sys.modules[each.__module__]) for each in places]\n"
    )
    ended = subprocess.run([sys.executable, "-c", beginning + program], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout.splitlines()


SAYS = f"ScriptError: {_text(AWAY, AWAY, where='the test')}"


def test_arming_loads_nothing_where_grpc_is_not_loaded():
    lines = _run(
        "before = set(sys.modules)\n"
        "disarm = arm(['api.example.com'], lambda: 'the test')\n"
        "disarm()\n"
        "print(sorted(set(sys.modules) - before))\n"
        "heavy = ('grpc', 'google.protobuf', 'hypothesis', 'pytest', 'msgpack', 'click', 'rich', 'hpack', 'asyncio')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    assert lines == ["[]", "[]"]


def test_grpc_that_is_loaded_later_is_guarded_and_is_itself_again_afterwards():
    lines = _run(
        "hooks = list(sys.meta_path)\n"
        "disarm = arm([], lambda: 'the test')\n"
        "from grpc import insecure_channel\n"
        f"tell(insecure_channel, '{AWAY}')\n"
        "aio = importlib.import_module('grpc.aio')\n"
        f"tell(aio.insecure_channel, '{AWAY}')\n"
        "from grpc.experimental import unary_unary\n"
        "import warnings; warnings.simplefilter('ignore')\n"
        f"tell(lambda: unary_unary(b'', '{AWAY}', '/a.B/C', insecure=True))\n"
        "print(intact())\n"
        "disarm()\n"
        "print(intact(), sys.meta_path == hooks)\n"
        "for name in ('grpc._channel', 'grpc.aio._channel', 'grpc._simple_stubs'):\n"
        "    module = sys.modules[name]\n"
        "    print(type(module.__loader__).__name__, module.__loader__ is module.__spec__.loader)\n"
        f"tell(insecure_channel, '{AWAY}')\n"
    )
    assert lines == [
        SAYS, SAYS, SAYS, "[False, False, False]", "[True, True, True] True",
        *["SourceFileLoader True"] * 3, "opened",
    ]  # fmt: skip


def test_grpc_that_is_loaded_after_disarming_was_never_touched():
    lines = _run(
        "disarm = arm([], lambda: 'the test')\n"
        "found = importlib.util.find_spec('grpc._channel')\n"
        "disarm()\n"
        "print(type(found.loader).__name__)\n"
        "module = importlib.util.module_from_spec(found)\n"
        "sys.modules['grpc._channel'] = module\n"
        "found.loader.exec_module(module)\n"
        "print(intact())\n"
    )
    assert lines == ["_Loader", "[True, True, True]"]


@pytest.mark.parametrize("first", ["theirs", "ours"])
def test_import_hooks_that_ask_one_another_find_grpc(first):
    hook = (
        "class Theirs:\n"
        "    looking = False\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if self.looking or not name.startswith('grpc.'): return None\n"
        "        self.looking = True\n"
        "        try: return importlib.util.find_spec(name)\n"
        "        finally: self.looking = False\n"
        "sys.meta_path.insert(0, Theirs())\n"
    )
    arming = "arm([], lambda: 'the test')\n"
    lines = _run(
        (hook + arming if first == "ours" else arming + hook)
        + f"import grpc.aio\ntell(grpc.insecure_channel, '{AWAY}')\ntell(grpc.aio.insecure_channel, '{AWAY}')\n"
    )
    assert lines == [SAYS, SAYS]


def test_a_module_that_is_loaded_again_is_guarded_again():
    lines = _run(
        "import grpc._channel\n"
        "disarm = arm([], lambda: 'the test')\n"
        "importlib.reload(grpc._channel)\n"
        f"tell(grpc.insecure_channel, '{AWAY}')\n"
        "del sys.modules['grpc._channel'], grpc._channel\n"
        f"tell(grpc.insecure_channel, '{AWAY}')\n"
        "disarm()\n"
        "print(intact())\n"
    )
    assert lines == [SAYS, SAYS, "[True, True, True]"]


def test_threads_that_load_grpc_at_once_are_all_guarded():
    lines = _run(
        "from concurrent.futures import ThreadPoolExecutor\n"
        "arm([], lambda: 'the test')\n"
        "def client(number):\n"
        "    import grpc\n"
        f"    try: grpc.insecure_channel('{AWAY}')\n"
        "    except Exception as error: return f'{type(error).__name__}: {error}'\n"
        "with ThreadPoolExecutor(8) as pool:\n"
        "    print(*sorted(set(pool.map(client, range(8)))), sep='\\n')\n"
    )
    assert lines == [SAYS]
