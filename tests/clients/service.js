// The services that the tests ask. `make check-clients` starts them; `make run` starts the first.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";

export const URL = process.env.PCF_URL ?? "http://127.0.0.1:8080/graphql";
export const TRUSTED_URL = process.env.PCF_TRUSTED_URL; // trusts the documents of Relay alone
export const viewer = { authorization: "Bearer test-token" }; // the first user

/** Send one document, and return the response: `data` and `errors`. */
export async function graphql(query, variables, { url = URL, headers, extensions } = {}) {
  const response = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify({ query, variables, extensions }),
  });
  return response.json();
}

/** Make an account without notes; return its user's id and the header with its access token. */
export async function newViewer() {
  const name = `u${randomUUID().replaceAll("-", "").slice(0, 20)}`;
  const password = randomUUID();
  const signUp = { username: name, email: `${name}@example.org`, password, name };
  const document = `mutation ($signUp: SignUpInput!, $logIn: LogInInput!) {
    signUp(input: $signUp) { userErrors { code } }
    logIn(input: $logIn) { accessToken user { id } userErrors { code } }
  }`;
  const { data } = await graphql(document, { signUp, logIn: { username: name, password } });
  assert.deepEqual([data.signUp.userErrors, data.logIn.userErrors], [[], []]);
  const { accessToken, user } = data.logIn;
  return { id: user.id, headers: { authorization: `Bearer ${accessToken}` } };
}

/**
 * Return a `fetch`, and the list of its requests: method, key, status and `Cache-Status`.
 *
 * `hold()` lets the next answer wait for `release()`. Its `sent` is a promise of the request.
 */
export function recordingFetch() {
  const requests = [];
  let held = null;
  const recording = async (address, options) => {
    const key = new Headers(options?.headers).get("idempotency-key");
    const request = { method: options?.method ?? "GET", key };
    requests.push(request);
    const hold = held;
    held = null;
    const response = await fetch(address, options);
    request.status = response.status;
    request.cacheStatus = response.headers.get("cache-status");
    hold?.onSent();
    await hold?.released;
    return response;
  };
  const hold = () => {
    let release, onSent;
    const released = new Promise((resolve) => (release = resolve));
    const sent = new Promise((resolve) => (onSent = resolve));
    held = { released, onSent };
    return { sent, release };
  };
  return { fetch: recording, requests, hold };
}

/** Return notes with the newest first, as the service sorts them: equal times by id. */
export function newestFirst(notes) {
  const time = (note) => Date.parse(note.createdAt);
  return notes.toSorted((a, b) => time(b) - time(a) || b.id - a.id);
}

/** Assert that a guide quotes files of a folder: each block is a part of one of them. */
export async function assertQuoted(guide, folder) {
  const read = (path) => readFile(new globalThis.URL(path, import.meta.url), "utf8");
  const files = await Promise.all(["client.js", "notes.js"].map((name) => read(`${folder}/${name}`)));
  const [, section] = (await read(`../../docs/guide/${guide}`)).split(`<!-- ${folder} -->`);
  const blocks = section.split("<!-- end -->")[0].match(/(?<=```js\n)[^]*?(?=```)/g);
  assert.ok(blocks.length > 0);
  for (const block of blocks) assert.ok(files.some((file) => file.includes(block)), block);
}
