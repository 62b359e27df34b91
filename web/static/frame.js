// Sends messages to the page of the shop that shows this page in a frame, and redirects the customer to the shop.
// BTCPay Server's checkout has the same messages, in version 2 and in earlier versions.
"use strict";

(() => {
  const FORMER_NAMES = { Processing: "paid", Settled: "complete", Expired: "expired", Invalid: "invalid" };
  const RETURN_MS = 3000;

  const main = document.querySelector("main");
  const close = document.getElementById("close");
  const isFramed = window.parent !== window;
  let state = main.dataset.state;
  let isReturning = false;

  // The shop's origin is unknown, so the messages contain no private data.
  function post(message) {
    window.parent.postMessage(message, "*");
  }

  function leave() {
    post("close");
    if (!isFramed) history.back();
  }

  function changed() {
    if (main.dataset.state !== state) {
      state = main.dataset.state;
      const former = FORMER_NAMES[state];
      if (former) {
        post({ invoiceId: main.dataset.invoice, status: state });
        post({ invoiceId: main.dataset.invoice, status: former });
      }
    }
    returnSoon();
  }

  function returnSoon() {
    if (!main.dataset.back || isReturning) return;
    isReturning = true;
    setTimeout(() => {
      isReturning = false;
      // The payment may be gone again.
      if (!main.dataset.back) return;
      try {
        window.top.location.href = main.dataset.back;
      } catch {
        // The browser may require a click before a frame can replace its page. The page has a link for this.
      }
    }, RETURN_MS);
  }

  // Other sites refuse to be shown in a frame.
  function openOutside(event) {
    const link = event.target.closest("a[rel=noreferrer]:not([target])");
    if (link && isFramed) link.target = "_blank";
  }

  if (close) {
    close.hidden = false;
    close.addEventListener("click", leave);
    document.addEventListener("keydown", (event) => event.key === "Escape" && leave());
  }
  document.addEventListener("click", openOutside, true);
  new MutationObserver(changed).observe(main, { attributes: true, attributeFilter: ["data-state", "data-back"] });
  // A customer who goes back from the shop wants to read this page, so do not redirect again.
  if (performance.getEntriesByType("navigation")[0]?.type !== "back_forward") returnSoon();
  post("loaded");
})();
