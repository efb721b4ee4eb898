import { gql } from "@apollo/client";

import * as documents from "../documents.js";

export const NOTES = gql(documents.NOTES);
export const CREATE_NOTE = gql(documents.CREATE_NOTE);
export const UPDATE_NOTE = gql(documents.UPDATE_NOTE);
export const DELETE_NOTE = gql(documents.DELETE_NOTE);
export const RESTORE_NOTE = gql(documents.RESTORE_NOTE);

export function updateNote(client, note, change) {
  return client.mutate({
    mutation: UPDATE_NOTE,
    variables: { input: { id: note.id, expectedVersion: note.version, ...change } },
    optimisticResponse: {
      updateNote: { __typename: "NotePayload", note: { ...note, ...change }, userErrors: [] },
    },
  });
}

export function createNote(client, input, idempotencyKey) {
  return client.mutate({
    mutation: CREATE_NOTE,
    variables: { input },
    context: { idempotencyKey },
    refetchQueries: ["Notes"],
    awaitRefetchQueries: true,
  });
}

export function deleteNote(client, note) {
  return client.mutate({
    mutation: DELETE_NOTE,
    variables: { input: { id: note.id, expectedVersion: note.version } },
    update(cache, { data }) {
      if (data.deleteNote.deletedId) cache.evict({ id: cache.identify(note) });
    },
    refetchQueries: ["Notes"],
    awaitRefetchQueries: true,
  });
}

export function restoreNote(client, id) {
  return client.mutate({
    mutation: RESTORE_NOTE,
    variables: { input: { id } },
    refetchQueries: ["Notes"],
    awaitRefetchQueries: true,
  });
}
