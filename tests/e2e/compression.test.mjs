// Many rows at once leave compressed, for those who asked for it and are known to keep the order.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { moduleBindings, moduleBundle } from './harness.mjs';
import { callOk, enc, http, moduleCode, newIdentity, PACKINGS, published, session, startServer, until } from './support.mjs';

const rows = 20_000;
const ours = ['v1.bsatn.lightcone'], v3 = ['v3.bsatn.spacetimedb'], v2 = ['v2.bsatn.spacetimedb'];
let server, ann, chat;
const open = [];

before(async () => {
  chat = await moduleBindings('chat', 'lightcone');
  server = await startServer();
  ann = await newIdentity(server);
  await published(server, 'packed', moduleCode('snapshots'), { token: ann.token });
  await callOk(server, 'packed', 'fill', [0, rows], ann.token);
  await server.publish('chat', moduleBundle('chat'));
});
after(async () => {
  for (const connection of open) connection.disconnect();
  await server?.end();
});

async function set(compression) {
  const body = JSON.stringify({ compression });
  const answer = await http(server, 'PUT', '/v1/database/packed/settings', { token: ann.token, body });
  assert.equal(answer.status, 200, answer.text);
}
async function saved() {
  const { text } = await http(server, 'GET', '/v1/metrics');
  return text.split('\n').filter(line => line.startsWith('lightcone_compression_saved_bytes_total{'))
    .reduce((sum, line) => sum + Number(line.split(' ')[1]), 0);
}

// How the first rows, a one-off answer and the last rows came, and that they are the same for everybody.
async function asked(compression, protocols) {
  const socket = await session(server, 'packed', { compression, protocols });
  socket.say(enc.subscribe(1, 1, 'SELECT * FROM account'));
  const first = await socket.nextOf('subscribed');
  assert.equal(first.tables[0].rows.length, rows);
  socket.say(enc.oneOff(2, 'SELECT * FROM account'));
  const once = await socket.nextOf('rows');
  socket.say(enc.unsubscribe(3, 1, true));
  const last = await socket.nextOf('unsubscribed');
  assert.deepEqual(last.tables[0].rows, first.tables[0].rows);
  assert.equal(JSON.stringify(once).length > rows, true);
  const { packed } = socket;
  await socket.bye();
  return PACKINGS.filter(name => name !== 'None' && packed[name] > 0).map(name => [name, packed[name]]);
}

test('by default our own clients get them as they asked, others plain', async () => {
  const before = await saved();
  for (const packing of PACKINGS) {
    assert.deepEqual(await asked(packing, ours), packing === 'None' ? [] : [[packing, 3]], packing);
    for (const others of [v3, v2]) assert.deepEqual(await asked(packing, others), [], `${others} ${packing}`);
  }
  assert.ok(await saved() - before > 6 * rows, 'and the metrics say what it saved');
});

test('the owner may say that all get them, or nobody', async () => {
  try {
    await set(2);
    for (const protocols of [ours, v3, v2]) assert.deepEqual(await asked('Gzip', protocols), [['Gzip', 3]]);
    await set(0);
    for (const protocols of [ours, v3, v2]) assert.deepEqual(await asked('Gzip', protocols), []);
  } finally {
    await set(1);
  }
});

test('few rows are not worth it', async () => {
  const socket = await session(server, 'packed', { compression: 'Gzip', protocols: ours });
  socket.say(enc.subscribe(1, 1, 'SELECT * FROM account WHERE id = 7'));
  assert.equal((await socket.nextOf('subscribed')).tables[0].rows.length, 1);
  assert.equal(socket.packed.Gzip, 0);
  await socket.bye();
});

function join(configure = builder => builder) {
  return new Promise((resolve, reject) => {
    const connection = configure(chat.DbConnection.builder())
      .withUri(server.ws)
      .withDatabaseName('chat')
      .onConnect(resolve)
      .onConnectError((_ctx, error) => reject(error))
      .build();
    open.push(connection);
  });
}

test('our client takes what is compressed and what follows it in their order', async () => {
  const writer = await join();
  await Promise.all(Array.from({ length: 3000 }, (_, i) => writer.reducers.sendMessage({ text: `before ${i}` })));
  const before = await saved();
  let stop = false, sent = 3000;
  const writing = (async () => {
    while (!stop) await writer.reducers.sendMessage({ text: `beside ${sent++}` });
  })();
  const readers = await Promise.all(Array.from({ length: 8 }, () => join()));
  await Promise.all(readers.map(reader => new Promise((resolve, reject) =>
    reader.subscriptionBuilder().onApplied(resolve).onError((_ctx, error) => reject(error)).subscribe(['SELECT * FROM message']))));
  stop = true;
  await writing;
  for (const reader of readers) {
    await until(() => reader.db.message.count() >= sent, `${sent} messages`);
    assert.equal(Number(reader.db.message.count()), sent);
    assert.equal(new Set([...reader.db.message.iter()].map(row => row.text)).size, sent);
  }
  assert.ok(await saved() - before > 8 * 3000 * 20, 'they came compressed');
});
