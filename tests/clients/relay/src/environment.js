import { Environment, Network, RecordSource, Store } from "relay-runtime";

export function makeEnvironment(url, headers = {}) {
  async function fetchQuery({ id, text }, variables) {
    const document = text ? { query: text } : { documentId: id };
    const response = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...headers },
      body: JSON.stringify({ ...document, variables }),
    });
    return response.json();
  }

  return new Environment({
    network: Network.create(fetchQuery),
    store: new Store(new RecordSource()),
    getDataID: (record) => record.nodeId,
  });
}
