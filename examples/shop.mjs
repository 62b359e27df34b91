// A shop that is paid in bitcoin: an order page, and the webhook that tells it of payments.
//
// NODETILL_URL=https://pay.example.com NODETILL_KEY=nt_... WEBHOOK_SECRET=whsec_... node examples/shop.mjs
//
// It needs Node.js 18 or later and no packages, keeps its orders as files in shop-data (a real shop has a
// database), and listens on port 8000.

import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";

const { NODETILL_URL, NODETILL_KEY, NODETILL_SELLER = "company1", WEBHOOK_SECRET } = process.env;
const { PORT = "8000", SHOP_URL = `http://127.0.0.1:${PORT}`, SHOP_DATA = "shop-data" } = process.env;
const [GOODS, PRICE, CURRENCY] = ["Alpaca socks", "135.99", "EUR"];
const WORDS = {
  new: "We are waiting for your payment.",
  underpaid: "A part of the money is there. Please pay the rest.",
  received: "Your payment is on its way.",
  confirming: "Your payment is on its way.",
  confirmed: "Paid. We are packing your socks!",
  expired: "The price has expired. Please order again.",
};
// With an empty one anybody could sign.
if (!/^whsec_.{32}/.test(WEBHOOK_SECRET)) throw new Error("WEBHOOK_SECRET is not set");
mkdirSync(SHOP_DATA, { recursive: true, mode: 0o700 });

// The order has its number before it is sent: sent twice, it is still one order.
function showGoods() {
  const order = randomBytes(8).toString("hex");
  return [200, `<!DOCTYPE html><title>${GOODS}</title><h1>${GOODS}, ${PRICE} ${CURRENCY}</h1>
<form method="post" action="/orders">
<input type="hidden" name="order" value="${order}"><button>Pay with bitcoin</button></form>`];
}

// Ask for the payment, and send the customer to the page where it is made.
async function takeOrder(body) {
  const order = new URLSearchParams(body.toString()).get("order") ?? "";
  if (!/^[0-9a-f]{16}$/.test(order)) return [400, "no such order"];
  const answer = await askForPayment(order).catch(() => null);
  if (!answer?.ok) return [503, "We can't take payments right now. Please try again in a minute."];
  const payment = await answer.json();
  if (!readOrder(order)) writeOrder(order, { status: payment.status, asOf: "" });
  return [303, "", { Location: payment.checkout_url }];
}

// The payment request of this order. The order's number as key makes a repeat harmless.
function askForPayment(order) {
  const body = {
    seller_id: NODETILL_SELLER,
    amount_fiat: PRICE,
    currency: CURRENCY,
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

// What Nodetill tells: believed only if it is signed and fresh, and done once however often it comes.
function beTold(body, headers) {
  if (!isSigned(body, headers)) return [400, "not signed by Nodetill"];
  const told = `${SHOP_DATA}/told-${headers["webhook-id"]}`;
  if (existsSync(told)) return [204, ""];
  const { type, timestamp, data } = JSON.parse(body);
  const order = readOrder(data.metadata.order);
  // Events come in their order, but for one that was given up and is sent again by hand.
  if (order && order.asOf <= timestamp) writeOrder(data.metadata.order, { status: data.status, asOf: timestamp });
  writeFileSync(told, ""); // last: if this is cut short, it comes again
  console.log(`order ${data.metadata.order}: ${type}`);
  return [204, ""];
}

// Standard Webhooks: HMAC-SHA256 of id, time and body; several signatures while a secret is changed.
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
    case "POST /webhook": return beTold(body, request.headers);
  }
  return [404, "nothing here"];
}

createServer(async (request, response) => {
  const [status, text, headers = {}] = await route(request).catch((error) => [500, `${error.name}`]);
  response.writeHead(status, { "Content-Type": "text/html; charset=utf-8", ...headers }).end(text);
}).listen(Number(PORT), "127.0.0.1");
