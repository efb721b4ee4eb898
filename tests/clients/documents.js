// The documents that the tests of writing send. Each client makes them its own with `gql`.

const NOTE = `fragment NoteParts on Note { id title content version }`;
const ERRORS = `userErrors { field code message }`;

export const NOTES = `
  query Notes($filter: NoteFilter, $after: String) {
    notesConnection(first: 20, after: $after, filter: $filter) {
      edges { node { ...NoteParts } }
      pageInfo { hasNextPage endCursor }
      totalCount
    }
  }
  ${NOTE}`;

export const CREATE_NOTE = `
  mutation CreateNote($input: CreateNoteInput!) {
    createNote(input: $input) { note { ...NoteParts } ${ERRORS} }
  }
  ${NOTE}`;

export const UPDATE_NOTE = `
  mutation UpdateNote($input: UpdateNoteInput!) {
    updateNote(input: $input) { note { ...NoteParts } ${ERRORS} }
  }
  ${NOTE}`;

export const DELETE_NOTE = `
  mutation DeleteNote($input: DeleteNoteInput!) {
    deleteNote(input: $input) { deletedId note { ...NoteParts } ${ERRORS} }
  }
  ${NOTE}`;

export const RESTORE_NOTE = `
  mutation RestoreNote($input: RestoreNoteInput!) {
    restoreNote(input: $input) { note { ...NoteParts } ${ERRORS} }
  }
  ${NOTE}`;
