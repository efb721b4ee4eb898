// The rules that @graphql-eslint recommends for schemas, and its rules for Relay's connections.

import graphql from "@graphql-eslint/eslint-plugin";

const { rules: recommended } = graphql.configs["flat/schema-recommended"];
const { rules: relay } = graphql.configs["flat/schema-relay"];
// These types have no id: each belongs to the object that it stands in.
const exceptions = {
  types: ["PageInfo", "TagFacet", "UserError"],
  suffixes: ["Connection", "Edge", "Payload"],
};

export default [
  {
    files: ["**/*.graphql"],
    languageOptions: {
      parser: graphql.parser,
      parserOptions: { graphQLConfig: { schema: "./schema.graphql" } },
    },
    plugins: { "@graphql-eslint": graphql },
    rules: {
      ...recommended,
      ...relay,
      "@graphql-eslint/strict-id-in-types": ["error", { exceptions }],
      // The plain lists have no edges.
      "@graphql-eslint/relay-edge-types": ["error", { listTypeCanWrapOnlyEdgeType: false }],
    },
  },
];
