"""``python -m api.serve``: the HTTP server."""

import sys

import uvicorn

from api.app import create_app
from api.logs import configure_logs
from api.net import bind
from api.processes import watch_parent
from api.settings import Settings
from latency_models.catalogue import load_catalogue
from search_spaces.errors import NasError


def serve(settings: Settings) -> int:
    """Answer HTTP until SIGTERM or SIGINT. Raises: PortBusy, CorruptFile (the file of devices)."""
    load_catalogue(settings.devices_file)
    with bind(settings.host, settings.port) as listener:
        config = uvicorn.Config(create_app(settings), log_config=None, timeout_graceful_shutdown=3)
        server = uvicorn.Server(config)

        def stop() -> None:
            server.should_exit = True

        watch_parent(stop)
        server.run(sockets=[listener])
    return 0 if server.started else 1


def main() -> int:
    configure_logs("api")
    try:
        return serve(Settings())
    except NasError as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
