/** The trash: notes that can be restored, or deleted for ever. */
import { html, useState } from "./vendor/preact.js";
import { mutate, refresh, useQuery } from "./api.js";
import { PURGE_NOTE, RESTORE_NOTE, TRASH } from "./queries.js";
import { Dialog, IconButton, Notice, Time, notify } from "./ui.js";

/** @param {{list: {insert: (note: object) => void}}} props the list that a restored note comes back to */
export function TrashPage({ list }) {
  const { data, problem } = useQuery(TRASH);
  const [doomed, setDoomed] = useState(null);
  async function change(document, id, said) {
    const { payload, problem } = await mutate(document, { id });
    const error = problem ?? payload.userErrors[0];
    notify(error ? error.message : said);
    if (payload?.note) list.insert(payload.note);
  }
  function purge() {
    setDoomed(null);
    change(PURGE_NOTE, doomed.id, "The note is gone.");
  }
  const notes = data?.me?.trash.nodes;
  return html`<section class="page">
    <h2>Trash</h2>
    <p class="hint">Nobody else sees the trash. Old notes in it are deleted by themselves.</p>
    <${Notice} problem=${problem} retry=${refresh} />
    ${notes && !notes.length && html`<p class="empty">The trash is empty.</p>`}
    <ul class="rows">${notes?.map(({ id, title, deletedAt }) => html`<li key=${id}>
      <div><strong>${title}</strong><p class="about">deleted <${Time} value=${deletedAt} /></p></div>
      <button type="button" aria-label=${`Restore ${title}`}
        onClick=${() => change(RESTORE_NOTE, id, "The note is back.")}>Restore</button>
      <${IconButton} icon="trash" label=${`Delete ${title} for ever`} onClick=${() => setDoomed({ id, title })} />
    </li>`)}</ul>
    ${doomed && html`<${Dialog} title="Delete for ever?" onClose=${() => setDoomed(null)}>
      <p>Nobody can bring “${doomed.title}” back.</p>
      <div class="actions">
        <button type="button" class="danger" onClick=${purge}>Delete for ever</button>
        <button type="button" onClick=${() => setDoomed(null)}>Keep it</button>
      </div>
    <//>`}
  </section>`;
}
