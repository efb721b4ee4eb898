/** Small parts of the page: icons, dialogs, forms, notices, toasts, times. */
import { html, useEffect, useId, useLayoutEffect, useRef, useState } from "./vendor/preact.js";
import { newKey } from "./api.js";

const PATHS = {
  back: "M15 5l-7 7 7 7",
  close: "M6 6l12 12M18 6L6 18",
  globe: "M12 3a9 9 0 100 18 9 9 0 000-18zM3 12h18M12 3c3 3 3 15 0 18M12 3c-3 3-3 15 0 18",
  leave: "M10 4H5v16h5M15 8l4 4-4 4M19 12H10",
  note: "M6 3h12v18H6zM9 8h6M9 12h6M9 16h4",
  plus: "M12 5v14M5 12h14",
  search: "M11 4a7 7 0 100 14 7 7 0 000-14zM16 16l4 4",
  settings: "M4 7h10M18 7h2M4 17h2M10 17h10M16 4v6M8 14v6",
  trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
};

/** An icon beside a text. */
export const Icon = ({ name }) => html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
  <path d=${PATHS[name]} /></svg>`;

/** A button that is nothing but an icon. */
export const IconButton = ({ icon, label, onClick }) => html`<button type="button" class="plain" aria-label=${label}
  onClick=${onClick}><${Icon} name=${icon} /></button>`;

/** The names of tags, to be read. */
export const Tags = ({ names, children }) => html`<p class="tags">
  ${names.map((name) => html`<span key=${name} class="tag">${name}</span>`)}${children}</p>`;

const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const MINUTE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** A time of the API, by the clock and in the language of the browser. */
export function Time({ value }) {
  const date = new Date(value);
  return html`<time datetime=${value} title=${MINUTE.format(date)}>${DAY.format(date)}</time>`;
}

/**
 * The snippet of a search: HTML with escaped text and <mark>. Only its texts and its marks reach the page;
 * documents of DOMParser run nothing and load nothing.
 */
export function Snippet({ value }) {
  const { body } = new DOMParser().parseFromString(value, "text/html");
  return html`<p class="snippet">${[...body.childNodes].map((node) =>
    node.nodeName === "MARK" ? html`<mark>${node.textContent}</mark>` : node.textContent)}</p>`;
}

/** Return what `read` returns, now and after each of the events. */
export function useEvents(target, types, read) {
  const [value, setValue] = useState(read);
  useLayoutEffect(() => { // before any event can come
    const listen = () => setValue(read());
    types.forEach((type) => target.addEventListener(type, listen));
    return () => types.forEach((type) => target.removeEventListener(type, listen));
  }, []);
  return value;
}

/** What went wrong, and how to go on. */
export const Notice = ({ problem, retry }) =>
  problem && html`<div class="notice" role="alert">
    <p>${problem.message}</p>
    ${retry && html`<button type="button" onClick=${retry}>Try again</button>`}
  </div>`;

/** A modal dialog. Escape closes it. */
export function Dialog({ title, onClose, wide, children }) {
  const ref = useRef();
  const id = useId();
  useLayoutEffect(() => {
    const before = document.activeElement;
    ref.current.showModal();
    return () => before?.focus?.();
  }, []);
  return html`<dialog ref=${ref} class=${wide ? "wide" : ""} aria-labelledby=${id} onClose=${onClose}>
    <header><h2 id=${id}>${title}</h2><${IconButton} icon="close" label="Close" onClick=${() => ref.current.close()} /></header>
    ${children}
  </dialog>`;
}

/**
 * A form. `send(values, key)` resolves to what `mutate` returns, and errors stand at their fields. The same values have the
 * same key. A field has a name, a label and attributes of an input; `hint` and `options` (of a select) are its own.
 */
export function Form({ fields, label, tone = "primary", send, done, children }) {
  const [{ busy, problem, userErrors = [] }, setState] = useState({});
  const sent = useRef({});
  const form = useRef();
  const id = useId();
  async function submit(event) {
    event?.preventDefault();
    const values = Object.fromEntries(new FormData(form.current));
    const text = JSON.stringify(values);
    if (sent.current.text !== text) sent.current = { text, key: newKey() };
    setState({ busy: true });
    const result = await send(values, sent.current.key);
    if (!result.problem) sent.current = {};
    setState({ problem: result.problem, userErrors: result.payload?.userErrors });
    if (result.payload && !result.payload.userErrors.length) done?.(result.payload, form.current);
  }
  useEffect(() => form.current.querySelector("[aria-invalid=true]")?.focus(), [userErrors]);
  const general = userErrors.filter((error) => !fields.some(({ name }) => name === error.field));
  return html`<form ref=${form} onSubmit=${submit} novalidate>
    ${fields.map((field) => html`<${Field} key=${field.name} id=${`${id}-${field.name}`} ...${field}
      error=${userErrors.find((error) => error.field === field.name)} />`)}
    ${general.map((error) => html`<p class="error" role="alert">${error.message}</p>`)}
    <${Notice} problem=${problem} />
    <div class="actions"><button class=${tone} disabled=${busy}>${label}</button>${children}</div>
  </form>`;
}

function Field({ id, name, label, hint, error, value = "", options, type = "text", ...rest }) {
  const about = (error || hint) && `${id}-about`;
  const shared = { id, name, "aria-invalid": error ? "true" : undefined, "aria-describedby": about, ...rest };
  return html`<div class="field">
    <label for=${id}>${label}</label>
    ${options
      ? html`<select ...${shared}>${options.map(([key, text]) => html`<option value=${key}>${text}</option>`)}</select>`
      : html`<input type=${type} defaultValue=${value} ...${shared} />`}
    ${about && html`<p id=${about} class=${error ? "error" : "hint"}>${(error ?? { message: hint }).message}</p>`}
  </div>`;
}

/** Say something for a while: a text, and what a click on the button does. */
export function notify(text, action, label = "Undo") {
  dispatchEvent(new CustomEvent("notify", { detail: { text, action, label } }));
}

/** The place where `notify` speaks. */
export function Toasts() {
  const [toast, setToast] = useState(null);
  useEffect(() => {
    const listen = ({ detail }) => setToast(detail);
    addEventListener("notify", listen);
    return () => removeEventListener("notify", listen);
  }, []);
  useEffect(() => {
    const timer = toast && setTimeout(() => setToast(null), 20_000);
    return () => clearTimeout(timer);
  }, [toast]);
  const act = () => {
    setToast(null);
    toast.action();
  };
  return html`<div class="toasts" role="status">${toast && html`<div class="toast">
    <span>${toast.text}</span>
    ${toast.action && html`<button type="button" onClick=${act}>${toast.label}</button>`}
    <${IconButton} icon="close" label="Dismiss" onClick=${() => setToast(null)} />
  </div>`}</div>`;
}
