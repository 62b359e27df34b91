// Submits the form that sends the key to the shop. Without JavaScript, the operator presses its button.
"use strict";

document.getElementById("handover").submit();
