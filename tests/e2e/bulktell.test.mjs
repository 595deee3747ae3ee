// A transaction changes every row of a table that many watch: each of them is told, once and in order, and nobody
// else waits for that.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Speaker } from './dialects.mjs';
import { bundle, callOk, http, newIdentity, patience, published, sleep, startServer } from './support.mjs';

const db = 'bulktell', ROWS = 200_000, STEP = 20_000;
let server, ann;

const module = bundle(`
  import { schema, t, table } from 'spacetimedb/server';
  const big = table({ name: 'big', public: true }, { id: t.u32().primaryKey(), v: t.u32().index('btree'), text: t.string() });
  const tick = table({ name: 'tick', public: true }, { id: t.u32().primaryKey() });
  const owner = table({ name: 'owner', public: true }, { v: t.u32().primaryKey() });
  const s = schema({ big, tick, owner });
  export default s;
  export const fill = s.reducer({ from: t.u32(), count: t.u32() }, (ctx, { from, count }) => {
    for (let i = 0; i < count; i++) ctx.db.big.insert({ id: from + i, v: (from + i) % 1000, text: 'a' });
  });
  export const own = s.reducer({ v: t.u32() }, (ctx, { v }) => { ctx.db.owner.insert({ v }); });
  export const rewrite = s.reducer({ count: t.u32(), by: t.u32() }, (ctx, { count, by }) => {
    for (let id = 0; id < count; id++) ctx.db.big.id.update({ id, v: (id + by) % 1000, text: 'b'.repeat(by % 7) });
  });
  // Beside the rewritten ones, which it does not touch.
  export const short = s.reducer({ n: t.u32() }, (ctx, { n }) => {
    ctx.db.tick.insert({ id: n });
    ctx.db.big.insert({ id: 1_000_000 + n, v: n % 1000, text: 'new' });
  });
`);
const schema = {
  big: ['u32', 'u32', 'str'], tick: ['u32'], owner: ['u32'],
  'rewrite()': ['u32', 'u32'], 'short()': ['u32'], 'own()': ['u32'],
};
const keys = { big: 0, tick: 0, owner: 0 };
const enter = dialect => Speaker.enter(server, db, dialect, { schema, keys });

before(async () => {
  server = await startServer({ words: ['--reducer-deadline', '120000'] });
  ann = await newIdentity(server);
  await published(server, db, module, { token: ann.token });
  for (let from = 0; from < ROWS; from += STEP) await callOk(server, db, 'fill', [from, STEP], ann.token);
});
after(async () => {
  await server?.end();
});

async function told() {
  const { text } = await http(server, 'GET', '/v1/metrics');
  return Number(/^lightcone_bulk_told_total\{[^}]*\} (\d+)/m.exec(text)[1]);
}

// As deepEqual of many rows, quickly.
const same = (a, b) => assert.ok(a.length === b.length && a.every((row, i) => row === b[i]), `${a.length} rows and ${b.length}`);

// Watchers of all dialects, who hear what they hear only in the end; somebody who comes and goes; short calls.
async function round(watchers, by) {
  const [caller, guest, quick] = [await enter('v2'), await enter('v3'), await enter('v2')];
  const everybody = [caller, ...watchers.map(([one]) => one)];
  const before = await told();
  await caller.subscribe(1, 'SELECT * FROM big', 'SELECT * FROM tick');
  const held = caller.rows('big').length;
  let done = false, calls = 0, longest = 0;
  const ended = caller.call('rewrite', [ROWS, by]).finally(() => (done = true));
  const first = by * 100_000;
  const calling = (async () => {
    while (!done) {
      const began = performance.now();
      assert.ok((await quick.call('short', [first + calls])).ok);
      calls++;
      longest = Math.max(longest, performance.now() - began);
      await sleep(150);  // those who watch have much to compare for each of these
    }
  })();
  const visiting = (async () => {
    let sets = 0;
    while (!done) {
      const set = ++sets;
      await guest.subscribe(set, `SELECT * FROM big WHERE id < ${100 * set} AND v > ${set}`);
      await guest.unsubscribe(set);  // its rows are exactly those that were held
    }
    await guest.subscribe(++sets, 'SELECT * FROM big WHERE v < 500');
    return sets;
  })();
  const answer = await ended;
  assert.ok(answer.ok, answer.error);
  const mine = answer.changes.filter(change => change.table === 'big');
  assert.equal(mine.reduce((sum, change) => sum + change.inserts.length, 0), ROWS, 'its own part, in one message');
  await calling;
  const sets = await visiting;
  assert.equal(await told(), before + 1, 'it was told beside the loop');
  console.log(`# ${calls} calls, the longest ${longest.toFixed(0)} ms (with the tests' own work); ${sets} visits`);
  assert.ok(calls > 2);

  // Everybody holds what their queries yield.
  const whole = await quick.query('SELECT * FROM big');
  assert.equal(whole.length, held + calls);
  const select = test => whole.filter(row => test(...JSON.parse(row)));
  for (const one of [...everybody, guest]) await one.quiet();
  same(caller.rows('big'), whole);
  same(guest.rows('big'), select((id, v) => v < 500));
  for (const [one, , test] of watchers) same(one.rows('big'), select(test));

  // Each transaction is one message, in the order of the commits.
  for (const one of everybody) {
    const ticks = one.updates.flatMap(u => u.changes).filter(c => c.table === 'tick').flatMap(c => c.inserts).map(row => JSON.parse(row)[0]);
    assert.deepEqual(ticks.filter(n => n >= first), Array.from({ length: calls }, (_, i) => first + i));
  }
  for (const one of watchers.map(([one]) => one)) {
    const large = one.updates.filter(u => u.changes.some(c => c.table === 'big' && c.inserts.length > 1000));
    assert.equal(large.length, by);
  }
  for (const one of [caller, guest, quick]) one.drop();
}

const queries = [
  ['v1.json', 'SELECT * FROM big WHERE id < 3000', id => id < 3000],
  ['v1.bsatn', 'SELECT * FROM big WHERE v <> 3 AND id < 5000', (id, v) => v !== 3 && id < 5000],
  ['v2', 'SELECT * FROM big', () => true],
  ['v3', 'SELECT * FROM big WHERE v >= 100 AND v < 300', (id, v) => v >= 100 && v < 300],
  ['v3', 'SELECT * FROM big WHERE v IN (5, 6, 7) OR id < 2000', (id, v) => [5, 6, 7].includes(v) || id < 2000],
];

test('everybody is told of 200,000 rows, in every protocol, whoever comes and goes', { timeout: 10 * patience }, async () => {
  const watchers = [];
  for (const [dialect, query, test] of queries) {
    const one = await enter(dialect);
    await one.subscribe(1, query, 'SELECT * FROM tick');
    watchers.push([one, query, test]);
  }
  await round(watchers, 1);
  await round(watchers, 2);
  for (const [one] of watchers) one.drop();
});

test('who watches a join is told of the same, from the rows themselves', { timeout: 10 * patience }, async () => {
  await callOk(server, db, 'own', [7], ann.token);
  const [joined, plain, caller] = [await enter('v2'), await enter('v3'), await enter('v2')];
  await joined.subscribe(1, 'SELECT big.* FROM big JOIN owner ON big.v = owner.v');
  await plain.subscribe(1, 'SELECT * FROM big WHERE id < 2000');
  const before = await told();
  assert.ok((await caller.call('rewrite', [ROWS, 9])).ok);
  for (const one of [joined, plain]) await one.quiet();
  const whole = await caller.query('SELECT * FROM big');
  same(joined.rows('big'), whole.filter(row => JSON.parse(row)[1] === 7));
  same(plain.rows('big'), whole.filter(row => JSON.parse(row)[0] < 2000));
  assert.equal(await told(), before + 1);
  for (const one of [joined, plain, caller]) one.drop();
});
