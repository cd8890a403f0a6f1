// The chat client: node chat_client.js --target HOST:PORT

import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import grpc from "@grpc/grpc-js";
import { ChatService, said, stamp } from "./chat.js";
import { show, statusName, targetOf } from "./serving.js";

const { values: options } = parseArgs({
  options: {
    target: { type: "string" },
    count: { type: "string", default: "3" },
    interval: { type: "string", default: "2" },
    deadline: { type: "string", default: "10" },
    timestamp: { type: "string" },
    ends: { type: "string", default: "OK" },
  },
});

const client = new ChatService(targetOf(options), grpc.credentials.createInsecure());
const call = client.Chat({ deadline: Date.now() + Number(options.deadline) * 1000 });
const over = new AbortController();

call.on("data", (message) => show(said("<", message)));
call.on("error", () => {}); // what went wrong is in the status
call.on("status", ({ code }) => {
  over.abort();
  show(`ended: ${statusName(code)}`);
  process.exitCode = statusName(code) === options.ends ? 0 : 1;
  client.close();
});

try {
  for (let number = 0; number < Number(options.count); number += 1) {
    const message = { sender: "Client", message: `Hi there! Message ${number}`, timestamp: stamp(options.timestamp) };
    show(said(">", message));
    call.write(message);
    await pause(Number(options.interval) * 1000, undefined, { signal: over.signal });
  }
  show("> half-close");
  call.end();
} catch (error) {
  if (error.name !== "AbortError") throw error; // the call is over; its reader learns how
}
