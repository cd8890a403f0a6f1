"""The services that a mock has beside its scripts, as handlers: server reflection, and health checking.

Reflection answers by the descriptors of the mock (grpc/reflection/v1/reflection.proto, and v1alpha, which is the same
under another name). Health says of the server, and of each service that a script is of, that it is SERVING
(grpc/health/v1/health.proto); a Watch says so once and stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from duplexmock.core.status import Code
from duplexmock.play.handler import Handler

if TYPE_CHECKING:
    from duplexmock.play.call import Call
    from duplexmock.schema.descriptors import Descriptors
    from duplexmock.schema.reflection import Files, Refused

_REFLECTION = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
_HEALTH = "grpc.health.v1.Health"


def services_of(methods: Sequence[str], descriptors: Callable[[], Descriptors | None]) -> dict[str, Handler]:
    """Return the handlers of the services, by method, of a mock whose scripts are of these methods."""
    services = tuple(dict.fromkeys(method.removeprefix("/").partition("/")[0] for method in methods))
    own = (*services, *(name for name in (*_REFLECTION, _HEALTH) if name not in services))

    async def reflect(call: Call) -> None:
        from duplexmock.schema import reflection

        known = _described(descriptors())
        async for request in call.messages(bytes):
            match reflection.read_request(request):
                case reflection.ListServices():
                    answer: reflection.Answer = reflection.Services(tuple(sorted(own)))
                case reflection.FileWithSymbol(symbol):
                    answer = _files(known.file_with(symbol), symbol)
                case reflection.FileNamed(name):
                    answer = _files(known.file_named(name), name)
                case _:
                    answer = reflection.Refused(Code.UNIMPLEMENTED, "no extensions are known here")
            await call.send(reflection.write_answer(answer, request))

    async def check(call: Call) -> None:
        from duplexmock.schema import health

        service = health.read_request(await call.receive(bytes) or b"")
        if service and service not in own:
            await call.finish(Code.NOT_FOUND, f"no service {service} here")
        else:
            await call.send(health.write_answer(health.Serving.SERVING))

    async def watch(call: Call) -> None:
        from duplexmock.schema import health

        service = health.read_request(await call.receive(bytes) or b"")
        is_known = not service or service in own
        await call.send(health.write_answer(health.Serving.SERVING if is_known else health.Serving.SERVICE_UNKNOWN))
        await asyncio.Event().wait()

    handlers = [Handler(f"/{name}/ServerReflectionInfo", reflect) for name in _REFLECTION]
    handlers += [Handler(f"/{_HEALTH}/Check", check), Handler(f"/{_HEALTH}/Watch", watch)]
    return {handler.method: handler for handler in handlers}


def _files(serialized: tuple[bytes, ...], asked: str) -> Files | Refused:
    from duplexmock.schema.reflection import Files, Refused

    return Files(serialized) if serialized else Refused(Code.NOT_FOUND, f"{asked} is not known here")


def _described(descriptors: Descriptors | None) -> Descriptors:
    """Return the descriptors of a mock, and those of its services where it does not know them itself."""
    from duplexmock.schema import health, reflection
    from duplexmock.schema.descriptors import of_files

    known = set(descriptors.services if descriptors is not None else ())
    files = [health.described(), *map(reflection.described, reflection.METHODS)]
    added = of_files([file for file in files if f"{file.package}.{file.service[0].name}" not in known])
    return added if descriptors is None else descriptors.merge(added)
