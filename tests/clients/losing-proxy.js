// A network that loses answers: a TCP proxy in front of the service.

import { createServer, connect } from "node:net";

import { URL as service } from "./service.js";

/**
 * Return a proxy that ends the connection instead of the next answers, `proxy.toLose` of them. The service has sent
 * each of them, so it has executed the request.
 */
export async function losingProxy() {
  const { hostname, port } = new URL(service);
  const proxy = { toLose: 0 };
  const server = createServer((client) => {
    const upstream = connect(port || 80, hostname);
    client.pipe(upstream);
    upstream.on("data", (bytes) => {
      if (proxy.toLose === 0) return client.write(bytes);
      proxy.toLose -= 1;
      upstream.destroy();
      client.destroy();
    });
    for (const socket of [client, upstream]) socket.unref(); // the test need not wait for them
    for (const [one, other] of [[client, upstream], [upstream, client]]) {
      one.on("error", () => {});
      one.on("close", () => other.destroy());
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  proxy.url = `http://127.0.0.1:${server.address().port}/graphql`;
  server.unref();
  return proxy;
}
