// What is peculiar to protocol v1 (websocket-and-data-model §3, §6.4, §6.5, §7): its ways to subscribe, its
// forms of JSON, what a caller hears. What all protocols share is in delivery.test.mjs.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Speaker } from './dialects.mjs';
import { top } from './harness.mjs';
import { OP, Socket, bundle, callOk, newIdentity, published, session, sql, startServer, w } from './support.mjs';
import { enc1, json1 } from './v1.mjs';

const code = bundle(readFileSync(join(top, 'tests/modules/probe/src/index.ts'), 'utf8') + `
export const double = probe.procedure({ n: t.u32(), mood: Mood }, t.object('Doubled', { n: t.u32(), mood: Mood }), (_ctx, { n, mood }) => ({ n: n * 2, mood }));
export const write_twice = probe.procedure({ n: t.u32() }, t.unit(), (ctx, { n }) => { ctx.withTx(tx => { tx.db.t.insert({ n }); }); return {}; });
`);
const schema = {
  t: ['u32'], person: ['u64', 'str', 'u32'],
  'add()': ['str', 'u32'], 'remove()': ['u32'], 'refuse()': ['str'], 'crash()': [], 'hire()': ['str', 'u32'],
};
const both = ['v1.json', 'v1.bsatn'];

let server, owner, made = 0;
const open = [];
before(async () => {
  server = await startServer();
  owner = await newIdentity(server);
});
after(async () => {
  for (const one of open) one.drop();
  await server?.end();
});
async function fresh() {
  const name = `older-${++made}`;
  await published(server, name, code, { token: owner.token });
  return name;
}
async function enter(name, dialect, options = {}) {
  const one = await Speaker.enter(server, name, dialect, { schema, ...options });
  open.push(one);
  return one;
}
const each = (what, body) => {
  for (const dialect of both) test(`${what} (${dialect})`, async () => body(dialect, await fresh()));
};

// ── the handshake ────────────────────────────────────────────────────────────────────────────────

test('of what is offered the newest is chosen, and echoed', async () => {
  const name = await fresh();
  for (const [offered, chosen] of [
    [['v1.json', 'v1.bsatn'], 'v1.bsatn'], [['v1.json'], 'v1.json'], [['v1.json', 'v3.bsatn', 'v1.bsatn'], 'v3.bsatn'],
    [['v1.bsatn', 'v2.bsatn'], 'v2.bsatn'],
  ]) {
    const socket = await Socket.open(server, `/v1/database/${name}/subscribe`, { protocols: offered.map(x => `${x}.spacetimedb`) });
    assert.equal(socket.headers['sec-websocket-protocol'], `${chosen}.spacetimedb`);
    socket.drop();
  }
  const none = await Socket.open(server, `/v1/database/${name}/subscribe`, { protocols: ['v1.text.spacetimedb', 'V1.json.spacetimedb'] });
  assert.deepEqual([none.status, none.body], [400, 'no valid protocol selected']);
});

each('compression may be asked for, and is not used; what is malformed is refused', async (dialect, name) => {
  const protocols = [`${dialect}.spacetimedb`], path = `/v1/database/${name}/subscribe`;
  const rows = Array.from({ length: 2000 }, (_, i) => `(${i})`).join(', ');
  assert.equal((await sql(server, name, `INSERT INTO t (n) VALUES ${rows}`, owner.token)).status, 200);
  for (const query of ['', '?compression=None', '?compression=Gzip', '?compression=Brotli']) {
    const socket = await Socket.open(server, path + query, { protocols });
    open.push(socket);
    assert.equal((await socket.next()).kind, 'initial');
    const [opcode, enc] = dialect === 'v1.json' ? [OP.text, json1] : [OP.binary, enc1];
    socket.send(opcode, enc.oneOff('01', 'SELECT * FROM t'));
    assert.equal((await socket.next()).tables[0].rows.length, 2000, query);
  }
  for (const query of ['?light=maybe', '?confirmed=1', '?compression=gzip'])
    assert.equal((await Socket.open(server, path + query, { protocols })).status, 400, query);
});

// ── requests follow the frame, replies the protocol ──────────────────────────────────────────────

test('a text frame is JSON and a binary one BSATN, whatever was negotiated', async () => {
  const name = await fresh();
  const [json, binary] = [await enter(name, 'v1.json'), await enter(name, 'v1.bsatn')];
  json.socket.send(OP.binary, enc1.oneOff('0102', 'SELECT * FROM t'));
  binary.socket.send(OP.text, json1.oneOff('0102', 'SELECT * FROM t'));
  for (const one of [json, binary]) {
    const { kind, id, tables } = await one.answer();
    assert.deepEqual([kind, id, tables], ['rows', '0102', [{ table: 't', rows: [] }]]);
  }
  // Under v2 and v3 there is no text.
  const newer = await enter(name, 'v2');
  newer.socket.send(OP.text, json1.oneOff('0102', 'SELECT * FROM t'));
  assert.equal((await newer.socket.over()).code, 1011);
});

each('what cannot be read closes the connection with 1011 and the reason', async (dialect, name) => {
  for (const [opcode, payload, why] of [
    [OP.binary, Buffer.from([9]), /^unknown tag 0x9 for sum type ClientMessage$/],
    [OP.binary, Buffer.from('000300000061646404000000070000000500000002', 'hex'), /^invalid call reducer flag 2$/],
    [OP.text, Buffer.from('{"Subscribe":{"query_strings":["x"]}}'), /missing field `request_id`/],
    [OP.text, Buffer.from('{"Nothing":{}}'), /Nothing/],
    [OP.text, Buffer.from('{'), /./],
  ]) {
    const one = await enter(name, dialect);
    one.socket.send(opcode, payload);
    const close = await one.socket.over();
    assert.equal(close.code, 1011);
    assert.match(close.reason, why);
  }
});

// ── subscribing ──────────────────────────────────────────────────────────────────────────────────

each('a query is watched once by a connection: the first set brings its rows, the last one takes them', async (dialect, name) => {
  const one = await enter(name, dialect);
  await one.call('add', ['', 1]);
  const first = await one.subscribe(1, 'SELECT * FROM t', 'SELECT * FROM person');
  assert.deepEqual(first.changes.map(c => [c.table, c.inserts]), [['t', ['[1]']]], 'an empty table has no entry');
  assert.deepEqual((await one.subscribe(2, ' SELECT * FROM t ', 'SELECT * FROM t')).changes, []);
  // Another spelling is another query.
  assert.deepEqual((await one.subscribe(3, 'select * from t')).changes.map(c => c.inserts), [['[1]']]);
  const { changes } = await one.call('add', ['', 2]);
  assert.deepEqual(changes.map(c => c.inserts), [['[2]'], ['[2]']]);
  assert.deepEqual((await one.unsubscribe(1)).changes, []);
  assert.deepEqual((await one.unsubscribe(3)).changes.map(c => c.deletes.sort()), [['[1]', '[2]']]);
  assert.deepEqual(one.rows('t'), ['[1]', '[2]']);
  assert.deepEqual((await one.unsubscribe(2)).changes.map(c => c.deletes.sort()), [['[1]', '[2]']]);
  assert.deepEqual(one.rows('t'), []);
  assert.deepEqual((await one.call('add', ['', 3])).changes, []);
});

each('SubscribeSingle is SubscribeMulti of one query, with its own reply', async (dialect, name) => {
  const one = await enter(name, dialect);
  const empty = await one.single(1, 'SELECT * FROM t');
  assert.equal(empty.kind, 'subscribed-single');
  assert.deepEqual([empty.tables[0].table, empty.tables[0].count, empty.tables[0].rows], ['t', 0, []]);
  assert.ok(empty.tables[0].id >= 4096);
  await one.call('add', ['', 1]);
  assert.deepEqual((await one.single(2, 'SELECT * FROM t')).tables[0].count, 0, 'it is held already');
  assert.equal((await one.single(3, 'SELECT * FROM t WHERE n = 1')).tables[0].count, 1);
  assert.match((await one.single(4, 'SELECT * FROM *')).error, /./);
  const kept = await one.unsubscribe(1, { single: true });
  assert.deepEqual([kept.kind, kept.changes], ['unsubscribed-single', []]);
  assert.deepEqual((await one.unsubscribe(2, { single: true })).changes.map(c => c.deletes), [['[1]']]);
  assert.deepEqual((await one.unsubscribe(3, { single: true })).changes.map(c => c.deletes), [['[1]']]);
  assert.match((await one.unsubscribe(3, { single: true })).error, /not found/);
});

each('a legacy Subscribe replaces the one before, and an error leaves it', async (dialect, name) => {
  const one = await enter(name, dialect);
  await callOk(server, name, 'add', ['', 1]);
  assert.deepEqual((await one.legacy('SELECT * FROM t')).changes.map(c => c.inserts), [['[1]']]);
  const failed = await one.legacy('SELECT * FROM t', 'SELECT * FROM nothing');
  assert.match(failed.error, /no such table: `nothing`.*, executing: `SELECT \* FROM nothing`/);
  assert.equal(failed.set, null);
  assert.deepEqual((await one.call('add', ['', 2])).changes.map(c => c.inserts), [['[2]']]);
  const again = await one.legacy('SELECT * FROM t', 'SELECT * FROM person');
  assert.deepEqual(again.changes.map(c => c.inserts.sort()), [['[1]', '[2]']], 'all of it');
  await one.legacy('SELECT * FROM person');
  assert.deepEqual((await one.call('add', ['', 3])).changes, []);
  assert.deepEqual((await one.call('hire', ['ann', 3])).changes.map(c => c.table), ['person']);
});

each('`SELECT * FROM *` is every table that may be read, event tables aside', async (dialect, name) => {
  const one = await enter(name, dialect);
  one.schema = { ...schema, visit: [] };
  one.say(one.enc.subscribe(1, 1, 'select * from *'));
  const { kind, tables } = await one.answer();
  assert.equal(kind, 'subscribed');
  assert.deepEqual(tables.map(x => x.table), ['visit'], 'the only one that is not empty');
});

each('event tables are refused, in every way to subscribe', async (dialect, name) => {
  const one = await enter(name, dialect);
  const text = 'Subscribing to event tables requires WebSocket v2. Please upgrade your client SDK and regenerate your module bindings.';
  for (const answer of [
    await one.subscribe(1, 'SELECT * FROM t', 'SELECT * FROM note'), await one.single(1, 'SELECT * FROM note'),
    await one.legacy('SELECT * FROM note'),
  ])
    assert.equal(answer.error, text);
  assert.deepEqual((await one.call('add', ['', 1])).changes, [], 'nothing was registered');
});

each('a request is all or nothing, an id in use is refused and the set stays', async (dialect, name) => {
  const one = await enter(name, dialect);
  assert.match((await one.subscribe(1, 'SELECT * FROM t', 'SELECT * FROM nowhere')).error, /executing: `SELECT \* FROM nowhere`/);
  assert.deepEqual((await one.call('add', ['', 1])).changes, []);
  await one.subscribe(1, 'SELECT * FROM t');
  const again = await one.subscribe(1, 'SELECT * FROM person');
  assert.match(again.error, /Subscription with id 1 already exists for client/);
  assert.equal(again.set, 1);
  assert.deepEqual((await one.call('add', ['', 2])).changes.map(c => c.inserts), [['[2]']]);
});

// ── what a caller hears, and the others ──────────────────────────────────────────────────────────

each('the caller hears the whole transaction, the others a light update with its request id', async (dialect, name) => {
  const [ann, bob, eve] = [await enter(name, dialect, { token: owner.token }), await enter(name, 'v1.json'), await enter(name, 'v1.bsatn')];
  for (const one of [ann, bob, eve]) await one.subscribe(1, 'SELECT * FROM t');
  const { message } = await ann.call('add', ['x "y"', 7]);
  assert.equal(message.caller, owner.identity);
  assert.equal(message.reducer, 'add');
  assert.equal(message.args, dialect === 'v1.json' ? '["x \\"y\\"",7]' : '05000000782022792207000000');
  assert.ok(message.timestamp > 1_600_000_000_000_000n && message.duration >= 0);
  for (const one of [bob, eve]) {
    const { changes, request, message: light } = await one.hearUpdate();
    assert.equal(light.kind, 'light');
    assert.equal(request, message.request);
    assert.deepEqual(changes.map(c => c.inserts), [['[7]']]);
  }
  // Nobody's connection: over HTTP, and SQL.
  await callOk(server, name, 'add', ['', 8]);
  assert.equal((await sql(server, name, 'DELETE FROM t WHERE n = 8', owner.token)).status, 200);
  for (const one of [ann, bob, eve]) {
    assert.equal((await one.hearUpdate()).request, 0);
    await one.quiet();
  }
  // A caller whose queries are not concerned hears of its call all the same.
  assert.deepEqual((await bob.call('hire', ['bob', 1])).changes, []);
});

each('failures are told to the caller alone, with the call', async (dialect, name) => {
  const [ann, bob] = [await enter(name, dialect), await enter(name, dialect)];
  for (const one of [ann, bob]) await one.subscribe(1, 'SELECT * FROM t');
  const refused = await ann.call('refuse', ['not today']);
  assert.equal(refused.error, 'not today');
  assert.deepEqual([refused.message.reducer, refused.message.args], ['refuse', dialect === 'v1.json' ? '["not today"]' : '090000006e6f7420746f646179']);
  assert.equal((await ann.call('crash', [])).error, 'The instance encountered a fatal error.');
  await bob.quiet();
  assert.deepEqual(bob.updates, []);
});

each('NoSuccessNotify: a success is heard as anybody hears it, or not at all; a failure is told', async (dialect, name) => {
  const one = await enter(name, dialect);
  one.begin('add', ['', 1], 1);
  await one.quiet();
  assert.deepEqual(one.updates, [], 'it watches nothing');
  await one.subscribe(1, 'SELECT * FROM t');
  const request = one.begin('add', ['', 2], 1);
  const heard = await one.hearUpdate();
  assert.deepEqual([heard.message.kind, heard.request], ['light', request]);
  assert.equal((await one.result(one.begin('refuse', ['no'], 1))).error, 'no');
});

each('procedures answer with their value, and refuse in their place', async (dialect, name) => {
  const one = await enter(name, dialect);
  one.schema = { ...schema, 'double()': ['u32', 'u8', 'u32'], 'write_twice()': ['u32'] };
  await one.subscribe(1, 'SELECT * FROM t');
  const ask = (request, procedure, args) => (one.say(one.enc.procedure(request, procedure, args)), one.answer());
  const answer = await ask(7, 'double', one.isJson ? '{"n":21,"mood":{"angry":3}}' : one.args('double', [21, 1, 3]));
  assert.equal(answer.request, 7);
  if (one.isJson) assert.equal(answer.returned, '[42,[1,3]]');
  else assert.equal(answer.returned.toString('hex'), '2a0000000103000000');
  // What it commits comes before its answer, as somebody's transaction.
  const wrote = await ask(8, 'write_twice', one.args('write_twice', [5]));
  assert.equal(wrote.internal, undefined);
  assert.deepEqual(one.updates.map(u => [u.request, u.changes[0].inserts]), [[0, ['[5]']]]);
  assert.equal((await ask(9, 'nothing')).internal, 'No such procedure');
  assert.match((await ask(10, 'double', one.isJson ? '[1]' : Buffer.from([1]))).internal, /^invalid arguments for procedure double: /);
});

// A module as 1.x libraries declared it: a table t(n), a reducer add(name, n).
function oldModule() {
  const field = (out, name, type) => out.u8(0).str(name).u8(type);
  const [text, u32] = [0x04, 0x0b];
  let raw = field(w().u8(1).u32(1).u8(2).u32(1), 'n', u32);
  raw = raw.u32(1).str('t').u32(0).u32(0).u32(0).u32(0).u32(0).u8(1).u8(1).u8(0);
  raw = field(field(raw.u32(1).str('add').u32(2), 'name', text), 'n', u32).u8(1);
  const bytes = [...raw.u32(0).u32(0).u32(0).done()];
  return `import * as sys from "spacetime:sys@2.0";
    class HostError extends Error {}
    class SenderError extends Error {}
    const hooks = {
      __describe_module__: () => new Uint8Array([${bytes}]),
      __get_error_constructor__: () => HostError,
      __sender_error_class__: SenderError,
      __call_reducer__(id, sender, connection, time, args) {
        const row = new Uint8Array(args.buffer, args.byteOffset, args.byteLength).slice(-4);
        sys.datastore_insert_bsatn(sys.table_id_from_name('t'), row.buffer, 4);
      },
      __call_view__() {}, __call_view_anon__() {}, __call_procedure__() {},
    };
    export default { [sys.moduleHooks]: () => hooks };`;
}

test('a module of definition version 9 tells everybody the whole call, unless they asked for less', async () => {
  const name = `old-${++made}`;
  await published(server, name, oldModule(), { token: owner.token });
  const [ann, bob, light, new3] = [
    await enter(name, 'v1.bsatn'), await enter(name, 'v1.json'), await enter(name, 'v1.json', { query: '&light=true' }), await enter(name, 'v3'),
  ];
  for (const one of [ann, bob, light, new3]) await one.subscribe(1, 'SELECT * FROM t');
  const { message, error } = await ann.call('add', ['x', 7]);
  assert.equal(error, undefined);
  const { message: full, changes } = await bob.hearUpdate();
  assert.deepEqual([full.kind, full.reducer, full.args, full.request], ['transaction', 'add', '["x",7]', message.request]);
  assert.deepEqual(changes.map(c => c.inserts), [['[7]']]);
  assert.equal((await light.hearUpdate()).message.kind, 'light');
  assert.deepEqual((await new3.hearUpdate()).changes.map(c => c.inserts), [['[7]']]);
  // Not a reducer's: no name, and the number that stands for none.
  assert.equal((await sql(server, name, 'DELETE FROM t', owner.token)).status, 200);
  const { message: written } = await bob.hearUpdate();
  assert.deepEqual([written.reducer, written.reducerId, written.request, written.caller], ['', 0xffffffff, 0, owner.identity]);
});

// ── values ───────────────────────────────────────────────────────────────────────────────────────

// One row with a value of every shape, as arguments and as rows (§3.1, §3.2).
const identity = 'c20035600353a2e93544d898c6ed0eac323e200c0468300f22958f8b472a265d';
const kinds = {
  args: `{"id":1,"yes":true,"small":-9007199254740993,"large":340282366920938463463374607431768211455,"huge":"-0xff","real":0.1,
    "maybe":null,"raw":"00ff","list":[1,65535],"who":{"__identity__":"0x${identity}"},"at":[1000000],"mood":{"angry":7}}`,
  named: `{"id":1,"yes":true,"small":-9007199254740993,"large":340282366920938463463374607431768211455,"huge":"-0xff","real":0.1,"maybe":[1,{}],"raw":"00ff","list":[1,65535],"who":{"__identity__":"0x${identity}"},"at":{"__timestamp_micros_since_unix_epoch__":1000000},"mood":[1,7]}`,
  placed: `[1,true,-9007199254740993,340282366920938463463374607431768211455,"-0xff",0.1,[1,[]],"00ff",[1,65535],["0x${identity}"],[1000000],[1,7]]`,
};
test('v1.json shows every kind of value: by name where rows are read, by position where they change', async () => {
  const name = await fresh();
  const [ann, bob] = await Promise.all([0, 1].map(() => session(server, name, { protocols: ['v1.json.spacetimedb'] })));
  open.push(ann, bob);
  const say = (socket, message) => socket.send(OP.text, message);
  const heard = async (socket, kind) => (await socket.nextOf(kind)).text;
  say(bob, json1.subscribe(1, 1, 'SELECT * FROM kinds'));
  await heard(bob, 'subscribed');
  say(ann, json1.call(5, 'keep', kinds.args));
  const result = await heard(ann, 'transaction');
  assert.match(result, /"status":\{"Committed":\{"tables":\[\]\}\}/);
  assert.ok(result.includes(`"args":${JSON.stringify(kinds.args)}`), 'the caller’s own words');
  const quoted = text => JSON.stringify(text);
  assert.ok((await heard(bob, 'light')).includes(`"deletes":[],"inserts":[${quoted(kinds.placed)}]`));
  say(ann, json1.subscribe(2, 1, 'SELECT * FROM kinds'));
  assert.ok((await heard(ann, 'subscribed')).includes(`"inserts":[${quoted(kinds.named)}]`));
  say(ann, json1.oneOff('abcd', 'SELECT * FROM kinds'));
  assert.ok((await heard(ann, 'rows')).includes(`"rows":[${quoted(kinds.named)}]`));
  // A binary call on a connection that speaks JSON: its arguments come back by position.
  ann.send(OP.binary, enc1.call(6, 'refuse', Buffer.from('020000006e6f', 'hex')));
  assert.ok((await heard(ann, 'transaction')).includes('"args":"[\\"no\\"]"'));
  assert.equal((await sql(server, name, 'DELETE FROM kinds', owner.token)).status, 200);
  assert.ok((await heard(bob, 'light')).includes(`"deletes":[${quoted(kinds.placed)}],"inserts":[]`));
});

test('rows that take long to read are written as JSON beside the loop, and arrive in their place', async () => {
  const name = await fresh();
  const one = await enter(name, 'v1.json');
  const rows = Array.from({ length: 3000 }, (_, i) => `(${i})`).join(', ');
  assert.equal((await sql(server, name, `INSERT INTO t (n) VALUES ${rows}`, owner.token)).status, 200);
  one.say(json1.subscribe(1, 1, 'SELECT * FROM t'), json1.call(2, 'add', '["",9999]'), json1.oneOff('01', 'SELECT * FROM t'));
  one.awaits = 2;
  const first = await one.answer();
  assert.deepEqual([first.kind, first.tables[0].count, first.tables[0].rows[0].inserts.toSorted()[0]], ['subscribed', 3000, '{"n":0}']);
  const second = await one.answer();
  assert.deepEqual([second.kind, second.tables[0].rows[0].inserts], ['transaction', ['[9999]']]);
  const third = await one.answer();
  assert.deepEqual([third.kind, third.tables[0].rows.length], ['rows', 3001]);
  one.say(json1.unsubscribe(3, 1));
  const last = await one.answer();
  assert.deepEqual([last.kind, last.tables[0].count], ['unsubscribed', 3001]);
});
