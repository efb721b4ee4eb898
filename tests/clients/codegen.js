// The types of the operations in typed/, by the client preset.

export default {
  schema: "./schema.graphql",
  documents: "./typed/*.ts",
  importExtension: ".js",
  generates: {
    "./typed/gql/": {
      preset: "client",
      presetConfig: { fragmentMasking: false },
      config: {
        documentMode: "string",
        useTypeImports: true,
        strictScalars: true,
        scalars: { DateTime: "string" },
      },
    },
  },
};
