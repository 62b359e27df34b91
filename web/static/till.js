// The till: a keypad, and the status of the sale. The device remembers its seller, its currency and its sound.
"use strict";

(() => {
  const POLL_MS = 1000;
  const TIMEOUT_MS = 10000;
  const NAME = "nodetill-till";

  const form = document.getElementById("till");
  const offline = document.getElementById("offline");
  let failures = 0;

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
    const sale = document.getElementById("sale");
    try {
      const answer = await get(sale.dataset.status);
      const status = await answer.json();
      failures = 0;
      offline.textContent = "";
      const isNew = status.status !== sale.dataset.state || String(status.received_sats) !== sale.dataset.sats;
      if (isNew || Date.parse(status.expires_at) < Date.now()) await renew(status);
    } catch {
      failures += 1;
      if (failures > 1) offline.textContent = "No connection to Nodetill. This page may be out of date.";
    }
    if (document.getElementById("sale").dataset.scene !== "paid") setTimeout(ask, POLL_MS * 2 ** Math.min(failures, 3));
  }

  async function renew(status) {
    const answer = await get(location.href);
    // The session has ended, so the server redirects to the login.
    if (answer.redirected) return location.reload();
    const next = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("sale");
    const old = document.getElementById("sale");
    const isPaid = next.dataset.scene === "paid" && old.dataset.scene !== "paid";
    if (next.dataset.scene !== old.dataset.scene || next.dataset.sats !== old.dataset.sats) {
      old.className = next.className;
      old.replaceChildren(...next.childNodes);
    }
    Object.assign(old.dataset, next.dataset, { state: status.status });
    if (isPaid && remembered().sound) play();
  }

  async function get(url) {
    const answer = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!answer.ok) throw new Error(answer.status);
    return answer;
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
  else if (document.getElementById("sale").dataset.scene !== "paid") setTimeout(ask, POLL_MS);
})();
