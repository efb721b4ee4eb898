import { createRequest, gql } from "@urql/core";

import * as documents from "../documents.js";

export const NOTES = gql(documents.NOTES);
export const CREATE_NOTE = gql(documents.CREATE_NOTE);
export const UPDATE_NOTE = gql(documents.UPDATE_NOTE);
export const DELETE_NOTE = gql(documents.DELETE_NOTE);
export const RESTORE_NOTE = gql(documents.RESTORE_NOTE);

// Equal mutations have equal keys in urql, and graphcache answers only one of them. So each gets a key of its own.
let operations = 0;

function mutate(client, document, input, context) {
  operations += 1;
  const request = { ...createRequest(document, { input }), key: operations };
  return client.executeMutation(request, context).toPromise(); // urql sends nothing before that
}

export const updateNote = (client, { id, version }, change) =>
  mutate(client, UPDATE_NOTE, { id, expectedVersion: version, ...change });

export const createNote = (client, input, idempotencyKey) =>
  mutate(client, CREATE_NOTE, input, { idempotencyKey });

export const deleteNote = (client, { id, version }) =>
  mutate(client, DELETE_NOTE, { id, expectedVersion: version });

export const restoreNote = (client, id) => mutate(client, RESTORE_NOTE, { id });
