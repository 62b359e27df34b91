// A shop that accepts bitcoin, with an order page and a webhook for payment events.
//
// NODETILL_URL=https://pay.example.com NODETILL_KEY=nt_... WEBHOOK_SECRET=whsec_... node examples/shop.mjs
//
// The shop needs Node.js 18 or later and no packages. It stores its orders as files in shop-data (a real shop has
// a database), and listens on port 8000.

import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";

const { NODETILL_URL, NODETILL_KEY, WEBHOOK_SECRET } = process.env;
const { PORT = "8000", SHOP_URL = `http://127.0.0.1:${PORT}`, SHOP_DATA = "shop-data" } = process.env;
const [SHOP, GOODS, PRICE, CURRENCY] = ["Alpaca Direct", "Alpaca socks", "135.99", "EUR"];
const WORDS = {
  new: "We are waiting for your payment.",
  underpaid: "A part of the money is there. Please pay the rest.",
  received: "Your payment is on its way.",
  confirming: "Your payment is on its way.",
  confirmed: "Paid. We are packing your socks!",
  expired: "The price has expired. Please order again.",
  partly: "A part of your money has arrived, but the price has expired. We are looking at it, so please do not pay again.",
  late: "Your money has arrived late. We are looking at it, so please do not pay again.",
};
// With an empty secret anybody could sign a webhook.
if (!/^whsec_.{32}/.test(WEBHOOK_SECRET)) throw new Error("WEBHOOK_SECRET is not set");
mkdirSync(SHOP_DATA, { recursive: true, mode: 0o700 });

// Return the page. The form already has the order's number, so a form sent twice is one order.
function showGoods() {
  const order = randomBytes(8).toString("hex");
  return [200, `<!DOCTYPE html><title>${GOODS}</title><h1>${GOODS}, ${PRICE} ${CURRENCY}</h1>
<form method="post" action="/orders">
<input type="hidden" name="order" value="${order}"><button>Pay with bitcoin</button></form>`];
}

// Create the payment request, and redirect the customer to its checkout page.
async function takeOrder(body) {
  const order = new URLSearchParams(body.toString()).get("order") ?? "";
  if (!/^[0-9a-f]{16}$/.test(order)) return [400, "no such order"];
  const payment = await requestPayment(order).then((answer) => answer.json()).catch(() => null);
  if (payment?.type === "urn:nodetill:problem:idempotency-key-expired") return [410, WORDS.expired];
  if (!payment?.checkout_url) return [503, "We can't take payments right now. Please try again in a minute."];
  if (!readOrder(order)) writeOrder(order, { status: stateOf(payment), asOf: "" });
  return [303, "", { Location: payment.checkout_url }];
}

// Create the order's payment request. The order's number is the idempotency key, so a repeated call returns the
// same payment request.
function requestPayment(order) {
  const body = {
    amount_fiat: PRICE,
    currency: CURRENCY,
    label: SHOP,
    note: `${GOODS}, order ${order}`,
    metadata: { order },
    redirect_url: `${SHOP_URL}/orders/${order}`,
  };
  return fetch(`${NODETILL_URL}/api/v1/payments`, {
    method: "POST",
    headers: { Authorization: `Bearer ${NODETILL_KEY}`, "Content-Type": "application/json", "Idempotency-Key": order },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  });
}

// Return the key of WORDS for a payment request. A customer who has paid late must not pay again.
function stateOf({ status, late, received_sats }) {
  if (status !== "expired") return status;
  if (late) return "late";
  return received_sats ? "partly" : "expired";
}

function showOrder(number) {
  const order = readOrder(number);
  return order ? [200, WORDS[order.status]] : [404, "no such order"];
}

function readOrder(number) {
  const file = `${SHOP_DATA}/order-${number}`;
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : null;
}

function writeOrder(number, order) {
  writeFileSync(`${SHOP_DATA}/order-${number}`, JSON.stringify(order));
}

// Store the status of an event. Refuse a webhook without a valid, fresh signature. Ignore repeats.
function receiveWebhook(body, headers) {
  if (!isSigned(body, headers)) return [400, "not signed by Nodetill"];
  const received = `${SHOP_DATA}/received-${headers["webhook-id"]}`;
  if (existsSync(received)) return [204, ""];
  const { type, timestamp, data } = JSON.parse(body);
  if (type === "test") return [204, ""]; // the operator tries the webhook
  const order = readOrder(data.metadata.order);
  // Events come in their order, except a failed event that the operator sends again.
  if (order && order.asOf <= timestamp) writeOrder(data.metadata.order, { status: stateOf(data), asOf: timestamp });
  writeFileSync(received, ""); // last, so that Nodetill sends the event again if this function is cut short
  console.log(`order ${data.metadata.order}: ${type}`);
  return [204, ""];
}

// Check a signature of Standard Webhooks, which is the HMAC-SHA256 of id, time and body. The header has several
// signatures while a secret is changed.
function isSigned(body, headers) {
  const time = headers["webhook-timestamp"] ?? "";
  const secret = Buffer.from(WEBHOOK_SECRET.slice("whsec_".length), "base64");
  const signed = createHmac("sha256", secret).update(`${headers["webhook-id"]}.${time}.`).update(body);
  const expected = Buffer.from(`v1,${signed.digest("base64")}`);
  const isFresh = Math.abs(Date.now() / 1000 - Number(time)) <= 300;
  return isFresh && (headers["webhook-signature"] ?? "").split(" ").some((each) => {
    const signature = Buffer.from(each);
    return signature.length === expected.length && timingSafeEqual(signature, expected);
  });
}

async function route(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  const body = Buffer.concat(parts);
  const order = /^\/orders\/([0-9a-f]{16})$/.exec(request.url)?.[1];
  switch (`${request.method} ${order ? "/orders/" : request.url}`) {
    case "GET /": return showGoods();
    case "POST /orders": return takeOrder(body);
    case "GET /orders/": return showOrder(order);
    case "POST /webhook": return receiveWebhook(body, request.headers);
  }
  return [404, "nothing here"];
}

createServer(async (request, response) => {
  const [status, text, headers = {}] = await route(request).catch((error) => [500, `${error.name}`]);
  response.writeHead(status, { "Content-Type": "text/html; charset=utf-8", ...headers }).end(text);
}).listen(Number(PORT), "127.0.0.1");
