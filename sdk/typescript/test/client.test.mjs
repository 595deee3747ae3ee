// The client against a server that does what the test says: losing connections, answering late, lying.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { TIMES } from '../dist/client/link.js';
import { Connection, ConnectionBuilder, Reader, procedure, reducer, table } from '../dist/index.js';
import { applied, FakeServer, greeting, hex, progress, refused, result, resumed, say, sleep, until, update } from './support.mjs';

const Row = { read: r => ({ n: r.u32() }), write: (w, v) => w.u32(v.n) };
const Keyed = { read: r => ({ id: r.u16(), v: r.u16() }), write: (w, v) => (w.u16(v.id), w.u16(v.v)) };
const none = { read: () => ({}), write: () => {} };
const module = {
  tables: {
    t: table('t', Row, { indexes: { n: ['n'] } }),
    k: table('k', Keyed, { primaryKey: 'id', unique: ['id'], indexes: { byV: ['v'] } }),
  },
  reducers: { add: reducer('add', { write: (w, v) => w.u32(v.n) }), nothing: reducer('nothing', none) },
  procedures: { ask: procedure('ask', none, { read: r => r.u32() }) },
};

const open = [];
after(async () => {
  for (const one of open) await one();
});

// The page, as far as the client looks at it.
const page = Object.assign(new EventTarget(), { document: Object.assign(new EventTarget(), { visibilityState: 'visible' }) });
for (const name of ['addEventListener', 'removeEventListener']) globalThis[name] = page[name].bind(page);
globalThis.document = page.document;

async function impatient(times, run) {
  const usual = { ...TIMES };
  Object.assign(TIMES, times);
  try {
    await run();
  } finally {
    Object.assign(TIMES, usual);
  }
}

async function start(protocol, configure = builder => builder) {
  const server = await new FakeServer(protocol).start();
  const told = [];
  const builder = new ConnectionBuilder((config, callbacks) => new Connection(module, config, callbacks))
    .withUri(server.url)
    .withDatabaseName('a database')
    .onConnect(() => told.push('connected'))
    .onReconnect(() => told.push('back'))
    .onDisconnect((_ctx, error) => told.push(error ? 'lost' : 'ended'))
    .onConnectError((_ctx, error) => told.push(error.message));
  const connection = configure(builder).build();
  connection.onStatus(status => told.push(status));
  open.push(async () => {
    connection.disconnect();
    await server.end();
  });
  return { server, connection, told };
}
// Connected, and subscribed to `t` with the rows 1 and 2.
async function live(protocol, configure) {
  const all = await start(protocol, configure);
  const peer = await all.server.peer(0);
  peer.send(say(greeting));
  await until(() => all.connection.isActive, 'the greeting to be read');
  const ready = new Promise(resolve => all.connection.subscriptionBuilder().onApplied(resolve).subscribe(module.tables.t));
  const { set } = subscribeOf(await peer.next());
  peer.send(say(applied(set, [1, 2])));
  await ready;
  return { ...all, peer, set };
}
function subscribeOf(payload) {
  const r = payload instanceof Reader ? payload : new Reader(payload);
  assert.equal(r.u8(), 0, 'a Subscribe');
  const request = r.u32();
  return { request, set: r.u32(), queries: r.array(r => r.string()), r };
}
function callOf(payload) {
  const r = payload instanceof Reader ? payload : new Reader(payload);
  const kind = r.u8();
  const request = r.u32();
  if (kind === 5) return { kind, request, session: r.u128(), number: r.u64(), settled: r.u64(), name: r.string(), args: hex(r.subarray()), r };
  r.u8();
  return { kind, request, name: r.string(), args: hex(r.subarray()), r };
}
const numbers = connection => [...connection.db.t.iter()].map(row => row.n).sort((a, b) => a - b);
function listen(connection, name = 't', show = row => row.n) {
  const seen = [];
  const view = connection.db[name];
  view.onInsert((ctx, row) => seen.push(`+${show(row)} ${ctx.event.tag}`));
  view.onDelete((ctx, row) => seen.push(`-${show(row)} ${ctx.event.tag}`));
  view.onUpdate((ctx, before, now) => seen.push(`${show(before)}>${show(now)} ${ctx.event.tag}`));
  return seen;
}

test('it offers the protocols it speaks, and says who it is with a token that lives a minute', async () => {
  const { server, connection } = await start(undefined, builder => builder.withToken('long').withConfirmedReads(false));
  const peer = await server.peer(0);
  assert.equal(peer.protocol, 'v1.bsatn.lightcone, v3.bsatn.spacetimedb, v2.bsatn.spacetimedb');
  assert.deepEqual(server.asked, ['POST /v1/identity/websocket-token']);
  assert.equal(peer.path, '/v1/database/a%20database/subscribe?token=short&compression=Gzip&confirmed=false');
  peer.send(say(greeting));
  await until(() => connection.isActive, 'the greeting');
  assert.equal(connection.token, 'long', 'the one that lives a minute is not kept');
  assert.equal(connection.identity.toHexString().slice(0, 4), 'c200');
});

test('what is asked in one task goes out in one payload, in order', async () => {
  const { connection, peer } = await live();
  connection.reducers.add({ n: 1 }).catch(() => {});
  connection.reducers.nothing().catch(() => {});
  connection.query('SELECT * FROM t').catch(() => {});
  const first = callOf(await peer.next());
  assert.deepEqual([first.kind, first.name, first.args], [3, 'add', '01000000']);
  assert.equal(callOf(first.r).name, 'nothing');
  assert.equal(first.r.u8(), 2);
});

test('v2 gets one message a payload', async () => {
  const { connection, peer } = await live('v2.bsatn.spacetimedb');
  connection.reducers.add({ n: 1 }).catch(() => {});
  connection.reducers.add({ n: 2 }).catch(() => {});
  for (const args of ['01000000', '02000000']) {
    const call = callOf(await peer.next());
    assert.equal(call.args, args);
    assert.equal(call.r.left, 0);
  }
});

test('plain messages behind compressed ones wait for them', async () => {
  const { connection, peer, set } = await live();
  const seen = listen(connection);
  const many = Array.from({ length: 5000 }, (_, i) => 1000 + i);
  peer.send(gzipSync(say(update(set, many, []))), 2);
  peer.send(say(update(set, [], many.slice(0, 4999))));
  peer.send(gzipSync(say(update(set, [7], [1]))), 2);
  peer.send(say(update(set, [8], [])));
  await until(() => seen.at(-1) === '+8 Transaction', 'the last of them');
  assert.deepEqual(numbers(connection), [2, 7, 8, 5999]);
});

test('a message of the server may come in parts, and with pings between', async () => {
  const { connection, peer, set } = await live();
  const body = Buffer.concat([Buffer.from([0]), say(update(set, [9], []))]);
  const part = (op, bytes) => Buffer.concat([Buffer.from([op, bytes.length]), bytes]);
  for (const byte of part(0x02, body.subarray(0, 5))) peer.raw(Buffer.from([byte]));
  peer.raw(part(0x89, Buffer.from('ping')));
  peer.raw(part(0x00, body.subarray(5, 6)));
  peer.raw(part(0x80, body.subarray(6)));
  await until(() => numbers(connection).includes(9), 'the row');
});

test('a server that breaks the protocol is left, and tried again', async () => {
  const { server, told, peer } = await live();
  peer.raw(Buffer.from([0xf2, 0x00]));
  (await server.peer(1)).send(say(greeting));
  await until(() => told.includes('back'), 'the next connection');
});

test('a lost connection comes back by itself; what was there stays until the difference is known', async () => {
  const { server, connection, told, peer } = await live();
  const seen = listen(connection);
  const rowOne = [...connection.db.t.iter()][0];
  peer.drop();
  await until(() => connection.status === 'stale', 'the loss');
  assert.deepEqual(numbers(connection), [1, 2]);
  const again = await server.peer(1);
  again.send(say(greeting));
  const { set, queries } = subscribeOf(await again.next());
  assert.deepEqual(queries, ['SELECT * FROM "t"']);
  assert.deepEqual(numbers(connection), [1, 2], 'old rows are still shown');
  assert.equal(connection.status, 'stale');
  again.send(say(applied(set, [1, 3])));
  await until(() => connection.isActive, 'it to be live');
  assert.deepEqual(seen, ['-2 Reconnected', '+3 Reconnected']);
  assert.equal([...connection.db.t.iter()][0], rowOne, 'an equal row is the same object');
  assert.deepEqual(told.filter(word => word !== 'live'), ['connected', 'stale', 'lost', 'back']);
});

test('several subscriptions are one difference, when the last has been answered', async () => {
  const { server, connection, peer } = await live();
  const other = new Promise(resolve => connection.subscriptionBuilder().onApplied(resolve).subscribe('SELECT * FROM t WHERE n > 1'));
  const second = subscribeOf(await peer.next());
  peer.send(say(applied(second.set, [2])));
  await other;
  const seen = listen(connection);
  peer.drop();
  const again = await server.peer(1);
  again.send(say(greeting));
  const one = subscribeOf(await again.next());
  const two = subscribeOf(one.r);
  again.send(say(applied(one.set, [2, 4])));
  again.send(say(update(one.set, [5], [])));
  await sleep(50);
  assert.deepEqual(seen, []);
  again.send(say(applied(two.set, [2, 4, 5])));
  await until(() => connection.isActive, 'it to be live');
  assert.deepEqual(seen, ['-1 Reconnected', '+4 Reconnected', '+5 Reconnected']);
  // Each row is held by both: one copy less leaves it.
  again.send(say(update(one.set, [], [4]), update(two.set, [], [5])));
  again.send(say(update(two.set, [], [4])));
  await until(() => !numbers(connection).includes(4), 'the second copy to go');
  assert.deepEqual(numbers(connection), [2, 5]);
});

test('a call that was sent and not answered is not repeated, unless it may be', async () => {
  const { server, connection, peer } = await live();
  const lost = connection.reducers.add({ n: 1 });
  const repeated = connection.reducers.add({ n: 2 }, { idempotent: true });
  lost.catch(() => {});
  await peer.next();
  peer.drop();
  await assert.rejects(lost, { name: 'ConnectionLostError', message: /before add was answered/ });
  const waiting = connection.reducers.add({ n: 3 });
  const again = await server.peer(1);
  again.send(say(greeting));
  const { set, r } = subscribeOf(await again.next());
  const calls = [callOf(r), callOf(r)];
  assert.deepEqual(calls.map(call => call.args), ['02000000', '03000000']);
  again.send(say(applied(set, []), result(calls[0].request), result(calls[1].request)));
  await Promise.all([repeated, waiting]);
});

test('a server that can tell gets each call again under its number, and runs it once', async () => {
  const { server, connection, peer } = await live('v1.bsatn.lightcone');
  const first = connection.reducers.add({ n: 1 });
  const one = callOf(await peer.next());
  assert.deepEqual([one.kind, one.number, one.settled], [5, 1n, 1n]);
  peer.send(say(result(one.request)));
  await first;
  const second = connection.reducers.add({ n: 2 });
  const third = connection.reducers.add({ n: 3 });
  const two = callOf(await peer.next());
  assert.deepEqual([two.number, two.settled, callOf(two.r).settled], [2n, 2n, 2n]);
  peer.drop();
  const again = await server.peer(1);
  again.send(say(greeting));
  const { set, r } = subscribeOf(await again.next());
  const repeats = [callOf(r), callOf(r)];
  assert.deepEqual(repeats.map(call => [call.number, call.session === one.session, call.args]), [
    [2n, true, '02000000'],
    [3n, true, '03000000'],
  ]);
  again.send(say(applied(set, []), ...repeats.map(call => result(call.request))));
  await Promise.all([second, third]);
});

test('it resumes where it was when the server can, and asks for everything when not', async () => {
  const { server, connection, peer } = await live('v1.bsatn.lightcone');
  const seen = listen(connection);
  peer.send(say(progress(99n, 1234n)));
  await sleep(20);
  peer.drop();
  const again = await server.peer(1);
  again.send(say(greeting));
  const r = new Reader(await again.next());
  assert.equal(r.u8(), 6);
  const request = r.u32();
  assert.deepEqual([r.u128(), r.u64(), r.u32()], [99n, 1234n, 1]);
  const set = r.u32();
  assert.ok(set > 0);
  again.send(say(resumed(request, ['t', 0, [2], [5]])));
  await until(() => connection.isActive, 'it to be live');
  assert.deepEqual(seen.sort(), ['+5 Reconnected', '-2 Reconnected']);
  again.send(say(progress(99n, 1240n)));
  await sleep(20);
  again.drop();
  const third = await server.peer(2);
  third.send(say(greeting));
  const asked = new Reader(await third.next());
  asked.u8();
  const no = asked.u32();
  third.send(say(w => {
    w.u8(8);
    w.u32(no);
    w.u8(1);
    w.string('the log begins later');
  }));
  const full = subscribeOf(await third.next());
  third.send(say(applied(full.set, [1, 5, 6])));
  await until(() => connection.isActive, 'it to be live again');
  assert.deepEqual(numbers(connection), [1, 5, 6]);
});

// Of `k`, whose rows are one u32 here: id in the low half, v in the high one.
const pair = (id, v) => id + v * 65536;
function resumeOf(payload) {
  const r = payload instanceof Reader ? payload : new Reader(payload);
  assert.equal(r.u8(), 6, 'a Resume');
  const request = r.u32();
  r.u128();
  r.u64();
  return { request, sets: r.array(r => ({ set: r.u32(), queries: r.array(r => r.string()) })), r };
}
async function liveKeyed(...queries) {
  const all = await live('v1.bsatn.lightcone');
  const done = Promise.all(queries.map(query => new Promise(resolve => all.connection.subscriptionBuilder().onApplied(resolve).subscribe([query]))));
  const asked = await all.peer.next();
  const first = subscribeOf(asked);
  all.peer.send(say(applied(first.set, [pair(1, 10), pair(2, 20), pair(3, 30)], 'k')));
  if (queries.length > 1) all.peer.send(say(applied(subscribeOf(first.r).set, [pair(2, 20)], 'k')));
  await done;
  all.peer.send(say(progress(1n, 5n)));
  await sleep(20);
  return all;
}
const keyed = connection => [...connection.db.k.iter()].map(row => `${row.id}=${row.v}`);

test('keys that went and rows that came are one change; what is the same again is none', async () => {
  const { server, connection, peer } = await liveKeyed('SELECT * FROM k', 'SELECT * FROM k WHERE v = 20');
  const seen = listen(connection, 'k', row => `${row.id}=${row.v}`);
  const statuses = [];
  connection.onStatus(status => statuses.push([status, keyed(connection).length]));
  const one = connection.db.k.id.find(1);
  peer.drop();
  const again = await server.peer(1);
  again.send(say(greeting));
  const asked = resumeOf(await again.next());
  assert.deepEqual(asked.sets.map(one => one.queries), [['SELECT * FROM "t"'], ['SELECT * FROM k'], ['SELECT * FROM k WHERE v = 20']]);
  // 1 is as it was, 2 has another v and left one of its queries, 3 went, 4 came for one query and 5 for two;
  // of 9 it never had anything.
  again.send(say(resumed(asked.request, ['k', 1, [1, 2, 3, 5, 9].map(id => pair(id, 0)), [pair(1, 10), pair(2, 21), pair(4, 40), pair(5, 20), pair(5, 20)]])));
  await until(() => connection.isActive, 'it to be live');
  assert.deepEqual(seen.sort(), ['+4=40 Reconnected', '+5=20 Reconnected', '-3=30 Reconnected', '2=20>2=21 Reconnected']);
  assert.deepEqual(keyed(connection), ['1=10', '2=21', '4=40', '5=20']);
  assert.equal(connection.db.k.id.find(1), one, 'the very same object');
  assert.deepEqual(statuses, [['stale', 3], ['live', 4]]);
  assert.deepEqual([...connection.db.k.byV.filter(20)].map(row => row.id), [5]);
  // How often each is held: 5 twice, the others once.
  again.send(say(update(asked.sets[1].set, [], [pair(5, 20), pair(2, 21)], 'k')));
  await until(() => keyed(connection).length === 3, 'the row to go');
  assert.deepEqual(keyed(connection), ['1=10', '4=40', '5=20']);
});

test('a table that is told whole changes in one step, and the others stay', async () => {
  const { server, connection, peer } = await liveKeyed('SELECT * FROM k');
  const seen = listen(connection, 'k', row => `${row.id}=${row.v}`);
  const others = listen(connection);
  peer.drop();
  const again = await server.peer(1);
  again.send(say(greeting));
  const { request } = resumeOf(await again.next());
  again.send(say(resumed(request, ['k', 2, [], [pair(3, 30), pair(2, 22)]])));
  await until(() => connection.isActive, 'it to be live');
  assert.deepEqual(seen.sort(), ['-1=10 Reconnected', '2=20>2=22 Reconnected']);
  assert.deepEqual(others, []);
  assert.deepEqual(numbers(connection), [1, 2]);
});

test('a place that is told while everything is asked for anew is none to resume from', async () => {
  const { server, connection, peer } = await live('v1.bsatn.lightcone');
  connection.subscriptionBuilder().subscribe('SELECT * FROM k');
  const { set } = subscribeOf(await peer.next());
  peer.send(say(applied(set, [pair(1, 1)], 'k')));
  await until(() => keyed(connection).length === 1, 'the row');
  peer.drop();
  const again = await server.peer(1);
  again.send(say(greeting));
  const first = subscribeOf(await again.next());
  again.send(say(applied(first.set, [1, 2, 3]), progress(1n, 5n)));
  await sleep(20);
  again.drop();
  const third = await server.peer(2);
  third.send(say(greeting));
  const asked = subscribeOf(await third.next());
  const more = subscribeOf(asked.r);
  third.send(say(applied(asked.set, [1, 2, 3]), applied(more.set, [pair(1, 1)], 'k'), progress(1n, 6n)));
  await until(() => connection.isActive, 'it to be live');
  assert.deepEqual(numbers(connection), [1, 2, 3]);
  third.drop();
  const fourth = await server.peer(3);
  fourth.send(say(greeting));
  assert.equal(resumeOf(await fourth.next()).sets.length, 2);
});

test('a subscription that ends while there is no connection takes its rows along', async () => {
  for (const ends of ['meanwhile', 'just before']) {
    const { server, connection, peer } = await live('v1.bsatn.lightcone');
    const handle = connection.subscriptionBuilder().subscribe('SELECT * FROM k');
    peer.send(say(applied(subscribeOf(await peer.next()).set, [pair(1, 1)], 'k'), progress(1n, 5n)));
    await until(() => handle.isActive(), 'the subscription');
    await sleep(20);
    if (ends === 'just before') handle.unsubscribe();
    peer.drop();
    await until(() => connection.status === 'stale', 'the loss to be seen');
    if (ends === 'meanwhile') handle.unsubscribe();
    const again = await server.peer(1);
    again.send(say(greeting));
    const asked = subscribeOf(await again.next());
    assert.equal(asked.r.left, 0);
    again.send(say(applied(asked.set, [1, 2])));
    await until(() => connection.isActive, 'it to be live');
    assert.deepEqual([keyed(connection), numbers(connection)], [[], [1, 2]]);
  }
});

test('what is asked for and what is ended while it resumes: once each, whatever the answer', async () => {
  for (const isResumed of [true, false]) {
    const { server, connection, peer } = await liveKeyed('SELECT * FROM k');
    const handle = connection.subscriptionBuilder().subscribe('SELECT * FROM k WHERE v = 1');
    const early = subscribeOf(await peer.next());
    peer.send(say(applied(early.set, [], 'k'), progress(1n, 6n)));
    await until(() => handle.isActive(), 'the subscription');
    await sleep(20);
    peer.drop();
    const again = await server.peer(1);
    again.send(say(greeting));
    const { request, sets } = resumeOf(await again.next());
    const late = connection.subscriptionBuilder().subscribe('SELECT * FROM k WHERE v = 2');
    handle.unsubscribe();
    const end = new Reader(await again.next());
    assert.deepEqual([end.u8(), end.skip(4), end.u32()], [1, undefined, sets[2].set]);
    again.send(say(isResumed ? resumed(request) : w => (w.u8(8), w.u32(request), w.u8(1), w.string('no'))));
    const asked = [];
    for (let r = new Reader(await again.next()); r.left > 0; ) {
      const one = subscribeOf(r);
      asked.push(one.queries[0]);
      again.send(say(applied(one.set, [], one.queries[0].includes('"t"') ? 't' : 'k')));
    }
    assert.deepEqual(asked, isResumed ? ['SELECT * FROM k WHERE v = 2'] : ['SELECT * FROM "t"', 'SELECT * FROM k', 'SELECT * FROM k WHERE v = 2']);
    again.send(say(w => (w.u8(3), w.u8(0), w.u32(0), w.u32(sets[2].set), w.string('none of that number'))));
    await until(() => late.isActive() && handle.isEnded() && connection.isActive, 'it to settle');
    assert.equal(keyed(connection).length, isResumed ? 3 : 0);
  }
});

test('with rows behind the last point it does not resume from there', async () => {
  const { server, connection, peer, set } = await live('v1.bsatn.lightcone');
  peer.send(say(progress(99n, 10n), update(set, [3], [])));
  await until(() => numbers(connection).includes(3), 'the row');
  peer.drop();
  const again = await server.peer(1);
  again.send(say(greeting));
  assert.deepEqual(subscribeOf(await again.next()).queries, ['SELECT * FROM "t"']);
});

test('a guess shows at once, is replaced by the truth in one step, and is undone by a refusal', async () => {
  const { connection, peer, set } = await live();
  const seen = listen(connection);
  const right = connection.reducers.add({ n: 7 }, { optimistic: draft => draft.t.insert({ n: 7 }) });
  assert.deepEqual(numbers(connection), [1, 2, 7]);
  assert.equal(connection.db.t.count(), 3n);
  const one = callOf(await peer.next());
  peer.send(say(result(one.request, set, [7], [])));
  await right;
  assert.deepEqual(seen, ['+7 Optimistic'], 'a guess that came true is no change');
  seen.length = 0;
  const wrong = connection.reducers.add({ n: 8 }, { optimistic: draft => { draft.t.insert({ n: 8 }); draft.t.delete({ n: 1 }); } });
  const two = callOf(await peer.next());
  peer.send(say(update(set, [9], [])));
  await until(() => seen.length === 3, 'what others did meanwhile');
  assert.deepEqual(numbers(connection), [2, 7, 8, 9]);
  peer.send(say(refused(two.request, 'no eights')));
  await assert.rejects(wrong, { name: 'SenderError', message: 'no eights' });
  assert.deepEqual(numbers(connection), [1, 2, 7, 9]);
  assert.deepEqual(seen.slice(3).sort(), ['+1 Reducer', '-8 Reducer']);
});

test('a guess that fails leaves nothing of itself, and the others as they are', async () => {
  const { connection, peer } = await live();
  const thrown = [];
  const before = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', error => thrown.push(error.message));
  connection.reducers.add({ n: 7 }, { optimistic: draft => draft.t.insert({ n: 7 }) }).catch(() => {});
  const bad = connection.reducers.add({ n: 8 }, {
    optimistic: draft => {
      draft.t.insert({ n: 8 });
      throw new Error('no guess');
    },
  });
  assert.deepEqual(numbers(connection), [1, 2, 7]);
  await until(() => thrown.length === 1, 'the error to be told');
  process.removeAllListeners('uncaughtException');
  for (const one of before) process.on('uncaughtException', one);
  const calls = callOf(await peer.next());
  peer.send(say(result(callOf(calls.r).request)));
  await bad;
  assert.deepEqual([numbers(connection), thrown], [[1, 2, 7], ['no guess']]);
});

test('a delete of what is not there is not believed: everything is asked for again', async () => {
  const { server, connection, peer, set } = await live();
  peer.send(say(update(set, [], [77])));
  const again = await server.peer(1);
  again.send(say(greeting));
  const next = subscribeOf(await again.next());
  again.send(say(applied(next.set, [4])));
  await until(() => connection.isActive, 'it to be live');
  assert.deepEqual(numbers(connection), [4]);
});

test('a set that the server drops ends with its error; the others are asked for again', async () => {
  const { server, connection, peer } = await live();
  const failed = new Promise(resolve => connection.subscriptionBuilder().onError((_ctx, error) => resolve(error.message)).subscribe('SELECT * FROM t WHERE n = 2'));
  const { set } = subscribeOf(await peer.next());
  peer.send(say(applied(set, [2])));
  await until(() => connection.db.t.count() === 2n, 'the rows');
  peer.send(say(w => { w.u8(3); w.u8(1); w.u32(set); w.string('the view failed'); }));
  assert.equal(await failed, 'the view failed');
  const again = await server.peer(1);
  again.send(say(greeting));
  const { queries, r } = subscribeOf(await again.next());
  assert.deepEqual(queries, ['SELECT * FROM "t"']);
  assert.equal(r.left, 0);
});

test('a refused token is the end; anything else is tried again', async () => {
  const { server, connection, told } = await start();
  (await server.peer(0)).drop();
  await server.peer(1);
  server.token = (_request, answer) => {
    answer.statusCode = 401;
    answer.end('expired');
  };
  (await server.peer(1)).send(say(greeting));
  await until(() => connection.isActive, 'the connection');
  (await server.peer(1)).drop();
  await until(() => connection.status === 'closed', 'the end');
  assert.match(connection.error.message, /does not accept the token: expired/);
  await assert.rejects(connection.reducers.nothing(), /does not accept the token/);
  assert.equal(server.peers.length, 2);
  assert.ok(told.includes('closed'));
});

test('a database that is not there is an error with the server’s words', async () => {
  const server = await new FakeServer().start();
  server.refusal = 404;
  const error = await new Promise(resolve =>
    new ConnectionBuilder((config, callbacks) => new Connection(module, config, callbacks))
      .withUri(server.url).withDatabaseName('none').onConnectError((_ctx, error) => resolve(error)).build()
  );
  assert.equal(error.message, 'The server answered 404: never');
  await server.end();
});

test('disconnect() ends everything once, and says so', async () => {
  const { connection, told, peer } = await live();
  const call = connection.reducers.nothing();
  call.catch(() => {});
  await peer.next();
  connection.disconnect();
  connection.disconnect();
  await assert.rejects(call, { name: 'ConnectionLostError' });
  await assert.rejects(connection.procedures.ask(), { name: 'NotConnectedError' });
  assert.deepEqual(told.slice(-2), ['closed', 'ended']);
});

test('listeners that throw keep nobody from hearing', async () => {
  const { connection, peer, set } = await live();
  const thrown = [];
  const before = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', error => thrown.push(error.message));
  connection.db.t.onInsert(() => {
    throw new Error('in a listener');
  });
  const seen = listen(connection);
  peer.send(say(update(set, [3], [])));
  await until(() => seen.length === 1 && thrown.length === 1, 'both');
  process.removeAllListeners('uncaughtException');
  for (const one of before) process.on('uncaughtException', one);
  assert.deepEqual(thrown, ['in a listener']);
});

test('procedures and queries outside of subscriptions answer with values', async () => {
  const { connection, peer } = await live();
  const asked = connection.procedures.ask();
  const call = callOf(await peer.next());
  assert.equal(call.kind, 4);
  peer.send(say(w => { w.u8(7); w.u8(0); w.sized(w => w.u32(42)); w.i64(0n); w.i64(0n); w.u32(call.request); }));
  assert.equal(await asked, 42);
  const rows = connection.query(module.tables.k.where(k => k.v.gt(3)));
  const r = new Reader(await peer.next());
  assert.equal(r.u8(), 2);
  const request = r.u32();
  assert.equal(r.string(), 'SELECT * FROM "k" WHERE "k"."v" > 3');
  peer.send(say(w => {
    w.u8(5); w.u32(request); w.u8(0); w.u32(1); w.string('k');
    w.u8(1); w.array([0n, 4n], (w, n) => w.u64(n));
    w.sized(w => { for (const n of [1, 4, 2, 5]) w.u16(n); });
  }));
  assert.deepEqual(await rows, [{ id: 1, v: 4 }, { id: 2, v: 5 }]);
});

test('a server that has been silent is asked; one that answers stays, one that does not is left', async () => {
  await impatient({ tick: 10, quiet: 40, answer: 60 }, async () => {
    const { server, connection, peer, told } = await live();
    for (let i = 0; i < 3; i++) {
      const r = new Reader(await peer.next());
      assert.deepEqual([r.u8(), r.u32(), r.u32()], [1, 0, 0xffffffff], 'it ends a set that was never begun');
      peer.send(say(w => { w.u8(3); w.u8(0); w.u32(0); w.u32(0xffffffff); w.string('no such subscription'); }));
    }
    assert.equal(connection.status, 'live');
    await peer.next();
    await until(() => told.includes('lost'), 'it to be given up');
    assert.match(connection.error.message, /silent/);
    await server.peer(1);
  });
});

test('a network that is back, or a page that is looked at again, does not wait', async () => {
  await impatient({ waitFirst: 60_000, waitMost: 60_000, tick: 20 }, async () => {
    const { server, connection, peer } = await live();
    peer.drop();
    await until(() => connection.status === 'stale', 'the loss');
    page.document.visibilityState = 'hidden';
    page.dispatchEvent(new Event('online'));
    await sleep(100);
    assert.equal(server.peers.length, 1, 'a page that nobody looks at has time');
    page.document.visibilityState = 'visible';
    page.document.dispatchEvent(new Event('visibilitychange'));
    const again = await server.peer(1);
    again.send(say(greeting));
    const { set } = subscribeOf(await again.next());
    again.send(say(applied(set, [1, 2])));
    await until(() => connection.isActive, 'it to be live');
    await sleep(50);
    page.dispatchEvent(new Event('online'));
    assert.equal(new Reader(await again.next()).u8(), 1, 'what was there before is asked whether it still is');
  });
});

test('waits grow and are spread', async () => {
  await impatient({ waitFirst: 20, waitMost: 80 }, async () => {
    const server = await new FakeServer().start();
    server.refusal = 503;
    const at = [];
    const connection = new ConnectionBuilder((config, callbacks) => new Connection(module, config, callbacks))
      .withUri(server.url).withDatabaseName('x').onConnectError(() => at.push(Date.now())).build();
    await until(() => at.length === 7, 'seven tries');
    connection.disconnect();
    await server.end();
    const waits = at.slice(1).map((time, i) => time - at[i]);
    assert.ok(waits.every(wait => wait >= 10), waits.join());
    assert.ok(waits.slice(3).every(wait => wait >= 40), waits.join());
  });
});
