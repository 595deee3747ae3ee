// Row-level security: which rows of a table whom its rules show.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { bundle, callOk, enc, http, newIdentity, published, publish, rows, session, sql, startServer, until, w } from './support.mjs';

let server, ann, ben, cat;
const open = [];

before(async () => {
  server = await startServer();
  [ann, ben, cat] = [await newIdentity(server), await newIdentity(server), await newIdentity(server)];
});
after(async () => {
  for (const socket of open) socket.drop();
  await server?.end();
});

const as = (more = {}) => ({ token: ann.token, ...more });

const diary = (...rules) =>
  bundle(`
    import { schema, table, t } from 'spacetimedb/server';
    const note = table({ name: 'note', public: true }, { id: t.u32().primaryKey().autoInc(), owner: t.identity().index('btree'), open: t.bool(), text: t.string() });
    const other = table({ name: 'other', public: true }, { id: t.u32().primaryKey() });
    const hidden = table({ name: 'hidden' }, { id: t.u32().primaryKey() });
    const diary = schema({ note, other, hidden });
    export default diary;
    export const write = diary.reducer({ open: t.bool(), text: t.string() }, (ctx, { open, text }) => {
      ctx.db.note.insert({ id: 0, owner: ctx.sender, open, text });
    });
    export const erase = diary.reducer({ id: t.u32() }, (ctx, { id }) => { ctx.db.note.id.delete(id); });
    ${rules.map((rule, i) => `export const rule${i} = diary.clientVisibilityFilter.sql(${JSON.stringify(rule)});`).join('\n')}
  `);
const mine = 'SELECT * FROM note WHERE note.owner = :sender';
const opened = 'SELECT n.* FROM note n WHERE n.open = true';

async function texts(name, who, query = 'SELECT * FROM note') {
  return (await rows(server, name, query, who.token)).map(row => row[3]).sort();
}

test('everybody but the owner sees what a rule allows: queries, counts, subscriptions', async () => {
  const name = 'diary';
  await published(server, name, diary(mine, opened), as());
  for (const [who, open, text] of [[ann, false, 'a'], [ben, false, 'b'], [cat, false, 'c'], [cat, true, 'C']])
    await callOk(server, name, 'write', [open, text], who.token);
  assert.deepEqual(await texts(name, ann), ['C', 'a', 'b', 'c'], 'the owner');
  assert.deepEqual(await texts(name, ben), ['C', 'b']);
  assert.deepEqual(await texts(name, cat), ['C', 'c']);
  assert.deepEqual(await texts(name, ben, "SELECT * FROM note WHERE text = 'c' OR text = 'b'"), ['b']);
  assert.deepEqual(await rows(server, name, 'SELECT COUNT(*) AS n FROM note', ben.token), [[2]]);
  assert.deepEqual(await rows(server, name, `SELECT COUNT(*) AS n FROM note WHERE owner = 0x${cat.identity}`, ben.token), [[1]]);

  const socket = await session(server, name, { protocols: ['v3.bsatn.spacetimedb'], token: ben.token });
  open.push(socket);
  socket.say(enc.subscribe(1, 1, 'SELECT * FROM note'));
  const first = await socket.next();
  assert.equal(first.kind, 'subscribed', first.error);
  await callOk(server, name, 'write', [false, 'secret'], cat.token);
  await callOk(server, name, 'write', [true, 'shown'], cat.token);
  const update = await socket.next();
  assert.equal(update.kind, 'update');
  const inserts = update.sets[0].tables[0].rows[0].inserts;
  assert.equal(inserts.length, 1, 'the secret note made no update');
  assert.ok(inserts[0].includes(Buffer.from('shown').toString('hex')));
  socket.say(enc.oneOff(2, 'SELECT * FROM note'));
  const answer = await socket.next();
  assert.deepEqual(answer.tables[0].rows.length, 3);
  assert.deepEqual(await rows(server, name, 'SELECT sql FROM st_row_level_security', ben.token), [[mine], [opened]]);
});

test('a rule that needs a join shows what it finds a partner for, to those who subscribe too', async () => {
  const name = 'joined';
  const join = 'SELECT n.* FROM note n JOIN other o ON n.id = o.id';
  await published(server, name, diary(join), as());
  for (const text of ['x', 'y', 'z']) await callOk(server, name, 'write', [true, text], ben.token);
  assert.deepEqual(await texts(name, ann), ['x', 'y', 'z']);
  assert.deepEqual(await texts(name, ben), []);
  await rows(server, name, 'INSERT INTO other (id) VALUES (2), (3)', ann.token);
  assert.deepEqual(await texts(name, ben), ['y', 'z']);
  assert.deepEqual(await rows(server, name, 'SELECT COUNT(*) AS n FROM note', ben.token), [[2]]);
  assert.deepEqual(await rows(server, name, 'SELECT n.text FROM other o LEFT JOIN note n ON n.id = o.id WHERE o.id < 3', ben.token), [[[0, 'y']]]);
  assert.deepEqual(await rows(server, name, 'SELECT * FROM other ORDER BY id', ben.token), [[2], [3]], 'other tables are not concerned');
  const explained = await sql(server, name, 'EXPLAIN ANALYZE SELECT * FROM note', ben.token);
  assert.equal(explained.status, 400, 'it would tell how many rows are hidden');

  const socket = await session(server, name, { protocols: ['v3.bsatn.spacetimedb'], token: ben.token });
  open.push(socket);
  socket.say(enc.subscribe(1, 1, 'SELECT * FROM note'));
  const subscribed = await socket.next();
  assert.equal(subscribed.tables[0].rows.length, 2);
  await rows(server, name, 'INSERT INTO other (id) VALUES (1)', ann.token);
  const came = await socket.next();
  assert.equal(came.sets[0].tables[0].rows[0].inserts.length, 1, 'a partner came, and the row with it');
  socket.say(enc.oneOff(2, 'SELECT * FROM note'));
  assert.equal((await socket.next()).tables[0].rows.length, 3);
});

// Conformance case 81, and below.
test('a rule that is wrong is refused when it is published, and the old ones stay', async () => {
  const name = 'strict';
  for (const [rule, why] of [
    ['SELECT * FROM nowhere', 'no such table: `nowhere`'],
    ['SELECT * FROM note WHERE note.nope = 1', '`nope` is not in scope'],
    ['SELECT * FROM hidden', 'no such table: `hidden`. If the table exists, it may be marked private.'],
    ['SELECT text FROM note', 'Column projections are not supported in subscriptions'],
    ['gibberish', 'sql parser error: '],
  ]) {
    const answer = await publish(server, name, diary(rule), as());
    assert.equal(answer.status, 500, `${rule}: ${answer.text}`);
    assert.ok(answer.text.includes('Row-level security invalid: `' + why), answer.text);
    assert.ok(answer.text.endsWith(`query: \`${rule}\``), answer.text);
  }
  await published(server, name, diary(mine), as());
  await callOk(server, name, 'write', [false, 'c'], cat.token);
  const plan = await http(server, 'POST', `/v1/database/${name}/pre_publish?host_type=Js`, as({ body: diary('SELECT * FROM note WHERE note.nope = 1') }));
  const { token } = plan.json.AutoMigrate;
  const answer = await publish(server, name, diary('SELECT * FROM note WHERE note.nope = 1'), as({ query: `&policy=BreakClients&token=${token}` }));
  assert.equal(answer.status, 400);
  assert.match(answer.text, /^Failed to create or update the database: Row-level security invalid: /);
  assert.deepEqual(await texts(name, ben), [], 'the old rule holds');
  assert.deepEqual(await texts(name, cat), ['c']);
});

test('another set of rules disconnects everybody; the same set nobody', async () => {
  const name = 'rules-change';
  await published(server, name, diary(mine), as());
  const socket = await session(server, name, { protocols: ['v3.bsatn.spacetimedb'], token: ben.token });
  open.push(socket);
  socket.say(enc.subscribe(1, 1, 'SELECT * FROM note'));
  await socket.next();
  await published(server, name, diary(mine) + '\n// changed', as());
  await callOk(server, name, 'write', [false, 'b'], ben.token);
  assert.equal((await socket.next()).kind, 'update', 'still connected, still subscribed');
  const next = diary(opened);
  const refused = await publish(server, name, next, as());
  assert.equal(refused.status, 400);
  assert.match(refused.text, /client-breaking change/);
  const plan = await http(server, 'POST', `/v1/database/${name}/pre_publish?host_type=Js&style=NoColor`, as({ body: next }));
  assert.equal(plan.json.AutoMigrate.break_clients, true);
  assert.match(plan.json.AutoMigrate.migrate_plan, /row level security policy/);
  const done = await publish(server, name, next, as({ query: `&policy=BreakClients&token=${plan.json.AutoMigrate.token}` }));
  assert.equal(done.status, 200, done.text);
  await assert.rejects(socket.next(), /closed with 1001/);
  assert.deepEqual(await texts(name, ben), []);
});
