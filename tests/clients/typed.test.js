// Code generation: the operations of typed/ have passed the TypeScript compiler, and they run.

import assert from "node:assert/strict";
import { test } from "node:test";

import { URL } from "./service.js";
import { publicNotes } from "./typed/build/notes.js";

test("an operation with generated types is answered", async () => {
  const rows = await publicNotes(URL, 5);
  assert.equal(rows.length, 5);
  for (const { title, author, year } of rows) {
    assert.ok(title && author);
    assert.ok(year >= 2024);
  }
});
