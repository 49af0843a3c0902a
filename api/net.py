"""The port that the service listens on."""

import errno
import socket

from search_spaces.errors import NasError


class PortBusy(NasError):
    """The address cannot be listened on."""


def bind(host: str, port: int) -> socket.socket:
    """A bound socket for the server. Raises: PortBusy with the reason and another way."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise PortBusy(f"{host!r} is no address of this machine", hint="for example --host 127.0.0.1") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # without this, a second process could bind too, and only its listen would fail
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise _busy(host, port, error) from error
    return listener


def _busy(host: str, port: int, error: OSError) -> PortBusy:
    if error.errno == errno.EADDRINUSE:
        return PortBusy(
            f"port {port} on {host} is in use", hint=f"stop what uses it, or choose another: --port {port + 1}"
        )
    if error.errno == errno.EACCES:
        return PortBusy(f"port {port} on {host} needs more rights", hint="choose one above 1023: --port 8000")
    return PortBusy(f"cannot listen on {host}:{port}: {error.strerror}", hint="choose another --host or --port")
