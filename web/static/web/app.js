/** The page: who reads, which view, and the list that stays while one of its notes is open. */
import { html, render, useEffect, useLayoutEffect, useRef, useState } from "./vendor/preact.js";
import { ConfirmEmailPage, LogIn, LogInPage, ResetPasswordPage, SignUpPage } from "./account.js";
import { mutate, query, whenExpired } from "./api.js";
import { removeDrafts } from "./drafts.js";
import { NotePane } from "./note.js";
import { Filters, NoteList, Search, listVariables, useNotes } from "./notes.js";
import { LOG_OUT, ME, REFRESH_ACCESS } from "./queries.js";
import { go, href, useRoute } from "./route.js";
import { SettingsPage } from "./settings.js";
import { TrashPage } from "./trash.js";
import { Dialog, Icon, Notice, Toasts, notify, useEvents } from "./ui.js";

const PUBLIC_PAGES = {
  "log-in": LogInPage, "sign-up": SignUpPage, "reset-password": ResetPasswordPage, "confirm-email": ConfirmEmailPage,
};
const PHONE = matchMedia("(max-width: 799px)"); // as in app.css
const DAY = 24 * 60 * 60 * 1000; // ms

/** Let the session of a person who comes back expire later, once a day. */
function prolong() {
  if (Date.now() - Number(localStorage.getItem("prolonged")) < DAY) return;
  localStorage.setItem("prolonged", Date.now());
  mutate(REFRESH_ACCESS, {});
}

/** Find out who reads. Another reader gets another page, so nothing of the one before stays. */
function Root() {
  const [{ me, problem }, setState] = useState({});
  const [expired, setExpired] = useState(false);
  const mine = useRef(null);
  async function load(retries = 1) {
    const { data, problem } = await query(ME);
    if (problem?.kind === "expired" && retries) return load(0); // the answer has removed the cookie
    if (problem) return setState((before) => ({ ...before, problem }));
    mine.current = data.me;
    if (data.me) prolong();
    setState({ me: data.me });
  }
  const logOut = (said) => {
    if (me) removeDrafts(me);
    go("#/");
    if (said) notify(said);
    load();
  };
  const logIn = (view) => {
    setExpired(false);
    if (view) go(view, true);
    load();
  };
  useEffect(() => {
    whenExpired(() => mine.current && setExpired(true));
    load();
  }, []);
  if (me === undefined) return problem && html`<main class="card"><${Notice} problem=${problem} retry=${load} /></main>`;
  return html`<${App} key=${me?.id} me=${me} reload=${load} logIn=${() => logIn("#/")} logOut=${logOut} />
    <${Toasts} />
    ${expired && html`<${Dialog} title="Log in again" onClose=${() => setExpired(false)}>
      <p>Your session has ended. This device keeps what you type.</p><${LogIn} done=${() => logIn()} />
    <//>`}`;
}

function App({ me, reload, logIn, logOut }) {
  const { view, id, params } = useRoute();
  const shown = useRef(params);
  if (view === "notes") shown.current = params; // other views leave the list as it is
  const variables = listVariables(shown.current, me);
  const list = useNotes(variables);
  const main = useRef();
  const online = useEvents(window, ["online", "offline"], () => navigator.onLine);
  const Public = PUBLIC_PAGES[view];
  const open = view === "notes" ? id : "";
  const covered = useEvents(PHONE, ["change"], () => PHONE.matches) && Boolean(open); // by the note
  useReturnOfFocus(open);
  const name = view === "notes" ? list.rows.find((row) => row.id === open)?.title : view.replace("-", " ");
  useLayoutEffect(() => void (document.title = name ? `${name} – Notes` : "Notes"), [name]);
  useLayoutEffect(() => void (view === "notes" || main.current.focus()), [view]);
  async function end() {
    const { payload, problem } = await mutate(LOG_OUT);
    if (problem || payload.userErrors.length) return notify((problem ?? payload.userErrors[0]).message);
    return logOut("You are logged out.");
  }
  return html`
    <${Header} skip=${() => main.current.focus()} covered=${covered} me=${me} params=${shown.current} logOut=${end} />
    ${!online && html`<p class="banner" role="status">There is no network. This device keeps what you type.</p>`}
    <main ref=${main} tabindex="-1">
      ${Public && html`<${Public} id=${id} done=${logIn} />`}
      ${view === "trash" && me && html`<${TrashPage} list=${list} />`}
      ${view === "settings" && me && html`<${SettingsPage} me=${me} changed=${reload} loggedOut=${logOut} />`}
      ${["trash", "settings"].includes(view) && !me && html`<${LogInPage} done=${reload} />`}
      <div class="columns" hidden=${view !== "notes"}>
        <div class="lists" inert=${covered}>
          <${Filters} params=${shown.current} variables=${variables} me=${me} />
          <section class="list" aria-label="Notes">
            <${NoteList} list=${list} params=${shown.current} selected=${id} me=${me}
              empty=${shown.current.size ? "No note matches." : "No notes yet. Write the first one."} />
          </section>
        </div>
        ${open && html`<${NotePane} key=${id} ...${{ id, params, me, list }} />`}
        ${!open && html`<p class="placeholder"><${Icon} name="note" />Choose a note${me ? ", or write a new one." : "."}</p>`}
      </div>
    </main>`;
}

function Header({ skip, covered, me, params, logOut }) {
  return html`<header class="top" inert=${covered}>
    <button type="button" class="skip" onClick=${skip}>To the content</button>
    <h1><a href="#/"><${Icon} name="note" />Notes</a></h1>
    <${Search} params=${params} />
    <nav aria-label="Account">
      ${me
        ? html`<a class="button primary" href=${href("notes", "new", params)}><${Icon} name="plus" /><span>New note</span></a>
          <a href="#/trash" title="Trash"><${Icon} name="trash" /><span>Trash</span></a>
          <a href="#/settings" title="Settings"><${Icon} name="settings" /><span>Settings</span></a>
          <button type="button" class="plain" title=${me.name} onClick=${logOut}>
            <${Icon} name="leave" /><span>Log out</span></button>`
        : html`<a href="#/log-in">Log in</a><a class="button primary" href="#/sign-up">Sign up</a>`}
    </nav>
  </header>`;
}

/** A note that closes gives the focus back to its row, or to the content when the row is gone. */
function useReturnOfFocus(id) {
  const before = useRef(id);
  useEffect(() => {
    const row = before.current && !id && document.querySelector(`.notes [data-id="${CSS.escape(before.current)}"]`);
    if (before.current && !id) (row ?? document.querySelector("main")).focus();
    before.current = id;
  }, [id]);
}

render(html`<${Root} />`, document.getElementById("app"));
