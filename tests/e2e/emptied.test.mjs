// A table that many watch loses all its rows, in every way in which it can: each of them is told of each row, once,
// in one message, and what they were told was made ready beside the loop.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { Speaker } from './dialects.mjs';
import { moduleBundle } from './harness.mjs';
import { bundle, callOk, http, newIdentity, patience, published, rows, sql, startServer } from './support.mjs';

const db = 'emptied', ROWS = 20_000;
let server, ann, ben;

const module = bundle(`
  import { schema, t, table } from 'spacetimedb/server';
  const big = table({ name: 'big', public: true }, { id: t.u32().primaryKey(), v: t.u32().index('btree'), text: t.string() });
  const plain = table({ name: 'plain', public: true }, { n: t.u32() });
  const kept = table({ name: 'kept', public: true }, { id: t.u32().primaryKey(), owner: t.identity() });
  const bell = table({ name: 'bell', public: true, event: true }, { n: t.u32() });
  const s = schema({ big, plain, kept, bell });
  export default s;
  export const rule = s.clientVisibilityFilter.sql('SELECT * FROM kept WHERE owner = :sender');
  export const sevens = s.anonymousView({ name: 'sevens', public: true }, t.array(big.rowType), ctx => [...ctx.db.big.v.filter(7)]);
  const spin = ms => { for (const end = Date.now() + ms; Date.now() < end; ); };  // into the slow lane
  export const fill = s.reducer({ count: t.u32() }, (ctx, { count }) => {
    for (let id = 0; id < count; id++) ctx.db.big.insert({ id, v: id % 1000, text: 'a' });
    for (let n = 0; n < count; n++) ctx.db.plain.insert({ n });
  });
  export const keep = s.reducer({ from: t.u32(), count: t.u32() }, (ctx, { from, count }) => {
    for (let id = from; id < from + count; id++) ctx.db.kept.insert({ id, owner: ctx.sender });
  });
  export const clear = s.reducer(ctx => { ctx.db.big.clear(); });
  export const late = s.reducer(ctx => { spin(300); ctx.db.big.clear(); });
  export const each = s.reducer(ctx => {
    spin(300);
    for (const { id } of [...ctx.db.big.iter()]) ctx.db.big.id.delete(id);
    for (const row of [...ctx.db.plain.iter()]) ctx.db.plain.delete(row);
  });
  export const cleared_and_more = s.reducer(ctx => {
    ctx.db.big.clear();
    ctx.db.big.insert({ id: 7, v: 7, text: 'a' });
    ctx.db.big.insert({ id: 8, v: 7, text: 'b' });
    ctx.db.big.insert({ id: 900_000, v: 7, text: 'c' });
  });
  export const more_and_cleared = s.reducer(ctx => {
    ctx.db.big.insert({ id: 900_001, v: 7, text: 'd' });
    ctx.db.big.id.update({ id: 7, v: 7, text: 'e' });
    ctx.db.big.clear();
  });
  export const twice = s.reducer(ctx => {
    try { ctx.db.big.clear(); } catch { console.log('nobody sees this'); }
    ctx.db.big.insert({ id: 1, v: 7, text: 'f' });
    ctx.db.big.clear();
  });
  export const several = s.reducer(ctx => {
    ctx.db.bell.insert({ n: 1 });
    ctx.db.bell.clear();
    ctx.db.bell.insert({ n: 2 });
    ctx.db.kept.clear();
    ctx.db.big.clear();
    ctx.db.plain.clear();
  });
  export const nothing = s.reducer(ctx => {
    const all = [...ctx.db.big.iter()];
    ctx.db.big.clear();
    for (const row of all) ctx.db.big.insert(row);
  });
  export const fails = s.reducer(ctx => { ctx.db.big.clear(); throw new Error('no'); });
`);
const schema = {
  big: ['u32', 'u32', 'str'], plain: ['u32'], kept: ['u32', 'identity'], bell: ['u32'], sevens: ['u32', 'u32', 'str'],
  ...Object.fromEntries(['clear', 'late', 'each', 'cleared_and_more', 'more_and_cleared', 'twice', 'several', 'nothing', 'fails'].map(name => [`${name}()`, []])),
};
const keys = { big: 0, kept: 0, sevens: 0 };
const enter = (dialect, who) => Speaker.enter(server, db, dialect, { schema, keys, token: who?.token });

after(async () => {
  await server?.end();
});

// In all databases.
async function told() {
  const { text } = await http(server, 'GET', '/v1/metrics');
  return [...text.matchAll(/^lightcone_bulk_told_total\{[^}]*\} (\d+)/gm)].reduce((sum, [, n]) => sum + Number(n), 0);
}

const select = (table, where) => `SELECT * FROM ${table}${where ? ` WHERE ${where}` : ''}`;
// As deepEqual of many rows, quickly.
const same = (a, b, what) => assert.ok(a.length === b.length && a.every((row, i) => row === b[i]), `${what}: ${a.length} rows and ${b.length}`);

let watchers;
before(async () => {
  server = await startServer({ words: ['--reducer-deadline', '120000'] });
  [ann, ben] = [await newIdentity(server), await newIdentity(server)];
  await published(server, db, module, { token: ann.token });
  watchers = [
    { dialect: 'v1.json', who: ann, tables: { big: 'v < 100' } },
    { dialect: 'v1.bsatn', who: ben, tables: { big: 'v <> 3' } },
    { dialect: 'v2', who: ann, tables: { big: null, plain: null, kept: null, bell: null, sevens: null } },
    { dialect: 'v3', who: ben, tables: { big: 'v IN (5, 6, 7) OR id < 200', plain: 'n > 5', kept: null, bell: null, sevens: null } },
    { dialect: 'v3', who: null, tables: { big: 'id >= 100 AND id < 5000', kept: null } },
  ];
  for (const watcher of watchers) {
    watcher.one = await enter(watcher.dialect, watcher.who);
    await watcher.one.subscribe(1, ...Object.entries(watcher.tables).map(([table, where]) => select(table, where)));
  }
});

// What each holds is what its queries say, asked by somebody like him.
async function current(what) {
  for (const { one, who, tables } of watchers) {
    await one.quiet();
    for (const [table, where] of Object.entries(tables)) {
      if (table === 'bell') continue;
      const asker = await enter('v2', who);
      const now = await asker.query(select(table, where));
      if (table === 'sevens') await one.hear(() => one.rows('sevens').length === now.length);  // a view may be late
      same(one.rows(table), now, `${what}: ${one.dialect}, ${table}`);
      asker.drop();
    }
  }
}

async function fill() {
  await callOk(server, db, 'fill', [ROWS], ann.token);
  for (const { one, tables } of watchers) {
    await one.quiet();
    if ('sevens' in tables) await one.hear(() => one.rows('sevens').length === ROWS / 1000);
    one.updates.length = one.events.length = 0;
  }
}

const lost = (one, table) => one.updates.filter(u => u.changes.some(c => c.table === table && c.deletes.length > 0));

async function emptied(what, empty, { left = 0, plain = ROWS, tells = 1 } = {}) {
  await fill();
  const before = await told();
  await empty();
  assert.equal(await told(), before + tells, `${what}: told beside the loop`);
  await current(what);
  assert.equal((await rows(server, db, 'SELECT * FROM big', ann.token)).length, left);
  assert.equal((await rows(server, db, 'SELECT * FROM plain', ann.token)).length, plain);
  for (const { one, tables } of watchers) {
    assert.equal(lost(one, 'big').length, tells, `${what}: ${one.dialect} is told once`);
    if ('sevens' in tables) assert.equal(lost(one, 'sevens').length, tells, `${what}: the view`);
    if ('plain' in tables) assert.equal(lost(one, 'plain').length, plain ? 0 : 1);
  }
  if (left) await sql(server, db, 'DELETE FROM big', ann.token);
  await sql(server, db, 'DELETE FROM plain', ann.token);
}

const by = name => () => callOk(server, db, name, [], ann.token);

test('everybody is told of a table that is emptied, in every protocol, whichever way it goes', { timeout: 10 * patience }, async () => {
  await emptied('a reducer that clears', by('clear'));
  await emptied('DELETE', async () => assert.equal((await sql(server, db, 'DELETE FROM big', ann.token)).status, 200));
  await emptied('a slow reducer that clears', by('late'));
  await emptied('row by row', by('each'), { plain: 0 });
  await emptied('others come then', by('cleared_and_more'), { left: 3 });
  await emptied('others came before', by('more_and_cleared'));
  await emptied('twice', by('twice'));
});

test('what comes back as it was is told to nobody, nor is what failed', { timeout: 10 * patience }, async () => {
  await emptied('nothing', by('nothing'), { left: ROWS, tells: 0 });
  await emptied('a failure', async () => {
    const answer = await http(server, 'POST', `/v1/database/${db}/call/fails`, { token: ann.token, body: '[]', headers: { 'content-type': 'application/json' } });
    assert.equal(answer.status, 530);
  }, { left: ROWS, tells: 0 });
});

test('several tables at once, one with a rule for rows, and events', { timeout: 10 * patience }, async () => {
  await callOk(server, db, 'keep', [0, 3000], ann.token);
  await callOk(server, db, 'keep', [3000, 50], ben.token);
  await emptied('several', by('several'), { plain: 0 });
  assert.deepEqual(watchers.map(({ one, tables }) => ('kept' in tables ? lost(one, 'kept').flatMap(u => u.changes).filter(c => c.table === 'kept').flatMap(c => c.deletes).length : 0)),
    [0, 0, 3050, 50, 0], 'of ann, who owns the database, of ben, of somebody else');
  for (const { one, tables } of watchers)
    assert.deepEqual(one.events, 'bell' in tables ? [['bell', '[2]']] : [], one.dialect);
});

test('who empties it is told in his own answer', { timeout: 10 * patience }, async () => {
  for (const dialect of ['v1.json', 'v1.bsatn', 'v2', 'v3']) {
    await fill();
    const one = await enter(dialect, ann);
    await one.subscribe(1, 'SELECT * FROM big');
    assert.equal(one.rows('big').length, ROWS);
    const before = await told();
    const answer = await one.call('clear');
    assert.ok(answer.ok, answer.error);
    assert.equal(await told(), before + 1);
    const mine = answer.changes.filter(change => change.table === 'big');
    assert.equal(mine.reduce((sum, change) => sum + change.deletes.length, 0), ROWS);
    assert.deepEqual(one.rows('big'), []);
    await one.quiet();
    assert.equal(one.updates.length, 0);
    one.drop();
    await current(dialect);
    await sql(server, db, 'DELETE FROM plain', ann.token);
  }
});

test('who watches a join over it is told of the same, from the rows themselves', { timeout: 10 * patience }, async () => {
  await fill();
  const one = await enter('v2', ann);
  await one.subscribe(1, 'SELECT big.* FROM big JOIN plain ON big.id = plain.n WHERE plain.n < 50');
  await one.subscribe(2, 'SELECT * FROM big WHERE v = 9');
  assert.equal(one.rows('big', 1).length, 50);
  await callOk(server, db, 'clear', [], ann.token);
  await one.quiet();
  assert.deepEqual(one.rows('big'), []);
  assert.equal(lost(one, 'big').length, 1);
  one.drop();
  await current('beside a join');
});

test('a module in C that empties a table goes on as before', { timeout: 10 * patience }, async () => {
  const name = 'emptied-c', count = 3000;
  const answer = await http(server, 'PUT', `/v1/database/${name}?host_type=Wasm`, { token: ann.token, body: readFileSync(moduleBundle('lanes-c')) });
  assert.equal(answer.status, 200, answer.text);
  const one = await Speaker.enter(server, name, 'v2', { schema: { counter: ['u32', 'u64'], 'fill()': ['u32'], 'empty()': [], 'increment()': ['u32'] } });
  await one.subscribe(1, 'SELECT * FROM counter');
  for (let round = 0; round < 5; round++) {
    assert.ok((await one.call('fill', [count])).ok);
    assert.equal(one.rows('counter').length, count);
    const before = await told();
    assert.ok((await one.call('empty')).ok);
    assert.equal(await told(), before + 1);
    assert.deepEqual(one.rows('counter'), []);
    assert.ok((await one.call('increment', [7])).ok);
    assert.deepEqual(one.rows('counter'), ['[7,1]']);
    assert.ok((await one.call('empty')).ok);  // few rows: at once
    assert.equal(await told(), before + 1);
  }
  one.drop();
});
