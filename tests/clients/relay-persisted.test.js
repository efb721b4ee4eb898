// relay-compiler's persistConfig: a map of ids that the service trusts, or that a build registers.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { createOperationDescriptor, fetchQuery, getSelector } from "relay-runtime";

import notesPageQuery from "./relay/src/__persisted__/notesPageQuery.graphql.js";
import notesQuery from "./relay/src/__persisted__/notesQuery.graphql.js";
import notesSameIdQuery from "./relay/src/__persisted__/notesSameIdQuery.graphql.js";
import notesUser from "./relay/src/__persisted__/notes_user.graphql.js";
import { makeEnvironment } from "./relay/src/environment.js";
import { TRUSTED_URL, URL, graphql, viewer } from "./service.js";

const read = (path) => readFile(new globalThis.URL(path, import.meta.url), "utf8");
const persisted = JSON.parse(await read("relay/persisted.json"));
const codes = ({ errors }) => errors?.map((error) => error.extensions.code);

test("the artifacts have ids of the map, and no text", () => {
  const queries = [notesQuery, notesPageQuery, notesSameIdQuery];
  for (const { params } of queries) {
    assert.equal(params.text, null);
    assert.equal(createHash("sha256").update(persisted[params.id]).digest("hex"), params.id);
  }
  assert.equal(Object.keys(persisted).length, queries.length);
});

test("a service that trusts the map answers its documents, and no others", async () => {
  const store = makeEnvironment(TRUSTED_URL, viewer);
  const { user } = await fetchQuery(store, notesQuery, { id: "1" }).toPromise();
  const { nodeId, notesConnection } = store.lookup(getSelector(notesUser, user)).data;
  const variables = { nodeId, count: 4, cursor: notesConnection.pageInfo.endCursor };
  await fetchQuery(store, notesPageQuery, variables).toPromise();
  assert.equal(store.lookup(getSelector(notesUser, user)).data.notesConnection.edges.length, 8);

  const stranger = await graphql("{ tags { name } }", {}, { url: TRUSTED_URL });
  assert.deepEqual(codes(stranger), ["DOCUMENT_NOT_TRUSTED"]);
  const text = persisted[notesSameIdQuery.params.id];
  const trusted = await graphql(text, { id: "1" }, { url: TRUSTED_URL });
  assert.deepEqual(codes(trusted), undefined);
});

test("a service answers documents that a build has registered", async () => {
  const store = makeEnvironment(URL, viewer);
  const variables = { id: "1" };
  const { id } = notesSameIdQuery.params;
  const extensions = { persistedQuery: { version: 1, sha256Hash: id } };
  const answer = await graphql(persisted[id], variables, { extensions });
  assert.deepEqual(codes(answer), undefined);

  await fetchQuery(store, notesSameIdQuery, variables).toPromise();
  const operation = createOperationDescriptor(notesSameIdQuery, variables);
  const shown = store.lookup(operation.fragment).data;
  assert.equal(shown.user.name, answer.data.user.name);
  assert.equal(shown.tag.name, answer.data.tag.name);
});

test("the guide shows the configuration", async () => {
  const guide = await read("../../docs/guide/relay.md");
  const blocks = guide.match(/(?<=```json\n)[^]*?(?=```)/g).map((text) => JSON.parse(text));
  const [config, { persistConfig }] = blocks;
  const used = JSON.parse(await read("relay/relay.persisted.json"));
  const ours = { artifactDirectory: "./src/__persisted__", eagerEsModules: false, noSourceControl: true };
  assert.deepEqual(used, { ...config, persistConfig, ...ours });
});
