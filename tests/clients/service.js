// The service that the tests ask. `make check-clients` starts one, and so does `make run`.

export const URL = process.env.PCF_URL ?? "http://127.0.0.1:8080/graphql";
export const viewer = { authorization: "Bearer test-token" }; // the first user

/** Return a `fetch`, and the list of its requests: the method and `Cache-Status`. */
export function recordingFetch() {
  const requests = [];
  const recording = async (address, options) => {
    const response = await fetch(address, options);
    const cacheStatus = response.headers.get("cache-status");
    requests.push({ method: options?.method ?? "GET", cacheStatus });
    return response;
  };
  return { fetch: recording, requests };
}

/** Return notes with the newest first, as the service sorts them: equal times by id. */
export function newestFirst(notes) {
  const time = (note) => Date.parse(note.createdAt);
  return notes.toSorted((a, b) => time(b) - time(a) || b.id - a.id);
}
