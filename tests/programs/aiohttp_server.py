"""The server of aiohttp-json-rpc, for our client to talk to: aiohttp_server.py CHECKOUT

Says LISTENING and its URL, and ends with the process that started it.
"""
import asyncio
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])

from aiohttp.web import Application, AppRunner, TCPSite  # noqa: E402
from aiohttp_json_rpc import (  # noqa: E402
    JsonRpc, RpcGenericServerDefinedError, RpcInvalidParamsError)


async def ping(request):
    return 'pong'


async def add(a, b):
    return a + b


async def wait(a, b):
    await asyncio.sleep(0.001)
    return a + b


async def fail(request):
    raise RuntimeError('An error of the method\'s own')


async def refuse(request):
    raise RpcInvalidParamsError(data={'field': 'a'})


async def busy(request):
    raise RpcGenericServerDefinedError(
        error_code=-32050, message='Computer says no', data=[1])


async def ask(request):
    return await request.confirm('Sure?')


async def publish(request):
    await request.rpc.notify('news', request.params, state=True)


async def main():
    rpc = JsonRpc()
    methods = [ping, add, wait, fail, refuse, busy, ask, publish]
    rpc.add_methods(*(('', method) for method in methods), ('math', add))
    rpc.add_topics('news', 'sport')
    await rpc.notify('news', 'We are live', state=True)

    app = Application()
    app.router.add_route('*', '/', rpc.handle_request)
    runner = AppRunner(app)
    await runner.setup()
    await TCPSite(runner, '127.0.0.1', 0).start()
    print('LISTENING ws://127.0.0.1:{}'.format(runner.addresses[0][1]), flush=True)

    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(0.5)


asyncio.get_event_loop().run_until_complete(main())
