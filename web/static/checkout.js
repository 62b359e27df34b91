// Keeps the page current without a reload: polls the status, and after a change replaces the parts of the page
// that differ. All texts come from the server.
"use strict";

(() => {
  const POLL_MS = 1500;
  const HIDDEN_MS = 15000;
  const SLOWEST_MS = 15000;
  const TIMEOUT_MS = 10000;
  const COPIED_MS = 2000;
  const ANNOUNCED_MS = 10000;

  const main = document.querySelector("main");
  const offline = document.getElementById("offline");
  const said = document.getElementById("said");
  const regions = [...document.querySelectorAll("[data-live]")];
  // The regions as the server sent them, so that this script's own changes to a region do not count.
  const sent = new Map(regions.map((region) => [region.id, region.innerHTML]));

  let clockLead = Date.parse(main.dataset.now) - Date.now();
  let timer = 0;
  let failures = 0;
  let unchanged = 0;
  let isAsking = false;
  let lastSeconds = 0;

  async function ask() {
    if (isAsking || isFinal()) return;
    isAsking = true;
    clearTimeout(timer);
    try {
      const answer = await get(main.dataset.status, { "If-None-Match": main.dataset.tag });
      if (answer.status === 304) {
        unchanged += 1;
      } else if (answer.ok) {
        unchanged = 0;
        await renew();
      } else {
        throw new Error(answer.status);
      }
      failures = 0;
      tell("");
    } catch {
      failures += 1;
      if (failures > 1) tell(main.dataset.offline);
    }
    isAsking = false;
    if (!isFinal()) timer = setTimeout(ask, pause());
  }

  async function get(url, headers) {
    const answer = await fetch(url, { headers, cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
    const date = Date.parse(answer.headers.get("Date"));
    if (date) clockLead = date - Date.now();
    return answer;
  }

  function pause() {
    if (document.hidden) return HIDDEN_MS;
    if (failures) return Math.min(POLL_MS * 2 ** (failures - 1), SLOWEST_MS);
    // An expired payment may wait days for late money.
    const isIdle = main.dataset.scene.startsWith("expired") || main.dataset.scene === "late";
    return isIdle ? Math.min(POLL_MS + unchanged * 50, SLOWEST_MS) : POLL_MS;
  }

  function isFinal() {
    return "final" in main.dataset;
  }

  async function renew() {
    const answer = await get(location.href, {});
    if (!answer.ok) throw new Error(answer.status);
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    // The page of a newer Nodetill needs its own script.
    if (source(next) !== source(document)) return location.reload();
    takeOver(next);
  }

  function source(page) {
    return page.querySelector("script").getAttribute("src");
  }

  function takeOver(next) {
    const hadFocus = main.contains(document.activeElement);
    const isUnfolded = document.querySelector("details")?.open;
    document.title = next.title;
    replaceAttributes(main, next.querySelector("main"));
    for (const region of regions) {
      const fresh = next.getElementById(region.id);
      replaceAttributes(region, fresh);
      if (fresh.innerHTML === sent.get(region.id)) continue;
      sent.set(region.id, fresh.innerHTML);
      region.replaceChildren(...fresh.childNodes);
    }
    const details = document.querySelector("details");
    if (details && isUnfolded) details.open = true;
    // Keyboard users continue at the news, not at the top of the page.
    if (hadFocus && !main.contains(document.activeElement)) main.querySelector("h1").focus();
    prepare();
  }

  function replaceAttributes(element, like) {
    for (const { name } of [...element.attributes]) if (!like.hasAttribute(name)) element.removeAttribute(name);
    for (const { name, value } of like.attributes) element.setAttribute(name, value);
  }

  function prepare() {
    for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
    tick();
  }

  function tick() {
    const clock = document.getElementById("clock");
    if (!clock) return;
    const seconds = Math.max(Math.floor((Date.parse(clock.dataset.until) - Date.now() - clockLead) / 1000), 0);
    const text = written(seconds);
    if (clock.textContent !== text) clock.textContent = text;
    clock.classList.toggle("soon", seconds <= 60);
    if (lastSeconds > 60 && seconds <= 60 && seconds > 0 && clock.checkVisibility()) announce(main.dataset.minute);
    lastSeconds = seconds;
  }

  function announce(text) {
    said.textContent = text;
    setTimeout(() => {
      if (said.textContent === text) said.textContent = "";
    }, ANNOUNCED_MS);
  }

  function written(seconds) {
    const two = (number) => String(number).padStart(2, "0");
    const minutes = Math.floor(seconds / 60);
    const rest = two(seconds % 60);
    return minutes < 60 ? `${minutes}:${rest}` : `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${rest}`;
  }

  async function copy(button) {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch {
      if (!copyBySelection(button)) return;
    }
    const word = button.textContent;
    if (button.classList.contains("done")) return;
    button.textContent = said.textContent = main.dataset.copied;
    button.classList.add("done");
    setTimeout(() => {
      button.textContent = word;
      button.classList.remove("done");
      said.textContent = "";
    }, COPIED_MS);
  }

  // Without TLS there is no navigator.clipboard.
  function copyBySelection(button) {
    const field = document.createElement("textarea");
    field.value = button.dataset.copy;
    field.className = "unseen";
    main.append(field);
    field.select();
    const isDone = document.execCommand("copy");
    field.remove();
    button.focus();
    return isDone;
  }

  function tell(text) {
    if (offline.textContent !== text) offline.textContent = text;
  }

  main.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
  });
  document.addEventListener("visibilitychange", () => document.hidden || ask());
  window.addEventListener("online", ask);
  window.addEventListener("pageshow", (event) => event.persisted && ask());
  setInterval(tick, 500);
  prepare();
  if (!isFinal()) timer = setTimeout(ask, POLL_MS);
})();
