// Keeps the page current without a reload: fetches it every few seconds, and replaces the parts that have
// changed. Forms and fields in use stay as they are.
"use strict";

(() => {
  const POLL_MS = 3000;
  const HIDDEN_MS = 30000;
  const TIMEOUT_MS = 15000;
  // A page that takes the server long, such as a search through a million notes, is fetched less often.
  const SHARE = 10;

  const offline = document.getElementById("offline");
  const regions = [...document.querySelectorAll("[data-live]")];
  let timer = 0;
  let failures = 0;
  let tookMs = 0;
  let isAsking = false;

  async function ask() {
    if (isAsking) return;
    isAsking = true;
    clearTimeout(timer);
    const begun = performance.now();
    try {
      const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
      // The session has ended, so the server redirects to the login.
      if (answer.redirected) return location.reload();
      if (!answer.ok) throw new Error(answer.status);
      takeOver(new DOMParser().parseFromString(await answer.text(), "text/html"));
      failures = 0;
      tell("");
    } catch {
      failures += 1;
      if (failures > 1) tell("No connection to Nodetill. This page may be out of date.");
    } finally {
      isAsking = false;
    }
    tookMs = performance.now() - begun;
    timer = setTimeout(ask, pause());
  }

  function pause() {
    if (document.hidden) return HIDDEN_MS;
    return Math.max(POLL_MS * 2 ** Math.min(failures, 3), tookMs * SHARE);
  }

  function takeOver(next) {
    // The page of a newer Nodetill needs its own script.
    if (source(next) !== source(document)) return location.reload();
    document.title = next.title;
    for (const region of regions) renew(region, next.getElementById(region.id));
  }

  function source(page) {
    return page.querySelector("script")?.getAttribute("src");
  }

  // Equal nodes stay in place and keep the focus. Rows are matched by their ids.
  function renew(old, fresh) {
    if (!fresh || old.isEqualNode(fresh)) return;
    if (!isAlike(old, fresh)) return old.replaceWith(fresh);
    const kept = new Map([...old.children].filter((each) => each.id).map((each) => [each.id, each]));
    const others = [...old.childNodes].filter((each) => !each.id);
    const nodes = [...fresh.childNodes].map((node) => {
      const twin = node.id ? kept.get(node.id) : others.find((each) => isAlike(each, node));
      if (!twin) return node;
      if (node.id) kept.delete(node.id);
      else others.splice(others.indexOf(twin), 1);
      if (node.nodeType === Node.ELEMENT_NODE) renew(twin, node);
      return twin;
    });
    for (const [place, node] of nodes.entries()) {
      if (old.childNodes[place] !== node) old.insertBefore(node, old.childNodes[place] ?? null);
    }
    while (old.childNodes.length > nodes.length) old.lastChild.remove();
  }

  function isAlike(old, fresh) {
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) return false;
    if (old.nodeType !== Node.ELEMENT_NODE) return old.nodeValue === fresh.nodeValue;
    // A reader opens and closes details, which sets their attribute "open".
    const attributes = (element) =>
      [...element.attributes]
        .filter((each) => each.name !== "open")
        .map((each) => `${each.name}=${each.value}`)
        .join();
    return attributes(old) === attributes(fresh);
  }

  function tell(text) {
    if (offline.textContent !== text) offline.textContent = text;
  }

  document.addEventListener("visibilitychange", () => document.hidden || ask());
  window.addEventListener("online", ask);
  window.addEventListener("pageshow", (event) => event.persisted && ask());
  timer = setTimeout(ask, POLL_MS);
})();
