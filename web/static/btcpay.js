// Shows a checkout page in a frame over the page of a shop. A shop loads this script from /modal/btcpay.js.
// BTCPay Server's script of the same name has the same functions and messages.
"use strict";

(() => {
  if (window.btcpay?.showInvoice) return;

  const NOTHING = () => {};
  let base = addressOf(document.currentScript?.src ?? "");
  let frame = null;
  let focused = null;
  let onEnter = NOTHING;
  let onLeave = NOTHING;
  let onMessage = NOTHING;

  function addressOf(script) {
    return script.replace(/\/modal\/btcpay\.js([?#].*)?$/i, "");
  }

  function setApiUrlPrefix(url) {
    base = String(url).replace(/\/+$/, "");
  }

  function urlOf(id, method) {
    const invoice = encodeURIComponent(id);
    return typeof method === "string" && method
      ? `${base}/i/${invoice}/${encodeURIComponent(method)}?view=modal`
      : `${base}/invoice?id=${invoice}&view=modal`;
  }

  function appendInvoiceFrame(id, paramsOrMethod) {
    removeFrame();
    frame = document.createElement("iframe");
    frame.name = "btcpay";
    frame.title = "Bitcoin";
    frame.allow = "clipboard-read; clipboard-write";
    Object.assign(frame.style, {
      position: "fixed",
      top: "0",
      left: "0",
      width: "100%",
      height: "100%",
      margin: "0",
      padding: "0",
      border: "0",
      zIndex: "2147483000",
      display: "none",
    });
    frame.src = urlOf(id, paramsOrMethod);
    document.body.append(frame);
  }

  function appendAndShowInvoiceFrame(id, paramsOrMethod) {
    appendInvoiceFrame(id, paramsOrMethod);
    showFrame();
  }

  function showFrame() {
    if (!frame) return;
    onEnter();
    if (frame.style.display === "none") focused = document.activeElement;
    frame.style.display = "block";
    frame.focus();
  }

  function hideFrame() {
    if (!frame) return;
    onLeave();
    removeFrame();
    focused?.focus?.();
    focused = null;
  }

  function removeFrame() {
    frame?.remove();
    frame = null;
  }

  function originOf(address) {
    try {
      return new URL(address, document.baseURI).origin;
    } catch {
      return null;
    }
  }

  function receive(event) {
    if (!frame || event.origin !== originOf(base)) return;
    const open = event.data?.open;
    if (event.data === "loaded") {
      showFrame();
    } else if (event.data === "close") {
      hideFrame();
    } else if (typeof open === "string" && /^bitcoin:/i.test(open)) {
      window.location = open;
    }
    onMessage(event);
  }

  function asFunction(value) {
    return typeof value === "function" ? value : NOTHING;
  }

  window.addEventListener("message", receive);
  window.btcpay = Object.assign(window.btcpay ?? {}, {
    showInvoice: appendInvoiceFrame,
    appendInvoiceFrame,
    appendAndShowInvoiceFrame,
    showFrame,
    hideFrame,
    onModalWillEnter: (callback) => (onEnter = asFunction(callback)),
    onModalWillLeave: (callback) => (onLeave = asFunction(callback)),
    onModalReceiveMessage: (callback) => (onMessage = asFunction(callback)),
    setApiUrlPrefix,
  });
})();
