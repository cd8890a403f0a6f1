// What the Node peers share with each other: printing, serving, dialling.

import grpc from "@grpc/grpc-js";

/** gRPC's own name of a status code. */
export const statusName = (code) => grpc.status[code];

/** Print one line. */
export function show(line) {
  process.stdout.write(`${line}\n`);
}

/** Serve until SIGTERM or SIGINT; open calls then have `graceMs` to finish. */
export function serve(server, listen, graceMs) {
  server.bindAsync(listen, grpc.ServerCredentials.createInsecure(), (error, port) => {
    if (error) {
      console.error(error.message);
      process.exit(1);
    }
    const end = () => {
      setTimeout(() => server.forceShutdown(), graceMs).unref();
      server.tryShutdown(() => process.exit(0));
    };
    process.once("SIGTERM", end);
    process.once("SIGINT", end);
    show(`listening on ${listen.startsWith("unix:") ? listen : `${listen.slice(0, listen.lastIndexOf(":"))}:${port}`}`);
  });
}

/** The address to dial, from --target or the environment. */
export function targetOf(options) {
  const target = options.target ?? process.env.DUPLEXMOCK_TARGET;
  if (!target) {
    console.error("--target is missing, and DUPLEXMOCK_TARGET is not set");
    process.exit(2);
  }
  return target;
}
