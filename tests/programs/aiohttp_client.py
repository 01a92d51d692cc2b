"""The Python client of aiohttp-json-rpc talks to a server of ours: aiohttp_client.py CHECKOUT URL

Prints what it sees, a line of JSON for each step.
"""
import asyncio
import json
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])

from aiohttp_json_rpc import JsonRpcClient, JsonRpcClientContext, RpcError  # noqa: E402

PATIENCE = 20


def show(step, value):
    print(step, json.dumps(value), flush=True)


async def show_error(step, call):
    try:
        await call
    except RpcError as error:
        # What was sent is in `data`, as a whole.
        sent = error.data['error'].get('data')
        show(step, [type(error).__name__, error.error_code, error.message, sent])


async def confirm(params):
    show('the server asks', params)
    return params['message'] == 'Sure?'


async def talk(client):
    show('get_topics', await client.get_topics())
    show('ping', await client.call('ping'))
    show('ping with an id', await client.call('ping', id='an id'))
    show('by name', await client.call('add', {'a': 1, 'b': 2}))
    show('by position', await client.call('add', [3, 4]))
    show('scalar params', await client.call('echo', 'as it is'))
    show('null as result', await client.call('nothing_to_say'))
    show('prefix', await client.call('math__double', [21]))

    await show_error('no method', client.call('no_such_method'))
    await show_error('wrong params', client.call('add', {'a': 1}))
    await show_error('failure', client.call('fail'))
    await show_error('own code', client.call('busy'))

    client.add_methods(('', confirm))
    show('ask', await client.call('ask', timeout=PATIENCE))
    await show_error('ask in vain', client.call('ask_in_vain'))


async def listen(client):
    events = asyncio.Queue()

    async def event():
        return await asyncio.wait_for(events.get(), PATIENCE)

    show('subscribe', await client.subscribe('news', events.put))
    show('last value', await event())
    show('get_subscriptions', await client.get_subscriptions())
    show('publish', await client.call('publish', ['An event']))
    show('event', await event())
    show('no topic', await client.subscribe('weather', events.put))
    show('unsubscribe', await client.unsubscribe('news'))
    show('publish', await client.call('publish', ['Nobody hears this']))
    show('events after that', events.qsize())


async def main(url):
    client = JsonRpcClient()
    await client.connect_url(url)
    await talk(client)
    await listen(client)
    await client.disconnect()

    async with JsonRpcClientContext(url) as remote:
        show('context', await remote.echo('one', two=2))
        show('context without params', await remote.ping)

    lazy = JsonRpcClient(url=url)
    show('connected by the first call', await lazy.call('ping'))
    await lazy.disconnect()


asyncio.get_event_loop().run_until_complete(main(sys.argv[2]))
