"use strict";

// A reload must not send the form again, which would make another token.
history.replaceState(null, "", document.getElementById("token-list").href);

const field = document.getElementById("issued-token");
const button = document.getElementById("copy-token");

field.addEventListener("focus", () => field.select());
field.focus();

// Browsers offer the clipboard on HTTPS and on localhost only. The text is selected in any case.
if (navigator.clipboard) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(field.value);
    document.getElementById("copied").textContent = "Copied.";
  });
}
