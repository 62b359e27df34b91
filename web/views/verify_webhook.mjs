import { createHmac, timingSafeEqual } from "node:crypto";

// `headers` are request.headers of Node.js, and `body` is a Buffer with the bytes as they came.
export function isSigned(secret, headers, body) {
  const { "webhook-id": id, "webhook-timestamp": moment, "webhook-signature": signatures = "" } = headers;
  const key = Buffer.from(secret.slice("whsec_".length), "base64");
  const digest = createHmac("sha256", key).update(`${id}.${moment}.`).update(body).digest("base64");
  const expected = Buffer.from(`v1,${digest}`);
  const isFresh = Math.abs(Date.now() / 1000 - Number(moment)) < 300;
  return isFresh && signatures.split(" ").some((each) => {
    const signature = Buffer.from(each);
    return signature.length === expected.length && timingSafeEqual(signature, expected);
  });
}
