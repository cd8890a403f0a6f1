// The options of a peer: `NAME=VALUE`, by gRPC's names of channel arguments, and `padding=STRATEGY` with a number of
// Node's http2.constants.PADDING_STRATEGY_*.
//
// Node's http2 knows more than grpc-js lets one ask for. So what opens sessions is given these on top, for all sessions
// of this process.

import http2 from "node:http2";

const OF_HTTP2 = {
  padding: (value) => ({ paddingStrategy: value }),
  "grpc.http2.hpack_table_size.encoder": (value) => ({ maxDeflateDynamicTableSize: value }),
  "grpc.http2.hpack_table_size.decoder": (value) => ({ settings: { headerTableSize: value } }),
};

/** How parseArgs is told of them. */
export const OPTION = { type: "string", multiple: true, default: [] };

/** The options that grpc-js takes itself; the others are given to sessions that are opened from now on. */
export function grpcOptions(texts) {
  const given = texts.map((text) => text.split("=")).map(([name, value]) => [name, Number(value)]);
  const more = {};
  for (const [name, value] of given) Object.assign(more, OF_HTTP2[name]?.(value));
  const { connect, createServer } = http2;
  http2.connect = (authority, options, listener) => connect(authority, together(options, more), listener);
  http2.createServer = (options, listener) =>
    createServer(together(options, more), listener).on("session", (session) => sessions.push(session));
  return Object.fromEntries(given.filter(([name]) => !OF_HTTP2[name]));
}

const sessions = []; // of servers

/** Announce another size of the header table to all clients, and wait until they have taken note. */
export const resizeTables = (size) =>
  Promise.all(sessions.map((each) => new Promise((noted) => each.settings({ headerTableSize: size }, noted))));

const together = (options, more) => ({ ...options, ...more, settings: { ...options.settings, ...more.settings } });
