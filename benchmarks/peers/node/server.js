// Mercurius with loaders and JIT, and with CACHE=1 mercurius-cache, in WORKERS processes on PORT.
// It reads PCF's tables with statements of the same quality as PCF's.
import cluster from 'node:cluster'
import process from 'node:process'
import Fastify from 'fastify'
import mercurius from 'mercurius'
import cache from 'mercurius-cache'
import pg from 'pg'

const schema = `
  type Query {
    users(first: Int! = 20): [User!]!
    note(id: ID!): Note
  }
  type User { id: ID!  name: String!  notes: [Note!]! }
  type Note { id: ID!  title: String!  author: User!  tags: [Tag!]! }
  type Tag { id: ID!  name: String! }
`

// Named: parsed and planned once a connection.
const sql = {
  users: 'SELECT id, name FROM users_user ORDER BY id LIMIT $1',
  note: 'SELECT id, title, author_id FROM notes_note WHERE id = $1 AND is_public',
  notes: 'SELECT id, title, author_id FROM notes_note WHERE author_id = ANY($1::bigint[]) AND is_public ORDER BY id',
  authors: 'SELECT id, name FROM users_user WHERE id = ANY($1::bigint[])',
  tags: `SELECT l.note_id, t.id, t.name FROM notes_notetag l JOIN tags_tag t ON t.id = l.tag_id
         WHERE l.note_id = ANY($1::bigint[]) ORDER BY l.note_id, t.id`
}

function build () {
  const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 })
  const ask = async (name, ...values) => (await pool.query({ name, text: sql[name], values })).rows

  function lists (rows, key, keys) {
    const found = new Map(keys.map((one) => [one, []]))
    for (const row of rows) found.get(row[key]).push(row)
    return keys.map((one) => found.get(one))
  }

  const resolvers = {
    Query: {
      users: (_, { first }) => ask('users', first),
      note: async (_, { id }) => (await ask('note', id))[0] ?? null
    }
  }
  const loaders = {
    User: {
      async notes (queries) {
        const keys = queries.map(({ obj }) => obj.id)
        return lists(await ask('notes', keys), 'author_id', keys)
      }
    },
    Note: {
      async author (queries) {
        const keys = [...new Set(queries.map(({ obj }) => obj.author_id))]
        const found = new Map((await ask('authors', keys)).map((row) => [row.id, row]))
        return queries.map(({ obj }) => found.get(obj.author_id))
      },
      async tags (queries) {
        const keys = queries.map(({ obj }) => obj.id)
        return lists(await ask('tags', keys), 'note_id', keys)
      }
    }
  }

  const app = Fastify()
  app.register(mercurius, { schema, resolvers, loaders, jit: 1, path: '/graphql' })
  if (process.env.CACHE) {
    const all = process.env.CACHE === 'all'
    app.register(cache, {
      ttl: 300,
      storage: { type: 'memory', options: { size: 100_000 } },
      policy: all
        ? { Query: { users: true, note: true }, User: { notes: true }, Note: { author: true, tags: true } }
        : { Query: { users: true, note: true } }
    })
  }
  return app
}

if (cluster.isPrimary) {
  const count = Number(process.env.WORKERS || 2)
  for (let n = 0; n < count; n++) cluster.fork()
  for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0))
  cluster.on('exit', () => process.exit(1))
} else {
  build().listen({ host: '127.0.0.1', port: Number(process.env.PORT) }).catch((error) => {
    console.error(error)
    process.exit(1)
  })
}
