// Bounds that an owner sets, what is seen of them, and things that would go on for ever without one.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { bundle, call, enc, http, newIdentity, patience, published, rows, session, sleep, startServer, until, w, within } from './support.mjs';

const db = 'bounds';
const source = `
import { schema, t, table } from 'spacetimedb/server';
const tick = table({ name: 'tick', public: true }, { id: t.u32().primaryKey(), n: t.u32() });
const big = table({ name: 'big', public: true }, { id: t.u32().primaryKey(), text: t.string() });
const db = schema({ tick, big });
export default db;
export const init = db.init(ctx => {
  ctx.db.tick.insert({ id: 0, n: 0 });
  for (let id = 0; id < 64; id++) ctx.db.big.insert({ id, text: 'x'.repeat(4096) });
});
export const fast = db.reducer({}, () => {});
export const limited = db.reducer({}, () => {});
export const bump = db.reducer({}, ctx => {
  ctx.db.tick.id.update({ id: 0, n: ctx.db.tick.id.find(0)!.n + 1 });
});
export const rewrite = db.reducer({ n: t.u32() }, (ctx, { n }) => {
  for (const row of [...ctx.db.big.iter()]) ctx.db.big.id.update({ ...row, text: String(n).padEnd(4096, '.') });
});
export const print = db.reducer({ n: t.u32() }, (_ctx, { n }) => {
  for (let i = 0; i < n; i++) console.log('line ' + i + ' ' + 'y'.repeat(200));
});
// Reads what always changes, thinks for a while, and returns a query.
export const pensive = db.anonymousView({ name: 'pensive', public: true }, t.array(tick.rowType), ctx => {
  const seen = ctx.db.tick.id.find(0)!.n;
  for (const end = Date.now() + 40; Date.now() < end; );
  return ctx.from.tick.where(row => row.id.eq(seen < 0 ? 1 : 0));
});
`;

let server, ann;
before(async () => {
  // Who does not read does not answer pings either.
  server = await startServer({ words: ['--idle-timeout', '600000', '--ping-interval', '300000'] });
  ann = await newIdentity(server);
  await published(server, db, bundle(source), { token: ann.token });
});
after(async () => server?.end());

async function set(changes) {
  const answer = await http(server, 'PUT', `/v1/database/${db}/settings`, { token: ann.token, body: JSON.stringify(changes) });
  assert.equal(answer.status, 200, answer.text);
  return { ...Object.fromEntries(answer.json.settings.map(one => [one.key, one])), now: Object.fromEntries(answer.json.now.map(one => [one.metric, one.value])) };
}
async function metric(name) {
  const { text } = await http(server, 'GET', '/v1/metrics');
  return text.split('\n').filter(line => line.startsWith(`${name}{`)).reduce((sum, line) => sum + Number(line.split(' ')[1]), 0);
}
async function milliseconds(count, reducer) {
  const socket = await session(server, db);
  const began = performance.now();
  for (let i = 0; i < count; i++) socket.say(enc.call(i, reducer));
  for (let i = 0; i < count; i++) assert.equal((await socket.nextOf('result')).ok, true);
  await socket.bye();
  return performance.now() - began;
}

test('a rate may be of one reducer, and others do not feel it', async () => {
  const shown = await set({ 'reducer_rate.limited': 50, 'reducer_burst.limited': 1 });
  assert.deepEqual([shown['reducer_rate.limited'].value, shown['reducer_rate.limited'].default, shown.reducer_rate.value], [50, 0, 0]);
  const delayed = await metric('lightcone_calls_delayed_total');
  assert.ok((await milliseconds(21, 'limited')) > 380, '20 intervals of 20 ms');
  assert.ok((await metric('lightcone_calls_delayed_total')) >= delayed + 15);
  const before = await metric('lightcone_calls_delayed_total');
  await milliseconds(200, 'fast');
  assert.equal(await metric('lightcone_calls_delayed_total'), before);

  for (const [body, text] of [
    [{ 'reducer_rate.none': 5 }, 'there is no reducer `none`'],
    [{ 'reducer_rate.limited': -5 }, '`reducer_rate.limited` takes a number from 0 to 1000000, not -5'],
    [{ 'slice_us.limited': 5 }, 'there is no setting `slice_us.limited`'],
  ]) {
    const answer = await http(server, 'PUT', `/v1/database/${db}/settings`, { token: ann.token, body: JSON.stringify(body) });
    assert.deepEqual([answer.status, answer.text], [400, text]);
  }
  // It holds after a restart too, until it is taken back.
  await server.stop();
  await server.start();
  assert.ok((await milliseconds(11, 'limited')) > 180);
  const back = await set({ 'reducer_rate.limited': null, 'reducer_burst.limited': null });
  assert.equal(back['reducer_rate.limited'], undefined);
  const free = await metric('lightcone_calls_delayed_total');
  await milliseconds(50, 'limited');
  assert.equal(await metric('lightcone_calls_delayed_total'), free);
});

test('who leaves more unread than the database allows is cut off; who reads is not', async () => {
  await set({ unread_bytes_max: 1 << 20 });
  const [deaf, sound] = [await session(server, db), await session(server, db)];
  for (const socket of [deaf, sound]) socket.say(enc.subscribe(1, 1, 'SELECT * FROM big'));
  await deaf.nextOf('subscribed');
  await sound.nextOf('subscribed');
  deaf.tcp.pause();
  const before = await metric('lightcone_slow_clients_total');
  const calls = await session(server, db);
  // What its kernel takes for it comes on top.
  for (let n = 0; (await metric('lightcone_slow_clients_total')) === before; n++) {
    assert.ok(n < 400, 'it was never cut off');
    calls.say(enc.call(n, 'rewrite', w().u32(n).done()));
    assert.equal((await calls.nextOf('result')).ok, true);
    assert.equal((await sound.nextOf('update')).kind, 'update');
  }
  deaf.tcp.resume();
  assert.equal((await deaf.over()).code, 1008);
  sound.say(enc.call(1, 'fast'));
  assert.equal((await sound.nextOf('result')).ok, true);
  await sound.bye();
  await calls.bye();
  await set({ unread_bytes_max: null });
});

test('a view whose query always comes too late is waited for in the end', async () => {
  const [watcher, writer] = [await session(server, db), await session(server, db)];
  const before = await metric('lightcone_exclusive_runs_total');
  let stop = false;
  const writing = (async () => {
    for (let i = 0; !stop; i++) {
      writer.say(enc.call(i, 'bump'));
      assert.equal((await writer.nextOf('result')).ok, true);
      await sleep(2);
    }
  })();
  watcher.say(enc.subscribe(1, 1, 'SELECT * FROM pensive'));
  const first = await watcher.nextOf('subscribed');
  assert.equal(first.tables[0].rows.length, 1);
  await until(async () => (await metric('lightcone_exclusive_runs_total')) > before, 'it to have the database to itself', patience);
  stop = true;
  await writing;
  // When the writes rest, what it shows is what is there.
  const n = (await rows(server, db, 'SELECT n FROM tick WHERE id = 0'))[0][0];
  const value = hex => Buffer.from(hex, 'hex').readUInt32LE(4);
  let last = value(first.tables[0].rows[0]);
  const heard = message => {
    assert.equal(message.kind, 'update', message.error);
    for (const { tables } of message.sets) for (const { rows: pieces } of tables) for (const { inserts } of pieces) for (const row of inserts) last = value(row);
  };
  for (const message of watcher.passed ?? []) heard(message);
  await within((async () => { while (last !== n) heard(await watcher.next()); })(), `tick ${n} in the view, which shows ${last}`);
  await watcher.bye();
  await writer.bye();
});

test('what a module prints is bounded, and the newest of it is kept', async () => {
  await set({ module_log_max: 256 << 10 });
  for (let i = 0; i < 20; i++) assert.equal((await call(server, db, 'print', [300])).status, 200);
  const answer = await http(server, 'GET', `/v1/database/${db}/logs`, { token: ann.token });
  const lines = answer.text.split('\n').filter(Boolean);
  assert.ok(answer.text.length <= 256 << 10, `${answer.text.length} bytes are kept`);
  assert.ok(answer.text.length > 32 << 10);
  assert.match(JSON.parse(lines.at(-1)).message, /^line 299 /);
  await set({ module_log_max: null });
});

test('the command shows settings, what they did, and what they bound now', async () => {
  assert.equal((await server.cli('login', '--token', ann.token)).code, 0);
  const shown = await server.cli('describe', '--settings', db, '--server', server.url);
  assert.equal(shown.code, 0, shown.stderr);
  for (const word of ['slice_us', 'crowded_slice_us', 'deadline_ms', 'slow_calls_max', 'memory_max', 'inbox_bytes_max', 'unread_bytes_max',
    'lightcone_slow_calls_active', 'lightcone_snapshots_live', 'lightcone_snapshot_oldest_age_us', 'lightcone_snapshot_bytes', 'lightcone_store_bytes'])
    assert.match(shown.stdout, new RegExp(`^ ${word} +\\| \\d`, 'm'));
});
