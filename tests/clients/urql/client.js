import { Client, fetchExchange, makeOperation, mapExchange } from "@urql/core";
import { cacheExchange } from "@urql/exchange-graphcache";
import { relayPagination } from "@urql/exchange-graphcache/extras";
import { retryExchange } from "@urql/exchange-retry";

// What became of the request is not known, or it has not been executed: the client repeats it.
const UNKNOWN = ["IDEMPOTENCY_KEY_IN_USE", "OUTCOME_UNKNOWN", "TIMEOUT", "SERVICE_UNAVAILABLE"];

// All attempts of a mutation have one key. A form gives its key in the context: `{ idempotencyKey }`.
const key = mapExchange({
  onOperation(operation) {
    if (operation.kind !== "mutation") return operation;
    const { fetchOptions, idempotencyKey = crypto.randomUUID() } = operation.context;
    const headers = { ...fetchOptions?.headers, "Idempotency-Key": `"${idempotencyKey}"` };
    return makeOperation("mutation", operation, {
      ...operation.context,
      fetchOptions: { ...fetchOptions, headers },
    });
  },
});

const retry = retryExchange({
  initialDelayMs: 300,
  maxNumberAttempts: 5,
  retryIf: ({ networkError, graphQLErrors }) =>
    networkError || graphQLErrors.some(({ extensions }) => UNKNOWN.includes(extensions.code)),
});

// The client asks for the lists again that it shows. They have their own filters and orders.
const forgetLists = (cache) => {
  for (const { fieldName, arguments: given } of cache.inspectFields("Query")) {
    if (fieldName === "notesConnection") cache.invalidate("Query", fieldName, given);
  }
};

const updates = {
  createNote: ({ createNote }, _input, cache) => createNote.note && forgetLists(cache),
  restoreNote: ({ restoreNote }, _input, cache) => restoreNote.note && forgetLists(cache),
  deleteNote({ deleteNote: { deletedId } }, _input, cache) {
    if (!deletedId) return;
    cache.invalidate({ __typename: "Note", id: deletedId });
    forgetLists(cache);
  },
};

const optimistic = {
  updateNote: ({ input: { expectedVersion, ...change } }) => ({
    __typename: "NotePayload",
    note: { __typename: "Note", ...change, version: expectedVersion },
    userErrors: [],
  }),
};

const withoutKey = () => null;

const cache = () =>
  cacheExchange({
    resolvers: { Query: { notesConnection: relayPagination() } },
    keys: { NoteConnection: withoutKey, NoteEdge: withoutKey, PageInfo: withoutKey, UserError: withoutKey },
    optimistic,
    updates: { Mutation: updates },
  });

export function makeClient(options) {
  return new Client({ ...options, exchanges: [cache(), key, retry, fetchExchange] });
}
