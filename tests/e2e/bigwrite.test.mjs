// A million rows go in one transaction: those who ask for little beside it hardly notice its commit.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { bundle, callOk, enc, http, newIdentity, patience, published, rows, session, sleep, sql, startServer, w } from './support.mjs';

const db = 'bigwrite', ROWS = 1_000_000, STEP = 20_000;
let server, ann;

const module = bundle(`
  import { schema, t, table } from 'spacetimedb/server';
  const big = table({ name: 'big', public: true }, { id: t.u32().primaryKey(), v: t.u32().index('btree') });
  const small = table({ name: 'small', public: true }, { id: t.u32().primaryKey() });
  const s = schema({ big, small });
  export default s;
  export const fill = s.reducer({ from: t.u32(), count: t.u32() }, (ctx, { from, count }) => {
    for (let i = 0; i < count; i++) ctx.db.big.insert({ id: from + i, v: (from + i) % 1000 });
  });
  export const few = s.reducer({ count: t.u32() }, (ctx, { count }) => {
    for (let i = 0; i < count; i++) ctx.db.small.insert({ id: i });
  });
  export const probe = s.reducer({ n: t.u32() }, () => {});
`);

before(async () => {
  server = await startServer({ words: ['--slice-ms', '2000', '--reducer-deadline', '120000'] });
  ann = await newIdentity(server);
  await published(server, db, module, { token: ann.token });
});
after(async () => {
  await server?.end();
});

const count = async table => Number((await rows(server, db, `SELECT COUNT(*) AS n FROM ${table}`, ann.token))[0][0]);

async function fill() {
  for (let from = 0; from < ROWS; from += STEP) await callOk(server, db, 'fill', [from, STEP], ann.token);
  assert.equal(await count('big'), ROWS);
}

// How long the statement took, and the longest of the short calls that were made meanwhile.
async function besideProbes(statement) {
  const socket = await session(server, db);
  let done = false, longest = 0, when = 0, calls = 0;
  const began = performance.now();
  const whole = sql(server, db, statement, ann.token).then(answer => {
    done = true;
    assert.equal(answer.status, 200, answer.text);
    return performance.now() - began;
  });
  while (!done) {
    const at = performance.now();
    socket.say(enc.call(calls++, 'probe', w().u32(calls).done()));
    assert.equal((await socket.nextOf('result')).ok, true);
    if (performance.now() - at > longest) [longest, when] = [performance.now() - at, at - began];
    await sleep(3);
  }
  const took = await whole;
  await socket.bye();
  console.log(`# ${statement}: ${took.toFixed(0)} ms, the longest of ${calls} calls beside it ${longest.toFixed(1)} ms, ${when.toFixed(0)} ms after it began`);
  return { took, longest, calls };
}

// What the loop did itself of what slow calls wrote.
async function applied() {
  const { text } = await http(server, 'GET', '/v1/metrics');
  const value = name => text.split('\n').filter(line => line.startsWith(`${name}{`)).reduce((sum, line) => sum + Number(line.split(' ')[1]), 0);
  return { commits: value('lightcone_bulk_commits_total'), rows: value('lightcone_bulk_rows_total'), single: value('lightcone_rows_applied_total') };
}

test('a million rows changed in one statement are taken over by the loop, not changed by it', { timeout: 20 * patience }, async () => {
  await fill();
  const before = await applied();
  const { took, longest, calls } = await besideProbes('UPDATE big SET v = 7 WHERE v >= 0');
  const after = await applied();
  assert.ok(calls > 10, `only ${calls} calls were answered meanwhile`);
  assert.ok(longest < took / 3, `a call took ${longest} ms of the ${took} ms`);
  assert.equal(after.commits, before.commits + 1);
  assert.ok(after.rows - before.rows >= ROWS - 1000, `${after.rows - before.rows} rows`);  // some had 7 before
  assert.equal(after.single, before.single);
  const sevens = () => rows(server, db, 'SELECT COUNT(*) AS n FROM big WHERE v = 7', ann.token);
  assert.equal(Number((await sevens())[0][0]), ROWS);
  await server.kill();
  await server.start();
  assert.equal(Number((await sevens())[0][0]), ROWS);
});

test('a million rows deleted one by one are committed at once', { timeout: 10 * patience }, async () => {
  const { took, longest, calls } = await besideProbes('DELETE FROM big WHERE v >= 0');
  assert.equal(await count('big'), 0);
  assert.ok(calls > 10, `only ${calls} calls were answered meanwhile`);
  assert.ok(longest < took / 3, `a call took ${longest} ms of the ${took} ms`);
});

test('a whole table goes in no time, and stays gone over a kill', { timeout: 10 * patience }, async () => {
  const began = performance.now();
  await fill();
  const filled = performance.now() - began;
  const { took } = await besideProbes('DELETE FROM big');
  assert.ok(took < filled / 10, `${took} ms, and ${filled} ms to fill it`);
  await callOk(server, db, 'fill', [5, 2], ann.token);
  await server.kill();
  await server.start();
  assert.deepEqual((await rows(server, db, 'SELECT id FROM big', ann.token)).sort(), [[5], [6]]);
});

test('who watches the table hears of every row', async () => {
  await callOk(server, db, 'few', [5000], ann.token);
  const socket = await session(server, db);
  socket.say(enc.subscribe(1, 1, 'SELECT * FROM small'));
  await socket.nextOf('subscribed');
  await sql(server, db, 'DELETE FROM small', ann.token);
  const update = await socket.nextOf('update');
  const gone = update.sets[0].tables[0].rows.flatMap(part => part.deletes);
  assert.equal(gone.length, 5000);
  await socket.bye();
});
