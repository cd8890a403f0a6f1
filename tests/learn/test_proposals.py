import uuid
from dataclasses import dataclass

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from hypothesis import given
from hypothesis import strategies as st

from duplexmock.core.status import Status
from duplexmock.errors import ScriptError
from duplexmock.learn.proposals import Proposals, propose
from duplexmock.schema.descriptors import Descriptors
from duplexmock.schema.wirescan import NotAMessageError, scan
from tests.learn.runs import DESCRIPTORS, TALK, call, replayed, wire
from tests.schema.kinds import messages
from tests.schema.protos import KINDS, add_field, everything, set_of
from tests.wire.talk import examples

WRAP, MIRROR = "/desk.Desk/Wrap", "/desk.Desk/Mirror"


def _id(seed):
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(seed)))


def _proposed(*runs, descriptors=None):
    """Propose, and show that the first run then agrees with each other one."""
    runs = [[run] if not isinstance(run, list) else run for run in runs]
    proposals = propose(runs, descriptors)
    for other in runs[1:]:
        assert replayed(runs[0], other, proposals.ignore, proposals.bind, descriptors) == []
    return proposals


# What differs


def test_runs_that_are_alike_propose_nothing():
    run = call(">", {1: "a", 2: "Hi", 3: 7}, "<", {1: "a", 3: 7})

    assert propose([[run], [run]]) == Proposals(ignore=(), bind=())
    assert propose([[run], [run], [run]], DESCRIPTORS) == Proposals((), ())
    assert propose([[], []]) == Proposals()


@pytest.mark.parametrize(
    ("runs", "sentence"),
    [
        ([], "no runs were given; what differs each time is seen in two or more of them"),
        ([[]], "one run was given; what differs each time is seen in two or more of them"),
    ],
)
def test_one_run_shows_no_difference(runs, sentence):
    with pytest.raises(ScriptError) as refusal:
        propose(runs)
    assert str(refusal.value) == sentence


def test_a_timestamp_is_ignored_where_it_differs_and_only_there():
    runs = [
        call(">", {1: "Client", 2: "Hi", 3: now}, "<", {1: "Server", 2: "Hello", 3: 5})
        for now in (1795519222, 1795521768)
    ]

    assert _proposed(*runs) == Proposals((f"{TALK}>3",))
    assert _proposed(*runs, descriptors=DESCRIPTORS) == Proposals(("desk.Ask.at",))


def test_two_clocks_that_agree_are_no_bind():
    seconds = [
        call(">", {2: "Hi", 3: now}, "<", {2: "Hello", 3: now}, ">", {2: "So", 3: now}, "<", {2: "Yes", 3: now})
        for now in (1795519222, 1795521768)
    ]
    words = [
        call(">", {2: f"2026-11-24T11:{minute}:22Z"}, "<", {2: f"2026-11-24T11:{minute}:22Z"}) for minute in (20, 57)
    ]

    assert propose([[run] for run in seconds]) == Proposals((f"{TALK}<3", f"{TALK}>3"))
    assert propose([[run] for run in words]) == Proposals((f"{TALK}<2", f"{TALK}>2"))


def test_a_time_that_comes_back_later_than_its_clock_ticks_is_a_bind():
    runs = [
        call(">", {3: now}, "<", {3: now}, ">", {3: now + 270}, "<", {3: now + 270}, step_ns=102_000_000)
        for now in (1795519222123, 1795521768456)
    ]

    assert _proposed(*runs) == Proposals((), ((f"{TALK}>3", f"{TALK}<3"),))


def test_a_counter_that_agrees_is_not_volatile():
    runs = [call(*(part for n in range(5) for part in ("<", {3: n, 4: _id((run, n))}))) for run in range(2)]

    assert _proposed(*runs) == Proposals((f"{TALK}<4",))
    assert _proposed(*runs, descriptors=DESCRIPTORS) == Proposals(("desk.Answer.token",))


def test_a_zero_that_is_left_out_is_a_value():
    runs = [call("<", {2: "a", 3: 7}), call("<", {2: "a"})]

    assert _proposed(*runs) == Proposals((f"{TALK}<3",))
    assert _proposed(*runs, descriptors=DESCRIPTORS) == Proposals(("desk.Answer.at",))
    written = [call("<", {2: "a", 3: 0}), call("<", {2: "a"})]
    assert _proposed(*written, descriptors=DESCRIPTORS) == Proposals()
    assert _proposed(*written) == Proposals((f"{TALK}<3",))


def test_a_message_that_is_all_zeros_is_one_of_its_kind():
    assert _proposed(call("<", {3: 7}), call("<", {})) == Proposals((f"{TALK}<3",))


def test_fields_of_every_kind_are_named():
    def run(seed):
        inner = everything(a_string="x", a_fixed32=1000 + seed)
        return call(
            ">",
            everything(
                a_double=0.5 + seed,
                a_bool=bool(seed),
                a_bytes=_id(seed).encode(),
                colour=1 + seed,
                nested=inner,
                numbers=[1, 2 + seed, 3],
                names=["a"] * (1 + seed),
                children=[everything(), inner],
                flags={True: 7, False: seed},
                this="one" if seed else "other",
            ).SerializeToString(),
            method=KINDS,
        )

    assert _proposed(run(0), run(1), descriptors=DESCRIPTORS) == Proposals((
        "kinds.Everything.a_bool",
        "kinds.Everything.a_bytes",
        "kinds.Everything.a_double",
        "kinds.Everything.a_fixed32",
        "kinds.Everything.colour",
        "kinds.Everything.flags.2",
        "kinds.Everything.names",
        "kinds.Everything.numbers",
        "kinds.Everything.this",
    ))  # fmt: skip
    # By number a packed list is one value, and what is not there is a difference of its own.
    assert propose([[run(0)], [run(1)]]) == Proposals(
        tuple(f"{KINDS}>{steps}" for steps in ("1", "13", "15", "20", "21.9", "22", "23", "24.9", "26.2", "27"))
    )


def test_a_field_of_a_type_is_named_by_its_place_where_it_differs_in_one_place_only():
    def run(seed):
        return call(
            ">",
            everything(
                a_string="x", nested=everything(a_string=_id(seed)), tags={"k": everything(a_string=_id(seed + 9))}
            ).SerializeToString(),
            method=KINDS,
        )

    assert _proposed(run(0), run(1), descriptors=DESCRIPTORS) == Proposals(
        (f"{KINDS}>nested.a_string", f"{KINDS}>tags.a_string")
    )


def test_both_sides_may_send_one_type():
    def run(seed):
        return call(">", {1: _id(seed), 2: "a", 3: 100 + seed}, "<", {1: _id(seed), 2: _id(seed + 9)}, method=MIRROR)

    assert _proposed(run(0), run(1), descriptors=DESCRIPTORS) == Proposals(
        (f"{MIRROR}<text", "desk.Ask.at"), ((f"{MIRROR}>id", f"{MIRROR}<id"),)
    )


def test_what_stands_below_a_proposed_path_is_not_proposed():
    def run(seed):
        about = [{1: _id((seed, n)), 2: "about"} for n in range(2 + seed)]
        return call("<", {4: about, 3: {2: "notice"}}, method=WRAP)

    def more(seed):
        return call("<", {4: [{1: _id((seed, n)), 2: "about"} for n in range(2)]}, method=WRAP)

    runs = [[run(0), more(0)], [run(1), more(1)]]
    assert _proposed(*runs) == Proposals((f"{WRAP}<4",))
    assert _proposed(*runs, descriptors=DESCRIPTORS) == Proposals(("desk.Down.about",))


def test_keys_of_a_map_that_differ_are_the_whole_map():
    runs = [
        call(">", everything(tags={_id(seed): everything(a_int32=seed)}).SerializeToString(), method=KINDS)
        for seed in (1, 2)
    ]

    assert _proposed(*runs, descriptors=DESCRIPTORS) == Proposals(("kinds.Everything.tags",))


def test_protobufs_own_types_are_values():
    def run(seed):
        message = everything(a_int32=1)
        message.timestamp.FromSeconds(1795519222 + 60 * seed)
        message.struct["id"], message.struct["other"] = _id(seed), 1
        message.string_value.value = _id(seed)
        return call(">", message.SerializeToString(), method=KINDS)

    assert _proposed(run(0), run(1), descriptors=DESCRIPTORS) == Proposals(
        tuple(f"kinds.Everything.{name}" for name in ("string_value", "struct", "timestamp"))
    )


def test_the_order_of_a_struct_is_no_difference_and_that_of_a_list_is():
    def entry(key, number):
        return {1: [{1: key, 2: {2: float(number)}}]}

    def listed(*numbers):
        return {1: [{1: "k", 2: {6: {1: [{2: float(number)} for number in numbers]}}}]}

    one, other = wire(entry("a", 1)) + wire(entry("b", 2)), wire(entry("b", 2)) + wire(entry("a", 1))
    runs = [call(">", {33: struct}, method=KINDS) for struct in (one, other)]
    assert _proposed(*runs, descriptors=DESCRIPTORS) == Proposals()
    runs = [call(">", {33: listed(*numbers)}, method=KINDS) for numbers in ((1, 2), (2, 1))]
    assert _proposed(*runs, descriptors=DESCRIPTORS) == Proposals(("kinds.Everything.struct",))


def test_what_an_any_holds_is_looked_into():
    def run(seed, name="desk.Ask"):
        return call(
            ">", {32: {1: f"type.googleapis.com/{name}", 2: wire({1: _id(seed), 2: "same"})}, 1: 0.5}, method=KINDS
        )

    assert _proposed(run(0), run(1), descriptors=DESCRIPTORS) == Proposals(("desk.Ask.id",))
    assert _proposed(run(0, "x.Y"), run(1, "x.Y"), descriptors=DESCRIPTORS) == Proposals(
        ("kinds.Everything.any.value.1",)
    )
    assert _proposed(run(0), run(1, "desk.Answer"), descriptors=DESCRIPTORS) == Proposals(("kinds.Everything.any",))


def test_a_field_that_no_descriptor_knows_is_named_by_number():
    runs = [call(">", {1: "a", 99: {1: _id(seed), 2: 300}}) for seed in range(2)]

    assert _proposed(*runs, descriptors=DESCRIPTORS) == Proposals(("desk.Ask.99.1",))


def test_text_that_happens_to_parse_stays_text():
    # "(A" is field 5 with the value 65, to a parser.
    runs = [call(">", {1: "(A", 2: "x"}, ">", {1: _id(seed), 2: "y"}) for seed in range(2)]

    assert _proposed(*runs) == Proposals((f"{TALK}>1",))


def test_what_is_no_protobuf_is_left_alone():
    json = {"content-type": "application/grpc+json"}
    runs = [call(">", b'{"at":%d}' % seed, asked=json, answered=json) for seed in range(2)]
    torn = [call(">", b"\xff" * (3 + seed)) for seed in range(2)]

    assert propose([[run] for run in runs]) == Proposals()
    assert propose([[run] for run in torn]) == Proposals()


# Metadata


def test_metadata_that_differs_is_ignored_where_it_is_compared():
    def run(seed, **more):
        return call(
            asked={"x-request-id": _id(seed), "x-room": "a", "grpc-timeout": f"{seed}S", "user-agent": f"x/{seed}"},
            answered={"x-served-by": f"node-{seed}", "date": f"day {seed}"},
            ended={"x-took": f"{seed} ms"} | more,
        )

    assert _proposed(run(1), run(2)) == Proposals(("metadata:x-request-id", "metadata:x-served-by", "metadata:x-took"))
    extra = run(2, **{"x-extra": "1"})
    assert propose([[run(2)], [extra]]) == propose([[extra], [run(2)]]) == Proposals(("metadata:x-extra",))


def test_what_was_redacted_is_equal_to_all():
    runs = [call(asked={"authorization": f"redacted:{seed:016x}"}) for seed in range(2)]

    assert _proposed(*runs) == Proposals()


def test_how_a_call_ends_may_be_ignored_but_not_that_it_failed():
    runs = [
        call(status=Status(5, f"no {_id(seed)}", _id(seed).encode()), ended={"x-id": _id(seed)}) for seed in range(2)
    ]

    assert _proposed(*runs) == Proposals(("metadata:grpc-message", "metadata:grpc-status-details-bin", "metadata:x-id"))
    assert propose([[runs[0]], [call(status=Status(0))]]) == Proposals()


# What comes back


def test_an_id_that_the_client_chose_comes_back():
    runs = [call(">", {1: _id(seed), 2: "Hi"}, "<", {1: _id(seed), 2: "Hello"}) for seed in range(3)]

    assert _proposed(*runs) == Proposals((), ((f"{TALK}>1", f"{TALK}<1"),))
    assert _proposed(*runs, descriptors=DESCRIPTORS) == Proposals((), (("desk.Ask.id", "desk.Answer.id"),))


def test_a_client_repeats_what_the_server_chose():
    runs = [call(">", {2: "Hi"}, "<", {4: _id(seed)}, ">", {1: _id(seed)}) for seed in range(2)]

    assert _proposed(*runs, descriptors=DESCRIPTORS) == Proposals((), (("desk.Answer.token", "desk.Ask.id"),))
    assert _proposed(*runs) == Proposals((), ((f"{TALK}<4", f"{TALK}>1"),))


def test_a_side_that_says_its_own_value_again_is_ignored():
    runs = [
        call(">", {1: _id(seed)}, "<", {1: _id(seed), 2: "a"}, ">", {2: _id(seed)}, "<", {4: _id(seed)})
        for seed in range(2)
    ]

    assert _proposed(*runs) == Proposals((f"{TALK}>2",), ((f"{TALK}>1", f"{TALK}<1"), (f"{TALK}>1", f"{TALK}<4")))


def test_each_reply_repeats_the_id_of_one_of_several_requests():
    def run(seed):
        ids = [_id((seed, n)) for n in range(4)]
        asks = [part for n, each in enumerate(ids) for part in (">", {1: each, 2: f"ask {n}"})]
        answers = [part for n in (2, 0, 3, 1) for part in ("<", {1: ids[n], 2: f"answer {n}"})]
        return call(*asks, *answers, "<", {2: "bye"})

    assert _proposed(run(0), run(1), run(2), descriptors=DESCRIPTORS) == Proposals(
        (), (("desk.Ask.id", "desk.Answer.id"),)
    )


def test_a_reply_may_repeat_one_of_two_fields():
    def run(seed):
        first, second = _id((seed, 1)), _id((seed, 2))
        return call(
            ">", {1: {1: first}}, "<", {2: {1: first}}, ">", {2: {4: second}}, "<", {2: {1: second}}, method=WRAP
        )

    assert _proposed(run(0), run(1)) == Proposals((), ((f"{WRAP}>1.1", f"{WRAP}<2.1"), (f"{WRAP}>2.4", f"{WRAP}<2.1")))


def test_both_sides_may_ask_and_answer():
    def run(seed):
        return call(
            ">", {1: {1: _id((seed, 1))}}, "<", {2: {1: _id((seed, 1))}},
            "<", {1: {1: _id((seed, 2))}}, ">", {2: {1: _id((seed, 2))}},
            method=WRAP,
        )  # fmt: skip

    assert _proposed(run(0), run(1)) == Proposals((), ((f"{WRAP}<1.1", f"{WRAP}>2.1"), (f"{WRAP}>1.1", f"{WRAP}<2.1")))
    assert _proposed(run(0), run(1), descriptors=DESCRIPTORS) == Proposals(
        (), ((f"{WRAP}<ask.id", f"{WRAP}>answer.id"), (f"{WRAP}>ask.id", f"{WRAP}<answer.id"))
    )


def test_an_id_is_taken_from_the_call_itself_or_else_from_an_earlier_one():
    def run(seed):
        return [
            call(">", {2: "log in"}, "<", {4: _id(seed)}, method=MIRROR),
            call(">", {1: _id(seed)}, "<", {2: "fine"}, start_ns=10_000),
        ]

    assert _proposed(run(0), run(1)) == Proposals((), ((f"{MIRROR}<4", f"{TALK}>1"),))
    own = [[call(">", {1: _id(seed)}, "<", {1: _id(seed)}, method=m) for m in (MIRROR, TALK)] for seed in range(2)]
    assert _proposed(*own) == Proposals((), ((f"{MIRROR}>1", f"{MIRROR}<1"), (f"{TALK}>1", f"{TALK}<1")))


def test_lists_maps_and_bytes_come_back():
    def run(seed):
        numbers, raw = [100_000_007 * (seed + 3) + n for n in range(3)], bytes(range(200 + seed, 216 + seed))
        asked = everything(numbers=numbers, a_bytes=raw, flags={True: 10**15 + 7**seed, False: 1})
        return call(
            ">", asked.SerializeToString(), "<", {5: numbers[1], 6: raw, 7: 10**15 + 7**seed, 8: "x"}, method=KINDS
        )

    names = ("a_bytes", 6), ("flags.2", 7), ("numbers", 5)
    assert _proposed(run(0), run(1), descriptors=DESCRIPTORS) == Proposals(
        (), tuple((f"kinds.Everything.{name}", f"{KINDS}<{number}") for name, number in names)
    )
    assert _proposed(run(0), run(1)) == Proposals(
        (f"{KINDS}<5", f"{KINDS}>23"), ((f"{KINDS}>15", f"{KINDS}<6"), (f"{KINDS}>26.2", f"{KINDS}<7"))
    )


def test_what_agrees_by_chance_is_not_bound():
    for ours, theirs in ((3, 4), (17, 18), (5000, 7000), ("", "x"), ("ab", "cd"), (0.5, 2.0), (True, False)):
        runs = [call(">", {2: "a", 9: value}, "<", {2: "b", 8: value}) for value in (ours, theirs)]
        assert propose([[run] for run in runs]) == Proposals((f"{TALK}<8", f"{TALK}>9")), (ours, theirs)


def test_a_port_is_enough():
    runs = [call(">", {9: value}, "<", {8: value}) for value in (49321, 50123)]

    assert _proposed(*runs) == Proposals((), ((f"{TALK}>9", f"{TALK}<8"),))


def test_a_relation_has_to_hold_wherever_the_values_differ():
    def run(seed, *, holds):
        return call(
            ">", {1: _id(seed)}, "<", {1: _id(seed), 2: "reply"}, "<", {1: _id(seed if holds else (seed, 9)), 2: "push"}
        )

    assert propose([[run(0, holds=True)], [run(1, holds=True)]]).bind == ((f"{TALK}>1", f"{TALK}<1"),)
    assert propose([[run(0, holds=True)], [run(1, holds=False)]]) == Proposals((f"{TALK}<1", f"{TALK}>1"))
    same = [call(">", {1: _id(seed)}, "<", {1: _id(seed), 2: "a"}, "<", {1: "push", 2: "b"}) for seed in range(2)]
    assert _proposed(*same) == Proposals((), ((f"{TALK}>1", f"{TALK}<1"),))


def test_a_value_that_comes_back_before_it_was_said_does_not_come_back():
    runs = [call("<", {1: _id(seed)}, ">", {2: "x"}, ">", {1: _id(seed)}) for seed in range(2)]

    assert _proposed(*runs) == Proposals((), ((f"{TALK}<1", f"{TALK}>1"),))


def test_enums_and_booleans_are_never_bound():
    def run(seed):
        said = []
        for n in range(40):
            colour = everything(a_int32=n + 1, colour=1 + (n >> seed) % 2, a_bool=bool((n >> seed) % 2))
            said += [">", colour.SerializeToString()]
        return call(*said, method=KINDS)

    assert _proposed(run(0), run(1), descriptors=DESCRIPTORS) == Proposals(
        ("kinds.Everything.a_bool", "kinds.Everything.colour")
    )


# What belongs together


def _chat(seed, *, leave_out=(), extra=(), swap=None):
    order = list(range(8))
    if swap is not None:
        order[swap], order[swap + 1] = order[swap + 1], order[swap]
    said = []
    for n in order:
        ask, answer = _id((seed, n)), {2: f"answer {n}", 3: 1795519222 + 9 * seed + n, 5: n % 2}
        if n not in leave_out:
            said += [">", {1: ask, 2: f"ask {n}"}, "<", {1: ask} | answer]
        if n in extra:
            said += ["<", {2: "by the way", 3: 1795519222 + 9 * seed + n}]
    return call(*said)


@pytest.mark.parametrize("descriptors", [None, DESCRIPTORS])
@pytest.mark.parametrize(
    "other",
    [
        _chat(1, extra=(0,)),
        _chat(1, extra=(3, 5)),
        _chat(1, leave_out=(0,)),
        _chat(1, leave_out=(4, 7)),
        _chat(1, swap=3),
        _chat(1, leave_out=(2,), extra=(6,), swap=4),
    ],
)
def test_one_message_more_or_less_does_not_shift_the_rest(descriptors, other):
    paths = (f"{TALK}<3", f"{TALK}>1", f"{TALK}<1")
    if descriptors is not None:
        paths = ("desk.Answer.at", "desk.Ask.id", "desk.Answer.id")
    expected = Proposals(paths[:1], (paths[1:],))

    assert propose([[_chat(0)], [other]], descriptors) == expected
    assert propose([[other], [_chat(0)]], descriptors) == expected
    assert propose([[_chat(0)], [_chat(2, extra=(1,))], [other]], descriptors) == expected


def test_a_call_more_does_not_shift_the_others():
    def run(seed, *names):
        return [
            call(">", {2: name, 3: 10**9 + seed}, "<", {2: f"hello {name}"}, asked={"x-name": name}) for name in names
        ]

    one, other = run(0, "ann", "bob", "cleo"), run(1, "ann", "zoe", "bob", "cleo")
    assert propose([one, other]) == Proposals((f"{TALK}>3",))


def test_long_lanes_take_a_moment():
    def run(seed):
        said = []
        for n in range(2000):
            if n == 700 and seed:
                said += ["<", {2: "one more", 3: seed}]
            said += [">", {1: _id((seed, n)), 2: f"ask {n}"}, "<", {1: _id((seed, n)), 2: f"answer {n % 50}", 3: n}]
        return call(*said)

    assert propose([[run(0)], [run(1)]]) == Proposals((), ((f"{TALK}>1", f"{TALK}<1"),))


# Programs of which is known what they do

KINDS_OF_MESSAGE = 3
TEXT, COUNT, NONCE, AT, WAITED, ID, REPEATED = range(1, 8)
RUN = "/made.Program/Run"


def _made_file():
    """Return a file with a message of its own for each kind that a side of a made program sends."""
    file = FileDescriptorProto(name="made.proto", package="made", syntax="proto3")
    for side in ("Up", "Down"):
        whole = file.message_type.add(name=side)
        whole.oneof_decl.add(name="what")
        for kind in range(1, KINDS_OF_MESSAGE + 1):
            part = file.message_type.add(name=f"{side}{kind}")
            for number, (name, of) in enumerate(
                (
                    ("text", "string"), ("count", "int32"), ("nonce", "string"), ("at", "int64"), ("waited", "double"),
                    ("id", "string"), ("repeated_id", "string"),
                ),
                start=1,
            ):  # fmt: skip
                add_field(part, name, number, of)
            add_field(whole, f"kind{kind}", kind, "message", f".made.{side}{kind}").oneof_index = 0
    service = file.service.add(name="Program")
    service.method.add(name="Run", input_type=".made.Up", output_type=".made.Down")
    return file


MADE = Descriptors(set_of(_made_file()))


@dataclass(frozen=True)
class Program:
    """What is said: steps of an arrow, a kind, and which earlier step's id is repeated, None for none.

    `new` are the fields of each arrow and kind that are new in each run.
    """

    steps: tuple[tuple[str, int, int | None], ...]
    new: dict[tuple[str, int], frozenset[int]]

    def run(self, number, extra):
        """Return the session of one run; `extra` are the steps that are said twice, once too often."""
        said = []
        for position, (arrow, kind, repeats) in enumerate(self.steps):
            for is_extra in (False, True) if position in extra else (False,):
                fields = {TEXT: "one more" if is_extra else f"step {position}", COUNT: position + 1}
                new = self.new[arrow, kind]
                fields[NONCE] = _id((number, position, is_extra, "nonce")) if NONCE in new else "no nonce"
                fields[AT] = 1795519222 + 100 * number + position if AT in new else 7
                fields[WAITED] = (number + 1) / 7 + position if WAITED in new else 0.25
                if ID in new:
                    fields[ID] = _id((number, position, is_extra))
                if repeats is not None and not is_extra:
                    fields[REPEATED] = _id((number, repeats, False))
                said += [arrow, {kind: fields}]
        return call(*said, method=RUN)

    def truth(self, descriptors):
        names = ("text", "count", "nonce", "at", "waited", "id", "repeated_id")

        def path(arrow, kind, number):
            if descriptors is None:
                return f"{RUN}{arrow}{kind}.{number}"
            return f"made.{'Up' if arrow == '>' else 'Down'}{kind}.{names[number - 1]}"

        binds = {
            (path(*self.steps[repeats][:2], ID), path(arrow, kind, REPEATED))
            for arrow, kind, repeats in self.steps
            if repeats is not None
        }
        new = {path(arrow, kind, number) for arrow, kind, _ in self.steps for number in self.new[arrow, kind]}
        return Proposals(tuple(sorted(new - {source for source, _ in binds})), tuple(sorted(binds)))


@st.composite
def programs(draw):
    arrows_and_kinds = [(arrow, kind) for arrow in "><" for kind in range(1, KINDS_OF_MESSAGE + 1)]
    new = {each: draw(st.frozensets(st.sampled_from((NONCE, AT, WAITED, ID)))) for each in arrows_and_kinds}
    steps = []
    for arrow, kind in draw(st.lists(st.sampled_from(arrows_and_kinds), min_size=1, max_size=12)):
        before = [n for n, (other, of_kind, _) in enumerate(steps) if other != arrow and ID in new[other, of_kind]]
        steps.append((arrow, kind, draw(st.none() | st.sampled_from(before)) if before else None))
    return Program(tuple(steps), new)


@examples(150)
@given(st.data(), programs(), st.sampled_from((None, MADE)))
def test_what_is_proposed_is_what_the_program_does(data, program, descriptors):
    extras = data.draw(
        st.lists(st.sets(st.integers(0, len(program.steps) - 1), max_size=1), min_size=2, max_size=3), "said once more"
    )
    runs = [[program.run(number, extra)] for number, extra in enumerate(extras)]

    proposals = propose(runs, descriptors)

    assert proposals == program.truth(descriptors)
    plain = [[program.run(number, ())] for number in range(2)]
    assert replayed(*plain, proposals.ignore, proposals.bind, descriptors) == []


@examples(200)
@given(messages() | st.binary(max_size=20), messages() | st.binary(max_size=20), st.sampled_from((None, DESCRIPTORS)))
def test_whatever_differs_agrees_once_it_is_ignored(one, other, descriptors):
    # What both have is enough for them to belong together, whatever else they say.
    both = wire(dict.fromkeys(range(1000, 1200), ""))
    payloads = [each if isinstance(each, bytes) else each.SerializeToString() for each in (one, other)]
    runs = [[call(">", both + payload, method=KINDS)] for payload in payloads]

    assert propose([runs[0], runs[0]], descriptors) == Proposals()
    proposals = propose(runs, descriptors)
    torn = any(_is_torn(payload) for payload in payloads)
    chosen = [isinstance(each, bytes) or each.WhichOneof("choice") for each in (one, other)]
    if not torn and (descriptors is None or chosen[0] == chosen[1] is not True):
        assert replayed(*runs, proposals.ignore, proposals.bind, descriptors) == []


def _is_torn(payload):
    try:
        scan(payload, 0, len(payload))
    except NotAMessageError:
        return True
    return False
