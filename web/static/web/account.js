/** Signing up, logging in, and the links of mails. */
import { html, useEffect, useState } from "./vendor/preact.js";
import { mutate } from "./api.js";
import { CONFIRM_EMAIL, LOG_IN, REQUEST_RESET, RESET_PASSWORD, SIGN_UP } from "./queries.js";
import { go } from "./route.js";
import { Form, notify } from "./ui.js";

const USERNAME = { name: "username", autocomplete: "username", autocapitalize: "none", spellcheck: false };
const PASSWORD = { name: "password", label: "Password", type: "password", autocomplete: "current-password" };
const NEW_PASSWORD = { ...PASSWORD, autocomplete: "new-password" };

/** A name for this browser in the list of sessions. */
const device = () => {
  const [browser = "Browser"] = /Edg|Firefox|Chrome|Safari/.exec(navigator.userAgent) ?? [];
  const [system = "a device"] = /Android|iPhone|iPad|Windows|Mac|Linux/.exec(navigator.userAgent) ?? [];
  return `${browser} on ${system}`;
};
const logIn = ({ username, password }) => mutate(LOG_IN, { username, password, device: device(), cookie: true });

/** Say something on the page of the log-in. */
const toLogIn = (text) => (notify(text), go("#/log-in", true), {});

/** The form of a log-in; `done` is called with the session in its cookie. */
export function LogIn({ done, children }) {
  return html`<${Form} label="Log in" send=${logIn} done=${done}
    fields=${[{ ...USERNAME, label: "Username or e-mail address" }, PASSWORD]}>${children}<//>`;
}

/** The page of a log-in. */
export function LogInPage({ done }) {
  return html`<${Card} title="Log in">
    <${LogIn} done=${done}><a href="#/reset-password">Forgot the password?</a><//>
    <p>No account yet? <a href="#/sign-up">Sign up</a></p>
  <//>`;
}

/** The page of a sign-up, also by the link of an invitation. */
export function SignUpPage({ id, done }) {
  async function send({ username, email, password, name }, key) {
    const chosen = { ...(username && { username }), ...(id && { invitation: id }) };
    const result = await mutate(SIGN_UP, { ...chosen, email, password, name }, key);
    if (!result.payload || result.payload.userErrors.length) return result;
    if (username || id) return logIn({ username: username || email, password });
    return toLogIn("The mail has a link that confirms your address. Then log in with the address.");
  }
  return html`<${Card} title="Sign up">
    <${Form} label="Sign up" send=${send} done=${done} fields=${[
      { name: "name", label: "Your name", hint: "Everybody sees it beside what you share.", autocomplete: "name" },
      { ...USERNAME, label: "Username", hint: "Without one you log in with your e-mail address." },
      { name: "email", label: "E-mail address", type: "email", autocomplete: "email" }, NEW_PASSWORD,
    ]} />
    <p>An account already? <a href="#/log-in">Log in</a></p>
  <//>`;
}

/** Without the link of a mail the page asks for one; with it the page sets another password. */
export function ResetPasswordPage({ id }) {
  const [sent, setSent] = useState(false);
  if (id) {
    const done = () => toLogIn("The password is set. Log in with it.");
    return html`<${Card} title="Set another password"><${Form} label="Set the password" fields=${[NEW_PASSWORD]} done=${done}
      send=${({ password }, key) => mutate(RESET_PASSWORD, { token: id, password }, key)} /><//>`;
  }
  return html`<${Card} title="Forgot the password?">
    ${sent
      ? html`<p role="status">If there is such an account, its mail has a link that sets another password.</p>`
      : html`<${Form} label="Send me a link" fields=${[{ ...USERNAME, label: "Username or e-mail address" }]}
          send=${({ username }, key) => mutate(REQUEST_RESET, { username }, key)} done=${() => setSent(true)} />`}
    <p><a href="#/log-in">Log in</a></p>
  <//>`;
}

/** The link of a mail that confirms an address. */
export function ConfirmEmailPage({ id }) {
  const [text, setText] = useState("One moment …");
  useEffect(() => void mutate(CONFIRM_EMAIL, { token: id }).then(({ payload, problem }) => {
    setText((problem ?? payload.userErrors[0])?.message ?? "Your e-mail address is confirmed.");
  }), [id]);
  return html`<${Card} title="Your e-mail address"><p role="status">${text}</p><p><a href="#/">Go to the notes</a></p><//>`;
}

const Card = ({ title, children }) => html`<section class="card"><h2>${title}</h2>${children}</section>`;
