// The schema passes the rules of eslint.config.js.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ESLint } from "eslint";

test("the schema passes the lint rules", async () => {
  const [{ messages }] = await new ESLint().lintFiles("schema.graphql");
  // The name of Relay's id in PostGraphile. `id` is the plain key.
  const expected = ['Field "nodeId" starts with the name of the parent type "Node"'];
  assert.deepEqual(messages.map((each) => each.message), expected);
});
