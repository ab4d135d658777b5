"""The yardstick: an aiohttp application that reads a callback and says success, without trust and without a store.

Run as `python -m benches.answering SOCKET`.
"""

import asyncio
import os
import signal
import sys
from typing import Final

from aiohttp import web

_SUCCESS: Final = b'{"result":0,"errmsg":"OK"}'


async def _answer(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(body=_SUCCESS, content_type="application/json")


async def _serve(socket: str) -> None:
    application = web.Application()
    application.router.add_post("/callbacks/{carrier}/{app}", _answer)
    runner = web.AppRunner(application, access_log=None, keepalive_timeout=75)
    await runner.setup()
    await web.UnixSite(runner, socket).start()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    await runner.cleanup()


if __name__ == "__main__":
    # nginx's workers may belong to another user, and the directory around the socket has the receiver's rights.
    os.umask(0)
    asyncio.run(_serve(sys.argv[1]))
