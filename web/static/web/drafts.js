/**
 * Drafts: what a person has typed and the server has not confirmed. The browser keeps them, so neither a lost connection
 * nor a closed tab loses a text.
 */
import { mutate, newKey } from "./api.js";
import { CREATE_NOTE, UPDATE_NOTE } from "./queries.js";

/**
 * @typedef {object} Draft
 * @property {string} [id] the note; a draft without it becomes a new one
 * @property {number} [version] the version of the note that the person has read
 * @property {string} title
 * @property {string} content
 * @property {boolean} isPublic
 * @property {string[]} tags names
 * @property {{key: string, input: object}} [sent] the last request, while its outcome is not known
 */

export const BLANK = { title: "", content: "", isPublic: false, tags: [] };

/** @returns {Draft} the draft of a note that nobody has edited */
export const draftOf = (note) => ({ ...note, tags: note.tags.map(({ name }) => name), sent: undefined });

const inputOf = ({ id, version, title, content, isPublic, tags }) => ({
  ...(id && { id, expectedVersion: version }), title, content, isPublic, tagNames: tags,
});
const typed = ({ title, content, isPublic, tags, tagNames }) => 
  JSON.stringify([title, content, isPublic, [...(tags ?? tagNames)].sort()]);

/** Return whether two drafts have the same texts, tags and readers. */
export const same = (one, other) => typed(one) === typed(other);

const place = (me, id) => `draft/${me.id}/${id ?? "new"}`;

/** @returns {?Draft} */
export function storedDraft(me, id) {
  return JSON.parse(localStorage.getItem(place(me, id)));
}

/** Keep a draft in the browser; null removes it. */
export function storeDraft(me, id, draft) {
  if (draft) localStorage.setItem(place(me, id), JSON.stringify(draft));
  else localStorage.removeItem(place(me, id));
}

/** Remove all drafts of a person who logs out. */
export function removeDrafts(me) {
  const keys = Object.keys(localStorage).filter((key) => key.startsWith(place(me, "")));
  keys.forEach((key) => localStorage.removeItem(key));
}

/**
 * Write a draft to the server.
 *
 * While the outcome of an earlier request is not known, the same request goes again with its key: the server then
 * answers with the stored result. Later text follows as a second request.
 * @param {Draft} draft
 * @param {(draft: Draft) => void} keep is called with the request before it is sent
 * @returns {Promise<{draft: Draft, note?: object, conflict?: object, userErrors?: object[], problem?: object}>}
 */
export async function writeDraft(draft, keep) {
  if (draft.sent) {
    const result = await send(draft, draft.sent);
    if (!result.note || same(draft, draft.sent.input)) return result;
    draft = result.draft;
  }
  const sent = { key: newKey(), input: inputOf(draft) };
  keep({ ...draft, sent });
  return send(draft, sent);
}

async function send(draft, sent) {
  const { payload, problem } = await mutate(sent.input.id ? UPDATE_NOTE : CREATE_NOTE, sent.input, sent.key);
  if (problem) return { problem, draft: { ...draft, sent: problem.kind === "refused" ? undefined : sent } };
  const { note, userErrors } = payload;
  const answered = { ...draft, sent: undefined };
  if (userErrors.some(({ code }) => code === "CONFLICT")) return { draft: answered, conflict: note };
  if (userErrors.length) return { draft: answered, userErrors };
  return { draft: { ...answered, id: note.id, version: note.version }, note };
}
