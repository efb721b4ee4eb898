// The compiler knows the variables and the data of each operation.

import { graphql } from "./gql/gql.js";
import type { TypedDocumentString } from "./gql/graphql.js";

const NotesPage = graphql(`
  query NotesPage($first: Int!, $filter: NoteFilter, $orderBy: [NoteOrder!]) {
    notesConnection(first: $first, filter: $filter, orderBy: $orderBy) {
      nodes {
        title
        createdAt
        author {
          name
        }
      }
      totalCount
    }
  }
`);

export interface Row {
  title: string;
  author: string;
  year: number;
}

/** Return the titles of public notes from A to Z, each with its author. */
export async function publicNotes(url: string, first: number): Promise<Row[]> {
  const data = await ask(url, NotesPage, {
    first,
    filter: { isPublic: true, not: { title: { contains: "report" } } },
    orderBy: [{ field: "TITLE", direction: "ASC" }],
  });
  return data.notesConnection.nodes.map(({ title, author, createdAt }) => ({
    title,
    author: author.name,
    year: Number(createdAt.slice(0, 4)),
  }));
}

/** The compiler refuses each of these lines. */
export async function mistakes(url: string): Promise<void> {
  // @ts-expect-error: no such order
  await ask(url, NotesPage, { first: 1, orderBy: [{ field: "LENGTH", direction: "ASC" }] });
  // @ts-expect-error: the variable is missing
  await ask(url, NotesPage, {});
  const { notesConnection } = await ask(url, NotesPage, { first: 1 });
  // @ts-expect-error: the operation does not select this field
  notesConnection.nodes[0].content;
  // @ts-expect-error: a count is never null
  notesConnection.totalCount satisfies null;
}

async function ask<Data, Variables>(
  url: string,
  query: TypedDocumentString<Data, Variables>,
  variables: Variables,
): Promise<Data> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ query: query.toString(), variables }),
  });
  const { data, errors } = await response.json();
  if (errors) throw new Error(errors[0].message);
  return data;
}
