// Apollo Client: pages, automatic persisted queries, the viewer, errors.

import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { test } from "node:test";

import {
  ApolloClient,
  CombinedGraphQLErrors,
  HttpLink,
  InMemoryCache,
  gql,
} from "@apollo/client";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { relayStylePagination } from "@apollo/client/utilities";

import { URL, newestFirst, recordingFetch, viewer } from "./service.js";

// The key arguments keep lists with other filters and orders apart. A cursor is none of them, so the
// cache answers a query with `after` by what it has of the list: only fetchMore reads another page.
const notesConnection = relayStylePagination(["filter", "orderBy"]);
const typePolicies = { Query: { fields: { notesConnection } } };

function makeClient(link) {
  return new ApolloClient({ link, cache: new InMemoryCache({ typePolicies }) });
}

const NOTES = gql`
  query Notes($after: String, $filter: NoteFilter) {
    notesConnection(first: 7, after: $after, filter: $filter) {
      edges {
        node {
          id
          createdAt
          author {
            id
          }
        }
      }
      pageInfo {
        hasNextPage
        endCursor
      }
      totalCount
    }
  }
`;

test("fetchMore reads a list to its end", async () => {
  const { fetch, requests } = recordingFetch();
  const client = makeClient(new HttpLink({ uri: URL, fetch }));
  const variables = { filter: { authorId: { in: ["2", "3", "4"] } } };
  await client.query({ query: NOTES, variables });
  const list = client.watchQuery({ query: NOTES, variables });
  const current = () => list.getCurrentResult().data.notesConnection;

  assert.equal(current().edges.length, 7);
  const count = current().totalCount;
  for (let rest = count - 7; rest > 0; rest -= 7) {
    assert.equal(current().pageInfo.hasNextPage, true);
    await list.fetchMore({ variables: { after: current().pageInfo.endCursor } });
  }
  assert.equal(current().pageInfo.hasNextPage, false);

  const notes = current().edges.map((edge) => edge.node);
  assert.equal(notes.length, count);
  assert.equal(new Set(notes.map((note) => note.id)).size, count);
  assert.deepEqual(notes, newestFirst(notes));
  assert.equal(requests.length, Math.ceil(count / 7));
});

test("lists with other filters are other lists", async () => {
  const client = makeClient(new HttpLink({ uri: URL }));
  for (const author of ["2", "3"]) {
    const filter = { authorId: { eq: author } };
    const { data } = await client.query({ query: NOTES, variables: { filter } });
    const authors = data.notesConnection.edges.map((edge) => edge.node.author.id);
    assert.deepEqual(authors, Array(7).fill(author));
  }
});

test("a persisted query is sent by GET, and the second answer comes from the cache", async () => {
  const { fetch, requests } = recordingFetch();
  const sha256 = (text) => createHash("sha256").update(text).digest("hex");
  const persisted = new PersistedQueryLink({ sha256, useGETForHashedQueries: true });
  const link = persisted.concat(new HttpLink({ uri: URL, fetch }));
  const name = `Q${randomUUID().replaceAll("-", "")}`; // a query that no client has sent before
  const query = gql`query ${name} { notesConnection(first: 3) { nodes { id title } } }`;

  const first = await makeClient(link).query({ query });
  assert.deepEqual(requests.map((each) => each.method), ["GET", "POST"]); // the second has the text
  const second = await makeClient(link).query({ query });
  assert.deepEqual(requests.map((each) => each.method), ["GET", "POST", "GET"]);
  assert.match(requests[1].cacheStatus, /fwd=/);
  assert.match(requests[2].cacheStatus, /^pcf; hit/);
  assert.deepEqual(second.data, first.data);
});

test("a token names the viewer", async () => {
  const query = gql`{ me { id name email } }`;
  const member = makeClient(new HttpLink({ uri: URL, headers: viewer }));
  const { me } = (await member.query({ query })).data;
  assert.equal(me.id, "1");
  assert.match(me.email, /@/);
  const stranger = makeClient(new HttpLink({ uri: URL }));
  assert.equal((await stranger.query({ query })).data.me, null);
});

test("errors have a code", async () => {
  const client = makeClient(new HttpLink({ uri: URL }));
  const codes = async (options) => {
    const { error } = await client.query({ ...options, errorPolicy: "all" });
    assert.ok(CombinedGraphQLErrors.is(error), error);
    return error.errors.map((each) => each.extensions.code);
  };
  assert.deepEqual(await codes({ query: NOTES, variables: { after: "none" } }), ["BAD_USER_INPUT"]);
  assert.deepEqual(await codes({ query: gql`{ noSuchField }` }), ["GRAPHQL_VALIDATION_FAILED"]);
});
