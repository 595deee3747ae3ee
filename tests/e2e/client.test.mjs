// The real npm client against the chat: what a person with an existing app would see.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { connect, moduleBindings, moduleBundle, sleep, startServer, subscribe, top, until } from './harness.mjs';
import { bundle, http, published } from './support.mjs';

let server, chat;
const open = [];

before(async () => {
  chat = await moduleBindings('chat');
  server = await startServer();
  await server.publish('chat', moduleBundle('chat'));
});
after(async () => {
  for (const client of open) client.connection.disconnect();
  await server?.end();
});

async function join(token) {
  const client = await connect(chat, server, 'chat', token);
  open.push(client);
  return client;
}
const all = ['SELECT * FROM user', 'SELECT * FROM message'];
const texts = client => [...client.db.message.iter()].map(row => row.text);

// Tables with their columns and keys, reducers with their parameters. The libraries number types each in its own order,
// and the npm one names types of lifecycle reducers, too, which nobody can call.
async function described(name) {
  const { json } = await http(server, 'GET', `/v1/database/${name}/schema?version=9`);
  const byName = (a, b) => JSON.stringify(a.name).localeCompare(JSON.stringify(b.name));
  const tables = json.tables.map(({ product_type_ref, ...table }) => ({ ...table, type: json.typespace.types[product_type_ref] }));
  return { tables: tables.sort(byName), reducers: json.reducers.sort(byName) };
}

// What is tested below is the npm client with a module on our library: one that the npm library could have made.
test('the chat describes itself as it would on the npm library', async () => {
  const source = readFileSync(`${top}/examples/chat/spacetimedb/src/index.ts`, 'utf8');
  await published(server, 'chat-npm', bundle(source, '--alias:lightcone=spacetimedb'));
  const [ours, npms] = await Promise.all(['chat', 'chat-npm'].map(described));
  assert.deepEqual(ours, npms);
});

test('two clients see each other come, get a name, and speak', async () => {
  const ann = await join();
  const bob = await join();
  await subscribe(ann, ...all);
  await subscribe(bob, ...all);
  assert.notEqual(ann.identity.toHexString(), bob.identity.toHexString());
  await ann.reducers.setName({ name: 'Ann' });
  await until(() => bob.db.user.identity.find(ann.identity)?.name === 'Ann', 'the name at the other client');
  assert.equal(ann.db.user.identity.find(ann.identity).name, 'Ann');
  await bob.reducers.sendMessage({ text: 'hello, Ann' });
  await until(() => texts(ann).includes('hello, Ann'), 'the message');
  const message = [...ann.db.message.iter()].find(row => row.text === 'hello, Ann');
  assert.ok(message.sender.isEqual(bob.identity));
  assert.ok(Math.abs(message.sent.toDate().getTime() - Date.now()) < 60_000);
});

test('a reducer that refuses rejects its promise with its words and changes nothing', async () => {
  const ann = await join();
  await subscribe(ann, ...all);
  const count = ann.db.message.count();
  await assert.rejects(ann.reducers.sendMessage({ text: '   ' }), /Messages must not be empty/);
  await assert.rejects(ann.reducers.setName({ name: '' }), /Names must not be empty/);
  assert.equal(ann.db.message.count(), count);
});

test('a token brings the same person back', async () => {
  const first = await join();
  await subscribe(first, ...all);
  await first.reducers.setName({ name: 'Cid' });
  first.connection.disconnect();
  await first.lost;
  const again = await join(first.token);
  assert.equal(again.identity.toHexString(), first.identity.toHexString());
  await subscribe(again, ...all);
  const me = again.db.user.identity.find(again.identity);
  assert.equal(me.name, 'Cid');
  assert.equal(me.online, true);
});

test('leaving and coming back shows to the others', async () => {
  const ann = await join();
  const bob = await join();
  await subscribe(ann, ...all);
  await until(() => ann.db.user.identity.find(bob.identity)?.online === true, 'the other to be online');
  bob.connection.disconnect();
  await until(() => ann.db.user.identity.find(bob.identity)?.online === false, 'the other to be away');
});

test('who has two windows is online until both are closed, and nobody sees the windows', async () => {
  const ann = await join();
  const one = await join();
  await subscribe(ann, ...all);
  const second = await join(one.token);
  const bob = () => ann.db.user.identity.find(one.identity);
  await until(() => bob()?.online, 'the other to be online');
  second.connection.disconnect();
  await second.lost;
  // What is sent after the window is closed arrives after what closing it has changed.
  await one.reducers.sendMessage({ text: 'one window left' });
  await until(() => texts(ann).includes('one window left'), 'the message');
  assert.equal(bob().online, true);
  one.connection.disconnect();
  await until(() => bob().online === false, 'the other to be away');
  await assert.rejects(subscribe(ann, 'SELECT * FROM session'), /session/);
});

test('an update arrives as one onUpdate with the old row and the new', async () => {
  const ann = await join();
  const bob = await join();
  await subscribe(bob, ...all);
  const seen = [];
  const about = row => row.identity.isEqual(ann.identity);
  bob.db.user.onInsert((_ctx, row) => about(row) && seen.push(['insert', row.name]));
  bob.db.user.onDelete((_ctx, row) => about(row) && seen.push(['delete', row.name]));
  bob.db.user.onUpdate((_ctx, old, row) => about(row) && seen.push(['update', old.name, row.name]));
  await ann.reducers.setName({ name: 'first' });
  await ann.reducers.setName({ name: 'second' });
  await until(() => seen.length >= 2, 'two updates');
  await sleep(50);
  assert.deepEqual(seen, [
    ['update', undefined, 'first'],
    ['update', 'first', 'second'],
  ]);
});

test('ten thousand messages arrive in the order in which they were sent', async () => {
  const ann = await join();
  const bob = await join();
  await subscribe(bob, 'SELECT * FROM message');
  const got = [];
  bob.db.message.onInsert((_ctx, row) => row.text.startsWith('n ') && got.push(Number(row.text.slice(2))));
  const count = 10_000;
  const calls = [];
  for (let n = 0; n < count; n++) {
    calls.push(ann.reducers.sendMessage({ text: `n ${n}` }));
    if (n % 500 === 499) await Promise.all(calls.splice(0));
  }
  await until(() => got.length >= count, 'all messages', 60_000);
  assert.equal(got.length, count);
  assert.ok(got.every((n, at) => n === at), 'in order');
});

test('a filter sends only what it lets through, and rows leave when they no longer match', async () => {
  const ann = await join();
  const bob = await join();
  await subscribe(ann, 'SELECT * FROM user WHERE online = true');
  assert.ok([...ann.db.user.iter()].every(user => user.online));
  await until(() => ann.db.user.identity.find(bob.identity), 'the other to appear');
  bob.connection.disconnect();
  await until(() => !ann.db.user.identity.find(bob.identity), 'the other to vanish');
});

test('after unsubscribing nothing comes any more and the rows are gone', async () => {
  const ann = await join();
  const bob = await join();
  const handle = await subscribe(ann, 'SELECT * FROM message');
  await bob.reducers.sendMessage({ text: 'before' });
  await until(() => texts(ann).includes('before'), 'a message');
  await new Promise(resolve => handle.unsubscribeThen(resolve));
  assert.equal(ann.db.message.count(), 0n);
  let late = 0;
  ann.db.message.onInsert(() => late++);
  await bob.reducers.sendMessage({ text: 'after' });
  await ann.reducers.sendMessage({ text: 'mine' });
  await sleep(100);
  assert.equal(late, 0);
});

test('two overlapping subscriptions keep a row until the last lets go', async () => {
  const ann = await join();
  const everyone = await subscribe(ann, 'SELECT * FROM user');
  const online = await subscribe(ann, 'SELECT * FROM user WHERE online = true');
  await new Promise(resolve => everyone.unsubscribeThen(resolve));
  assert.ok(ann.db.user.identity.find(ann.identity));
  await new Promise(resolve => online.unsubscribeThen(resolve));
  assert.equal(ann.db.user.count(), 0n);
});

test('a query that is wrong is refused with a reason', async () => {
  const ann = await join();
  await assert.rejects(subscribe(ann, 'SELECT * FROM no_such_table'));
});

test('everything is there after the server stops and starts again', async () => {
  const ann = await join();
  await subscribe(ann, ...all);
  await ann.reducers.setName({ name: 'Keeper' });
  await ann.reducers.sendMessage({ text: 'keep this' });
  const count = ann.db.message.count();
  const ended = await server.stop();
  assert.equal(ended.code, 0, server.output.slice(-2000));
  await server.start();
  const again = await join(ann.token);
  await subscribe(again, ...all);
  assert.equal(again.identity.toHexString(), ann.identity.toHexString());
  assert.ok(texts(again).includes('keep this'));
  assert.ok(again.db.message.count() >= count);
  assert.equal(again.db.user.identity.find(again.identity).name, 'Keeper');
});
