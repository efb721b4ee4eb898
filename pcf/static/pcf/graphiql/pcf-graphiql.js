// Starts GraphiQL on the page's own address, with a field for the bearer token and a line about the last response.
"use strict";

(() => {
  const TOKEN_KEY = "pcf:bearer-token";
  const DEFAULT_QUERY = `{
  users(first: 5) {
    id
    name
    notes(first: 3) {
      title
      tags {
        name
      }
    }
  }
}
`;
  const MAX_SHOWN_BODY = 500; // characters of a response that is not JSON

  // GraphiQL's dialogs add one style element and look for the nonce under this name.
  window.__webpack_nonce__ = document.currentScript.nonce;

  const status = document.getElementById("pcf-status");
  const tokenField = document.getElementById("pcf-token");
  // The session's storage: the token is gone when the tab is.
  tokenField.value = sessionStorage.getItem(TOKEN_KEY) ?? "";
  tokenField.addEventListener("input", () => sessionStorage.setItem(TOKEN_KEY, tokenField.value));

  /** What goes into Authorization, or null: the field's token, with or without "Bearer" before it. */
  function authorization() {
    const token = tokenField.value.trim().replace(/^bearer\s+/i, "");
    return token ? `Bearer ${token}` : null;
  }

  /** Headers of a request; those of GraphiQL's headers editor win over the token field. */
  function requestHeaders(fromEditor) {
    const headers = new Headers({
      Accept: "application/graphql-response+json, application/json;q=0.9",
      "Content-Type": "application/json",
    });
    const bearer = authorization();
    if (bearer) {
      headers.set("Authorization", bearer);
    }
    for (const [name, value] of Object.entries(fromEditor ?? {})) {
      headers.set(name, value);
    }
    return headers;
  }

  /** "200 · 12 ms · Cache-Status: ..." for a response that took `milliseconds` up to its last byte. */
  function describe(response, milliseconds) {
    const parts = [String(response.status), `${Math.round(milliseconds)} ms`];
    const cacheStatus = response.headers.get("Cache-Status");
    if (cacheStatus) {
      parts.push(`Cache-Status: ${cacheStatus}`);
    }
    return parts.join(" · ");
  }

  /** The response's JSON, or an error in the shape of GraphQL's for one that is something else. */
  function parsed(response, text) {
    try {
      return JSON.parse(text);
    } catch {
      return failure(`${response.status}, not JSON: ${text.slice(0, MAX_SHOWN_BODY)}`);
    }
  }

  function failure(message) {
    return { errors: [{ message }] };
  }

  async function fetcher(params, options) {
    const shown = params.operationName !== "IntrospectionQuery"; // GraphiQL's own, nobody asked for it
    const show = (line) => shown && (status.textContent = line);
    const started = performance.now();
    try {
      const response = await fetch(window.location.origin + window.location.pathname, {
        method: "POST",
        headers: requestHeaders(options?.headers),
        body: JSON.stringify(params),
      });
      const text = await response.text();
      show(describe(response, performance.now() - started));
      return parsed(response, text);
    } catch (error) {
      show("No response");
      return failure(error.message); // the network, or a header that cannot be sent
    }
  }

  const logo = React.createElement(GraphiQL.Logo, null, "PCF");
  const options = {
    fetcher,
    defaultQuery: DEFAULT_QUERY,
    showPersistHeadersSettings: false, // headers may hold a token, which must not outlive the tab
  };
  const page = React.createElement(GraphiQL, options, logo);
  ReactDOM.createRoot(document.getElementById("pcf-graphiql")).render(page);
})();
