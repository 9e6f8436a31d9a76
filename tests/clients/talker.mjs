// An InboxClient by the line: commands as ["read", 1] come in, and after each event a line says how things stand.
import { createInterface } from "node:readline";

import { InboxClient } from "../../clients/js/src/index.js";

const [gateway, cursor, ...tokens] = process.argv.slice(2);
let asked = 0;
const token = tokens.length > 1 ? () => tokens[Math.min(asked++, tokens.length - 1)] : tokens[0];
const client = new InboxClient({ gateway, token, cursor: JSON.parse(cursor) });

for (const type of ["change", "item", "state", "refused", "ended"]) {
  client.addEventListener(type, ({ detail }) => {
    const seqs = client.items.map((item) => item.seq);
    const { road, state, unread } = client;
    console.log(JSON.stringify({ type, detail, road, state, seqs, unread, cursor: client.inbox.cursor, asked }));
  });
}
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const [method, ...seqs] = JSON.parse(line);
  client[method](...seqs);
});
lines.on("close", () => client.close());
client.connect();
