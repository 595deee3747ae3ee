// Auto-increment and event tables as a module and its clients see them (module-abi §5.10, §5.11).
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { bundle, call, callOk, enc, newIdentity, published, publish, rows, session, sql, startServer, w } from './support.mjs';

let server, ann;
const open = [];
const code = (more = '') => bundle(`
  import { schema, table, t, SenderError } from 'spacetimedb/server';
  const ticket = table({ name: 'ticket', public: true }, { id: t.u64().primaryKey().autoInc(), text: t.string() });
  const small = table({ name: 'small', public: true }, { n: t.u8().autoInc(), at: t.u32() });
  const signed = table({ name: 'signed', public: true }, { n: t.i8().autoInc(), at: t.u32() });
  const shout = table({ name: 'shout', public: true, event: true }, { id: t.u32().primaryKey(), text: t.string() });
  const seen = table({ name: 'seen', public: true }, { what: t.string() });
  ${more}
  const db = schema({ ticket, small, signed, shout, seen ${more ? ', extra' : ''} });
  export default db;
  export const draw = db.reducer({ text: t.string() }, (ctx, { text }) => { ctx.db.ticket.insert({ id: 0n, text }); });
  export const give = db.reducer({ id: t.u64(), text: t.string() }, (ctx, { id, text }) => { ctx.db.ticket.insert({ id, text }); });
  export const fail = db.reducer(ctx => { ctx.db.ticket.insert({ id: 0n, text: 'lost' }); throw new SenderError('no'); });
  export const many = db.reducer({ count: t.u32() }, (ctx, { count }) => {
    for (let at = 0; at < count; at++) { ctx.db.small.insert({ n: 0, at }); ctx.db.signed.insert({ n: 0, at }); }
  });
  export const cry = db.reducer({ id: t.u32(), text: t.string() }, (ctx, { id, text }) => {
    ctx.db.shout.insert({ id, text });
    for (const row of ctx.db.shout.iter()) ctx.db.seen.insert({ what: row.id + ' ' + row.text + ' of ' + ctx.db.shout.count() });
  });
  export const cry_twice = db.reducer({ a: t.string(), b: t.string() }, (ctx, { a, b }) => {
    ctx.db.shout.insert({ id: 1, text: a });
    ctx.db.shout.insert({ id: 1, text: b });
  });
  export const cry_and_hush = db.reducer({ id: t.u32() }, (ctx, { id }) => {
    ctx.db.shout.insert({ id, text: 'psst' });
    ctx.db.shout.id.delete(id);
  });
`);

before(async () => {
  server = await startServer();
  ann = await newIdentity(server);
  await published(server, 'rows', code(), { token: ann.token });
});
after(async () => {
  for (const socket of open) socket.drop();
  await server?.end();
});
const run = (reducer, ...args) => callOk(server, 'rows', reducer, args, ann.token);
const ids = async () => (await rows(server, 'rows', 'SELECT id FROM ticket')).flat().sort((a, b) => a - b);

test('values go on behind a rollback, and given ones do not move them', async () => {
  await run('draw', 'a');
  assert.equal((await call(server, 'rows', 'fail', [], ann.token)).status, 530);
  await run('draw', 'b');
  assert.deepEqual(await ids(), [1, 3], 'what was rolled back is not handed out again');
  await run('give', 5, 'five');
  await run('draw', 'four');
  const collision = await call(server, 'rows', 'draw', ['in the way'], ann.token);
  assert.equal(collision.status, 530);
  await run('draw', 'six');
  assert.deepEqual(await ids(), [1, 3, 4, 5, 6]);
});

test('a value is cut to its column', async () => {
  await run('many', 300);
  // Where they begin is open: a reducer that outlives its slice begins again, and draws again.
  for (const [table, type] of [['small', Uint8Array], ['signed', Int8Array]]) {
    const drawn = (await rows(server, 'rows', `SELECT * FROM ${table}`)).sort((a, b) => a[1] - b[1]).map(([n]) => n);
    assert.equal(drawn.length, 300);
    for (let i = 1; i < drawn.length; i++) assert.equal(drawn[i], type.of(drawn[i - 1] + 1)[0], `${table} ${i}`);
  }
});

test('rows of an event table are there for their transaction and for who watches, and then nowhere', async () => {
  const watcher = await session(server, 'rows', { protocols: ['v3.bsatn.spacetimedb'], token: ann.token });
  open.push(watcher);
  watcher.say(enc.subscribe(1, 1, 'SELECT * FROM shout', "SELECT * FROM shout WHERE text = 'loud'"));
  assert.deepEqual((await watcher.next()).tables, []);
  await run('cry', 1, 'hey');
  const first = (await watcher.next()).sets[0].tables;
  assert.equal(first.length, 1);
  assert.equal(first[0].rows[0].events.length, 1);
  await run('cry', 1, 'loud');  // the same key: the first is gone
  const second = await watcher.next();
  assert.equal(second.sets[0].tables.flatMap(table => table.rows).length, 2, 'two queries see it');
  assert.deepEqual((await rows(server, 'rows', 'SELECT * FROM seen')).flat().sort(), ['1 hey of 1', '1 loud of 1']);
  assert.deepEqual(await rows(server, 'rows', 'SELECT * FROM shout'), []);
  assert.deepEqual(await rows(server, 'rows', 'SELECT COUNT(*) AS n FROM shout'), [[0]]);
  assert.equal((await call(server, 'rows', 'cry_twice', ['a', 'b'], ann.token)).status, 530, 'unique within a transaction');
  await run('cry_and_hush', 9);
  await run('cry', 2, 'still here');
  const last = (await watcher.next()).sets[0].tables[0].rows[0].events;
  assert.equal(last.length, 1, 'what was taken back was not heard');
  assert.ok(last[0].includes(Buffer.from('still here').toString('hex')));
});

test('“all tables” leaves event tables out', async () => {
  const socket = await session(server, 'rows', { protocols: ['v3.bsatn.spacetimedb'], token: ann.token });
  open.push(socket);
  socket.say(enc.subscribe(1, 1, 'SELECT * FROM *'));
  const names = (await socket.next()).tables.map(table => table.table);
  assert.ok(names.includes('ticket') && !names.includes('shout'), names.join());
  await run('cry', 3, 'unheard');
  const update = await socket.next();
  assert.deepEqual(update.sets[0].tables.map(table => table.table), ['seen']);
});

test('a new version and a restart keep sequences going; no event comes back', async () => {
  const highest = (await ids()).at(-1);
  await published(server, 'rows', code("const extra = table({ name: 'extra' }, { id: t.u32() });"), { token: ann.token });
  await run('draw', 'after the update');
  assert.equal((await ids()).at(-1), highest + 1);
  await server.kill();
  await server.start();
  await run('draw', 'after the restart');
  const next = (await ids()).at(-1);
  assert.ok(next > highest + 1 && next <= highest + 1 + 4096, `${next}`);
  assert.deepEqual(await rows(server, 'rows', 'SELECT * FROM shout'), []);
});
