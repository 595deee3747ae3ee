// kill -9 at random moments under load. After each: every acknowledged call is there, everything a
// client was shown is there, and no call is there by half.
//
//   KILLS=100 SEED=1 node tests/e2e/durability.test.mjs
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { connect, moduleBindings, moduleBundle, random, sleep, startServer, subscribe } from './harness.mjs';

const kills = Number(process.env.KILLS ?? 100);
const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const next = random(seed);
const clients = 4;
const inFlight = 16;
const callsPerRound = 400; // bounds how much there is to check

let server, ledger;
before(async () => {
  ledger = await moduleBindings('ledger');
  server = await startServer();
  await server.publish('ledger', moduleBundle('ledger'));
});
after(async () => server?.end());

let nextId = 1n;

// Keep `inFlight` calls going until the connection or the round's calls end.
async function load(client, round, acknowledged) {
  let calls = callsPerRound / clients;
  const one = async () => {
    while (calls-- > 0) {
      const id = nextId++;
      await client.reducers.append({ id, round, text: `r${round} ${'x'.repeat(Number(id % 97n))}` });
      acknowledged.add(id);
    }
  };
  const ignore = () => {}; // calls that the kill cut off are neither promised nor forbidden
  await Promise.race([client.lost, Promise.all(Array.from({ length: inFlight }, () => one().catch(ignore)))]);
}

async function rowsOf(round) {
  const ids = async table =>
    new Set((await server.sql('ledger', `SELECT * FROM ${table} WHERE round = ${round}`)).map(row => BigInt(row[0])));
  return { entry: await ids('entry'), shadow: await ids('shadow') };
}

function checkRound(round, rows, acknowledged, shown) {
  const missing = [...acknowledged].filter(id => !rows.entry.has(id));
  assert.deepEqual(missing, [], `round ${round}: acknowledged but lost (seed ${seed})`);
  const vanished = [...shown].filter(id => !rows.entry.has(id));
  assert.deepEqual(vanished, [], `round ${round}: shown to a client but lost (seed ${seed})`);
  assert.equal(rows.entry.size, rows.shadow.size, `round ${round}: half a call (seed ${seed})`);
  for (const id of rows.entry) assert.ok(rows.shadow.has(id), `round ${round}: half of call ${id}`);
}

test(`${kills} kills under load lose nothing that was promised (seed ${seed})`, async () => {
  let promised = 0;
  const perRound = [];
  for (let round = 1; round <= kills; round++) {
    const acknowledged = new Set();
    const shown = new Set();
    const all = await Promise.all(Array.from({ length: clients }, () => connect(ledger, server, 'ledger')));
    all[0].db.entry.onInsert((_ctx, row) => shown.add(row.id));
    await subscribe(all[0], `SELECT * FROM entry WHERE round = ${round}`);
    const running = all.map(client => load(client, round, acknowledged));
    await sleep(5 + next() * 120);
    await server.kill();
    await Promise.all(running);
    for (const client of all) client.connection.disconnect();
    await server.start();
    const rows = await rowsOf(round);
    checkRound(round, rows, acknowledged, shown);
    promised += acknowledged.size;
    perRound.push(rows.entry.size);
  }
  assert.ok(promised > kills, `too little was tested: ${promised} calls acknowledged in ${kills} rounds`);
  const kept = perRound.reduce((sum, n) => sum + n, 0);
  const [[, total]] = await server.sql('ledger', 'SELECT * FROM total');
  assert.equal(BigInt(total), BigInt(kept), 'the running total counts exactly the calls that are there');
});
