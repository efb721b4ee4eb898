// The schema of the comparison and the statements for it. Mercurius and Yoga share them.
import process from 'node:process'
import pg from 'pg'

export const typeDefs = `
  type Query {
    users(first: Int! = 20): [User!]!
    note(id: ID!): Note
    notes(first: Int! = 20, after: ID): [Note!]!
  }
  type User { id: ID!  name: String!  notes: [Note!]! }
  type Note { id: ID!  title: String!  author: User!  tags: [Tag!]! }
  type Tag { id: ID!  name: String! }
`

const NOTE = 'SELECT id, title, author_id FROM notes_note WHERE is_public AND deleted_at IS NULL'
const sql = {
  users: 'SELECT id, name FROM users_user ORDER BY id LIMIT $1',
  note: `${NOTE} AND id = $1`,
  page: `${NOTE} AND id > $2 ORDER BY id LIMIT $1`,
  notes: `${NOTE} AND author_id = ANY($1::bigint[]) ORDER BY id`,
  authors: 'SELECT id, name FROM users_user WHERE id = ANY($1::bigint[])',
  tags: `SELECT l.note_id, t.id, t.name FROM notes_notetag l JOIN tags_tag t ON t.id = l.tag_id
         WHERE l.note_id = ANY($1::bigint[]) ORDER BY l.note_id, t.id`
}

// An idle peer keeps its connections, as it would under a steady load.
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10, idleTimeoutMillis: 0 })

/** Return the rows of a statement. It has a name, so each connection parses and plans it once. */
async function ask (name, ...values) {
  const { rows } = await pool.query({ name, text: sql[name], values })
  return rows
}

export const users = (first) => ask('users', first)
export const note = async (id) => (await ask('note', id))[0] ?? null
export const page = (first, after) => ask('page', first, after ?? 0)

/** Return the authors with these ids, in the order of the ids. */
export async function authors (ids) {
  const found = new Map((await ask('authors', [...new Set(ids)])).map((row) => [row.id, row]))
  return ids.map((id) => found.get(id))
}

/** Return for each of these users the list of their notes. */
export const notesOf = (ids) => lists('notes', 'author_id', ids)

/** Return for each of these notes the list of their tags. */
export const tagsOf = (ids) => lists('tags', 'note_id', ids)

async function lists (name, key, ids) {
  const found = new Map(ids.map((id) => [id, []]))
  for (const row of await ask(name, ids)) found.get(row[key]).push(row)
  return ids.map((id) => found.get(id))
}
