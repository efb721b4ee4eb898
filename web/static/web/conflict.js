/** The dialog for a note that somebody else, or another tab, has saved meanwhile. */
import { html, useId } from "./vendor/preact.js";
import { Dialog, Tags } from "./ui.js";

/**
 * Show both versions. `resolve` gets `mine`, `theirs` or `both`, or nothing when the person goes on typing.
 * @typedef {import("./drafts.js").Draft} Draft
 * @param {{mine: Draft, theirs: Draft, resolve: (choice?: "mine"|"theirs"|"both") => void}} props
 */
export function Conflict({ mine, theirs, resolve }) {
  return html`<${Dialog} title="The note was changed meanwhile" wide onClose=${() => resolve()}>
    <p>Somebody saved this note after you had opened it. Your text is not saved yet, and nothing is lost.</p>
    <div class="versions">
      <${Version} heading="Your version" draft=${mine} />
      <${Version} heading="The saved version" draft=${theirs} />
    </div>
    <div class="actions">
      <button type="button" class="primary" onClick=${() => resolve("both")}>Keep both: mine becomes a new note</button>
      <button type="button" onClick=${() => resolve("mine")}>Replace it by mine</button>
      <button type="button" onClick=${() => resolve("theirs")}>Discard mine</button>
    </div>
  <//>`;
}

function Version({ heading, draft }) {
  const id = useId();
  return html`<section aria-labelledby=${id}>
    <h3 id=${id}>${heading}</h3>
    <p class="title">${draft.title}</p>
    <${Tags} names=${draft.tags}>${draft.isPublic && "Everybody may read it"}<//>
    <div class="content" tabindex="0" role="group" aria-label=${heading}>${draft.content}</div>
  </section>`;
}
