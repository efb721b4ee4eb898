// relay-compiler reads the operations in this file, and writes __generated__.

import { graphql } from "relay-runtime";

graphql`
  query notesQuery($id: ID!) {
    user(id: $id) {
      ...notes_user
    }
  }
`;

graphql`
  fragment notes_user on User
  @refetchable(queryName: "notesPageQuery")
  @argumentDefinitions(count: { type: "Int", defaultValue: 4 }, cursor: { type: "String" }) {
    notesConnection(first: $count, after: $cursor) @connection(key: "notes_notesConnection") {
      edges {
        node {
          id
          createdAt
        }
      }
    }
  }
`;

graphql`
  query notesSameIdQuery($id: ID!) {
    note(id: $id) {
      id
      title
      tags {
        id
        name
      }
    }
    tag(id: $id) {
      id
      name
    }
    user(id: $id) {
      id
      name
    }
  }
`;
