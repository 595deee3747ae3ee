// What clients may rely on: G1 to G12 of the specification (sql-and-subscriptions §5.3), each over every
// protocol that it speaks of. A test's name begins with the guarantee it keeps.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Speaker, dialects } from './dialects.mjs';
import { random } from './harness.mjs';
import { bundle, call, http, newIdentity, publish, published, sleep, sql, startServer, until } from './support.mjs';

const source = ({ more = '', noteIsPublic = true } = {}) => `
import { schema, t, table, SenderError } from 'spacetimedb/server';
const item = table({ name: 'item', public: true }, { id: t.u32().primaryKey(), owner: t.string().index('btree'), n: t.u32() });
const pair = table({ name: 'pair', public: true }, { a: t.u32(), b: t.string() });
const counter = table({ name: 'counter', public: true }, { id: t.u32().primaryKey(), value: t.u64() });
const ticket = table({ name: 'ticket', public: true }, { id: t.u64().primaryKey().autoInc(), who: t.string() });
const note = table({ name: 'note', public: ${noteIsPublic} }, { id: t.u32().primaryKey() });
const blip = table({ name: 'blip', public: true, event: true }, { n: t.u32() });
const bulk = table({ name: 'bulk', public: true }, { id: t.u32().primaryKey(), text: t.string() });
const arrival = table({ name: 'arrival', public: true }, { who: t.identity().primaryKey(), calls: t.u32() });
${more}
const db = schema({ item, pair, counter, ticket, note, blip, bulk, arrival${more && ', extra'} });
export default db;
export const init = db.init(ctx => {
  for (let id = 0; id < 10; id++) ctx.db.counter.insert({ id, value: 100n });
});
export const arrived = db.clientConnected(ctx => {
  if (!ctx.db.arrival.who.find(ctx.sender)) ctx.db.arrival.insert({ who: ctx.sender, calls: 0 });
});
export const put = db.reducer({ id: t.u32(), owner: t.string(), n: t.u32() }, (ctx, row) => {
  if (ctx.db.item.id.find(row.id)) ctx.db.item.id.update(row); else ctx.db.item.insert(row);
});
export const rewrite = db.reducer({ id: t.u32() }, (ctx, { id }) => {
  const row = ctx.db.item.id.find(id)!;
  ctx.db.item.id.delete(id);
  ctx.db.item.insert(row);
});
export const drop = db.reducer({ id: t.u32() }, (ctx, { id }) => { ctx.db.item.id.delete(id); });
export const both = db.reducer({ id: t.u32() }, (ctx, { id }) => {
  ctx.db.item.insert({ id, owner: 'both', n: id });
  ctx.db.pair.insert({ a: id, b: 'both' });
  ctx.db.note.insert({ id });
});
export const bump = db.reducer({ id: t.u32() }, (ctx, { id }) => {
  const row = ctx.db.counter.id.find(id)!;
  ctx.db.counter.id.update({ id, value: row.value + 1n });
});
export const move = db.reducer({ from: t.u32(), to: t.u32() }, (ctx, { from, to }) => {
  const a = ctx.db.counter.id.find(from)!, b = ctx.db.counter.id.find(to)!;
  if (from === to || a.value === 0n) return;
  ctx.db.counter.id.update({ id: from, value: a.value - 1n });
  ctx.db.counter.id.update({ id: to, value: b.value + 1n });
});
export const draw = db.reducer({ who: t.string(), fails: t.bool() }, (ctx, { who, fails }) => {
  ctx.db.ticket.insert({ id: 0n, who });
  if (fails) throw new SenderError('drawn in vain');
});
export const fill = db.reducer({ count: t.u32() }, (ctx, { count }) => {
  for (let i = 0; i < count; i++) ctx.db.pair.insert({ a: 1000 + i, b: 'x'.repeat(100) });
});
export const swell = db.reducer({ round: t.u32() }, (ctx, { round }) => {
  const row = { id: 0, text: String(round % 10).repeat(1 << 20) };
  if (ctx.db.bulk.id.find(0)) ctx.db.bulk.id.update(row); else ctx.db.bulk.insert(row);
});
export const flash = db.reducer({ n: t.u32() }, (ctx, { n }) => { ctx.db.blip.insert({ n }); });
export const was_here = db.reducer(ctx => {
  if (!ctx.db.arrival.who.find(ctx.sender)) throw new SenderError('the connect reducer has not run');
});
export const mine = db.view({ name: 'mine', public: true }, t.array(item.rowType), ctx => [...ctx.db.item.owner.filter('ann')]);
`;

const schema = {
  item: ['u32', 'str', 'u32'], mine: ['u32', 'str', 'u32'], pair: ['u32', 'str'], counter: ['u32', 'u64'], ticket: ['u64', 'str'],
  note: ['u32'], blip: ['u32'], bulk: ['u32', 'str'], extra: ['u32'],
  'put()': ['u32', 'str', 'u32'], 'rewrite()': ['u32'], 'drop()': ['u32'], 'both()': ['u32'], 'bump()': ['u32'],
  'move()': ['u32', 'u32'], 'draw()': ['str', 'bool'], 'fill()': ['u32'], 'swell()': ['u32'], 'flash()': ['u32'], 'was_here()': [],
};
const keys = { item: 0, mine: 0, counter: 0, ticket: 0, note: 0 };

let server, owner, made = 0;
const open = [];
before(async () => {
  server = await startServer();
  owner = await newIdentity(server);
});
after(async () => {
  for (const speaker of open) speaker.drop();
  await server?.end();
});

async function fresh(options, where = server, token = owner.token) {
  const name = `delivery-${++made}`;
  await published(where, name, bundle(source(options)), { token });
  return name;
}
async function enter(name, dialect, options = {}, where = server) {
  const speaker = await Speaker.enter(where, name, dialect, { schema, keys, ...options });
  open.push(speaker);
  return speaker;
}
const everyone = (name, options) => Promise.all(dialects.map(dialect => enter(name, dialect, options)));

// A test of its own database for each protocol.
function each(what, body, list = dialects) {
  for (const dialect of list) test(`${what} (${dialect})`, async () => body(dialect, await fresh()));
}
const only = (updates, table) => updates.flatMap(u => u.changes).filter(c => c.table === table);

// ── G1 ───────────────────────────────────────────────────────────────────────────────────────────

// Conformance case 113a.
test('G1: pipelined increments from every protocol are one serial history, seen by each in its order', async () => {
  const name = await fresh();
  const all = await everyone(name);
  for (const one of all) await one.subscribe(1, 'SELECT * FROM counter WHERE id = 0');
  await Promise.all(all.map(async one => {
    const asked = Array.from({ length: 50 }, () => one.begin('bump', [0]));
    for (const request of asked) assert.ok((await one.result(request)).ok);
  }));
  for (const one of all) {
    await one.hear(x => x.rows('counter')[0] === '[0,300]');
    assert.deepEqual(one.rows('counter'), ['[0,300]']);
  }
});

// ── G2 ───────────────────────────────────────────────────────────────────────────────────────────

each('G2: what is read is one moment, however long others write', async (dialect, name) => {
  const [writer, reader] = [await enter(name, 'v3'), await enter(name, dialect)];
  const total = rows => rows.reduce((sum, row) => sum + JSON.parse(row)[1], 0);
  let done = false;
  const writing = (async () => {
    for (let i = 0; !done; i++) await writer.call('move', [i % 10, (i * 7 + 3) % 10]);
  })();
  for (let i = 0; i < 20; i++) {
    assert.equal(total(await reader.query('SELECT * FROM counter')), 1000);
    await reader.subscribe(i + 1, 'SELECT * FROM counter');
    assert.equal(total(reader.rows('counter', i + 1)), 1000);
    await reader.unsubscribe(i + 1);
  }
  done = true;
  await writing;
});

// ── G3 ───────────────────────────────────────────────────────────────────────────────────────────

test('G3: who asks after a commit was acknowledged sees it, through every door', async () => {
  const name = await fresh();
  const all = await everyone(name);
  let id = 0;
  for (const writer of all) {
    for (const reader of all) {
      await writer.call('put', [++id, 'x', id]);
      assert.deepEqual(await reader.query(`SELECT * FROM item WHERE id = ${id}`), [`[${id},"x",${id}]`]);
    }
    const answer = await sql(server, name, `SELECT n FROM item WHERE id = ${id}`);
    assert.deepEqual(answer.json[0].rows, [[id]]);
  }
});

each('G3: what one connection sees never goes back', async (dialect, name) => {
  const [writer, reader] = [await enter(name, 'v3'), await enter(name, dialect)];
  await reader.subscribe(1, 'SELECT * FROM counter WHERE id = 1');
  let last = 100, done = false;
  const writing = (async () => {
    for (let i = 0; i < 200; i++) await writer.call('bump', [1]);
    done = true;
  })();
  while (!done) {
    const [row] = await reader.query('SELECT * FROM counter WHERE id = 1');
    const [asked, held] = [JSON.parse(row)[1], JSON.parse(reader.rows('counter', 1)[0])[1]];
    assert.ok(asked >= last && held <= asked, `${asked} after ${last}, ${held} held`);
    assert.equal(held, asked, 'the updates before the answer are all there');
    last = asked;
  }
  await writing;
});

// ── G4 ───────────────────────────────────────────────────────────────────────────────────────────

test('G4: clients of all protocols hold what their queries yield, at every point of a random workload', async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1e6);
  const dice = random(seed), pick = n => Math.floor(dice() * n);
  const name = await fresh();
  const all = [...(await everyone(name)), ...(await everyone(name))];
  const queries = [
    'SELECT * FROM item', "SELECT * FROM item WHERE owner = 'ann'", 'SELECT * FROM item WHERE n < 3', 'SELECT * FROM pair',
    "SELECT * FROM item WHERE owner = 'bob' AND n > 1", 'select * from item', 'SELECT * FROM mine',
  ];
  const sets = new Map(all.map(one => [one, new Map()]));
  const step = async one => {
    const its = sets.get(one);
    switch (pick(8)) {
      case 0: {
        const id = pick(6);
        const asked = queries.filter(() => pick(3) === 0);
        if (!its.has(id)) {
          assert.equal((await one.subscribe(id, ...asked)).error, undefined);
          its.set(id, asked);
        }
        return;
      }
      case 1: {
        const id = [...its.keys()][pick(its.size)];
        if (id === undefined) return;
        await one.unsubscribe(id);
        its.delete(id);
        return;
      }
      case 2: return one.call('drop', [pick(12)]);
      case 3: return one.call('rewrite', [pick(12)]);
      default: return one.call('put', [pick(12), ['ann', 'bob', 'eve'][pick(3)], pick(5)]);
    }
  };
  const table = query => / from (\w+)/i.exec(query)[1];
  const check = async (one, fail) => {
    await one.quiet();  // what was said before is heard
    const want = new Map();
    const texts = one.is1 ? [new Set([...sets.get(one).values()].flat())] : [...sets.get(one).values()].map(x => new Set(x));
    for (const query of texts.flatMap(x => [...x])) {
      const rows = await one.query(query);
      want.set(table(query), [...(want.get(table(query)) ?? []), ...rows]);
    }
    for (const each of ['item', 'pair', 'mine'])
      assert.deepEqual(one.rows(each), (want.get(each) ?? []).sort(), `${fail} ${one.dialect} ${each}`);
  };
  for (let round = 0; round < 30; round++) {
    // All at once, then everything stands still while it is looked at.
    await Promise.all(all.map(async one => {
      for (let i = 0; i < 5; i++) await step(one);
    }));
    await Promise.all(all.map(one => check(one, `seed ${seed}, round ${round}:`)));
  }
});

each('G4: one message a transaction, for all sets and tables and views', async (dialect, name) => {
  const [writer, reader] = [await enter(name, 'v3'), await enter(name, dialect)];
  await reader.subscribe(1, 'SELECT * FROM item', 'SELECT * FROM mine');
  await reader.subscribe(2, 'SELECT * FROM pair', 'SELECT * FROM note');
  await writer.call('both', [7]);
  const { changes } = await reader.hearUpdate();
  assert.deepEqual(changes.map(c => c.table).sort(), ['item', 'note', 'pair']);
  await writer.call('put', [7, 'ann', 1]);
  const second = await reader.hearUpdate();
  assert.deepEqual(second.changes.map(c => c.table).sort(), ['item', 'mine']);
  await reader.quiet();
  assert.equal(reader.updates.length, 2);
});

// Conformance case 110.
each('G4: rows that arrive with a subscription and updates neither overlap nor leave a gap', async (dialect, name) => {
  const [writer, reader] = [await enter(name, 'v3'), await enter(name, dialect)];
  let done = false;
  const writing = (async () => {
    for (let i = 0; !done; i++) await writer.call('put', [i % 50, 'x', i]);
  })();
  for (let set = 1; set <= 40; set++) await reader.subscribe(set, `SELECT * FROM item WHERE id < ${set + 10}`);
  done = true;
  await writing;
  await reader.quiet();
  for (let set = 1; set <= 40 && !reader.is1; set++)
    assert.deepEqual(reader.rows('item', set), await reader.query(`SELECT * FROM item WHERE id < ${set + 10}`));
  // Bag over distinct texts: row i is held by each query with a bound above it.
  const now = (await reader.query('SELECT * FROM item')).map(row => [row, JSON.parse(row)[0]]);
  const want = now.flatMap(([row, id]) => Array(Math.max(0, Math.min(40, 40 - (id - 10)))).fill(row)).sort();
  assert.deepEqual(reader.rows('item'), want);
});

// ── G5 ───────────────────────────────────────────────────────────────────────────────────────────

each('G5: nothing is said of a row that stays the same, an update is one delete and one insert', async (dialect, name) => {
  const [writer, reader] = [await enter(name, 'v3'), await enter(name, dialect)];
  await reader.subscribe(1, 'SELECT * FROM item WHERE n < 3');
  await writer.call('put', [1, 'a', 1]);
  await writer.call('rewrite', [1]);        // the same again
  await writer.call('put', [2, 'b', 9]);    // outside
  await writer.call('put', [2, 'b', 8]);    // stays outside
  await writer.call('put', [1, 'a', 2]);    // stays inside
  await writer.call('put', [1, 'a', 7]);    // leaves
  await writer.call('put', [1, 'a', 0]);    // enters
  await reader.quiet();
  assert.deepEqual(reader.updates.map(u => u.changes.map(c => [c.inserts, c.deletes])), [
    [[['[1,"a",1]'], []]],
    [[['[1,"a",2]'], ['[1,"a",1]']]],
    [[[], ['[1,"a",2]']]],
    [[['[1,"a",0]'], []]],
  ]);
});

// ── G6 ───────────────────────────────────────────────────────────────────────────────────────────

// A disk that does not answer while a file is there.
function slowDisk(dir) {
  const file = join(dir, 'stall.c'), library = join(dir, 'stall.so');
  writeFileSync(file, `#define _GNU_SOURCE
    #include <dlfcn.h>
    #include <stdlib.h>
    #include <unistd.h>
    int fdatasync(int fd) {
      static int (*real)(int);
      if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
      while (access(getenv("STALL"), F_OK) == 0) usleep(2000);
      return real(fd);
    }`);
  execFileSync('cc', ['-shared', '-fPIC', '-o', library, file, '-ldl']);
  return library;
}

// Conformance case 112.
test('G6: while the disk does not answer, nothing unconfirmed leaves but for those who asked for it', async () => {
  const probe = await startServer();
  const stall = join(probe.dir, 'stall');
  process.env.LD_PRELOAD = slowDisk(probe.dir);
  process.env.STALL = stall;
  const asan = process.env.ASAN_OPTIONS;
  process.env.ASAN_OPTIONS = `${asan ?? ''}:verify_asan_link_order=0`;  // should the server have that
  await probe.stop();
  await probe.start();
  delete process.env.LD_PRELOAD;
  if (asan === undefined) delete process.env.ASAN_OPTIONS;
  else process.env.ASAN_OPTIONS = asan;
  try {
    const who = await newIdentity(probe);
    const name = await fresh({}, probe, who.token);
    const sure = await Promise.all(['v2', 'v3'].map(d => enter(name, d, {}, probe)));
    const sureV1 = await Promise.all(['v1.json', 'v1.bsatn'].map(d => enter(name, d, { query: '&confirmed=true' }, probe)));
    const hasty = await Promise.all(['v1.json', 'v1.bsatn'].map(d => enter(name, d, {}, probe)));
    const hastyV2 = await Promise.all(['v2', 'v3'].map(d => enter(name, d, { query: '&confirmed=false' }, probe)));
    const [waiting, going] = [[...sure, ...sureV1], [...hasty, ...hastyV2]];
    for (const one of [...waiting, ...going]) await one.subscribe(1, 'SELECT * FROM item');
    writeFileSync(stall, '');
    const results = going.map((one, i) => one.call('put', [i, 'hasty', i]));
    for (const result of results) assert.ok((await result).ok);
    for (const one of going) await one.hear(x => x.rows('item').length === going.length);
    const asked = waiting.map(one => one.begin('put', [90, one.dialect, 9]));
    let http200 = false;
    const overHttp = call(probe, name, 'put', [91, 'http', 1]).then(answer => (http200 = answer.status === 200));
    await sleep(300);
    for (const one of waiting) assert.deepEqual(one.socket.messages, [], `${one.dialect} was told too early`);
    assert.equal(http200, false);
    rmSync(stall);
    for (const [i, one] of waiting.entries()) assert.ok((await one.result(asked[i])).ok);
    await overHttp;
    assert.ok(http200);
    for (const one of [...waiting, ...going]) {
      await one.hear(x => x.rows('item').some(row => row.startsWith('[91')));
      assert.equal(one.rows('item').length, going.length + 2);
    }
  } finally {
    if (existsSync(stall)) rmSync(stall);
    await probe.end();
  }
});

// ── G7 ───────────────────────────────────────────────────────────────────────────────────────────

each('G7: what is asked without waiting is answered in that order, and what fails harms nothing behind it', async (dialect, name) => {
  const one = await enter(name, dialect);
  const first = one.begin('was_here');
  const put = one.begin('put', [1, 'a', 1]);
  const before = one.ask('SELECT * FROM item');
  const bad = one.begin('draw', ['x', true]);
  const wrong = one.ask('SELECT * FROM nowhere');
  const again = one.begin('put', [1, 'a', 2]);
  const later = one.ask('SELECT * FROM item');
  assert.ok((await one.result(first)).ok);
  assert.ok((await one.result(put)).ok);
  assert.equal((await one.asked(before)).rows.length, 1);
  assert.equal((await one.result(bad)).error, 'drawn in vain');
  assert.match((await one.asked(wrong)).error, /no such table/);
  assert.ok((await one.result(again)).ok);
  const { table, rows } = await one.asked(later);
  assert.deepEqual([table, rows.length], ['item', 1]);
});

each('G7: a call that cannot begin is answered in its place', async (dialect, name) => {
  const one = await enter(name, dialect);
  const first = one.begin('put', [1, 'a', 1]);
  one.schema = { ...schema, 'nope()': [], 'arrived()': [], 'bump()': [] };
  const unknown = one.begin('nope'), lifecycle = one.begin('arrived'), short = one.begin('bump');
  const last = one.begin('drop', [1]);
  assert.ok((await one.result(first)).ok);
  const refused = await one.result(unknown);
  assert.equal(refused.error, 'no such reducer');
  if (one.is1) assert.deepEqual([refused.message.reducerId, refused.message.args], [0xffffffff, one.isJson ? '[]' : '']);
  assert.match((await one.result(lifecycle)).error, /can't directly call special OnConnect lifecycle reducer/);
  assert.match((await one.result(short)).error, /^invalid arguments for reducer bump: /);
  assert.ok((await one.result(last)).ok);
});

// ── G8 ───────────────────────────────────────────────────────────────────────────────────────────

each('G8: a view changes in the message of what changed it, also for the caller', async (dialect, name) => {
  const [writer, reader] = [await enter(name, dialect), await enter(name, dialect)];
  for (const one of [writer, reader]) await one.subscribe(1, 'SELECT * FROM item', 'SELECT * FROM mine');
  const result = await writer.call('put', [1, 'ann', 5]);
  const heard = await reader.hearUpdate();
  for (const { changes } of [result, heard])
    assert.deepEqual(changes.map(c => [c.table, c.inserts]), [['item', ['[1,"ann",5]']], ['mine', ['[1,"ann",5]']]]);
});

// ── G9 ───────────────────────────────────────────────────────────────────────────────────────────

test('G9: what a sequence gives is given once and in order, also beside what fails', async () => {
  const name = await fresh();
  const all = await everyone(name);
  await Promise.all(all.map(async one => {
    for (let i = 0; i < 20; i++) await one.call('draw', [one.dialect, i % 4 === 3]);
  }));
  const rows = (await all[0].query('SELECT * FROM ticket')).map(row => JSON.parse(row));
  assert.equal(rows.length, 60);
  assert.equal(new Set(rows.map(([id]) => id)).size, 60);
  const last = Math.max(...rows.map(([id]) => id));
  await all[1].call('draw', ['last', false]);
  const [[id]] = (await all[0].query("SELECT * FROM ticket WHERE who = 'last'")).map(row => JSON.parse(row));
  assert.ok(id > last);
});

// ── G10 ──────────────────────────────────────────────────────────────────────────────────────────

each('G10: a subscription goes on over a new version of the module that keeps its table', async (dialect, name) => {
  const one = await enter(name, dialect);
  await one.subscribe(1, 'SELECT * FROM item');
  await one.call('put', [1, 'a', 1]);
  const more = "const extra = table({ name: 'extra', public: true }, { id: t.u32() });";
  assert.equal((await publish(server, name, bundle(source({ more })), { token: owner.token })).status, 200);
  await one.call('put', [1, 'a', 2]);
  assert.deepEqual(one.rows('item'), ['[1,"a",2]']);
  assert.equal((await one.subscribe(2, 'SELECT * FROM extra')).error, undefined);
});

each('G10: a subscription to what became private ends before anything newer is said', async (dialect, name) => {
  const one = await enter(name, dialect);
  await one.subscribe(1, 'SELECT * FROM item');
  await one.subscribe(2, 'SELECT * FROM note');
  await one.call('both', [1]);
  assert.equal((await publish(server, name, bundle(source({ noteIsPublic: false })), { token: owner.token })).status, 200);
  const ended = await one.answer('the end of the set');
  assert.equal(ended.kind, 'refused');
  assert.equal(ended.request, null);
  assert.match(ended.error, /no such table: `note`/);
  // v1 knows no set that ends alone.
  assert.equal(ended.set, one.is1 ? null : 2);
  const { changes } = await one.call('both', [2]);
  assert.deepEqual(changes.map(c => c.table), one.is1 ? [] : ['item']);
  assert.equal((await one.subscribe(2, 'SELECT * FROM pair')).error, undefined, 'the number is free again');
});

// ── G11 ──────────────────────────────────────────────────────────────────────────────────────────

each('G11: a client that does not read keeps nobody waiting', async (dialect, name) => {
  const [writer, reader, stuck] = [await enter(name, 'v3'), await enter(name, dialect), await enter(name, dialect)];
  for (const one of [reader, stuck]) await one.subscribe(1, 'SELECT * FROM pair');
  stuck.socket.tcp.pause();
  let worst = 0;
  for (let i = 0; i < 40; i++) {
    const began = performance.now();
    const result = await writer.call('fill', [1]);
    assert.ok(result.ok);
    worst = Math.max(worst, performance.now() - began);
    await sql(server, name, 'DELETE FROM pair', owner.token);
  }
  await reader.hear(x => x.updates.length >= 80);
  assert.deepEqual(reader.rows('pair'), []);
  assert.ok(worst < 2000, `${worst} ms`);
});

test('G11: one of a thousand that has stopped reading costs the others nothing, and is cut off', async () => {
  const name = await fresh();
  const crowd = [];
  for (let i = 0; i < 1000; i++) {
    const one = await enter(name, dialects[i % 4]);
    await one.subscribe(1, 'SELECT * FROM counter WHERE id = 1');
    crowd.push(one);
  }
  const writer = await enter(name, 'v3'), filler = await enter(name, 'v3');
  // From the call to the last one's update, while a megabyte goes to the odd one now and then.
  let value = 100;
  const median = list => list.sort((a, b) => a - b)[list.length >> 1];
  async function updates(rounds) {
    const took = [];
    for (let i = 0; i < rounds; i++) {
      await filler.call('swell', [i]);
      const began = performance.now(), row = `[1,${++value}]`;
      await writer.call('bump', [1]);
      await Promise.all(crowd.map(one => one.hear(x => x.rows('counter')[0] === row)));
      took.push(performance.now() - began);
    }
    return median(took);
  }
  const reads = await enter(name, 'v3');
  await reads.subscribe(1, 'SELECT * FROM bulk');
  const cuts = async () => {
    const { text } = await http(server, 'GET', '/v1/metrics');
    return [...text.matchAll(/^lightcone_slow_clients_cut_total\S* (\d+)/gm)].reduce((sum, found) => sum + Number(found[1]), 0);
  };
  const alone = await updates(15), cut = await cuts();
  await reads.unsubscribe(1);
  const stuck = await enter(name, 'v3');
  await stuck.subscribe(1, 'SELECT * FROM bulk');
  stuck.socket.tcp.pause();
  const beside = await updates(44);  // two megabytes each: more than may wait for a client, and the kernel keeps some
  assert.ok(beside < alone * 2 + 10, `${beside.toFixed(1)} ms beside it, ${alone.toFixed(1)} ms without`);
  assert.equal(await cuts(), cut + 1);
});

each('G11: a flood of subscriptions is refused at its limit, and costs only who sends it', async (dialect, name) => {
  const [one, other] = [await enter(name, dialect), await enter(name, dialect)];
  let refusal;
  const ask = Array.from({ length: 4200 }, (_, i) => one.enc.subscribe(i, i, `SELECT * FROM item WHERE id = ${i}`));
  one.say(...ask);
  for (let i = 0; i < ask.length; i++) {
    const message = await one.answer('subscribed');
    if (message.kind === 'refused') refusal ??= [i, message.error];
  }
  assert.equal(refusal[0], 4096);
  assert.match(refusal[1], /Too many query sets: a client may have at most 4096/);
  assert.equal((await other.subscribe(1, 'SELECT * FROM item')).error, undefined);
  await other.call('put', [5, 'x', 5]);
  assert.deepEqual(other.rows('item'), ['[5,"x",5]']);
});

// ── G12 ──────────────────────────────────────────────────────────────────────────────────────────

test('G12: what the log says again is what was there, events and results of views aside', async () => {
  const own = await startServer();
  try {
    const who = await newIdentity(own);
    const name = await fresh({}, own, who.token);
    const all = await Promise.all(dialects.map(d => enter(name, d, { query: '&confirmed=true' }, own)));
    for (const [i, one] of all.entries()) {
      await one.subscribe(1, 'SELECT * FROM mine');
      await one.call('put', [i, 'ann', i]);
      await one.call('draw', [one.dialect, false]);
      await one.call('flash', [i]);
    }
    const tables = ['item', 'ticket', 'counter', 'pair'];
    const had = [];
    for (const table of tables) had.push(await all[0].query(`SELECT * FROM ${table}`));
    await own.kill();
    await own.start();
    const again = await enter(name, 'v1.json', { token: who.token }, own);
    for (const [i, table] of tables.entries()) assert.deepEqual(await again.query(`SELECT * FROM ${table}`), had[i], table);
    assert.deepEqual(await again.query('SELECT * FROM blip'), []);
    const { error } = await again.subscribe(1, 'SELECT * FROM mine');
    assert.equal(error, undefined);
    assert.equal(again.rows('mine').length, all.length);
  } finally {
    await own.end();
  }
});
