// Several times more rows than memory: reducers and queries that meet a page on the disk wait for it
// beside the others, changed pages leave memory beside them, and nothing is done twice or lost.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { lightcone, random, temporaryDirectory, top } from './harness.mjs';
import { bundle, callOk, enc, http, newIdentity, published, rows, session, sleep, startServer, until, w } from './support.mjs';

const db = 'cold';
// A read that the disk itself has to serve takes so long; a sanitizer does not like what does that.
const DISK_MS = /asan|tsan/.test(lightcone) ? 0 : 10;
const MEMORY = 8 << 20, ROWS = 32_000, ROW_BYTES = 1000;
let server, ann;

const module = `
import { schema, t, table } from 'spacetimedb/server';
const item = table({ name: 'item', public: true }, {
  id: t.u32().primaryKey(), kind: t.u32().index('btree'), n: t.u32(), text: t.string(),
});
const hot = table({ name: 'hot', public: true }, { id: t.u32().primaryKey(), n: t.u32() });
const cold = schema({ item, hot });
export default cold;
export const fill = cold.reducer({ from: t.u32(), count: t.u32(), bytes: t.u32() }, (ctx, { from, count, bytes }) => {
  for (let id = from; id < from + count; id++)
    ctx.db.item.insert({ id, kind: id % 97, n: 0, text: String.fromCharCode(97 + id % 26).repeat(bytes) });
});
export const bump = cold.reducer({ id: t.u32() }, (ctx, { id }) => {
  const row = ctx.db.item.id.find(id)!;
  ctx.db.item.id.update({ ...row, n: row.n + 1, kind: (row.kind + 1) % 97 });
});
// Whatever it makes of an error, what it read must be there in the end.
export const stubborn = cold.reducer({ id: t.u32() }, (ctx, { id }) => {
  let row = null;
  try { row = ctx.db.item.id.find(id); } catch (error) { console.log('caught ' + error); }
  if (row === null) throw new Error('there is no item ' + id);
  ctx.db.item.id.update({ ...row, n: row.n + 1 });
});
export const tick = cold.reducer({ id: t.u32() }, (ctx, { id }) => {
  const row = ctx.db.hot.id.find(id);
  if (row) ctx.db.hot.id.update({ id, n: row.n + 1 }); else ctx.db.hot.insert({ id, n: 1 });
});
export const clear = cold.reducer({}, ctx => { for (const row of ctx.db.item.iter()) ctx.db.item.id.delete(row.id); });
`;

function slowDisk() {
  if (!DISK_MS) return {};
  const library = join(temporaryDirectory('slow-disk'), 'slow_disk.so');
  execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, join(top, 'tests/e2e/slow_disk.c')]);
  return { LD_PRELOAD: library, SLOW_DISK_MS: String(DISK_MS) };
}

before(async () => {
  server = await startServer({ env: slowDisk(), words: ['--memory-max', String(MEMORY), '--checkpoint-log', String(8 << 20)] });
  ann = await newIdentity(server);
  await published(server, db, bundle(module), { token: ann.token });
  for (let from = 0; from < ROWS; from += 500) await callOk(server, db, 'fill', [from, 500, ROW_BYTES]);
});
after(async () => {
  await server?.end();
});

async function metric(name) {
  const { text } = await http(server, 'GET', '/v1/metrics');
  return text.split('\n').filter(line => line.startsWith(`${name}{`)).reduce((sum, line) => sum + Number(line.split(' ')[1]), 0);
}

const pageFiles = () =>
  readdirSync(join(server.dir, 'data'), { recursive: true }).filter(name => /pages$/.test(name)).map(name => join(server.dir, 'data', name));

// What the system has of the page files in its own memory goes, as far as it is written.
function forget() {
  for (const file of pageFiles()) execFileSync('dd', [`if=${file}`, 'iflag=nocache', 'count=0', 'status=none']);
}

// The same again and again, by a process of its own.
function forgetting() {
  const all = pageFiles().map(file => `dd if=${file} iflag=nocache count=0 status=none`).join('; ');
  const child = spawn('sh', ['-c', `while :; do ${all}; sleep 0.02; done`], { stdio: 'ignore' });
  return { end: () => child.kill() };
}

const percentile = (sorted, p) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))];

// One call after another until told to stop; gives the latencies in milliseconds, sorted.
async function callsOf(socket, reducer, argument, until, pauseMs = 0) {
  const took = [];
  for (let i = 0; !until(i); i++) {
    const began = performance.now();
    socket.say(enc.call(i, reducer, w().u32(argument(i)).done()));
    const result = await socket.nextOf('result');
    assert.equal(result.ok, true, result.internal);
    took.push(performance.now() - began);
    if (pauseMs) await sleep(pauseMs);
  }
  return took.sort((a, b) => a - b);
}

test('memory keeps to its limit while four times as much is written', async () => {
  assert.ok((await metric('lightcone_page_file_bytes')) > 3 * MEMORY);
  await until(async () => (await metric('lightcone_store_bytes')) < 1.25 * MEMORY, 'pages to leave memory');
  assert.ok((await metric('lightcone_pages_evicted_total')) > 0);
  assert.equal(await metric('lightcone_page_read_errors_total'), 0);
});

test('short calls are short while others wait for the disk, and each call is done once', async () => {
  const draw = random(4711);
  const hot = await session(server, db);
  const others = await Promise.all([1, 2, 3].map(() => session(server, db)));
  await callsOf(hot, 'tick', () => 1, i => i === 200);
  const idle = await callsOf(hot, 'tick', () => 1, i => i === 1000);
  const before = { waits: await metric('lightcone_page_waits_total'), waitUs: await metric('lightcone_page_wait_microseconds_total') };
  let stop = false, bumps = 0;
  const bumping = others.map(socket =>
    callsOf(socket, 'bump', () => (bumps++, Math.floor(draw() * ROWS)), () => stop, 20));
  const cooling = forgetting();
  const end = Date.now() + 4000;
  const busy = await callsOf(hot, 'tick', () => 1, () => Date.now() > end);
  stop = true;
  const bumped = (await Promise.all(bumping)).flat().sort((a, b) => a - b);
  cooling.end();
  const missed = await metric('lightcone_calls_missed_page_total');
  const waits = (await metric('lightcone_page_waits_total')) - before.waits;
  const waitUs = (await metric('lightcone_page_wait_microseconds_total')) - before.waitUs;
  const spills = [await metric('lightcone_pages_spilled_total'), await metric('lightcone_spill_waits_total'), await metric('lightcone_spill_wait_microseconds_total')];
  console.log(`# short calls: p50 ${percentile(idle, 0.5).toFixed(2)} ms, p95 ${percentile(idle, 0.95).toFixed(2)} ms alone; ` +
    `${busy.length} of p50 ${percentile(busy, 0.5).toFixed(2)} ms, p95 ${percentile(busy, 0.95).toFixed(2)} ms beside ${bumped.length} cold calls ` +
    `(p50 ${percentile(bumped, 0.5).toFixed(2)} ms, p95 ${percentile(bumped, 0.95).toFixed(2)} ms), ${missed} of which missed a page; ` +
    `the loop waited for ${waits} pages, ${waitUs} µs; ${spills[0]} pages spilled, ${spills[1]} waits, ${spills[2]} µs`);
  // How many is the machine's business; that there are some is ours.
  assert.ok(missed > 10, `${missed} calls missed a page`);
  assert.ok(waits < missed / 4, `the loop waited for ${waits} pages`);
  assert.ok((await metric('lightcone_store_bytes')) < 1.5 * MEMORY);
  const done = await rows(server, db, 'SELECT SUM(n) AS n FROM item');
  assert.equal(Number(done[0][0].at(-1)), bumps);
  for (const socket of [hot, ...others]) await socket.bye();
});

test('a module that catches every error does not mistake an absent page for an absent row', async () => {
  const socket = await session(server, db);
  const draw = random(99);
  const before = await metric('lightcone_calls_missed_page_total');
  const made = await metric('lightcone_module_instances_made_total');
  await callsOf(socket, 'stubborn', i => (i % 20 || forget(), Math.floor(draw() * ROWS)), i => i === 300);
  assert.ok((await metric('lightcone_calls_missed_page_total')) - before > 20);
  // Nothing was torn for it.
  assert.ok((await metric('lightcone_module_instances_made_total')) - made < 5);
  const { text } = await http(server, 'GET', `/v1/database/${db}/logs`, { token: ann.token });
  assert.ok(!/caught/.test(text), 'what a call that began again said is forgotten');
  await socket.bye();
});

test('queries of a few rows wait for theirs beside the loop', async () => {
  // Until the clients of the tests before are seen off, on the loop and in tables that were forgotten.
  await until(async () => (await rows(server, db, 'SELECT * FROM st_client')).length <= 1, 'nobody else to be connected');
  forget();
  const before = { waits: await metric('lightcone_page_waits_total'), reads: await metric('lightcone_reads_total') };
  for (let id = 13; id < ROWS; id += 1601) {
    const [row] = await rows(server, db, `SELECT id, text FROM item WHERE id = ${id}`);
    assert.equal(row[0], id);
    assert.equal(row[1].length, ROW_BYTES);
    forget();
  }
  assert.ok((await metric('lightcone_reads_total')) > before.reads);
  assert.equal(await metric('lightcone_page_waits_total'), before.waits);
});
