// Sends the form of a page of progress, which asks for the next step.
"use strict";

document.getElementById("continue").submit();
