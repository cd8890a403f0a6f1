// The chat server: node chat_server.js --listen 127.0.0.1:0 --kind push

import { parseArgs } from "node:util";
import grpc from "@grpc/grpc-js";
import { ChatService, said, stamp } from "./chat.js";
import { serve, show } from "./serving.js";

const { values: options } = parseArgs({
  options: {
    listen: { type: "string", default: "127.0.0.1:0" },
    kind: { type: "string", default: "push" },
    interval: { type: "string", default: "5" },
    pushes: { type: "string" },
    timestamp: { type: "string" },
    grace: { type: "string", default: "1" },
  },
});

function send(call, text) {
  const message = { sender: "Server", message: text, timestamp: stamp(options.timestamp) };
  show(said("<", message));
  call.write(message);
}

function acknowledge(call) {
  call.on("data", (message) => {
    show(said(">", message));
    send(call, `ack: ${message.message}`);
  });
  call.on("end", () => call.end());
}

/** Greet at an interval while reading; the call ends when both are done. */
function push(call) {
  const pushes = options.pushes === undefined ? Infinity : Number(options.pushes);
  let pushed = 0;
  let halfClosed = false;
  const endIfDone = () => {
    if (halfClosed && pushed >= pushes) call.end();
  };
  const greet = () => {
    if (pushed < pushes) {
      send(call, "Hello from the server!");
      pushed += 1;
    }
    if (pushed >= pushes) clearInterval(timer);
    endIfDone();
  };
  const timer = setInterval(greet, Number(options.interval) * 1000);
  call.on("cancelled", () => clearInterval(timer));
  call.on("data", (message) => show(said(">", message)));
  call.on("end", () => {
    halfClosed = true;
    endIfDone();
  });
  greet();
}

const kinds = { ack: acknowledge, push };
if (!(options.kind in kinds)) {
  console.error("--kind is push or ack");
  process.exit(2);
}
const server = new grpc.Server();
server.addService(ChatService.service, { Chat: kinds[options.kind] });
serve(server, options.listen, Number(options.grace) * 1000);
