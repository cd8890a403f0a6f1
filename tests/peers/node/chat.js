// What the two chat programs say and print, as examples/chat_app does.

import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const PROTO = fileURLToPath(new URL("../../../proto/chat.proto", import.meta.url));

/** Client and service definition of chat.ChatService. */
export const { ChatService } = grpc.loadPackageDefinition(loader.loadSync(PROTO, { longs: String, defaults: true })).chat;

/** The time a message carries: `fixed`, or the wall clock where that is undefined. */
export const stamp = (fixed) => fixed ?? String(Math.floor(Date.now() / 1000));

export const said = (arrow, message) => `${arrow} [${message.timestamp}] ${message.sender}: ${message.message}`;
