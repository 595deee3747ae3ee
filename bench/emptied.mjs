// emptied.mjs: what another client waits for while a table of a million rows that is watched is emptied.
//
//   node bench/emptied.mjs
//
// ROWS    of 8 bytes (1000000)
// ROUNDS  (3)
//
// A process of its own watches with `SELECT *` and with `v <> 3`, and takes its bytes without looking at them. One client
// calls a short reducer again and again, one in flight. Printed, for each way of emptying the table: his longest wait from when
// it was asked for until 100 ms after its answer, the longest but one and the median, in milliseconds, and the time to the answer.
import { fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { Speaker } from '../tests/e2e/dialects.mjs';
import { bundle, callOk, newIdentity, published, sleep, sql, startServer } from '../tests/e2e/support.mjs';

const name = 'emptied', ROWS = Number(process.env.ROWS || 1_000_000), ROUNDS = Number(process.env.ROUNDS || 3), STEP = 100_000;

const module = () => bundle(`
  import { schema, t, table } from 'spacetimedb/server';
  const big = table({ name: 'big', public: true }, { id: t.u32().primaryKey(), v: t.u32() });
  const tick = table({ name: 'tick', public: true }, { id: t.u32().primaryKey() });
  const s = schema({ big, tick });
  export default s;
  export const fill = s.reducer({ from: t.u32(), count: t.u32() }, (ctx, { from, count }) => {
    for (let id = from; id < from + count; id++) ctx.db.big.insert({ id, v: id % 1000 });
  });
  export const clear = s.reducer(ctx => { ctx.db.big.clear(); });
  export const slow = s.reducer(ctx => {
    for (const end = Date.now() + 30; Date.now() < end; );
    ctx.db.big.clear();
  });
  export const anew = s.reducer(ctx => { ctx.db.big.clear(); ctx.db.big.insert({ id: 1, v: 1 }); });
  export const short = s.reducer({ n: t.u32() }, (ctx, { n }) => { ctx.db.tick.insert({ id: n }); });
`);

function watch(port) {
  const texts = ['SELECT * FROM big', 'SELECT * FROM big WHERE v <> 3'];
  const payload = Buffer.alloc(13 + texts.reduce((sum, text) => sum + 4 + text.length, 0));
  payload.writeUInt32LE(1, 1);
  payload.writeUInt32LE(1, 5);
  let at = payload.writeUInt32LE(texts.length, 9);
  for (const text of texts) {
    at = payload.writeUInt32LE(text.length, at);
    at += payload.write(text, at);
  }
  const socket = connect(port, '127.0.0.1');
  socket.write(`GET /v1/database/${name}/subscribe?compression=None HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\n`
    + `upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: ${randomBytes(16).toString('base64')}\r\n`
    + 'sec-websocket-protocol: v2.bsatn.spacetimedb\r\n\r\n');
  socket.once('data', () => socket.write(Buffer.concat([Buffer.from([0x82, 0x80 | payload.length, 0, 0, 0, 0]), payload])));
  setInterval(() => socket.write(Buffer.from([0x8a, 0x80, 0, 0, 0, 0])), 5000);  // a pong, whatever was asked
  let bytes = 0;
  socket.on('data', data => (bytes += data.length));
  setInterval(() => process.send(bytes), 50);
}

async function main() {
  const server = await startServer({ words: ['--reducer-deadline', '120000'] });
  const { token } = await newIdentity(server);
  await published(server, name, module(), { token });
  const quick = await Speaker.enter(server, name, 'v2', { schema: { tick: ['u32'], 'short()': ['u32'] } });
  const watcher = fork(fileURLToPath(import.meta.url), ['watch', String(server.port)]);
  let bytes = 0, calls = 0;
  watcher.on('message', sum => (bytes = sum));
  const settled = async () => {
    for (let last = -1; last !== bytes; await sleep(500)) last = bytes;
  };
  const ways = {
    'a reducer that clears': () => callOk(server, name, 'clear', [], token),
    'DELETE FROM': () => sql(server, name, 'DELETE FROM big', token),
    'a slow reducer that clears': () => callOk(server, name, 'slow', [], token),
    'clears, and inserts a row': () => callOk(server, name, 'anew', [], token),
  };
  for (let n = 0; n < 2000; n++) await quick.call('short', [calls++]);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [what, way] of Object.entries(ways)) {
      await sql(server, name, 'DELETE FROM big', token);
      for (let from = 0; from < ROWS; from += STEP) await callOk(server, name, 'fill', [from, Math.min(STEP, ROWS - from)], token);
      await settled();
      const waits = [], began = performance.now(), before = bytes;
      let answered = Infinity;
      const answer = way().then(() => (answered = performance.now()));
      while (performance.now() < answered + 100) {
        const asked = performance.now();
        await quick.call('short', [calls++]);
        waits.push(performance.now() - asked);
        await new Promise(setImmediate);
      }
      await answer;
      await settled();
      if (bytes - before < 2 * 0.99 * ROWS * 8) throw new Error(`${what}: whoever watches was not told of every row`);
      waits.sort((a, b) => b - a);
      const [longest, next, median] = [waits[0], waits[1], waits[waits.length >> 1]].map(ms => ms.toFixed(1));
      console.log(`${what.padEnd(28)} longest ${longest}  next ${next}  p50 ${median}  answer ${(answered - began).toFixed(0)}`);
    }
  }
  watcher.kill();
  quick.drop();
  await server.end();
}

if (process.argv[2] === 'watch') watch(Number(process.argv[3]));
else await main();
