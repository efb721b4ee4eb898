/** Settings: the profile, the password, the sessions and the tokens of the viewer. */
import { html, useRef, useState } from "./vendor/preact.js";
import { mutate, refresh, useQuery } from "./api.js";
import * as queries from "./queries.js";
import { Dialog, Form, Notice, Time, notify } from "./ui.js";

const NAME = { name: "name", label: "Your name", hint: "Everybody sees it beside what you share.", autocomplete: "name" };
const PASSWORD = { label: "Current password", type: "password", autocomplete: "current-password" };

/** @param {{me: object, changed: () => void, loggedOut: () => void}} props */
export function SettingsPage({ me, changed, loggedOut }) {
  const { data, problem } = useQuery(queries.ACCOUNT);
  const account = data?.me;
  return html`<section class="page">
    <h2>Settings</h2>
    <${Notice} problem=${problem} retry=${refresh} />
    <section><h3>Profile</h3>
      <${Form} label="Save the profile" send=${(values, key) => mutate(queries.UPDATE_PROFILE, values, key)}
        done=${() => (notify("The profile is saved."), changed())} fields=${[
          { ...NAME, value: me.name },
          { name: "email", label: "E-mail address", type: "email", value: me.email, autocomplete: "email" },
        ]} />
    </section>
    <section><h3>Your data</h3>
      <p><a href="/account/export" download>Download your account and your notes</a></p>
    </section>
    <section><h3>Password</h3>
      <${Form} label="Change the password" send=${(values, key) => mutate(queries.CHANGE_PASSWORD, values, key)}
        done=${(_, form) => (form.reset(), notify("The password is changed. All other sessions have ended."))}
        fields=${[
          { ...PASSWORD, name: "currentPassword" },
          { name: "newPassword", label: "New password", type: "password", autocomplete: "new-password" },
        ]} />
    </section>
    ${account && html`<${Sessions} sessions=${account.sessions} loggedOut=${loggedOut} />
      <${Tokens} tokens=${account.tokens} />
      <section class="closing"><h3>Close the account</h3>
        <p class="hint">You are logged out everywhere, and nobody can log in. Shared notes stay.</p>
        <${Form} label="Close the account" tone="danger" fields=${[{ ...PASSWORD, name: "password", label: "Your password" }]}
          send=${(values, key) => mutate(queries.DEACTIVATE_ACCOUNT, values, key)}
          done=${() => loggedOut("Your account is closed.")} />
      </section>`}
  </section>`;
}

/** Send a mutation, and say what came of it. */
async function act(document, input, said, done) {
  const { payload, problem } = await mutate(document, input);
  const error = problem ?? payload.userErrors[0];
  notify(error ? error.message : said);
  if (!error) done?.();
}

function Sessions({ sessions, loggedOut }) {
  return html`<section><h3>Sessions</h3>
    <ul class="rows">${sessions.map(({ id, device, lastUsedAt, isCurrent }) => html`<li key=${id}>
      <div><strong>${device || "A device"}</strong>
        <p class="about">${isCurrent ? "this session" : html`last used <${Time} value=${lastUsedAt} />`}</p></div>
      ${!isCurrent && html`<button type="button" aria-label=${`End the session of ${device || "a device"}`}
        onClick=${() => act(queries.END_SESSION, { id }, "The session has ended.")}>End</button>`}
    </li>`)}</ul>
    <button type="button" onClick=${() => act(queries.LOG_OUT_EVERYWHERE, null, "All sessions have ended.", () => loggedOut())}>
      Log out everywhere</button>
  </section>`;
}

const SCOPES = { READ: "Read", WRITE: "Read and write", ADMIN: "Everything" };

function Tokens({ tokens }) {
  const [issued, setIssued] = useState(null);
  const text = useRef();
  const create = ({ name, scope, expiresInDays }, key) =>
    mutate(queries.CREATE_TOKEN, { name, scope, expiresInDays: Number(expiresInDays) }, key);
  return html`<section><h3>Tokens</h3>
    <p class="hint">Programs use a token in place of your password.</p>
    <ul class="rows">${tokens.map(({ id, name, scope, expiresAt }) => html`<li key=${id}>
      <div><strong>${name}</strong>
        <p class="about">${SCOPES[scope]}${expiresAt && html`<span>until <${Time} value=${expiresAt} /></span>`}</p></div>
      <button type="button" aria-label=${`Revoke the token ${name}`}
        onClick=${() => act(queries.REVOKE_TOKEN, { id }, "The token is revoked.")}>Revoke</button>
    </li>`)}</ul>
    <${Form} label="Make a token" send=${create} done=${(payload, form) => (form.reset(), setIssued(payload.text))} fields=${[
      { name: "name", label: "Name of the token", autocomplete: "off" },
      { name: "scope", label: "What it may do", options: ["READ", "WRITE"].map((key) => [key, SCOPES[key]]) },
      { name: "expiresInDays", label: "Days until it expires", type: "number", min: 1, value: "90", autocomplete: "off" },
    ]} />
    ${issued && html`<${Dialog} title="Your new token" onClose=${() => setIssued(null)}>
      <p>Copy it now. Nobody can show it again.</p>
      <input ref=${text} readonly value=${issued} aria-label="The token" onFocus=${(event) => event.target.select()} />
    <//>`}
  </section>`;
}
