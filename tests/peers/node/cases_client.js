// Plays the client of cases, one after the other on one connection: a JSON line for each.
//
//     node cases_client.js --cases FILE --target HOST:PORT [--case NAME ...]

import { parseArgs } from "node:util";
import grpc from "@grpc/grpc-js";
import { Inbox, asIs, asMetadata, pathOf, payload, printSaw, readCases, shownMetadata } from "./cases.js";
import { statusName, targetOf } from "./serving.js";

const LOCAL = [grpc.status.CANCELLED, grpc.status.DEADLINE_EXCEEDED]; // their details are each library's own

/** Start the case's call; `reply` is given a unary response. */
function start(client, played, reply) {
  const given = [pathOf(played.method), asIs, asIs];
  const metadata = asMetadata([["case", played.case], ...(played.metadata ?? [])]);
  const options = played.deadline_ms ? { deadline: Date.now() + played.deadline_ms } : {};
  const replied = (error, message) => error || reply(message);
  switch (played.method) {
    case "Bidi":
      return client.makeBidiStreamRequest(...given, metadata, options);
    case "ClientStream":
      return client.makeClientStreamRequest(...given, metadata, options, replied);
    case "ServerStream":
      return client.makeServerStreamRequest(...given, payload(played.client[0][1]), metadata, options);
    case "Unary":
      return client.makeUnaryRequest(...given, payload(played.client[0][1]), metadata, options, replied);
  }
}

async function act(call, inbox, [name, ...rest]) {
  switch (name) {
    case "send":
      for (let times = rest[1] ?? 1; times > 0 && call.write; times -= 1) call.write(payload(rest[0]));
      return;
    case "half-close":
      call.end?.();
      return;
    case "await":
      return inbox.until(({ messages }) => messages.length >= rest[0]);
    case "await-header":
      return inbox.until(({ header }) => header);
    case "cancel":
      call.cancel();
      return;
    default:
      throw new Error(`no such step of a client: ${name}`);
  }
}

/** Do what the case's client does, while reading all the time, and print what was seen. */
async function play(client, played) {
  const inbox = new Inbox();
  const keep = (message) => inbox.change(({ messages }) => messages.push(message));
  const call = start(client, played, keep);
  let ended;
  call.on("metadata", (header) => inbox.change((box) => (box.header = header)));
  call.on("data", keep);
  call.on("error", () => {}); // what went wrong is in the status
  call.on("status", (status) => {
    ended = status;
    inbox.change((box) => (box.over = true));
  });
  for (const step of played.client) await act(call, inbox, step);
  await inbox.until(() => false);
  const details = LOCAL.includes(ended.code) || ended.code === grpc.status.OK ? "" : ended.details;
  const ending = ["status", statusName(ended.code), details, shownMetadata(ended.metadata)];
  printSaw(played.case, "client", inbox.header, inbox.messages, [ending]);
}

const { values: options } = parseArgs({
  options: {
    target: { type: "string" },
    cases: { type: "string" },
    case: { type: "string", multiple: true },
  },
});
const cases = readCases(options.cases);
const credentials = grpc.credentials.createInsecure();
const plain = new grpc.Client(targetOf(options), credentials);
const compressing = new grpc.Client(targetOf(options), credentials, {
  "grpc.default_compression_algorithm": grpc.compressionAlgorithms.gzip,
});
for (const name of options.case ?? cases.keys()) {
  const played = cases.get(name);
  await play(played.compress ? compressing : plain, played);
}
plain.close();
compressing.close();
