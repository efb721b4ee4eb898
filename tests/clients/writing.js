// What a client shows of its mutations: apollo-writing.test.js and urql-writing.test.js run these tests.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import * as documents from "./documents.js";
import { losingProxy } from "./losing-proxy.js";
import { URL, graphql, newViewer, recordingFetch } from "./service.js";

/**
 * Test a client.
 *
 * `openList({ url, headers, fetch, filter })` returns `{ client, notes, changed }`: what the list shows by now, and a
 * promise of its next change. The other functions send one mutation each, and return a promise of `{ data }`.
 */
export function testWriting({ openList, createNote, updateNote, deleteNote, restoreNote }) {
  /** Return a client that shows the list of a new viewer, with one note in it. */
  async function open(url = URL) {
    const { id, headers } = await newViewer();
    const ask = async (document, input) => {
      const { data } = await graphql(document, { input }, { headers });
      return Object.values(data)[0];
    };
    const filter = { authorId: { eq: id } };
    const stored = async () => {
      const { data } = await graphql(documents.NOTES, { filter }, { headers });
      return data.notesConnection.edges.map(({ node }) => node);
    };
    await ask(documents.CREATE_NOTE, { title: "Draft" });
    const { fetch, requests, hold } = recordingFetch();
    const list = await openList({ url, headers, fetch, filter });
    const shown = () => list.notes().map(({ title, version }) => ({ title, version }));
    const shows = async (...titles) => {
      while (list.notes().map(({ title }) => title).join() !== titles.join()) await list.changed();
    };
    await shows("Draft");
    return { ...list, ask, stored, requests, hold, shown, shows };
  }

  test("an edit shows at once, and the server's answer replaces it", async () => {
    const { client, notes, hold, shown } = await open();
    const { sent, release } = hold();
    const answer = updateNote(client, notes()[0], { title: "Edited" });
    await sent;
    assert.deepEqual(shown(), [{ title: "Edited", version: 1 }]);
    release();
    assert.deepEqual((await answer).data.updateNote.userErrors, []);
    assert.deepEqual(shown(), [{ title: "Edited", version: 2 }]);
  });

  test("an edit that the server refuses is rolled back", async () => {
    const { client, notes, hold, shown } = await open();
    const { sent, release } = hold();
    const answer = updateNote(client, notes()[0], { title: " " });
    await sent;
    assert.deepEqual(shown(), [{ title: " ", version: 1 }]);
    release();
    const { note, userErrors } = (await answer).data.updateNote;
    assert.equal(note, null);
    assert.deepEqual(userErrors.map(({ field, code }) => [field, code]), [["title", "REQUIRED"]]);
    assert.deepEqual(shown(), [{ title: "Draft", version: 1 }]);
  });

  test("after a conflict the client shows the note as it is now", async () => {
    const { client, notes, hold, ask, shown } = await open();
    const [draft] = notes();
    await ask(documents.UPDATE_NOTE, { id: draft.id, title: "From the phone" });
    const { sent, release } = hold();
    const answer = updateNote(client, draft, { title: "From the laptop" });
    await sent;
    assert.deepEqual(shown(), [{ title: "From the laptop", version: 1 }]);
    release();
    const { note, userErrors } = (await answer).data.updateNote;
    assert.deepEqual(userErrors.map(({ field, code }) => [field, code]), [["expectedVersion", "CONFLICT"]]);
    assert.equal(note.title, "From the phone");
    assert.deepEqual(shown(), [{ title: "From the phone", version: 2 }]);

    await updateNote(client, note, { title: "From the laptop" }); // the person overwrites
    assert.deepEqual(shown(), [{ title: "From the laptop", version: 3 }]);
  });

  test("a mutation whose answers are lost is repeated with its key: one note", async () => {
    const proxy = await losingProxy();
    const { client, requests, stored, shows } = await open(proxy.url);
    requests.length = 0;
    proxy.toLose = 2;
    const { data } = await createNote(client, { title: "Once" });
    const sent = requests.filter(({ key }) => key);
    assert.deepEqual(sent.map(({ status }) => status), [undefined, undefined, 200]);
    assert.equal(new Set(sent.map(({ key }) => key)).size, 1);
    assert.equal(data.createNote.note.title, "Once");
    await shows("Once", "Draft");
    assert.deepEqual((await stored()).map(({ title }) => title), ["Once", "Draft"]);
    assert.equal((await stored())[0].id, data.createNote.note.id);
  });

  test("many clicks with one key make one note", async () => {
    const { client, requests, stored } = await open();
    const key = randomUUID();
    const click = () => createNote(client, { title: "Clicked" }, key);
    const answers = await Promise.all(Array.from({ length: 8 }, click));
    const ids = answers.map(({ data }) => data.createNote.note.id);
    const notes = await stored();
    assert.deepEqual(notes.map(({ title }) => title), ["Clicked", "Draft"]);
    assert.deepEqual([...new Set(ids)], [notes[0].id]);
    assert.deepEqual([...new Set(requests.map((each) => each.key).filter(Boolean))], [`"${key}"`]);

    await createNote(client, { title: "Clicked" }); // another form, another key
    assert.equal((await stored()).length, 3);
  });

  test("a list shows new notes, no deleted ones, and restored ones", async () => {
    const { client, notes, stored, shows } = await open();
    const { data } = await createNote(client, { title: "New" });
    await shows("New", "Draft");
    const draft = notes()[1];
    const deleted = await deleteNote(client, draft);
    assert.equal(deleted.data.deleteNote.deletedId, draft.id);
    await shows("New");
    await restoreNote(client, draft.id);
    await shows("New", "Draft");
    assert.deepEqual(notes().map(({ id }) => id), [data.createNote.note.id, draft.id]);
    assert.deepEqual((await stored()).map(({ id }) => id), notes().map(({ id }) => id));
  });

  test("a deletion with an old version is a conflict, and the note stays", async () => {
    const { client, notes, ask, shown } = await open();
    const [draft] = notes();
    await ask(documents.UPDATE_NOTE, { id: draft.id, title: "From the phone" });
    const { deletedId, userErrors } = (await deleteNote(client, draft)).data.deleteNote;
    assert.deepEqual([deletedId, userErrors.map(({ code }) => code)], [null, ["CONFLICT"]]);
    assert.deepEqual(shown(), [{ title: "From the phone", version: 2 }]);
  });
}
