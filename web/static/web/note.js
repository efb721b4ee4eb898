/** One note: its text for a reader, its form for its author. */
import { html, useEffect, useId, useLayoutEffect, useRef, useState } from "./vendor/preact.js";
import { mutate, query, useQuery } from "./api.js";
import { Conflict } from "./conflict.js";
import { BLANK, draftOf, same, storeDraft, storedDraft, writeDraft } from "./drafts.js";
import { DELETE_NOTE, NOTE, RESTORE_NOTE, TAGS } from "./queries.js";
import { go, href, leave } from "./route.js";
import { Icon, IconButton, Notice, Tags, Time, notify } from "./ui.js";

/** The note of an address; `new` is one that does not exist yet. */
export function NotePane({ id, params, me, list }) {
  const [{ note, problem, missing }, setState] = useState({});
  const pane = useRef();
  const close = href("notes", "", params);
  async function load() {
    const { data, problem } = await query(NOTE, { id });
    setState({ note: data?.note, problem, missing: data && !data.note });
  }
  useLayoutEffect(() => pane.current.focus(), []);
  useEffect(() => void (id === "new" || load()), []);
  const onKeyDown = (event) => event.key === "Escape" && !event.target.closest("dialog") && go(close);
  return html`<section class="pane" ref=${pane} tabindex="-1" aria-label="Note" onKeyDown=${onKeyDown}>
    <a class="back" href=${close}><${Icon} name="back" />All notes</a>
    <${Notice} problem=${problem} retry=${load} />
    ${missing && html`<p class="empty">There is no such note, or you may not read it.</p>`}
    ${id === "new" && !me && html`<p class="empty"><a href="#/log-in">Log in</a> to write a note.</p>`}
    ${id === "new" && me && html`<${Editor} saved=${null} ...${{ me, list, params }} />`}
    ${note && (note.author.id === me?.id
      ? html`<${Editor} saved=${note} ...${{ me, list, params }} />`
      : html`<${Reader} note=${note} />`)}
  </section>`;
}

function Reader({ note }) {
  return html`<article>
    <h2>${note.title}</h2>
    <p class="about"><span>${note.author.name}</span><${Time} value=${note.createdAt} /></p>
    <${Tags} names=${note.tags.map(({ name }) => name)} />
    <div class="content">${note.content}</div>
  </article>`;
}

const FIELDS = ["title", "content", "tagNames"]; // each shows its own errors

function Editor({ saved, me, list, params }) {
  const [base, setBase] = useState(saved ? draftOf(saved) : BLANK);
  const [draft, setDraft] = useState(() => storedDraft(me, saved?.id) ?? base);
  const [{ busy, problem, conflict, userErrors = [] }, setState] = useState({});
  const latest = useRef();
  latest.current = draft; // also while a request is on its way
  const field = useId();
  const dirty = !same(draft, base);
  const change = (values) => setDraft((before) => ({ ...before, ...values }));
  const wrong = (name) => userErrors.find((error) => error.field === name);
  const keep = (value) => storeDraft(me, saved?.id, value);

  useEffect(() => void (draft.id === saved?.id && keep(dirty || draft.sent ? draft : null)), [draft, base]);

  async function save(what = draft) {
    if (busy) return;
    setState({ busy: true });
    const { draft: { id, version, sent }, note, ...rest } = await writeDraft(what, (request) => {
      setDraft((before) => ({ ...before, sent: request.sent }));
      keep(request);
    });
    setState(rest);
    const typedSince = !same(latest.current, what);
    const next = note && !typedSince ? draftOf(note) : { ...latest.current, id, version, sent };
    setDraft(next);
    if (!note) return;
    keep(null);
    storeDraft(me, id, typedSince ? next : null);
    setBase(draftOf(note));
    if (id === saved?.id) return void list.replace(note);
    list.insert(note);
    notify("The note is saved.");
    leave(saved?.id ?? "new", href("notes", note.id, params), true);
  }
  // a request that the network has lost goes again when the network is back
  useEffect(() => {
    if (problem?.kind !== "offline") return undefined;
    const again = () => navigator.onLine && save();
    const timer = setInterval(again, 5_000);
    addEventListener("online", again);
    return () => {
      clearInterval(timer);
      removeEventListener("online", again);
    };
  });

  async function moveToTrash() {
    const { payload, problem } = await mutate(DELETE_NOTE, { id: saved.id });
    const error = problem ?? payload.userErrors[0];
    if (error) return void notify(error.message);
    const index = list.remove(saved.id);
    leave(saved.id, href("notes", "", params));
    notify("The note is in the trash.", async () => {
      const { payload, problem } = await mutate(RESTORE_NOTE, { id: saved.id });
      if (payload?.note) list.insert(payload.note, index);
      else notify((problem ?? payload.userErrors[0]).message);
    });
  }

  function resolve(choice) {
    setState({});
    if (choice) list.replace(conflict);
    if (choice === "theirs") {
      setBase(draftOf(conflict));
      setDraft(draftOf(conflict));
    } else if (choice === "mine") save({ ...draft, version: conflict.version });
    else if (choice === "both") save({ ...draft, id: undefined, version: undefined });
  }

  function onKeyDown(event) {
    if (event.key !== "s" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    if (dirty || draft.sent) save();
  }
  const text = (name, element, label, rest) => html`
    <label for=${`${field}-${name}`} class="hidden">${label}</label>
    <${element} id=${`${field}-${name}`} class=${name} placeholder=${label} ...${rest}
      value=${draft[name]} onInput=${(event) => change({ [name]: event.target.value })}
      aria-invalid=${wrong(name) ? "true" : undefined} aria-describedby=${wrong(name) && `${field}-${name}-error`} />
    ${wrong(name) && html`<p id=${`${field}-${name}-error`} class="error" role="alert">${wrong(name).message}</p>`}`;
  const status = busy ? "Saving …" : dirty ? "Not saved yet" : saved ? "Saved" : "";
  return html`<form class="editor" onKeyDown=${onKeyDown} onSubmit=${(event) => (event.preventDefault(), save())} novalidate>
    ${text("title", "input", "Title", { maxlength: 200, autocomplete: "off" })}
    <${TagsField} tags=${draft.tags} onChange=${(tags) => change({ tags })} error=${wrong("tagNames")} />
    ${text("content", "textarea", "Text", { maxlength: 100_000 })}
    ${userErrors.map(({ field, message }) => !FIELDS.includes(field) && html`<p class="error" role="alert">${message}</p>`)}
    <${Notice} problem=${problem} retry=${problem?.kind !== "refused" && (() => save())} />
    <div class="bar">
      <label class="switch"><input type="checkbox" role="switch" checked=${draft.isPublic}
        onChange=${(event) => change({ isPublic: event.target.checked })} />Everybody may read it</label>
      ${saved && base.isPublic && html`<button type="button" onClick=${() => copyLink(saved.id)}>Copy link</button>`}
      <span class="status" role="status">${status}</span>
      ${saved && html`<${IconButton} icon="trash" label="Move to the trash" onClick=${moveToTrash} />`}
      <button class="primary" disabled=${busy || !(dirty || draft.sent)} aria-keyshortcuts="Control+S">Save</button>
    </div>
    ${conflict && html`<${Conflict} mine=${draft} theirs=${draftOf(conflict)} resolve=${resolve} />`}
  </form>`;
}

async function copyLink(id) {
  const address = new URL(href("notes", id, new URLSearchParams({ scope: "all" })), location.href).href;
  const copied = await navigator.clipboard?.writeText(address).then(() => true, () => false);
  notify(copied ? "The link is copied." : address);
}

/** The tags of a note: each has a button that removes it; Enter or a comma adds what was typed. */
function TagsField({ tags, onChange, error }) {
  const known = useQuery(TAGS).data?.tagsConnection.nodes ?? [];
  const id = useId();
  function add(input) {
    const name = input.value.replace(",", "").trim();
    if (name && !tags.includes(name)) onChange([...tags, name]);
    input.value = "";
  }
  function onKeyDown(event) {
    if (event.key !== "Enter" && event.key !== ",") return;
    event.preventDefault();
    add(event.target);
  }
  return html`<div class="tags field">
    ${tags.map((name) => html`<button key=${name} type="button" class="tag chosen" aria-label=${`Remove the tag ${name}`}
      onClick=${() => onChange(tags.filter((each) => each !== name))}>${name}<${Icon} name="close" /></button>`)}
    <input list=${`${id}-known`} aria-label="Add a tag" placeholder="Add a tag" maxlength="50" autocomplete="off"
      aria-invalid=${error ? "true" : undefined} onKeyDown=${onKeyDown} onChange=${(event) => add(event.target)} />
    <datalist id=${`${id}-known`}>${known.map(({ name }) => !tags.includes(name) && html`<option value=${name} />`)}</datalist>
    ${error && html`<p class="error" role="alert">${error.message}</p>`}
  </div>`;
}
