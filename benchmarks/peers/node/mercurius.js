// Mercurius as its documentation recommends it: loaders, and JIT from the second execution on.
import Fastify from 'fastify'
import mercurius from 'mercurius'
import { authors, note, notesOf, page, tagsOf, typeDefs, users } from './data.js'
import { serve } from './serve.js'

const resolvers = {
  Query: {
    users: (_, { first }) => users(first),
    note: (_, { id }) => note(id),
    notes: (_, { first, after }) => page(first, after)
  }
}

const loaders = {
  User: {
    notes: (queries) => notesOf(queries.map(({ obj }) => obj.id))
  },
  Note: {
    author: (queries) => authors(queries.map(({ obj }) => obj.author_id)),
    tags: (queries) => tagsOf(queries.map(({ obj }) => obj.id))
  }
}

const app = Fastify()
app.register(mercurius, { schema: typeDefs, resolvers, loaders, jit: 1, path: '/graphql' })
serve((host, port) => app.listen({ host, port }))
