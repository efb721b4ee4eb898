"use strict";

// Reloading must not send the form again and make another token.
history.replaceState(null, "", document.getElementById("token-list").href);

const field = document.getElementById("issued-token");
const button = document.getElementById("copy-token");

field.addEventListener("focus", () => field.select());
field.focus();

// The clipboard is only there on HTTPS and on localhost; elsewhere the text is selected already.
if (navigator.clipboard) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(field.value);
    document.getElementById("copied").textContent = "Copied.";
  });
}
