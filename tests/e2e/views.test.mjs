// Views: what each sees, kept current while he looks; and what a view that fails does to others.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect, moduleBindings, subscribe, top } from './harness.mjs';
import {
  bundle, call, callOk, enc, http, logs, moduleCode, newIdentity, publish, published, rows, session, sql, startServer,
  until, w,
} from './support.mjs';

let server, strict, bindings, ann, bob;
let databases = 0;
const open = [];
const source = readFileSync(join(top, 'tests/modules/views/src/index.ts'), 'utf8');

before(async () => {
  bindings = await moduleBindings('views');
  [server, strict] = await Promise.all([
    startServer({ words: ['--reducer-deadline', '400'] }),
    startServer({ words: ['--view-failure', 'abort'] }),
  ]);
  ann = await newIdentity(server);
  bob = await newIdentity(server);
});
after(async () => {
  for (const end of open) end();
  await Promise.all([server?.end(), strict?.end()]);
});

async function fresh(where = server, token = ann.token) {
  const name = `views-${++databases}`;
  await published(where, name, moduleCode('views'), { token });
  return name;
}
async function enter(name, who) {
  const client = await connect(bindings, server, name, who?.token);
  open.push(() => client.connection.disconnect());
  return client;
}
async function raw(name, { where = server, ...options } = {}) {
  const socket = await session(where, name, options);
  open.push(() => socket.drop());
  return socket;
}
async function metric(name, id) {
  const { text } = await http(server, 'GET', '/v1/metrics');
  return Number(new RegExp(`^${name}\\{[^}]*${id}[^}]*\\} (\\d+)`, 'm').exec(text)?.[1]);
}
const texts = (client, view) => [...client.db[view].iter()].map(row => row.what ?? row.name).sort();

// ---- what one sees

test('a sender view shows each caller his own, and a change arrives as an update', async () => {
  const db = await fresh();
  const [a, b] = [await enter(db), await enter(db)];
  await a.reducers.take({ id: 1n, what: 'sword' });
  await b.reducers.take({ id: 2n, what: 'bow' });
  await subscribe(a, 'SELECT * FROM my_items');
  await subscribe(b, 'SELECT * FROM my_items');
  assert.deepEqual([texts(a, 'myItems'), texts(b, 'myItems')], [['sword'], ['bow']]);
  const seen = [];
  a.db.myItems.onInsert((_ctx, row) => seen.push(['insert', row.what]));
  a.db.myItems.onDelete((_ctx, row) => seen.push(['delete', row.what]));
  a.db.myItems.onUpdate((_ctx, old, row) => seen.push(['update', old.what, row.what]));
  await a.reducers.take({ id: 1n, what: 'axe' });
  await b.reducers.take({ id: 2n, what: 'lyre' });
  await b.reducers.take({ id: 3n, what: 'flute' });
  await a.reducers.take({ id: 3n, what: 'flute' });  // from one to the other
  await until(() => texts(b, 'myItems').join() === 'lyre', 'the flute to go');
  assert.deepEqual(seen, [['update', 'sword', 'axe'], ['insert', 'flute']]);
  assert.deepEqual(texts(a, 'myItems'), ['axe', 'flute']);
});

test('a view that returns an option shows one row or none', async () => {
  const db = await fresh();
  const a = await enter(db);
  await subscribe(a, 'SELECT * FROM me');
  assert.equal(a.db.me.count(), 0n);
  await a.reducers.join({ name: 'Ann' });
  assert.deepEqual(texts(a, 'me'), ['Ann']);
  const b = await enter(db);
  await subscribe(b, 'SELECT * FROM me');
  assert.equal(b.db.me.count(), 0n);
});

// Conformance case 118.
test('an anonymous view is run once for everybody, and only when what it reads has changed', async () => {
  const db = await fresh();
  const id = (await http(server, 'GET', `/v1/database/${db}/identity`)).text;
  const runs = () => metric('lightcone_view_runs_total', id);
  const [a, b] = [await enter(db), await enter(db)];
  for (const client of [a, b]) await subscribe(client, 'SELECT * FROM veterans');
  assert.equal(await runs(), 1);
  await a.reducers.join({ name: 'Ann' });  // level 1, which it does not look at
  assert.equal(await runs(), 1);
  await b.reducers.setLevel({ name: 'Ann', level: 10 });
  assert.equal(await runs(), 2);
  await until(() => texts(a, 'veterans').join() === 'Ann' && texts(b, 'veterans').join() === 'Ann', 'a veteran');
  await a.reducers.take({ id: 1n, what: 'a table that it does not read' });
  assert.equal(await runs(), 2);
});

test('a view made of a query sees what the query sees', async () => {
  const db = await fresh();
  const [a, b] = [await enter(db), await enter(db)];
  await subscribe(a, 'SELECT * FROM my_players WHERE level > 3');
  await b.reducers.join({ name: 'Bob' });
  await a.reducers.join({ name: 'Ann' });
  await a.reducers.setLevel({ name: 'Ann', level: 4 });
  await a.reducers.setLevel({ name: 'Bob', level: 5 });
  assert.deepEqual(texts(a, 'myPlayers'), ['Ann']);
  await a.reducers.setLevel({ name: 'Ann', level: 3 });
  assert.deepEqual(texts(a, 'myPlayers'), []);
});

// Conformance case 120.
test('a count that stays the same sends nothing', async () => {
  const db = await fresh();
  const a = await raw(db);
  a.say(enc.subscribe(1, 1, 'SELECT * FROM item_count'));
  const applied = await a.nextOf('subscribed');
  assert.deepEqual(applied.tables.map(t => [t.table, t.rows]), [['item_count', ['0000000000000000']]]);
  const take = (request, id, what) => a.say(enc.call(request, 'take', w().u64(id).str(what).done()));
  take(2, 1, 'sword');
  const first = await a.nextOf('result');
  assert.deepEqual(first.update, [
    { set: 1, tables: [{ table: 'item_count', rows: [{ inserts: ['0100000000000000'], deletes: ['0000000000000000'] }] }] },
  ]);
  take(3, 1, 'axe');
  assert.deepEqual((await a.nextOf('result')).update ?? [], []);
});

test('view and table change in one message', async () => {
  const db = await fresh();
  const a = await raw(db);
  const b = await raw(db);
  b.say(enc.subscribe(1, 7, 'SELECT * FROM player', 'SELECT * FROM veterans'));
  await b.nextOf('subscribed');
  a.say(enc.call(1, 'join', w().str('Ann').done()));
  a.say(enc.call(2, 'set_level', w().str('Ann').u32(12).done()));
  await b.nextOf('update');
  const { sets } = await b.nextOf('update');
  assert.deepEqual(sets[0].tables.map(t => t.table), ['player', 'veterans']);
});

test('subscribing to everything includes the views', async () => {
  const db = await fresh();
  const a = await enter(db);
  await a.reducers.take({ id: 1n, what: 'sword' });
  await a.reducers.join({ name: 'Ann' });
  await new Promise((resolve, reject) =>
    a.connection.subscriptionBuilder().onApplied(resolve).onError(reject).subscribeToAllTables()
  );
  assert.deepEqual([texts(a, 'myItems'), texts(a, 'me'), texts(a, 'player')], [['sword'], ['Ann'], ['Ann']]);
  await a.reducers.take({ id: 1n, what: 'axe' });
  assert.deepEqual(texts(a, 'myItems'), ['axe']);
});

// Conformance case 124.
test('two connections of one person each hear of it, and one may go', async () => {
  const db = await fresh();
  const [a1, a2] = [await enter(db, ann), await enter(db, ann)];
  for (const client of [a1, a2]) await subscribe(client, 'SELECT * FROM my_items');
  await a1.reducers.take({ id: 1n, what: 'sword' });
  await until(() => texts(a2, 'myItems').join() === 'sword', 'the sword');
  a1.connection.disconnect();
  await a1.lost;
  await callOk(server, db, 'take', [2, 'bow'], ann.token);
  await until(() => texts(a2, 'myItems').join() === 'bow,sword', 'the bow');
});

// Conformance case 125.
test('whoever commits: procedures, schedules, arriving and leaving', async () => {
  const db = await fresh();
  const b = await raw(db);
  b.say(enc.subscribe(1, 1, 'SELECT * FROM veterans', 'SELECT * FROM present', 'SELECT * FROM doomed'));
  await b.nextOf('subscribed');
  const counts = async view => {
    const { sets } = await b.nextOf('update');
    const table = sets[0].tables.find(one => one.table === view);
    return table?.rows[0].inserts.map(hex => Number(BigInt.asUintN(64, Buffer.from(hex, 'hex').readBigUInt64LE())));
  };
  const a = await raw(db, { token: ann.token });
  assert.deepEqual(await counts('present'), [2]);
  a.say(enc.call(1, 'join', w().str('Ann').done()));
  a.say(enc.call(2, 'take', w().u64(1).str('sword').done()));
  a.say(enc.procedure(3, 'raise', w().str('Ann').u32(20).done()));
  const { sets } = await b.nextOf('update');
  assert.deepEqual(sets[0].tables.map(t => t.table), ['veterans']);
  a.say(enc.call(4, 'doom', w().u64(1).done()));
  assert.deepEqual(await counts('doomed'), [1]);
  assert.deepEqual(await counts('doomed'), [0]);  // the row that was for one time is gone, too
  a.drop();
  assert.deepEqual(await counts('present'), [1]);
});

test('a reducer that runs beside the others changes views as every other does', async () => {
  const db = await fresh();
  const a = await enter(db);
  await subscribe(a, 'SELECT * FROM my_items', 'SELECT * FROM item_count');
  const slow = [1n, 2n, 3n].map(id => a.reducers.takeSlowly({ id, what: `${id}` }));
  await callOk(server, db, 'take', [9, 'bow'], bob.token);
  await Promise.all(slow);
  assert.deepEqual(texts(a, 'myItems'), ['1', '2', '3']);
  await until(() => [...a.db.itemCount.iter()][0].n === 4n, 'all to be counted');
});

// ---- SQL

test('SQL reads views as the caller, without the column that says whose they are', async () => {
  const db = await fresh();
  await callOk(server, db, 'take', [1, 'sword'], ann.token);
  await callOk(server, db, 'take', [2, 'bow'], bob.token);
  assert.deepEqual(await rows(server, db, 'SELECT * FROM my_items', ann.token), [[1, 'sword']]);
  assert.deepEqual(await rows(server, db, 'SELECT * FROM my_items', bob.token), [[2, 'bow']]);
  assert.deepEqual(await rows(server, db, 'SELECT what FROM my_items WHERE id = 2', bob.token), [['bow']]);
  assert.deepEqual(await rows(server, db, 'SELECT COUNT(*) AS n FROM my_items', bob.token), [[1]]);
  assert.deepEqual(await rows(server, db, 'SELECT * FROM my_items'), []);
  const hidden = await sql(server, db, 'SELECT arg_hash FROM my_items', ann.token);
  assert.deepEqual([hidden.status, hidden.text], [400, '`arg_hash` is not in scope']);
  await callOk(server, db, 'drop', [1], ann.token);
  assert.deepEqual(await rows(server, db, 'SELECT * FROM my_items', ann.token), []);
});

// Conformance case 132.
test('a one-off query runs the view', async () => {
  const db = await fresh();
  await callOk(server, db, 'take', [1, 'sword'], ann.token);
  const a = await raw(db, { token: ann.token });
  a.say(enc.oneOff(1, 'SELECT * FROM my_items'));
  const { tables } = await a.nextOf('rows');
  assert.deepEqual(tables[0], { table: 'my_items', rows: [w().u64(1).str('sword').done().toString('hex')] });
});

test('st_table and st_view tell of views', async () => {
  const db = await fresh();
  const [view] = await rows(server, db, "SELECT * FROM st_view WHERE view_name = 'my_items'", ann.token);
  const table = view[2][1];
  assert.deepEqual(await rows(server, db, `SELECT table_name, table_type, table_access FROM st_table WHERE table_id = ${table}`, ann.token), [
    ['my_items', 'user', 'public'],
  ]);
  const columns = await rows(server, db, `SELECT col_name FROM st_column WHERE table_id = ${table}`, ann.token);
  assert.deepEqual(columns.flat().toSorted(), ['arg_hash', 'id', 'what']);
  const indexes = await rows(server, db, `SELECT index_name FROM st_index WHERE table_id = ${table}`, ann.token);
  assert.deepEqual(indexes.flat().toSorted(), ['my_items_arg_hash_id_idx_btree', 'my_items_arg_hash_idx_btree']);
});

// ---- views that fail

test('a view that fails ends its subscriptions, says why, and undoes nothing', async () => {
  const db = await fresh();
  const [a, b] = [await raw(db), await raw(db)];
  b.say(enc.subscribe(1, 1, 'SELECT * FROM wishes'));
  b.say(enc.subscribe(2, 2, 'SELECT * FROM item_count'));
  await b.nextOf('subscribed');
  await b.nextOf('subscribed');
  a.say(enc.call(1, 'hope', w().str('the moon').done()));
  assert.equal((await a.nextOf('result')).ok, true);
  assert.deepEqual({ ...(await b.next()) }, { kind: 'refused', request: null, set: 1, error: 'view `wishes` failed: no moon today' });
  assert.deepEqual(await rows(server, db, 'SELECT * FROM wish', ann.token), [['the moon']]);
  // The other set of the same client goes on.
  a.say(enc.call(2, 'take', w().u64(1).str('sword').done()));
  assert.equal((await b.next()).kind, 'update');
  // Asking again fails too, until the cause is gone.
  b.say(enc.subscribe(3, 1, 'SELECT * FROM wishes'));
  assert.match((await b.nextOf('refused')).error, /no moon today, executing: `SELECT \* FROM wishes`/);
  const answer = await sql(server, db, 'SELECT * FROM wishes');
  assert.deepEqual([answer.status, answer.text], [400, 'view `wishes` failed: no moon today']);
  await callOk(server, db, 'forget', ['the moon']);
  b.say(enc.subscribe(4, 1, 'SELECT * FROM wishes'));
  await b.nextOf('subscribed');
  const record = (await logs(server, db, ann.token)).find(line => line.function === 'wishes');
  assert.deepEqual([record.level, record.message], ['Error', 'view `wishes` failed: no moon today']);
});

test('a view that never returns is stopped at its deadline', async () => {
  const db = await fresh();
  const b = await raw(db);
  b.say(enc.subscribe(1, 1, 'SELECT * FROM wishes'));
  await b.nextOf('subscribed');
  await callOk(server, db, 'hope', ['for ever']);
  assert.match((await b.nextOf('refused')).error, /view `wishes` was stopped: it ran longer than its deadline of 400 ms/);
  await callOk(server, db, 'hope', ['something else']);
});

// Conformance case 128.
test('two rows with one primary key are a failure of the view', async () => {
  const db = await fresh();
  const b = await raw(db);
  b.say(enc.subscribe(1, 1, 'SELECT * FROM levels'));
  await b.nextOf('subscribed');
  await callOk(server, db, 'join', ['Ann'], ann.token);
  await b.nextOf('update');
  await callOk(server, db, 'join', ['Bob'], bob.token);
  assert.equal((await b.next()).error, 'view `levels` returned two rows with the same primary key');
  assert.equal((await rows(server, db, 'SELECT * FROM player')).length, 2);
});

// Conformance case 127.
test('--view-failure abort undoes the transaction instead, as the incumbent does', async () => {
  const carl = await newIdentity(strict);
  const db = await fresh(strict, carl.token);
  const b = await raw(db, { where: strict });
  b.say(enc.subscribe(1, 1, 'SELECT * FROM wishes'));
  await b.nextOf('subscribed');
  b.say(enc.call(2, 'hope', w().str('the moon').done()));
  assert.equal((await b.nextOf('result')).internal, 'The instance encountered a fatal error.');
  assert.deepEqual(await rows(strict, db, 'SELECT * FROM wish', carl.token), []);
  b.say(enc.call(3, 'hope', w().str('a pony').done()));
  const { update } = await b.nextOf('result');
  assert.deepEqual(update[0].tables[0].rows[0].inserts, [w().str('a pony').done().toString('hex')]);
  assert.equal((await call(strict, db, 'hope', ['the moon'])).status, 530);
});

// ---- new versions, restarts

const changed = (from, to) => {
  assert.ok(source.includes(from), from);
  return bundle(source.replace(from, to));
};

// Conformance case 126, and the two below.
test('a new version of a view is run at once for those who watch it', async () => {
  const db = await fresh();
  const a = await enter(db);
  await a.reducers.take({ id: 1n, what: 'sword' });
  await subscribe(a, 'SELECT * FROM my_items');
  let lost = false;
  a.lost.then(() => (lost = true));
  const shout = changed('.map(({ id, what }) => ({ id, what }))', '.map(({ id, what }) => ({ id, what: what.toUpperCase() }))');
  await published(server, db, shout, { token: ann.token });
  await until(() => texts(a, 'myItems').join() === 'SWORD', 'the new view');
  await a.reducers.take({ id: 2n, what: 'bow' });
  assert.deepEqual([texts(a, 'myItems'), lost], [['BOW', 'SWORD'], false]);
});

test('a version whose view fails for those who watch it is refused, and the old one goes on', async () => {
  const db = await fresh();
  const a = await enter(db);
  await subscribe(a, 'SELECT * FROM my_items');
  await a.reducers.take({ id: 1n, what: 'sword' });
  const broken = changed('.map(({ id, what }) => ({ id, what }))', ".map(() => { throw new Error('broken') })");
  const answer = await publish(server, db, broken, { token: ann.token });
  assert.notEqual(answer.status, 200);
  assert.match(answer.text, /view `my_items` failed: .*broken/);
  await a.reducers.take({ id: 2n, what: 'bow' });
  assert.deepEqual(texts(a, 'myItems'), ['bow', 'sword']);
  assert.deepEqual(await rows(server, db, 'SELECT * FROM item_count'), [[2]]);
});

test('a view with another key is another view: clients are disconnected', async () => {
  const db = await fresh();
  const a = await enter(db);
  await subscribe(a, 'SELECT * FROM my_items');
  const keyless = changed("t.row('Mine', { id: t.u64().primaryKey(), what", "t.row('Mine', { id: t.u64(), what");
  const refused = await publish(server, db, keyless, { token: ann.token });
  assert.notEqual(refused.status, 200);
  const plan = await http(server, 'POST', `/v1/database/${db}/pre_publish?host_type=Js`, { token: ann.token, body: keyless });
  const { token } = (plan.json.AutoMigrate ?? plan.json);
  const done = await publish(server, db, keyless, { token: ann.token, query: `&token=${token}&policy=BreakClients` });
  assert.equal(done.status, 200, done.text);
  await a.lost;
  await callOk(server, db, 'take', [1, 'sword'], bob.token);
  assert.deepEqual(await rows(server, db, 'SELECT * FROM my_items', bob.token), [[1, 'sword']]);
});

for (const signal of ['SIGTERM', 'SIGKILL']) {
  test(`after ${signal} views are as their tables are`, async () => {
    const own = await startServer();  // with one database to open again
    const carl = await newIdentity(own);
    const db = await fresh(own, carl.token);
    await callOk(own, db, 'take', [1, 'sword'], carl.token);
    assert.deepEqual(await rows(own, db, 'SELECT * FROM my_items', carl.token), [[1, 'sword']]);
    const a = await raw(db, { where: own, token: carl.token });
    a.say(enc.subscribe(1, 1, 'SELECT * FROM my_items'));
    await a.nextOf('subscribed');
    await callOk(own, db, 'take', [2, 'bow'], carl.token);
    await a.nextOf('update');
    own.child.kill(signal);
    await own.ended;
    await own.start();
    const count = await rows(own, db, 'SELECT COUNT(*) AS n FROM my_items', carl.token);
    assert.deepEqual(count, [[2]]);
    await callOk(own, db, 'drop', [1], carl.token);
    assert.deepEqual(await rows(own, db, 'SELECT * FROM my_items', carl.token), [[2, 'bow']]);
    await own.end();
  });
}

test('case 130: a view that is called like a table, or returns no rows, is refused', async () => {
  const one = (name, returns, body) => bundle(`
    import { schema, table, t } from 'spacetimedb/server';
    const note = table({ name: 'note', public: true }, { id: t.u32().primaryKey() });
    const db = schema({ note });
    export default db;
    export const seen = db.anonymousView({ name: '${name}', public: true }, ${returns}, ctx => ${body});`);
  const refused = await publish(server, 'clash', one('note', 't.array(note.rowType)', '[...ctx.db.note.iter()]'), { token: ann.token });
  assert.notEqual(refused.status, 200);
  assert.match(refused.text, /`note` is used for multiple entities|multiple/);
  const number = await publish(server, 'clash', one('seen', 't.array(t.u32())', '[7]'), { token: ann.token });
  assert.notEqual(number.status, 200);
  await published(server, 'clash', one('seen', 't.array(note.rowType)', '[...ctx.db.note.iter()]'), { token: ann.token });
});

test('fifty people with a view each: a change runs one of them', async () => {
  const db = await fresh();
  const id = (await http(server, 'GET', `/v1/database/${db}/identity`)).text;
  const people = await Promise.all(Array.from({ length: 50 }, () => raw(db)));
  for (const [i, socket] of people.entries()) {
    socket.say(enc.subscribe(1, 1, 'SELECT * FROM my_items'));
    socket.say(enc.call(2, 'take', w().u64(i).str(`${i}`).done()));
  }
  await Promise.all(people.map(socket => socket.nextOf('result')));
  const before = await metric('lightcone_view_runs_total', id);
  for (let n = 0; n < 20; n++) {
    people[7].say(enc.call(3, 'take', w().u64(7).str(`n${n}`).done()));
    await people[7].nextOf('result');
  }
  assert.equal((await metric('lightcone_view_runs_total', id)) - before, 20);
});
