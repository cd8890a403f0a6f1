"""How grpclib writes and reads the payloads of cases: as they are."""

from typing import Any

from grpclib.encoding.base import CodecBase


class Raw(CodecBase):
    __content_subtype__ = "proto"

    def encode(self, message: bytes, message_type: Any) -> bytes:
        return message

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data
