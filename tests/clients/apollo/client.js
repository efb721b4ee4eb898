import {
  ApolloClient,
  ApolloLink,
  CombinedGraphQLErrors,
  HttpLink,
  InMemoryCache,
  ServerError,
} from "@apollo/client";
import { SetContextLink } from "@apollo/client/link/context";
import { RetryLink } from "@apollo/client/link/retry";
import { relayStylePagination } from "@apollo/client/utilities";
import { map } from "rxjs";

// What became of the request is not known, or it has not been executed: the client repeats it.
const UNKNOWN = ["IDEMPOTENCY_KEY_IN_USE", "OUTCOME_UNKNOWN", "TIMEOUT", "SERVICE_UNAVAILABLE"];

// All attempts of a mutation have one key. A form gives its key: `context: { idempotencyKey }`.
const key = new SetContextLink(({ headers, idempotencyKey = crypto.randomUUID() }, { operationType }) =>
  operationType === "mutation" ? { headers: { ...headers, "Idempotency-Key": `"${idempotencyKey}"` } } : {},
);

const retry = new RetryLink({
  attempts: { max: 5, retryIf: (error) => !ServerError.is(error) || error.statusCode >= 500 },
});

// RetryLink repeats what throws an error.
const throwUnknown = new ApolloLink((operation, forward) =>
  forward(operation).pipe(
    map((result) => {
      if (result.errors?.some(({ extensions }) => UNKNOWN.includes(extensions?.code))) {
        throw new CombinedGraphQLErrors(result);
      }
      return result;
    }),
  ),
);

export function makeClient(options) {
  const link = ApolloLink.from([key, retry, throwUnknown, new HttpLink(options)]);
  const notesConnection = relayStylePagination(["filter", "orderBy"]);
  const typePolicies = { Query: { fields: { notesConnection } } };
  return new ApolloClient({ link, cache: new InMemoryCache({ typePolicies }) });
}
