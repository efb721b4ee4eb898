// urql with graphcache: optimistic edits, conflicts, repeated mutations, lists after a write.

import { test } from "node:test";

import { assertQuoted } from "./service.js";
import { makeClient } from "./urql/client.js";
import * as mutations from "./urql/notes.js";
import { testWriting } from "./writing.js";

async function openList({ url, headers, fetch, filter }) {
  const client = makeClient({ url, fetchOptions: { headers }, fetch });
  let last = {};
  const onChange = [];
  client.query(mutations.NOTES, { filter }).subscribe((result) => {
    last = result;
    onChange.splice(0).forEach((resolve) => resolve());
  });
  return {
    client,
    notes: () => last.data?.notesConnection.edges.map(({ node }) => node) ?? [],
    changed: () => new Promise((resolve) => onChange.push(resolve)),
  };
}

testWriting({ openList, ...mutations });

test("the guide shows these files", () => assertQuoted("apollo-and-urql.md", "urql"));
