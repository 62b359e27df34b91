// Copies and shares links. A button stays hidden if the browser does not support its action.
"use strict";

(() => {
  const SAID_MS = 2000;

  function prepare() {
    for (const button of document.querySelectorAll("[data-copy][hidden]")) button.hidden = false;
    for (const button of document.querySelectorAll("[data-share][hidden]")) button.hidden = !navigator.share;
  }

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      return copyBySelection(text);
    }
  }

  // Without TLS there is no navigator.clipboard.
  function copyBySelection(text) {
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "unseen";
    document.body.append(field);
    field.select();
    const isDone = document.execCommand("copy");
    field.remove();
    return isDone;
  }

  function say(button, text) {
    const place = button.parentElement.querySelector("[role=status]");
    place.textContent = text;
    setTimeout(() => {
      if (place.textContent === text) place.textContent = "";
    }, SAID_MS);
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy], [data-share]");
    if (!button) return;
    if (button.dataset.copy) {
      say(button, (await copy(button.dataset.copy)) ? "Copied" : "This browser does not copy. Select the link.");
    } else {
      // The promise is also rejected if a person closes the share sheet. This needs no message.
      navigator.share({ title: button.dataset.title, url: button.dataset.share }).catch(() => {});
    }
  });
  // The live update of the page inserts new buttons.
  new MutationObserver(prepare).observe(document.body, { childList: true, subtree: true });
  prepare();
})();
