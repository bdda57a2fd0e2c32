// A receiver that needs nothing but Node: WEBHOOK_SECRET=... PORT=8080 node receiver.js
const crypto = require("crypto");
const http = require("http");

const secret = process.env.WEBHOOK_SECRET || "";
// the text itself is the key, of a whsec_ secret what is encoded in it
const key = secret.startsWith("whsec_") ? Buffer.from(secret.slice(6), "base64") : Buffer.from(secret);
if (!key.length) throw new Error("WEBHOOK_SECRET is not set");
const toleranceSeconds = 300;
const bodyMax = 1_000_000;

// whether the message was signed with the secret, just now
function isVerified(body, headers) {
  const { "webhook-id": id = "", "webhook-timestamp": timestamp = "", "webhook-signature": signatures = "" } = headers;
  // with a stop in the id, a part of a signed body could pass as the timestamp
  if (!/^[A-Za-z0-9_-]{1,200}$/.test(id) || !/^\d+$/.test(timestamp)) return false;
  if (Math.abs(Date.now() / 1000 - Number(timestamp)) > toleranceSeconds) return false;
  const digest = crypto.createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest("base64");
  const expected = Buffer.from(`v1,${digest}`);
  return signatures.split(" ").some((signature) => {
    const given = Buffer.from(signature);
    return given.length === expected.length && crypto.timingSafeEqual(given, expected);
  });
}

const server = http.createServer((request, response) => {
  const parts = [];
  let size = 0;
  const answer = (status) => response.writeHead(status).end();
  request.on("data", (part) => {
    size += part.length;
    if (size <= bodyMax) parts.push(part);
  });
  request.on("end", () => {
    if (size > bodyMax) return answer(413);
    const body = Buffer.concat(parts); // the bytes as received: parsed and serialised again, they may differ
    if (!isVerified(body, request.headers)) return answer(401);
    // store it here, unless its id is known; do what takes longer after the answer
    console.log(request.headers["webhook-id"], body.toString());
    answer(200);
  });
});

server.listen(Number(process.env.PORT || 8080), "127.0.0.1", () => {
  console.log(`Listening on http://127.0.0.1:${server.address().port}/`);
});
