// GraphQL Yoga with graphql-jit and a DataLoader for each field of a level. Yoga itself keeps parsed
// and validated documents.
import { createServer } from 'node:http'
import { once } from 'node:events'
import { useGraphQlJit } from '@envelop/graphql-jit'
import DataLoader from 'dataloader'
import { createSchema, createYoga } from 'graphql-yoga'
import { authors, note, notesOf, page, tagsOf, typeDefs, users } from './data.js'
import { serve } from './serve.js'

const resolvers = {
  Query: {
    users: (_, { first }) => users(first),
    note: (_, { id }) => note(id),
    notes: (_, { first, after }) => page(first, after)
  },
  User: {
    notes: ({ id }, _, { loaders }) => loaders.notes.load(id)
  },
  Note: {
    author: ({ author_id: id }, _, { loaders }) => loaders.authors.load(id),
    tags: ({ id }, _, { loaders }) => loaders.tags.load(id)
  }
}

const yoga = createYoga({
  schema: createSchema({ typeDefs, resolvers }),
  context: () => ({
    loaders: {
      authors: new DataLoader(authors),
      notes: new DataLoader(notesOf),
      tags: new DataLoader(tagsOf)
    }
  }),
  plugins: [useGraphQlJit()],
  parserAndValidationCache: true,
  graphiql: false,
  landingPage: false,
  multipart: false,
  cors: false,
  logging: 'error'
})

serve((host, port) => once(createServer(yoga).listen(port, host), 'listening'))
