// PostGraphile: the Amber preset, and the schema of the comparison as plans for Grafast. PostGraphile
// keeps its plans and names its statements. Each request is one statement.
import { createServer } from 'node:http'
import { once } from 'node:events'
import process from 'node:process'
import { postgraphile } from 'postgraphile'
import { makePgService } from 'postgraphile/adaptors/pg'
import { TYPES } from 'postgraphile/@dataplan/pg'
import { each } from 'postgraphile/grafast'
import { grafserv } from 'postgraphile/grafserv/node'
import { PostGraphileAmberPreset } from 'postgraphile/presets/amber'
import { extendSchema } from 'postgraphile/utils'
import { serve } from './serve.js'

const typeDefs = `
  extend type Query {
    users(first: Int! = 20): [User!]!
    note(id: ID!): Note
    notes(first: Int! = 20, after: ID! = "0"): [Note!]!
  }
  type User { id: ID!  name: String!  notes: [Note!]! }
  type Note { id: ID!  title: String!  author: User!  tags: [Tag!]! }
  type Tag { id: ID!  name: String! }
`

const schema = extendSchema((build) => {
  const { sql } = build
  const { users_user: users, notes_note: notes, notes_notetag: links, tags_tag: tags } = build.pgResources

  const byId = ($rows) => {
    $rows.orderBy({ attribute: 'id', direction: 'ASC' })
    return $rows
  }
  const visible = ($notes) => {
    $notes.where(sql`${$notes.alias}.is_public AND ${$notes.alias}.deleted_at IS NULL`)
    return $notes
  }
  const column = (name) => ($row) => $row.get(name)

  return {
    typeDefs,
    objects: {
      Query: {
        plans: {
          users (_, { $first }) {
            const $users = byId(users.find())
            $users.setFirst($first)
            return $users
          },
          note: (_, { $id }) => visible(notes.find({ id: $id })).single(),
          notes (_, { $first, $after }) {
            const $notes = byId(visible(notes.find()))
            $notes.where(sql`${$notes.alias}.id > ${$notes.placeholder($after, TYPES.bigint)}`)
            $notes.setFirst($first)
            return $notes
          }
        }
      },
      User: {
        plans: {
          id: column('id'),
          name: column('name'),
          notes: ($user) => byId(visible(notes.find({ author_id: $user.get('id') })))
        }
      },
      Note: {
        plans: {
          id: column('id'),
          title: column('title'),
          author: ($note) => users.get({ id: $note.get('author_id') }),
          tags ($note) {
            const $links = links.find({ note_id: $note.get('id') })
            $links.orderBy({ attribute: 'tag_id', direction: 'ASC' })
            return each($links, ($link) => tags.get({ id: $link.get('tag_id') }))
          }
        }
      },
      Tag: { plans: { id: column('id'), name: column('name') } }
    }
  }
})

const preset = {
  extends: [PostGraphileAmberPreset],
  plugins: [schema],
  pgServices: [makePgService({
    connectionString: process.env.DATABASE_URL,
    schemas: ['public'],
    poolConfig: { max: 10, idleTimeoutMillis: 0 },
    pubsub: false
  })],
  grafast: { explain: false },
  grafserv: { graphiql: false, watch: false, websockets: false, graphqlPath: '/graphql' }
}

serve(async (host, port) => {
  const server = createServer()
  await postgraphile(preset).createServ(grafserv).addTo(server)
  await once(server.listen(port, host), 'listening')
})
