// flood_support.mjs: a polite client beside one that misbehaves; used by the test and by `make bench`.
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { bundle, enc, published, session, w } from './support.mjs';

const source = `
import { schema, t, table } from 'spacetimedb/server';
const counter = table({ name: 'counter', public: true }, { id: t.u32().primaryKey(), value: t.u32() });
const big = table({ name: 'big', public: true }, { id: t.u32().primaryKey(), text: t.string() });
const ledger = table({ name: 'ledger', public: true }, { id: t.u32().primaryKey(), value: t.u32() });
const db = schema({ counter, big, ledger });
export default db;
export const init = db.init(ctx => {
  for (let id = 0; id < 16; id++) ctx.db.counter.insert({ id, value: 0 });
  for (let id = 0; id < 128; id++) ctx.db.big.insert({ id, text: 'x'.repeat(1024) });
  ctx.db.ledger.insert({ id: 0, value: 0 });
});
export const tick = db.reducer({ id: t.u32() }, (ctx, { id }) => {
  const row = ctx.db.counter.id.find(id)!;
  ctx.db.counter.id.update({ id, value: (row.value + 1) >>> 0 });
});
export const burn = db.reducer({ rounds: t.u32() }, (ctx, { rounds }) => {
  let value = 1;
  for (let i = 0; i < rounds; i++) value = (Math.imul(value, 1664525) + i) >>> 0;
  ctx.db.ledger.id.update({ id: 0, value });
});
`;

export const percentile = (list, p) => [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * p))];

export async function publishFlood(server, database, token) {
  return published(server, database, bundle(source), { token });
}

// One call after another; gives the latencies in milliseconds.
export async function polite(socket, { ms = Infinity, calls = Infinity }) {
  const took = [];
  const one = enc.call(1, 'tick', w().u32(2).done());
  for (const end = performance.now() + ms; performance.now() < end && took.length < calls; ) {
    const began = performance.now();
    socket.say(one);
    const result = await socket.nextOf('result');
    if (!result.ok) throw new Error(result.internal ?? result.err);
    took.push(performance.now() - began);
  }
  return took;
}

// How many rounds of `burn` take so long on the server, found by asking it.
export async function roundsFor(server, database, ms) {
  const socket = await session(server, database);
  const time = async rounds => {
    const took = [];
    for (let i = 0; i < 9; i++) {
      const began = performance.now();
      socket.say(enc.call(1, 'burn', w().u32(rounds).done()));
      await socket.nextOf('result');
      took.push(performance.now() - began);
    }
    return percentile(took, 0.3);
  };
  await time(1000);
  const [none, some] = [await time(0), await time(400_000)];
  await socket.bye();
  return Math.max(1000, Math.round((400_000 * ms) / Math.max(some - none, 0.05)));
}

export class Flooder {
  done = 0;
  constructor(server, database, kind, more = {}) {
    const what = JSON.stringify({ port: server.port, database, kind, ...more });
    this.worker = fork(fileURLToPath(new URL('./flood_worker.mjs', import.meta.url)), [what]);
    this.over = new Promise((resolve, reject) => {
      this.worker.on('error', reject);
      this.worker.on('exit', code => (code === 0 ? resolve() : reject(new Error(`the flood of ${kind} ended with ${code}`))));
    });
    this.worker.on('message', message => Object.assign(this, message));
  }
  async begun() {
    while (!this.done && !this.ended) await Promise.race([new Promise(r => setTimeout(r, 5)), this.over]);
  }
  async stop() {
    if (!this.ended) this.worker.send('stop');
    await this.over;
  }
}
