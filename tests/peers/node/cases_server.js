// Plays the server of every case: a JSON line for each call when it ends.
//
//     node cases_server.js --cases FILE --listen HOST:PORT [--option NAME=VALUE ...]

import { parseArgs } from "node:util";
import grpc from "@grpc/grpc-js";
import { Inbox, METHODS, asIs, asMetadata, pathOf, payload, printSaw, readCases } from "./cases.js";
import { OPTION, grpcOptions, resizeTables } from "./options.js";
import { serve } from "./serving.js";

/** Do what the case's server does, while reading all the time, and print what was seen; unary responses have a callback. */
async function play(call, callback) {
  begun.change(({ messages }) => messages.push(call));
  const played = cases.get(call.metadata.get("case")[0]);
  const inbox = new Inbox();
  const replies = [];
  call.on("cancelled", () => inbox.change((box) => (box.over = true)));
  if (call.request) {
    inbox.messages.push(call.request);
    inbox.halfClosed = true;
  } else {
    call.on("data", (message) => inbox.change(({ messages }) => messages.push(message)));
    call.on("end", () => inbox.change((box) => (box.halfClosed = true)));
  }
  const send = callback ? (message) => replies.push(message) : (message) => call.write(message);
  const ending = [];
  let finish = () => {};
  for (const [name, ...rest] of played.server) {
    switch (name) {
      case "header":
        call.sendMetadata(asMetadata(rest[0]));
        break;
      case "send":
        for (let times = rest[1] ?? 1; times > 0; times -= 1) send(payload(rest[0]));
        break;
      case "await":
        await inbox.until(({ messages }) => messages.length >= rest[0]);
        break;
      case "await-calls":
        await begun.until(({ messages }) => messages.length >= rest[0]);
        break;
      case "table-size":
        await resizeTables(rest[0]);
        break;
      case "stop":
        server.tryShutdown(() => {});
        break;
      case "await-half-close":
        await inbox.until(({ halfClosed }) => halfClosed);
        ending.push(["half-close"]);
        break;
      case "await-cancel":
        await inbox.until(() => false);
        ending.push(["cancel"]);
        break;
      case "status":
        finish = () => end(call, callback, Buffer.concat(replies), ...rest);
        break;
      default:
        throw new Error(`no such step of a server: ${name}`);
    }
  }
  printSaw(played.case, "server", call.metadata, inbox.messages, ending);
  finish();
}

/** End the call with a status, by its callback if it has one. */
function end(call, callback, reply, name, details = "", trailer = []) {
  const metadata = asMetadata(trailer);
  const error = { code: grpc.status[name], details, metadata };
  if (name !== "OK") {
    if (callback) callback(error);
    else call.emit("error", error);
  } else if (callback) callback(null, reply, metadata);
  else call.end(metadata);
}

const { values: options } = parseArgs({
  options: {
    listen: { type: "string", default: "127.0.0.1:0" },
    cases: { type: "string" },
    option: OPTION,
  },
});
const cases = readCases(options.cases);
const begun = new Inbox(); // of calls
const definition = (method) => ({
  path: pathOf(method),
  requestStream: method === "Bidi" || method === "ClientStream",
  responseStream: method === "Bidi" || method === "ServerStream",
  requestSerialize: asIs,
  requestDeserialize: asIs,
  responseSerialize: asIs,
  responseDeserialize: asIs,
});
const server = new grpc.Server(grpcOptions(options.option));
server.addService(
  Object.fromEntries(METHODS.map((method) => [method, definition(method)])),
  Object.fromEntries(METHODS.map((method) => [method, play])),
);
serve(server, options.listen, 1000);
