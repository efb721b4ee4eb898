// relay-compiler and relay-runtime: @connection, @refetchable, the identity of objects.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { createOperationDescriptor, fetchQuery, getSelector } from "relay-runtime";

import notesPageQuery from "./relay/src/__generated__/notesPageQuery.graphql.js";
import notesQuery from "./relay/src/__generated__/notesQuery.graphql.js";
import notesSameIdQuery from "./relay/src/__generated__/notesSameIdQuery.graphql.js";
import notesUser from "./relay/src/__generated__/notes_user.graphql.js";
import { makeEnvironment } from "./relay/src/environment.js";
import { URL, newestFirst, viewer } from "./service.js";

const names = (tags) => tags?.map((tag) => tag.name);
const environment = () => makeEnvironment(URL, viewer);

test("a @refetchable fragment reads its @connection to the end by node(nodeId)", async () => {
  const store = environment();
  const { user } = await fetchQuery(store, notesQuery, { id: "1" }).toPromise();
  const selector = getSelector(notesUser, user);
  const current = () => store.lookup(selector).data.notesConnection;

  assert.equal(current().edges.length, 4);
  const nodeId = store.lookup(selector).data.nodeId;
  for (let pages = 1; current().pageInfo.hasNextPage; pages += 1) {
    assert.ok(pages < 10, "the list has no end");
    const variables = { nodeId, count: 4, cursor: current().pageInfo.endCursor };
    await fetchQuery(store, notesPageQuery, variables).toPromise();
    assert.equal(current().edges.length, Math.min(4 * (pages + 1), 10));
  }
  const notes = current().edges.map(({ node: { id, createdAt } }) => ({ id, createdAt }));
  assert.equal(new Set(notes.map((note) => note.id)).size, 10);
  assert.deepEqual(notes, newestFirst(notes));
});

test("no note is shown in the place of a tag with the same id", async () => {
  const store = environment();
  for (const id of ["1", "2", "3", "4", "5"]) {
    const response = await fetch(URL, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...viewer },
      body: JSON.stringify({ query: notesSameIdQuery.params.text, variables: { id } }),
    });
    const { data: sent } = await response.json();
    await fetchQuery(store, notesSameIdQuery, { id }).toPromise();
    const operation = createOperationDescriptor(notesSameIdQuery, { id });
    const shown = store.lookup(operation.fragment).data;
    assert.equal(shown.note?.title, sent.note?.title);
    assert.deepEqual(names(shown.note?.tags), names(sent.note?.tags));
    assert.equal(shown.tag.name, sent.tag.name);
    assert.equal(shown.user.name, sent.user.name);
  }
});

test("the guide shows these files", async () => {
  const read = (path) => readFile(new globalThis.URL(path, import.meta.url), "utf8");
  const guide = await read("../../docs/guide/relay.md");
  const [config] = guide.match(/(?<=```json\n)[^]*?(?=```)/);
  const [store, list] = guide.match(/(?<=```js\n)[^]*?(?=```)/g);
  const used = JSON.parse(await read("relay/relay.config.json"));
  assert.deepEqual(used, { ...JSON.parse(config), eagerEsModules: false, noSourceControl: true });
  assert.equal(store, await read("relay/src/environment.js"));
  assert.ok((await read("relay/src/notes.js")).includes(list));
});
