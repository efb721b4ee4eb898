// urql: pages in the normalized cache, persisted queries.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import { Client, fetchExchange, gql } from "@urql/core";
import { cacheExchange } from "@urql/exchange-graphcache";
import { relayPagination } from "@urql/exchange-graphcache/extras";
import { persistedExchange } from "@urql/exchange-persisted";

import { URL, newestFirst, recordingFetch } from "./service.js";

const resolvers = { Query: { notesConnection: relayPagination() } };
const cache = () => cacheExchange({ resolvers });

const NOTES = gql`
  query ($after: String, $filter: NoteFilter) {
    notesConnection(first: 7, after: $after, filter: $filter) {
      edges {
        node {
          id
          createdAt
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

test("relayPagination reads a list to its end", async () => {
  const { fetch, requests } = recordingFetch();
  const client = new Client({ url: URL, fetch, exchanges: [cache(), fetchExchange] });
  const filter = { authorId: { in: ["2", "3", "4"] } };
  const pages = [];
  let after = null;
  do {
    const { data, error } = await client.query(NOTES, { filter, after });
    assert.ifError(error);
    pages.push(data.notesConnection);
    after = data.notesConnection.pageInfo.endCursor;
  } while (pages.at(-1).pageInfo.hasNextPage && pages.length < 20);

  const { edges, totalCount, pageInfo } = pages.at(-1); // the whole list
  const notes = edges.map((edge) => edge.node);
  assert.equal(pageInfo.hasNextPage, false);
  assert.equal(notes.length, totalCount);
  assert.equal(new Set(notes.map((note) => note.id)).size, totalCount);
  assert.deepEqual(notes, newestFirst(notes));
  assert.equal(requests.length, Math.ceil(totalCount / 7));
});

test("a persisted query is sent by GET, and the second answer comes from the cache", async () => {
  const { fetch, requests } = recordingFetch();
  const name = `Q${randomUUID().replaceAll("-", "")}`; // a query that no client has sent before
  const query = `query ${name} { notesConnection(first: 3) { nodes { id title } } }`;
  const ask = async () => {
    const persisted = persistedExchange({ preferGetForPersistedQueries: true });
    const client = new Client({ url: URL, fetch, exchanges: [cache(), persisted, fetchExchange] });
    const { data, error } = await client.query(query, {});
    assert.ifError(error);
    return data;
  };

  const first = await ask();
  assert.deepEqual(requests.map((each) => each.method), ["GET", "GET"]); // the second has the text
  assert.deepEqual(await ask(), first);
  assert.deepEqual(requests.map((each) => each.method), ["GET", "GET", "GET"]);
  assert.match(requests[2].cacheStatus, /^pcf; hit/);
});

test("errors have a code", async () => {
  const client = new Client({ url: URL, exchanges: [cache(), fetchExchange] });
  const { error } = await client.query(NOTES, { after: "none" });
  assert.deepEqual(error.graphQLErrors.map((each) => each.extensions.code), ["BAD_USER_INPUT"]);
});
