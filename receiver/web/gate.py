"""Was this request made by our nginx, and which identity does it forward? Knows headers and sockets, no certificate."""

import hmac
import socket
import struct
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import web

from receiver.errors import ReceiverError, UntrustedError
from receiver.trust import Forwarded

_VERIFY: Final = "X-SSL-Client-Verify"
_CERTIFICATE: Final = "X-SSL-Client-Cert"
_EDGE_KEY: Final = "X-Edge-Key"
_IDENTITY: Final = frozenset(name.lower() for name in (_VERIFY, _CERTIFICATE, _EDGE_KEY))
# struct ucred: pid, uid, gid. See unix(7), SO_PEERCRED.
_UCRED: Final = struct.Struct("3i")


class RequestError(ReceiverError):
    """A request that no carrier would send: its method, its size, its framing."""

    reason = "bad_request"

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def peer_uid(transport: object) -> int | None:
    """Who connected to the Unix socket, as the kernel says; None when the connection is gone."""
    connection = getattr(transport, "get_extra_info", lambda _: None)("socket")
    if connection is None:
        return None
    # Asked for every request: half a microsecond, and nothing to keep in step with the connection's life.
    uid: int = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))[1]
    return uid


@dataclass(frozen=True, slots=True)
class Gate:
    """What only our nginx has: its user, and the edge key from a file nobody else can read."""

    uid: int
    edge_key: bytes

    def forwarded(self, request: web.BaseRequest) -> Forwarded:
        """Take the identity that nginx forwards.

        Raises:
            RequestError: the connection is gone.
            UntrustedError: the request has not passed nginx, or names an identity twice or in another spelling.
        """
        uid = peer_uid(request.transport)
        if uid is None:
            raise RequestError(HTTPStatus.BAD_REQUEST, "disconnected", "the connection was closed")
        if uid != self.uid:
            raise UntrustedError("foreign_peer", "the connection was not made by nginx's user")
        headers = request.headers
        keys = headers.getall(_EDGE_KEY, ())
        if len(keys) != 1 or not hmac.compare_digest(keys[0].encode(errors="surrogateescape"), self.edge_key):
            raise UntrustedError("edge_key", "the edge key is missing or wrong")
        if any("_" in name and name.replace("_", "-").lower() in _IDENTITY for name in headers):
            raise UntrustedError("bad_header", "an identity header is spelled with underscores")
        verify = headers.getall(_VERIFY, ())
        if len(verify) != 1:
            raise UntrustedError("bad_header", "nginx's verdict is missing or given more than once")
        return Forwarded(verify=verify[0], certificates=tuple(headers.getall(_CERTIFICATE, ())))
