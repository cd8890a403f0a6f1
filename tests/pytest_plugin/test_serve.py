"""`duplex.serve`: a mock that is written, in synchronous and asyncio tests, and its verdict."""

from __future__ import annotations

from tests.pytest_plugin.conftest import Project

HANDLERS = """
    import duplexmock
    from chat_app import chat_pb2
    from duplexmock import Script, turn

    @duplexmock.handler("/chat.ChatService/Chat", descriptors=chat_pb2)
    async def acks(call):
        async for message in call:
            await call.send({"message": f"ack: {message.message}"})

    @duplexmock.handler("/chat.ChatService/Chat", descriptors=chat_pb2)
    async def broken(call):
        assert (await call.receive()).message == "never"

    ONE = Script("/chat.ChatService/Chat", turn({"sender": "Client"}, reply={"message": "hi"}), descriptors=chat_pb2)
"""


def test_a_mock_is_used_with_and_without_a_block(project: Project) -> None:
    project.test(
        HANDLERS
        + """
    def test_plain(duplex):
        mock = duplex.serve(acks)
        assert [each.message for each in chat_sync(duplex.channel(), talk(1)).messages] == ["ack: Hi there! Message 0"]
        assert [each.message for each in mock.calls[0].received] == ["Hi there! Message 0"]

    def test_with(duplex):
        with duplex.serve(acks) as mock:
            mock.hold()
            mock.release()
            assert len(chatted(mock.target, 2).messages) == 2
            assert mock.call(1).method == "/chat.ChatService/Chat"

    async def test_async(duplex):
        async with duplex.serve(ONE) as mock:
            heard = await chat(mock.aio_channel(), talk(1))
            assert [each.message for each in heard.messages] == ["hi"]
            await mock.wait_for_async(lambda mock: mock.calls[0].is_over)
        assert [outcome.agreed for outcome in mock.outcomes] == [True]
        assert len(mock.sessions) == 1
    """
    )
    project.run("--asyncio-mode=auto").assert_outcomes(passed=3)


def test_a_client_that_leaves_the_script_fails_the_test_that_left_it_open(project: Project) -> None:
    project.test(
        HANDLERS
        + """
    def test_chat(duplex):
        chat_sync(duplex.serve(ONE).channel(), talk(2))
    """
    )
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*! *ClientMessage #2*", "*1 call: 0 agreed, 1 did not*"])


def test_a_handlers_assertion_fails_the_test_at_its_line(project: Project) -> None:
    project.test(
        HANDLERS
        + """
    def test_chat(duplex):
        with duplex.serve(broken) as mock:
            chatted(mock.target, 1)
    """
    )
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(['*assert (await call.receive()).message == "never"*'])
