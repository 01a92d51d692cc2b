/**
 * The help of the command line.
 *
 * @module
 */

/** The help of the whole. */
export const HELP = `Usage: jsonrpc COMMAND [ARGUMENTS] [OPTIONS]

Commands:
  call URL METHOD [PARAMS]     call a method and print its result
  notify URL METHOD [PARAMS]   send a notification
  methods URL                  list the methods that you may call
  topics URL                   list the topics that you may subscribe to
  subscribe URL TOPIC...       print the events of topics
  stream URL METHOD [PARAMS]   print the items of a stream
  discover URL                 print the OpenRPC document
  types URL                    print the TypeScript declarations of a server
  repl URL                     call by hand, with history and completion
  serve MODULE                 serve the functions that a module exports
  trace URL                    a proxy that prints each text on the wire
  bridge URL                   join standard input and output to a server
  bench URL METHOD [PARAMS]    measure throughput and latency

"jsonrpc COMMAND --help" shows options and examples, "jsonrpc --version" the version. URL is ws:, wss:,
http: or https:, or "stdio:PROGRAM ARGUMENTS"; without a scheme it is a WebSocket's. PARAMS are JSON,
name=value pairs, values by position, @FILE, or - for standard input.

Exit codes: 0 ok, 1 the server answered with an error, 2 wrong usage, 3 no connection, 4 no answer in time.`;

const CONNECTION = `Options:
  -H, --header "name: value"   a header of the request (may be given again)
  --token TOKEN                a bearer token
  --user NAME[:PASSWORD]       log in with the method "login"; the password may be in JSONRPC_PASSWORD
  --timeout SECONDS            how long to wait for connection and answer (default: 30)
  --json                       print JSON in one line each`;

/** The help of each command. */
export const COMMAND_HELP: Readonly<Record<string, string>> = {
  call: `Usage: jsonrpc call URL METHOD [PARAMS] [OPTIONS]

Examples:
  jsonrpc call localhost:8000 add 1 2
  jsonrpc call localhost:8000 add a=1 b=2
  jsonrpc call localhost:8000 report '{"year": 2026}' --timeout 120
  jsonrpc call https://rpc.example/rpc import @data.json --token "$TOKEN"
  jsonrpc call "stdio:node server.js" ping

${CONNECTION}`,
  notify: `Usage: jsonrpc notify URL METHOD [PARAMS] [OPTIONS]

Example:
  jsonrpc notify localhost:8000 log level=info text="It works"

${CONNECTION}`,
  methods: `Usage: jsonrpc methods URL [OPTIONS]

Example:
  jsonrpc methods localhost:8000 --user ada

${CONNECTION}`,
  topics: `Usage: jsonrpc topics URL [OPTIONS]

Example:
  jsonrpc topics localhost:8000

${CONNECTION}`,
  subscribe: `Usage: jsonrpc subscribe URL TOPIC... [OPTIONS]

Examples:
  jsonrpc subscribe localhost:8000 clock
  jsonrpc subscribe localhost:8000 room.kitchen room.hall --recover
  jsonrpc subscribe localhost:8000 chat --last 50
  jsonrpc subscribe localhost:8000 prices --json --count 100 | jq .data

  --last N                     print the newest N events that each topic has kept first
  --once                       print what the topics have kept (--last, or 1), and end
  --recover                    fetch the events that were missed, after a reconnect
  --count N                    end after N events

${CONNECTION}`,
  stream: `Usage: jsonrpc stream URL METHOD [PARAMS] [OPTIONS]

Prints what a method yields that returns a generator, or the items of a subscription by id.

Examples:
  jsonrpc stream localhost:8000 numbers 3
  jsonrpc stream wss://ethereum.example eth_subscribe newHeads
  jsonrpc stream localhost:8000 count 10 --unsubscribe count_end --notification count_item

  --unsubscribe METHOD         the method that ends a subscription by id (default: what the server says,
                               or else by the name, as of Ethereum's nodes)
  --notification METHOD        the notification that carries its items (default: likewise)
  --count N                    end after N items

${CONNECTION}`,
  discover: `Usage: jsonrpc discover URL [OPTIONS]

Example:
  jsonrpc discover localhost:8000 > openrpc.json

${CONNECTION}`,
  types: `Usage: jsonrpc types URL [OPTIONS]

Writes an interface Api for connect<Api>(), out of the server's OpenRPC document.

Example:
  jsonrpc types localhost:8000 > api.d.ts

${CONNECTION}`,
  repl: `Usage: jsonrpc repl URL [OPTIONS]

Example:
  jsonrpc repl localhost:8000 --user ada

The history is in ~/.jsonrpc_history, or where JSONRPC_HISTORY says.

${CONNECTION}`,
  serve: `Usage: jsonrpc serve MODULE [OPTIONS]

Serves the JsonRpc that the module exports, or else all functions that it exports. For an OpenRPC document, a
.json file, it serves made-up answers that fit the document: for a front end whose server is not there.

Examples:
  jsonrpc serve ./math.ts --port 8080
  jsonrpc serve openrpc.json

Options:
  --port PORT                  the port; 0 for a free one (default: 8000)
  --hostname ADDRESS           the address to listen on (default: 127.0.0.1)
  --json                       print the URL as JSON`,
  trace: `Usage: jsonrpc trace URL [OPTIONS]

Listens, passes WebSockets and POSTs on to URL, and prints each text: ← from the client, → to it.

Examples:
  jsonrpc trace localhost:8000 --port 8001
  jsonrpc trace wss://rpc.example/rpc --json > trace.jsonl

Options:
  --port PORT                  the port; 0 for a free one (default: 8000)
  --hostname ADDRESS           the address to listen on (default: 127.0.0.1)
  --secrets                    show passwords and tokens
  --json                       print JSON in one line each`,
  bridge: `Usage: jsonrpc bridge URL [OPTIONS]

Joins standard input and output to a server: a program that speaks JSON-RPC on its standard output can
then talk to a WebSocket. One message per line, or with Content-Length headers, as the first byte says.

Ends when its input has ended and its calls are answered, or with exit code 3 when the server has closed
the connection.

Examples:
  jsonrpc bridge wss://rpc.example/rpc --token "$TOKEN"
  echo '{"jsonrpc":"2.0","method":"add","params":[1,2],"id":1}' | jsonrpc bridge localhost:8000

  -H, --header "name: value"   a header of the request (may be given again)
  --token TOKEN                a bearer token
  --timeout SECONDS            how long answers may take after the end of the input (default: 30)`,
  bench: `Usage: jsonrpc bench URL METHOD [PARAMS] [OPTIONS]

Ends with exit code 1 if the server answered no call with a result.

Example:
  jsonrpc bench localhost:8000 add 1 2 --connections 50 --in-flight 10 --duration 10

  --connections N              how many connections (default: 10)
  --in-flight N                calls in flight on each (default: 1)
  --duration SECONDS           how long (default: 5)

${CONNECTION}`,
};
