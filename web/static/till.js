// The till: a keypad, and the status of the sale. The device remembers its seller, its currency and its sound.
"use strict";

(() => {
  const POLL_MS = 1000;
  const TIMEOUT_MS = 10000;
  const NAME = "nodetill-till";

  const form = document.getElementById("till");
  const offline = document.getElementById("offline");
  let failures = 0;
  let clockLead = 0;

  function remembered() {
    try {
      return JSON.parse(localStorage.getItem(NAME)) ?? {};
    } catch {
      return {};
    }
  }

  function remember(values) {
    try {
      localStorage.setItem(NAME, JSON.stringify({ ...remembered(), ...values }));
    } catch {
      // A browser may refuse to store these values. The till also works without them.
    }
  }

  function prepareKeypad() {
    const amount = form.elements.amount_fiat;
    const isChosen = new URLSearchParams(location.search).has("currency");
    // On a phone the keypad replaces the keyboard. A computer's keyboard still works.
    amount.inputMode = "none";
    form.querySelector(".keys").hidden = false;
    form.querySelector(".sound").hidden = false;
    for (const name of ["seller_id", "currency"]) {
      const field = form.elements[name];
      const wanted = remembered()[name];
      if (field.options && !isChosen && [...field.options].some((each) => each.value === wanted)) field.value = wanted;
      field.addEventListener("change", () => remember({ [name]: field.value }));
    }
    const sound = document.getElementById("sound");
    sound.checked = Boolean(remembered().sound);
    sound.addEventListener("change", () => remember({ sound: sound.checked }));
    form.addEventListener("click", (event) => {
      const key = event.target.closest("[data-key]")?.dataset.key;
      if (key) amount.value = typed(amount.value, key);
    });
    form.addEventListener("submit", () => {
      remember({ seller_id: form.elements.seller_id.value, currency: form.elements.currency.value });
    });
    amount.focus();
  }

  function typed(text, key) {
    if (key === "back") return text.slice(0, -1);
    const decimals = Number(form.elements.currency.selectedOptions[0].dataset.decimals);
    const [, after] = text.split(".");
    if (key === ".") return after === undefined && decimals > 0 ? `${text || "0"}.` : text;
    if (after !== undefined && after.length >= decimals) return text;
    return text === "0" ? key : text + key;
  }

  async function ask() {
    try {
      const sale = document.getElementById("sale");
      const answer = await get(sale.dataset.status, { "If-None-Match": sale.dataset.tag });
      if (answer.status !== 304) await renew();
      failures = 0;
      offline.textContent = "";
    } catch {
      failures += 1;
      if (failures > 1) offline.textContent = "No connection to Nodetill. This page may be out of date.";
    }
    follow();
  }

  // A received payment is not final, because a double-spend can take it back.
  function follow() {
    const isFinal = "final" in document.getElementById("sale").dataset;
    if (!isFinal) setTimeout(ask, POLL_MS * 2 ** Math.min(failures, 3));
  }

  async function renew() {
    const answer = await get(location.href);
    // The session has ended, so the server redirects to the login.
    if (answer.redirected) return location.reload();
    const next = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("sale");
    const old = document.getElementById("sale");
    const isPaid = next.classList.contains("good") && !old.classList.contains("good");
    const isUnfolded = old.querySelector("details")?.open;
    old.className = next.className;
    old.replaceChildren(...next.childNodes);
    Object.assign(old.dataset, next.dataset);
    const details = old.querySelector("details");
    if (details && isUnfolded) details.open = true;
    tick();
    if (isPaid && remembered().sound) play();
  }

  async function get(url, headers = {}) {
    const answer = await fetch(url, { headers, cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!answer.ok && answer.status !== 304) throw new Error(answer.status);
    const date = Date.parse(answer.headers.get("Date"));
    if (date) clockLead = date - Date.now();
    return answer;
  }

  function tick() {
    const clock = document.getElementById("clock");
    if (!clock) return;
    const seconds = Math.max(Math.floor((Date.parse(clock.dataset.until) - Date.now() - clockLead) / 1000), 0);
    const two = (number) => String(number).padStart(2, "0");
    const minutes = Math.floor(seconds / 60);
    const rest = two(seconds % 60);
    clock.textContent = minutes < 60 ? `${minutes}:${rest}` : `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${rest}`;
  }

  function prepareSale() {
    clockLead = Date.parse(document.getElementById("sale").dataset.now) - Date.now();
    setInterval(tick, 500);
    tick();
    follow();
  }

  // Two short tones. Some browsers play no sound before a touch.
  function play() {
    const audio = new AudioContext();
    for (const [place, pitch] of [880, 1320].entries()) {
      const tone = audio.createOscillator();
      const volume = audio.createGain();
      volume.gain.value = 0.2;
      tone.frequency.value = pitch;
      tone.connect(volume).connect(audio.destination);
      tone.start(audio.currentTime + place * 0.15);
      tone.stop(audio.currentTime + place * 0.15 + 0.12);
    }
  }

  if (form) prepareKeypad();
  else prepareSale();
})();
