"""What recording costs: the recorder beside nothing, beside a TCP pump and beside a grpc.aio relay.

The pump is the floor under any proxy on this event loop; the relay is how a recorder is usually built.

The floods with targets are sent and taken by grpc-go, which is what a recorder meets: how many frames come in one read,
how they are cut, and how much of the machine the two peers leave to what stands between them. The wire-level floods
write frames made beforehand, 256 KiB at a time, to a sink that hardly looks at them. Through the pump, which sees bytes
and not messages, ten times as many small messages pass in this way as any gRPC library can send. So their ratios say
what a recorder does at its own limit, and nothing about a conversation: they are indications.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import indications
from bench.jobs import Load, loaded
from bench.middlemen import Name, recorder
from bench.rounds import Flood, Samples, floods, ping_pongs, stalls
from bench.rows import Row, Target, median_row, paired


@dataclass(frozen=True, slots=True)
class Wanted:
    """The targets of one flood: the rate beside the pump's and the relay's, and the CPU time beside the relay's."""

    of_pump: Target | None = None
    of_relay: Target | None = None
    relay_cpu: Target | None = None


SMALL = Wanted(of_pump=Target(">=", 0.75), of_relay=Target(">=", 30), relay_cpu=Target("<=", 0.01))
LARGE = Wanted(of_pump=Target(">=", 0.70))
NOTHING = Wanted()

EVERYBODY: tuple[Name, ...] = ("direct", "pump", "aio relay", "recorder")
NO_RELAY: tuple[Name, ...] = ("direct", "pump", "recorder")

FLOODS = (
    ("60 B on 1 stream", Flood("grpc-go", streams=1, size=60), EVERYBODY, SMALL),
    ("60 B on 64 streams", Flood("grpc-go", streams=64, size=60), EVERYBODY, SMALL),
    ("64 KiB on 1 stream", Flood("grpc-go", streams=1, size=64 << 10), EVERYBODY, LARGE),
    ("64 KiB on 64 streams", Flood("grpc-go", streams=64, size=64 << 10), EVERYBODY, LARGE),
    ("wire-level 60 B on 1 stream", Flood("wire", streams=1, size=60), NO_RELAY, NOTHING),
    ("wire-level 60 B on 64 streams", Flood("wire", streams=64, size=60), NO_RELAY, NOTHING),
    ("wire-level 64 KiB on 1 stream", Flood("wire", streams=1, size=64 << 10), NO_RELAY, NOTHING),
)


def rows(folder: Path) -> Iterator[Row]:
    """Measure all of it; files go to `folder`. Skipped where the load program cannot be had."""
    fixture = folder / "bench.duplex"
    with loaded() as load:
        for title, flood, names, wanted in FLOODS:
            yield from _flood_rows(title, floods(load, flood, names, fixture), wanted)
        yield from _ping_pong_rows(ping_pongs(load, EVERYBODY, fixture))
        yield from _stall_rows(load, fixture)
        yield _memory_row(load, fixture)
        yield indications.show_one(fixture, session=_GIGABYTE_SESSIONS)
        yield indications.read_back(load, folder / "million.duplex")
    yield indications.import_time("import duplexmock")
    yield indications.import_time("from duplexmock import Fixture, record")


def _flood_rows(title: str, samples: Samples, wanted: Wanted) -> Iterator[Row]:
    took = {name: [sample.us for sample in samples[name]] for name in samples}
    cpu = {name: [sample.cpu_us for sample in samples[name]] for name in samples}
    rates = [1e6 / us for us in took["recorder"]]
    yield median_row(f"{title}: recorded", rates, "messages/s")
    of: dict[Name, Target | None] = {"direct": None, "pump": wanted.of_pump, "aio relay": wanted.of_relay}
    for name, target in of.items():
        if name in took:
            yield median_row(f"{title}: rate, of {_THE[name]}", paired(took[name], took["recorder"]), "times", target)
    yield from _cpu_rows(title, cpu, wanted.relay_cpu)


def _ping_pong_rows(samples: Samples) -> Iterator[Row]:
    title = "60 B ping-pong"
    p50 = {name: [sample.us for sample in samples[name]] for name in samples}
    cpu = {name: [sample.cpu_us for sample in samples[name]] for name in samples}
    yield median_row(f"{title}: p50 through the recorder", p50["recorder"], "µs")
    of: dict[Name, Target | None] = {"direct": None, "pump": Target("<=", 1.25), "aio relay": None}
    for name, target in of.items():
        yield median_row(f"{title}: p50, of {_THE[name]}", paired(p50["recorder"], p50[name]), "times", target)
    yield from _cpu_rows(title, cpu, None)


def _cpu_rows(title: str, cpu: dict[Name, list[float]], of_relay: Target | None) -> Iterator[Row]:
    for name, of_each in cpu.items():
        if name != "direct":
            yield median_row(f"{title}: CPU a message, {_THE[name]}", of_each, "µs")
    if "aio relay" in cpu:
        ratios = paired(cpu["recorder"], cpu["aio relay"])
        yield median_row(f"{title}: CPU a message, of {_THE['aio relay']}'s", ratios, "times", of_relay)


def _stall_rows(load: Load, fixture: Path) -> Iterator[Row]:
    for side, swallowed in (("server", load.server_stalled), ("client", load.client_stalled)):
        taken = stalls(swallowed, ("direct", "recorder"), load.grpc, fixture)
        ratios = paired(taken["recorder"], taken["direct"])
        yield median_row(f"{side} that never reads: bytes swallowed, of direct", ratios, "times", Target("<=", 1.1))


def _memory_row(load: Load, fixture: Path) -> Row:
    """Pass a gigabyte, leave its fixture behind, and return the recorder's peak."""
    with recorder(load.sink, fixture) as (target, process):
        for streams, size, messages in _GIGABYTE:
            load.flood(target, streams=streams, size=size, messages=messages)
        process.idle_cpu_ns()
        peak_mib = process.peak_bytes() / 2**20
    return Row("peak memory while 1 GB passes, messages of 100 MB included", peak_mib, "MiB", Target("<=", 80))


_THE: dict[Name, str] = {
    "direct": "direct",
    "pump": "the TCP pump",
    "aio relay": "the aio relay",
    "recorder": "the recorder",
}

_GIGABYTE = (
    (1, 100_000_000, 3),
    (64, 64 << 10, 8192),
    (64, 60, 3_000_000),
    (1, 60, 20),  # the session that is shown
)
_GIGABYTE_SESSIONS = sum(streams for streams, _, _ in _GIGABYTE)
