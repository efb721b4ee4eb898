// Apollo Client: optimistic edits, conflicts, repeated mutations, lists after a write.

import { test } from "node:test";

import { makeClient } from "./apollo/client.js";
import * as mutations from "./apollo/notes.js";
import { assertQuoted } from "./service.js";
import { testWriting } from "./writing.js";

async function openList({ url, headers, fetch, filter }) {
  const client = makeClient({ uri: url, headers, fetch });
  const list = client.watchQuery({ query: mutations.NOTES, variables: { filter } });
  const onChange = [];
  list.subscribe(() => onChange.splice(0).forEach((resolve) => resolve()));
  return {
    client,
    notes: () => list.getCurrentResult().data?.notesConnection.edges.map(({ node }) => node) ?? [],
    changed: () => new Promise((resolve) => onChange.push(resolve)),
  };
}

testWriting({ openList, ...mutations });

test("the guide shows these files", () => assertQuoted("apollo-and-urql.md", "apollo"));
