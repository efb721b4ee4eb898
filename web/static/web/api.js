/**
 * The API: one client for the page, and what its errors mean for a person.
 *
 * The browser adds the session cookie to each request, so no script sees a credential. The page keeps no cache: the
 * server answers a repeated query from its own, which is never stale.
 */
import { useEffect, useState } from "./vendor/preact.js";
import { Client, fetchExchange, mapExchange } from "./vendor/urql.js";

const PATIENCE = 35_000; // ms; the server answers within 30 seconds

/** @typedef {{kind: "offline"|"expired"|"busy"|"failed"|"refused", message: string}} Problem */

const client = new Client({
  url: "/graphql",
  preferGetMethod: false,
  exchanges: [mapExchange({ onError: (error) => problemOf(error).kind === "expired" && onExpired() }), fetchExchange],
  fetch: (url, options) =>
    fetch(url, { ...options, signal: AbortSignal.any([options.signal, AbortSignal.timeout(PATIENCE)]) }),
});
const EXPIRED = { kind: "expired", message: "Your session has ended. Log in again to go on." };
const writes = new EventTarget();
let onExpired = () => {};

/** Call `callback` when the server no longer knows the session. */
export function whenExpired(callback) {
  onExpired = callback;
}

/**
 * Send a query.
 * @returns {Promise<{data?: object, problem?: Problem}>}
 */
export async function query(document, variables = {}) {
  const { data, error } = await client.query(document, variables);
  return error ? { problem: problemOf(error) } : { data };
}

/**
 * Keep the answer to a query, and send the query again after each mutation. An earlier request ends then.
 * @returns {{data?: object, problem?: Problem}}
 */
export function useQuery(document, variables = {}) {
  const [state, setState] = useState({});
  useEffect(() => {
    let request;
    function ask() {
      request?.unsubscribe();
      request = client.query(document, variables).subscribe(({ data, error }) =>
        setState((before) => (error ? { data: before.data, problem: problemOf(error) } : { data })),
      );
    }
    ask();
    writes.addEventListener("write", ask);
    return () => {
      request.unsubscribe();
      writes.removeEventListener("write", ask);
    };
  }, [document, JSON.stringify(variables)]);
  return state;
}

/** Send all queries that the page shows again. */
export function refresh() {
  writes.dispatchEvent(new Event("write"));
}

/**
 * Send a mutation. Requests with the same `key` have the effect of one, whatever was lost on the way.
 * @returns {Promise<{payload?: object, problem?: Problem}>} the payload has `userErrors`
 */
export async function mutate(document, input, key = newKey()) {
  const headers = { "Idempotency-Key": `"${key}"` };
  const { data, error } = await client.mutation(document, input ? { input } : {}, { fetchOptions: { headers } });
  if (error) return { problem: problemOf(error) };
  const payload = Object.values(data).find((it) => it?.userErrors);
  if (payload.userErrors.some(({ code }) => code === "UNAUTHENTICATED")) {
    onExpired();
    return { problem: EXPIRED };
  }
  refresh();
  return { payload };
}

/** Return a text that nobody else has: 128 random bits. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Say what an error of the client means for a person.
 * @returns {Problem}
 */
function problemOf(error) {
  const status = error.response?.status;
  if (!status) return { kind: "offline", message: "The service cannot be reached. This device keeps what you type." };
  if (status === 401) return EXPIRED;
  if (status === 429 || status === 503 || status === 409) {
    const seconds = error.response.headers.get("Retry-After") ?? 1;
    return { kind: "busy", message: `The service is busy. Try again after ${seconds} s.` };
  }
  const kind = status >= 500 ? "failed" : "refused"; // of a refused request nothing was written
  return { kind, message: error.graphQLErrors[0]?.message ?? "The service failed. Try again." };
}
