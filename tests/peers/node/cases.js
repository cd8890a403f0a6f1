// The cases as both programs know them: the table, payloads, and what is printed of a call.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import grpc from "@grpc/grpc-js";
import { show } from "./serving.js";

export const METHODS = ["Bidi", "ClientStream", "ServerStream", "Unary"];
export const pathOf = (method) => `/duplexmock.test.Cases/${method}`;
export const asIs = (bytes) => bytes;

/** The table, by name, in the file's order. */
export const readCases = (path) => new Map(JSON.parse(readFileSync(path, "utf8")).map((each) => [each.case, each]));

/** The bytes of a payload: a text, or {"size": N} for the letters a to z over and over. */
export function payload(written) {
  return typeof written === "string" ? Buffer.from(written) : Buffer.alloc(written.size, "abcdefghijklmnopqrstuvwxyz");
}

/** Metadata as grpc-js takes it; binary values are written as hex. */
export function asMetadata(pairs = []) {
  const metadata = new grpc.Metadata();
  for (const [key, value] of pairs) {
    metadata.add(key, key.endsWith("-bin") ? Buffer.from(value, "hex") : payload(value).toString());
  }
  return metadata;
}

export const shown = (message) =>
  message.length <= 64
    ? message.toString()
    : `${message.length} bytes ${createHash("sha256").update(message).digest("hex")}`;

/** What is printed of metadata: what a case sent, by its keys. */
export function shownMetadata(metadata) {
  const seen = {};
  for (const key of Object.keys(metadata?.getMap() ?? {}).sort()) {
    if (!key.startsWith("x-")) continue;
    const text = (value) => (key.endsWith("-bin") ? value.toString("hex") : shown(Buffer.from(value)));
    seen[key] = metadata.get(key).map(text);
  }
  return seen;
}

/** Print one call's line: the header if it had any, the messages, then how it ended. */
export function printSaw(name, side, header, messages, ending) {
  const seen = shownMetadata(header);
  const saw = Object.keys(seen).length ? [["header", seen]] : [];
  saw.push(...messages.map((message) => ["message", shown(message)]), ...ending);
  show(JSON.stringify({ case: name, side, saw }));
}

/** What has been read of a call. `until` waits for a fact about it, or for the end of the call. */
export class Inbox {
  messages = [];
  header = undefined;
  halfClosed = false;
  over = false;
  #waiting = [];

  change(what) {
    what(this);
    for (const look of this.#waiting.splice(0)) look();
  }

  async until(fact) {
    while (!fact(this) && !this.over) await new Promise((resolve) => this.#waiting.push(resolve));
  }
}
