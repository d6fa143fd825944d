// A running team's text as it comes, in Node with zeromq.js alone:  npm install zeromq && node viewer_node.mjs DATA_DIR RUN
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Dealer, Subscriber } from "zeromq";

const [dataDir, run] = process.argv.slice(2);
const where = JSON.parse(readFileSync(join(dataDir, "connection.json"), "utf8"));
const live = new Subscriber({ linger: 0 });
const control = new Dealer({ linger: 0 });
live.subscribe(`run/${run}/`); // it ends in "/": topics are prefixes
live.connect(where.live);
control.connect(where.control);
const shown = new Map(); // bytes of each thought
let speaker = "";

function show(agent, thought, fresh) {
  const text = fresh.toString().replace(/[^\P{C}\n\t]/gu, "\ufffd"); // never obeyed
  process.stdout.write(agent === speaker ? text : `\n[${agent}] ${text}`);
  shown.set(thought, (shown.get(thought) ?? 0) + fresh.length);
  speaker = agent;
}

for await (const [, body] of live) {
  const event = JSON.parse(body.toString());
  if (["finished", "failed", "cancelled"].includes(event.status)) break; // the run's beat
  if (event.channel !== "text" && event.kind !== "thought.finalized") continue;
  const have = shown.get(event.thought) ?? 0;
  let fresh = Buffer.from(event.text ?? "");
  let start = event.offset ?? 0;
  if (start > have || (event.length ?? 0) > have) { // something was missed: joined late, or too slow
    await control.send(JSON.stringify({ type: "text", id: `${event.seq}`, run, thought: event.thought }));
    const [reply] = await control.receive();
    [fresh, start] = [Buffer.from(JSON.parse(reply.toString()).data.text), 0];
  }
  if (start + fresh.length > have) show(event.agent, event.thought, fresh.subarray(have - start));
}
process.stdout.write("\n");
process.exit(0);
