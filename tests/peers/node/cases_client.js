// Plays the client of cases: a JSON line for each. They are played one after the other on one connection, or, with
// --connections, dealt to so many and all played at once.
//
//     node cases_client.js --cases FILE --target HOST:PORT [--case NAME ...] [--connections COUNT] [--option NAME=VALUE ...]

import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import grpc from "@grpc/grpc-js";
import { Inbox, asIs, asMetadata, pathOf, payload, printSaw, readCases, shownMetadata } from "./cases.js";
import { OPTION, grpcOptions } from "./options.js";
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

async function act(client, call, inbox, [name, ...rest]) {
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
    case "await-line":
      return line();
    case "await-goaway":
      return leaving(client.getChannel(), grpc.connectivityState.READY);
    case "cancel":
      call.cancel();
      return;
    default:
      throw new Error(`no such step of a client: ${name}`);
  }
}

let lines;

/** Wait for a line on stdin. */
async function line() {
  lines ??= createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  await lines.next();
}

/** Wait until a channel is no longer in this state. */
async function leaving(channel, state) {
  while (channel.getConnectivityState(false) === state) {
    await new Promise((changed) => channel.watchConnectivityState(state, Infinity, changed));
  }
}

/** Do what the case's client does, while reading all the time, and print what was seen. */
async function play(client, played) {
  if (played.opens_on_line) await line();
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
  for (const step of played.client) await act(client, call, inbox, step);
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
    connections: { type: "string" },
    option: OPTION,
  },
});
const cases = readCases(options.cases);
const names = options.case ?? [...cases.keys()];
const channelOptions = grpcOptions(options.option);

const connected = (more) =>
  new grpc.Client(targetOf(options), grpc.credentials.createInsecure(), { ...channelOptions, ...more });

async function oneAfterTheOther() {
  const plain = connected({});
  const compressing = connected({ "grpc.default_compression_algorithm": grpc.compressionAlgorithms.gzip });
  for (const name of names) {
    const played = cases.get(name);
    await play(played.compress ? compressing : plain, played);
  }
  plain.close();
  compressing.close();
}

async function allAtOnce(connections) {
  const ofItsOwn = { "grpc.use_local_subchannel_pool": 1 }; // a connection; channels of one target share one else
  const clients = Array.from({ length: connections }, () => connected(ofItsOwn));
  await Promise.all(names.map((name, index) => play(clients[index % connections], cases.get(name))));
  for (const client of clients) client.close();
}

await (options.connections ? allAtOnce(Number(options.connections)) : oneAfterTheOther());
