// The WebSocket as bytes: what a client may say, what it hears, and what becomes of clients that
// are slow, silent or malicious.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { connect as tcpConnect } from 'node:net';
import { after, before, test } from 'node:test';
import { inspect } from 'node:util';
import {
  OP, Socket, callOk, enc, frame, http, moduleCode, newIdentity, patience, published, rawHttp, session, startServer,
  until, w, within,
} from './support.mjs';

let server, brisk, ann;
let database = 0;
const open = [];
const v3 = { protocols: ['v3.bsatn.spacetimedb'] };
const v2 = { protocols: ['v2.bsatn.spacetimedb'] };

before(async () => {
  // `brisk` asks for signs of life often, and gives up soon.
  [server, brisk] = await Promise.all([
    startServer(),
    startServer({ words: ['--ping-interval', '200', '--idle-timeout', '1500'] }),
  ]);
  ann = await newIdentity(server);
});
after(async () => {
  for (const socket of open) socket.drop();
  await Promise.all([server?.end(), brisk?.end()]);
});

// A database of the test's own.
async function fresh(where = server) {
  const name = `db-${++database}`;
  await published(where, name, moduleCode('probe'), where === server ? { token: ann.token } : {});
  return name;
}
// One for the tests that only look at how they are refused.
let common;
const shared = () => (common ??= fresh());

async function enter(name, options = v2, where = server) {
  const socket = await session(where, name, options);
  open.push(socket);
  return socket;
}
const addArgs = n => w().str('bob').u32(n).done();
const u32 = n => w().u32(n).done().toString('hex');
const strHex = text => w().str(text).done().toString('hex');

async function subscribe(socket, set, ...queries) {
  socket.say(enc.subscribe(100 + set, set, ...queries));
  const message = await socket.nextOf('subscribed');
  assert.deepEqual([message.request, message.set], [100 + set, set]);
  return message;
}
async function add(socket, n, request = 5) {
  socket.say(enc.call(request, 'add', addArgs(n)));
  const result = await socket.nextOf('result');
  assert.equal(result.ok, true, inspect(result));
  return result;
}

// ---- the handshake

test('the upgrade is checked in the documented order, and each fault has its answer', async () => {
  const name = await shared();
  const good = `/v1/database/${name}/subscribe`;
  const zero = 'connection_id=' + '0'.repeat(32);
  // From the last fault looked for to the first; each attempt has its fault and all those after it.
  const attempts = [
    [400, /^no valid protocol selected$/, good, { protocols: ['v1.text.spacetimedb'] }],
    [404, /^`nobody` not found$/, '/v1/database/nobody/subscribe', { protocols: [] }],
    [404, /^No such database\.$/, `/v1/database/${'ab'.repeat(32)}/subscribe`, { protocols: [] }],
    [400, /^Invalid connection ID: the all-zeros ConnectionId is reserved\.$/, `/v1/database/nobody/subscribe?${zero}`, { protocols: [] }],
    [400, /`Sec-WebSocket-Key` header missing/, `/v1/database/nobody/subscribe?${zero}`, { omit: ['sec-websocket-key'] }],
    [400, /`Sec-WebSocket-Version` header did not include '13'/, `/v1/database/nobody/subscribe?${zero}`, { headers: { 'sec-websocket-version': '12' }, omit: ['sec-websocket-key'] }],
    [426, /^This service requires use of the websocket protocol$/, `/v1/database/nobody/subscribe?${zero}`, { omit: ['upgrade', 'sec-websocket-key', 'sec-websocket-version'] }],
    [426, /^This service requires use of the websocket protocol$/, `/v1/database/nobody/subscribe?${zero}`, { headers: { connection: 'keep-alive' } }],
    [400, /compression/, '/v1/database/nobody/subscribe?compression=Zip', { omit: ['upgrade'] }],
    [400, /connection_id/, '/v1/database/nobody/subscribe?connection_id=12', { omit: ['upgrade'] }],
    [400, /confirmed/, '/v1/database/nobody/subscribe?confirmed=yes', { omit: ['upgrade'] }],
    [400, /^Invalid URL: /, '/v1/database/NoBody/subscribe?compression=Zip', { omit: ['upgrade'] }],
    [401, /^Invalid token/, '/v1/database/NoBody/subscribe', { token: 'garbage', omit: ['upgrade'] }],
    [400, /^Authorization is invalid: malformed token$/, '/v1/database/NoBody/subscribe', { headers: { authorization: 'Basic x' }, omit: ['upgrade'] }],
  ];
  for (const [status, body, path, options] of attempts) {
    const socket = await Socket.open(server, path, options);
    assert.equal(socket.status, status, `${path} ${JSON.stringify(options)}: ${socket.body}`);
    assert.match(socket.body, body);
    if (status === 426) {
      assert.match(socket.headers.connection, /upgrade/i);
      assert.equal(socket.headers.upgrade, 'websocket');
    }
    // Past authentication, whoever asks is told who he is.
    assert.equal(socket.headers['spacetime-identity'] !== undefined, !/token/.test(socket.body), socket.body);
    socket.drop();
  }
});

test('an accepted upgrade says who you are, in which protocol', async () => {
  const name = await shared();
  const socket = await Socket.open(server, `/v1/database/${name}/subscribe`, { ...v3, token: ann.token });
  open.push(socket);
  assert.equal(socket.status, 101);
  const accept = createHash('sha1').update(`${socket.key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  assert.equal(socket.headers['sec-websocket-accept'], accept);
  assert.equal(socket.headers['sec-websocket-protocol'], 'v3.bsatn.spacetimedb');
  assert.equal(socket.headers['sec-websocket-extensions'], undefined);
  assert.equal(socket.headers['spacetime-identity'], ann.identity);
  assert.equal(socket.headers['spacetime-identity-token'], ann.token);
  const first = await socket.next();
  const connection = Buffer.from(first.connection, 'hex').reverse().toString('hex');
  const identity = Buffer.from(ann.identity, 'hex').reverse().toString('hex');
  assert.equal(first.hex, `00${identity}${connection}${strHex(ann.token)}`);
});

test('the server prefers v3, then v2, whatever the order; names are exact', async () => {
  const name = await shared();
  const path = `/v1/database/${name}/subscribe`;
  const offer = async protocols => {
    const socket = await Socket.open(server, path, { protocols });
    open.push(socket);
    return socket.headers['sec-websocket-protocol'] ?? socket.status;
  };
  assert.equal(await offer(['v2.bsatn.spacetimedb', 'v3.bsatn.spacetimedb']), 'v3.bsatn.spacetimedb');
  assert.equal(await offer(['chat', 'v2.bsatn.spacetimedb', 'v1.json.spacetimedb']), 'v2.bsatn.spacetimedb');
  assert.equal(await offer(['V3.bsatn.spacetimedb', 'v2.bsatn.spacetimedb']), 'v2.bsatn.spacetimedb');
  assert.equal(await offer(['v3.bsatn.spacetimedbx']), 400);
  assert.equal(await offer([]), 400);
  // Several header lines are one list.
  const said = await new Promise(resolve => {
    const tcp = tcpConnect(server.port, '127.0.0.1');
    tcp.on('data', data => (resolve(data.toString()), tcp.destroy()));
    tcp.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n` +
      `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: v3.bsatn.spacetimedb\r\n` +
      'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n');
  });
  assert.match(said, /^HTTP\/1\.1 101 /);
  assert.match(said, /sec-websocket-protocol: v3\.bsatn\.spacetimedb/i);
});

test('what is sent right behind the upgrade is answered after InitialConnection', async () => {
  const name = await fresh();
  const tcp = tcpConnect(server.port, '127.0.0.1');
  let said = Buffer.alloc(0);
  tcp.on('data', data => (said = Buffer.concat([said, data])));
  tcp.write(Buffer.concat([
    Buffer.from(`GET /v1/database/${name}/subscribe HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
      `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\nSec-WebSocket-Protocol: v2.bsatn.spacetimedb\r\n\r\n`),
    frame(OP.binary, enc.call(1, 'add', addArgs(1))),
    frame(OP.binary, enc.oneOff(2, 'SELECT * FROM t')),
  ]));
  const tags = () => {
    const kinds = [];
    let at = said.indexOf('\r\n\r\n') + 4;
    while (at >= 4 && at + 2 <= said.length) {
      let len = said[at + 1] & 127;
      let head = 2;
      if (len === 126) [len, head] = [said.readUInt16BE(at + 2), 4];
      if (at + head + len > said.length) break;
      if ((said[at] & 15) === OP.binary) kinds.push(said[at + head + 1]);
      at += head + len;
    }
    return kinds;
  };
  await until(() => tags().length === 3, 'three messages', patience);
  assert.deepEqual(tags(), [0, 6, 5]);
  tcp.destroy();
});

// ---- messages, byte by byte

test('a session under v2, every byte of it', async () => {
  const name = await fresh();
  const caller = await enter(name);
  const watcher = await enter(name);
  const subscribed = (set, rest) => `01${u32(100 + set)}${u32(set)}${rest}`;
  assert.equal((await subscribe(caller, 2, 'SELECT * FROM t')).hex, subscribed(2, u32(0)), 'no entry for an empty table');
  await subscribe(watcher, 9, 'SELECT * FROM t');

  caller.say(Buffer.from('030500000000030000006164640b00000003000000626f6207000000', 'hex'));
  const one = await caller.next();
  const stamp = w().u64(one.timestamp).done().toString('hex');
  const change = (set, ins, del) =>
    `01000000${u32(set)}01000000${strHex('t')}0100000000${ins}${del}`;
  const none = '010000000000000000';
  const fixed = (...ns) => `000400${u32(4 * ns.length)}${ns.map(u32).join('')}`;
  assert.equal(one.hex, `0605000000${stamp}0000000000${change(2, fixed(7), none)}`);
  assert.equal((await watcher.next()).hex, `04${change(9, fixed(7), none)}`);

  const late = await enter(name);
  assert.equal((await subscribe(late, 1, ' SELECT * FROM t ', 'SELECT * FROM t')).hex, subscribed(1, `01000000${strHex('t')}${fixed(7)}`), 'one text, one entry');

  caller.say(enc.call(6, 'remove', w().u32(7).done()));
  const two = await caller.next();
  assert.equal(two.hex, `0606000000${w().u64(two.timestamp).done().toString('hex')}0000000000${change(2, none, fixed(7))}`);
  assert.ok(two.timestamp >= one.timestamp);
  assert.equal((await watcher.next()).hex, `04${change(9, none, fixed(7))}`);

  await add(caller, 8);
  await watcher.next();
  caller.say(enc.unsubscribe(3, 2, true));
  assert.equal((await caller.next()).hex, `0203000000${u32(2)}0001000000${strHex('t')}${fixed(8)}`);
  watcher.say(enc.unsubscribe(4, 9, false));
  assert.equal((await watcher.next()).hex, `0204000000${u32(9)}01`);

  caller.say(enc.oneOff(4, 'SELECT * FROM t'));
  assert.equal((await caller.next()).hex, `05040000000001000000${strHex('t')}${fixed(8)}`);
  caller.say(enc.oneOff(5, 'SELECT * FROM t WHERE n = 9'));
  assert.equal((await caller.next()).hex, `05050000000001000000${strHex('t')}${none}`);
  caller.say(enc.oneOff(6, 'SELECT * FROM nix'));
  assert.match((await caller.next()).error, /no such table: `nix`/);

  caller.say(enc.call(7, 'add', addArgs(9)));
  const three = await caller.next();
  assert.equal(three.hex, `0607000000${w().u64(three.timestamp).done().toString('hex')}000000000000000000`, 'nothing that it watches');
});

test('errors of calls are told once, each in its own form', async () => {
  const name = await fresh();
  const socket = await enter(name);
  const ask = async (request, reducer, args) => {
    socket.say(enc.call(request, reducer, args));
    const message = await socket.next();
    assert.equal(message.kind, 'result');
    assert.equal(message.request, request);
    return message;
  };
  const no = await ask(1, 'refuse', w().str('no').done());
  assert.equal(no.hex, `0601000000${w().u64(no.timestamp).done().toString('hex')}0206000000020000006e6f`);
  assert.equal((await ask(2, 'crash')).internal, 'The instance encountered a fatal error.');
  assert.equal((await ask(3, 'nix')).internal, 'no such reducer');
  assert.equal((await ask(4, 'on_connect')).internal, "can't directly call special OnConnect lifecycle reducer");
  assert.equal((await ask(5, 'ring', w().u64(1).u8(0).u64(1).done())).internal, 'no such reducer', 'a private one');
  assert.match((await ask(6, 'add', w().str('bob').done())).internal, /^invalid arguments for reducer add: /);
  assert.match((await ask(7, 'add', w().u32(99).done())).internal, /^invalid arguments for reducer add: /);
  assert.equal((await ask(8, 'add', w().str('x').u32(1).raw([1, 2, 3]).done())).ok, true, 'bytes behind the arguments are ignored');
  assert.equal((await ask(9, 'birthday', w().str('nobody').done())).err, 'nobody is called nobody');
  const owner = await enter(name, { ...v2, token: ann.token });
  owner.say(enc.call(1, 'ring', w().u64(1).u8(0).u64(1).done()));
  assert.equal((await owner.next()).ok, true, 'the owner may');
  socket.say(enc.procedure(6, 'p'));
  const procedure = await socket.next();
  assert.equal(procedure.hex, `0701${strHex('No such procedure')}${'00'.repeat(16)}06000000`);
});

test('subscriptions that cannot be are refused, and nothing of them is kept', async () => {
  const name = await fresh();
  const socket = await enter(name);
  const refused = async (message, request, set, why) => {
    socket.say(message);
    const answer = await socket.next();
    assert.equal(answer.kind, 'refused');
    assert.deepEqual([answer.request, answer.set], [request, set]);
    assert.match(answer.error, why);
  };
  await refused(enc.subscribe(1, 1, 'SELECT * FROM t', 'SELECT * FROM nix'), 1, 1, /no such table: `nix`.*, executing: `SELECT \* FROM nix`/);
  await refused(enc.subscribe(2, 1, 'SELECT n FROM t'), 2, 1, /Column projections are not supported in subscriptions/);
  await refused(enc.subscribe(3, 1, 'SELECT * FROM secret'), 3, 1, /no such table: `secret`/);
  await refused(enc.unsubscribe(4, 1, true), 4, 1, /not found/);
  assert.equal((await subscribe(socket, 1)).tables.length, 0, 'no queries at all are fine');
  await refused(enc.subscribe(5, 1, 'SELECT * FROM t'), 5, 1, /already exists/);
  await subscribe(socket, 2, 'SELECT * FROM t WHERE n = 3');
  await refused(enc.unsubscribe(6, 77, false), 6, 77, /Subscription not found/);
  const result = await add(socket, 4);
  assert.deepEqual(result.update, []);
  const other = await add(socket, 3);
  assert.deepEqual(other.update.map(u => u.set), [2]);
  const owner = await enter(name, { ...v2, token: ann.token });
  owner.say(enc.subscribe(1, 1, 'SELECT * FROM secret'));
  assert.equal((await owner.next()).kind, 'subscribed');
});

test('rows enter and leave a query, and overlapping sets each hear of them', async () => {
  const name = await fresh();
  const socket = await enter(name);
  await subscribe(socket, 1, 'SELECT * FROM person WHERE age >= 18');
  await subscribe(socket, 2, 'SELECT * FROM person');
  await subscribe(socket, 3, "SELECT * FROM person WHERE name = 'kid'", 'SELECT * FROM person WHERE age = 18');
  const run = async (reducer, args) => {
    socket.say(enc.call(1, reducer, args));
    const message = await socket.next();
    assert.equal(message.ok, true, inspect(message));
    return Object.fromEntries(message.update.map(({ set, tables }) => [set, tables.flatMap(({ table, rows }) => rows.map(row => {
      assert.equal(table, 'person');
      return [row.inserts.length, row.deletes.length];
    }))]));
  };
  assert.deepEqual(await run('hire', w().str('kid').u32(17).done()), { 2: [[1, 0]], 3: [[1, 0]] });
  const eighteen = await run('birthday', w().str('kid').done());
  assert.deepEqual(eighteen[1], [[1, 0]]);
  assert.deepEqual(eighteen[2], [[1, 1]], 'old and new in one message');
  assert.deepEqual(eighteen[3].toSorted(), [[1, 0], [1, 1]], 'one entry for each query of a set');
  assert.deepEqual((await run('birthday', w().str('kid').done()))[1], [[1, 1]]);
  assert.deepEqual(await run('add_and_remove', w().u32(1).done()), {});
});

test('what a client is sent adds up to what its query returns', async () => {
  const name = await fresh();
  const [writer, reader] = [await enter(name, v3), await enter(name, v3)];
  const bags = new Map();
  const count = (set, row, by) => {
    const key = `${set} ${row}`;
    const now = (bags.get(key) ?? 0) + by;
    assert.ok(now >= 0, 'a row was taken back that had not been sent');
    if (now) bags.set(key, now);
    else bags.delete(key);
  };
  const queries = { 1: 'SELECT * FROM t', 2: 'SELECT * FROM t WHERE n < 50', 3: 'SELECT * FROM t WHERE n = 7 OR n > 90' };
  await subscribe(reader, 1, queries[1]);
  const calls = [];
  let state = 42;
  const draw = n => (state = (state * 1103515245 + 12345) % 2147483648) % n;
  for (let i = 0; i < 400; i++) {
    const n = draw(100);
    calls.push(draw(3) ? enc.call(i, 'add', addArgs(n)) : enc.call(i, 'remove', w().u32(n).done()));
  }
  writer.say(...calls.slice(0, 200));
  reader.say(enc.subscribe(2, 2, queries[2]), enc.subscribe(3, 3, queries[3]));
  writer.say(...calls.slice(200), enc.call(9999, 'hire', w().str('the end').u32(1).done()));
  for (let i = 0; i < 400; i++) assert.equal((await writer.next()).request, i);
  assert.equal((await writer.next()).request, 9999);
  reader.say(enc.oneOff(1, queries[1]), enc.oneOff(2, queries[2]), enc.oneOff(3, queries[3]));
  const now = {};
  while (Object.keys(now).length < 3) {
    const message = await reader.next();
    if (message.kind === 'rows') now[message.request] = message.tables[0].rows.toSorted();
    for (const { table, rows } of message.kind === 'subscribed' ? message.tables : []) {
      assert.equal(table, 't');
      for (const row of rows) count(message.set, row, 1);
    }
    for (const { set, tables } of message.sets ?? []) {
      for (const { inserts, deletes } of tables.flatMap(x => x.rows)) {
        for (const row of inserts) count(set, row, 1);
        for (const row of deletes) count(set, row, -1);
      }
    }
  }
  for (const set of [1, 2, 3]) {
    const held = [...bags].filter(([key]) => key.startsWith(`${set} `)).map(([key, n]) => (assert.equal(n, 1), key.slice(2)));
    assert.deepEqual(held.toSorted(), now[set]);
  }
  assert.ok(now[1].length > 10);
});

test('rows of an event table pass by and are kept nowhere', async () => {
  const name = await fresh();
  const [caller, watcher] = [await enter(name), await enter(name)];
  await subscribe(caller, 1, 'SELECT * FROM note');
  assert.deepEqual((await subscribe(watcher, 4, 'SELECT * FROM note')).tables, []);
  caller.say(enc.call(1, 'say', w().str('psst').done()));
  const events = [{ table: 'note', rows: [{ events: [strHex('psst')] }] }];
  assert.deepEqual((await caller.next()).update, [{ set: 1, tables: events }]);
  assert.deepEqual((await watcher.next()).sets, [{ set: 4, tables: events }]);
  caller.say(enc.oneOff(2, 'SELECT * FROM note'));
  assert.deepEqual((await caller.next()).tables, [{ table: 'note', rows: [] }]);
  caller.say(enc.unsubscribe(3, 1, true));
  assert.deepEqual((await caller.next()).tables, []);
});

test('what one connection of a person does, the other hears as an update', async () => {
  const name = await fresh();
  const [one, two] = [await enter(name, { ...v2, token: ann.token }), await enter(name, { ...v3, token: ann.token })];
  assert.equal(one.initial.identity, two.initial.identity);
  assert.notEqual(one.initial.connection, two.initial.connection);
  await subscribe(one, 1, 'SELECT * FROM t');
  await subscribe(two, 1, 'SELECT * FROM t');
  assert.equal((await add(one, 1)).update.length, 1);
  assert.equal((await two.next()).kind, 'update');
  assert.equal((await add(two, 2)).update.length, 1);
  assert.equal((await one.next()).kind, 'update');
  await callOk(server, name, 'add', ['x', 3], ann.token);
  for (const socket of [one, two]) assert.equal((await socket.next()).kind, 'update', 'a call over HTTP is nobody’s result');
});

test('confirmed=false gives the same answers in the same order', async () => {
  const name = await fresh();
  const [hasty, patient] = [await enter(name, { ...v3, query: '&confirmed=false' }), await enter(name, { ...v3, query: '&confirmed=true' })];
  await subscribe(hasty, 1, 'SELECT * FROM t');
  await subscribe(patient, 1, 'SELECT * FROM t');
  hasty.say(...Array.from({ length: 300 }, (_, i) => enc.call(i, 'add', addArgs(i))));
  for (let i = 0; i < 300; i++) {
    const message = await hasty.next();
    assert.deepEqual([message.kind, message.request, message.ok], ['result', i, true]);
  }
  for (let i = 0; i < 300; i++) {
    const { sets } = await patient.next();
    assert.deepEqual(sets[0].tables[0].rows[0].inserts, [u32(i)]);
  }
});

// ---- connection ids and comings and goings

test('a connection id that is asked for is given, unless it is in use', async () => {
  const name = await fresh();
  const id = '000102030405060708090a0b0c0d0e0f';
  const first = await enter(name, { ...v2, token: ann.token, query: `&connection_id=${id}` });
  assert.equal(first.initial.connection, id);
  const path = `/v1/database/${name}/subscribe?connection_id=`;
  for (const bad of [id.slice(1), `${id}0`, `0x${id.slice(2)}`, 'z'.repeat(32), ''])
    assert.equal((await Socket.open(server, path + bad)).status, 400, bad);
  const taken = await Socket.open(server, path + id, { token: ann.token });
  assert.equal(taken.status, 400, 'the same id at the same time');
  assert.match(taken.body, /connection id/);
  assert.equal((await Socket.open(server, path + id)).status, 400, 'nor may somebody else');
  await first.bye();
  await until(async () => {
    const again = await Socket.open(server, path + id, { token: ann.token });
    if (again.status !== 101) return false;
    open.push(again);
    return (await again.next()).connection === id;
  }, 'the id to be free again', patience);
});

test('coming and going runs the module’s hooks, however a client leaves', async () => {
  const name = await fresh();
  const watcher = await enter(name);
  await subscribe(watcher, 1, 'SELECT * FROM visit');
  await subscribe(watcher, 2, 'SELECT * FROM st_client');
  const heard = async (what, identity) => {
    const { sets } = await watcher.nextOf('update');
    const visit = sets.find(s => s.set === 1).tables[0].rows[0].inserts[0];
    assert.ok(visit.endsWith(strHex(what)), what);
    assert.ok(visit.includes(Buffer.from(identity, 'hex').reverse().toString('hex')));
    const clients = sets.find(s => s.set === 2).tables[0].rows[0];
    assert.deepEqual([clients.inserts.length, clients.deletes.length], what === 'came' ? [1, 0] : [0, 1]);
  };
  for (const leave of ['bye', 'drop', 'nonsense']) {
    const guest = await enter(name);
    await heard('came', guest.initial.identity);
    if (leave === 'nonsense') guest.send(OP.binary, Buffer.from([250]));
    else guest[leave]();
    await heard('left', guest.initial.identity);
  }
});

// ---- framing under v3

test('one v3 frame carries many messages, answered in order', async () => {
  const name = await fresh();
  const socket = await enter(name, v3);
  socket.send(OP.binary, Buffer.from('000100000002000000010000000f00000053454c454354202a2046524f4d2074030500000000030000006164640b00000003000000626f6207000000', 'hex'));
  const [applied, result] = [await socket.next(), await socket.next()];
  assert.deepEqual([applied.kind, applied.request, applied.set], ['subscribed', 1, 2]);
  assert.deepEqual([result.kind, result.request], ['result', 5]);
  assert.deepEqual(result.update[0].tables[0].rows[0].inserts, [u32(7)]);
  const payloads = socket.payloads;
  socket.say(...Array.from({ length: 2000 }, (_, i) => enc.call(i, 'add', addArgs(i))));
  for (let i = 0; i < 2000; i++) assert.equal((await socket.next()).request, i);
  assert.ok(socket.payloads - payloads < 2000, 'answers travel together');
});

test('the third message of a frame is malformed: the first two took effect, then 1011', async () => {
  const name = await fresh();
  const [socket, watcher] = [await enter(name, v3), await enter(name, v3)];
  await subscribe(watcher, 1, 'SELECT * FROM t');
  socket.say(enc.call(1, 'add', addArgs(1)), enc.call(2, 'add', addArgs(2)), Buffer.from([9]), enc.call(3, 'add', addArgs(3)));
  assert.equal((await socket.next()).request, 1);
  assert.equal((await socket.next()).request, 2);
  const end = await socket.over();
  assert.equal(end.code, 1011);
  assert.match(end.reason, /unknown tag 0x9 for sum type/);
  for (const n of [1, 2]) assert.deepEqual((await watcher.next()).sets[0].tables[0].rows[0].inserts, [u32(n)]);
  watcher.say(enc.oneOff(1, 'SELECT * FROM t'));
  assert.equal((await watcher.next()).tables[0].rows.length, 2);
});

test('messages that cannot be decoded close with 1011 and the reason', async () => {
  const name = await shared();
  const call = enc.call(1, 'add', addArgs(1));
  const cases = [
    [v2, Buffer.alloc(0), /data too short for u8: Expected 1, given 0/],
    [v3, Buffer.alloc(0), /v3 websocket binary payload must contain at least one v2 client message/],
    [v2, Buffer.from([5]), /unknown tag 0x5 for sum type/],
    [v2, call.subarray(0, 3), /data too short for u32: Expected 4, given 2/],
    [v2, call.subarray(0, call.length - 1), /data too short for \[u8\]: Expected 11, given 10/],
    [v2, w().u8(3).u32(1).u8(1).str('add').bytes([]).done(), /invalid call reducer flag 1/],
    [v2, w().u8(4).u32(1).u8(7).str('p').bytes([]).done(), /invalid call procedure flag 7/],
    [v2, w().u8(3).u32(1).u8(0).u32(2).raw([0xc3, 0x28]).bytes([]).done(), /invalid utf8/],
    [v2, w().u8(1).u32(1).u32(1).u8(2).done(), /unknown tag 0x2 for sum type/],
    [v2, w().u8(0).u32(1).u32(1).u32(0xffffffff).done(), /data too short/],
    [v2, w().u8(2).u32(1).u32(0xffffffff).done(), /data too short/],
    [v3, Buffer.concat([call, Buffer.from([0])]), /data too short/],
  ];
  for (const [options, bytes, reason] of cases) {
    const socket = await enter(name, options);
    socket.send(OP.binary, bytes);
    const end = await socket.over();
    assert.equal(end?.code, 1011, bytes.toString('hex'));
    assert.match(end.reason, reason);
    assert.ok(Buffer.byteLength(end.reason) <= 123);
  }
  const text = await enter(name, v2);
  text.send(OP.text, Buffer.from('{"CallReducer":{}}'));
  assert.equal((await text.over()).code, 1011);
  const behind = await enter(name, v2);
  behind.send(OP.binary, Buffer.concat([call, Buffer.from([1, 2, 3])]));
  assert.equal((await behind.next()).ok, true, 'v2 ignores what follows a message');
  const long = await enter(name, v2);
  long.say(enc.call(1, 'refuse', w().str('ü'.repeat(5000)).done()));
  assert.equal((await long.next()).err.length, 5000, 'an error of a call may be long');
});

test('frames that break the WebSocket protocol end the connection with a proper code', async () => {
  const name = await shared();
  const cases = [
    ['unmasked', 1002, frame(OP.binary, enc.oneOff(1, 'SELECT * FROM t'), { mask: false })],
    ['RSV1', 1002, frame(OP.binary, Buffer.from([2]), { rsv: 4 })],
    ['RSV2', 1002, frame(OP.binary, Buffer.from([2]), { rsv: 2 })],
    ['RSV3', 1002, frame(OP.binary, Buffer.from([2]), { rsv: 1 })],
    ['opcode 3', 1002, frame(3, Buffer.from([2]))],
    ['opcode 11', 1002, frame(11, Buffer.from([2]))],
    ['a ping in pieces', 1002, frame(OP.ping, Buffer.from('x'), { fin: false })],
    ['a ping too long', 1002, frame(OP.ping, Buffer.alloc(126))],
    ['a continuation of nothing', 1002, frame(OP.continuation, Buffer.from('x'))],
    ['two beginnings', 1002, Buffer.concat([frame(OP.binary, Buffer.from('x'), { fin: false }), frame(OP.binary, Buffer.from('y'))])],
    ['a Close of one byte', 1002, frame(OP.close, Buffer.from([3]))],
    ['a Close with a code that may not travel', 1002, frame(OP.close, Buffer.from([0x03, 0xed]))],
    ['a length with its top bit set', [1002, 1009], Buffer.from([0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4])],
    ['a frame of 32 MiB and one byte', 1009, Buffer.from([0x82, 0xff, 0, 0, 0, 0, 2, 0, 0, 1, 1, 2, 3, 4])],
    ['text that is not UTF-8', [1007, 1011], frame(OP.text, Buffer.from([0xff, 0xfe]))],
  ];
  await Promise.all(cases.map(async ([what, codes, bytes]) => {
    const socket = await enter(name, v2);
    socket.tcp.write(bytes);
    const end = await socket.over();
    assert.ok([codes].flat().includes(end?.code), `${what}: ${JSON.stringify(end)}`);
  }));
});

test('a message in many fragments is one message, with pings in between answered', async () => {
  const name = await fresh();
  const socket = await enter(name, v2);
  const whole = enc.call(7, 'add', addArgs(1));
  [...whole].forEach((byte, i) => {
    socket.send(i === 0 ? OP.binary : OP.continuation, Buffer.from([byte]), { fin: i === whole.length - 1 });
    if (i === 3) socket.send(OP.ping, Buffer.from('still there?'));
    if (i === 5) socket.send(OP.continuation, Buffer.alloc(0), { fin: false });
  });
  assert.equal((await socket.next()).ok, true);
  await until(() => socket.pongs.length, 'the pong', patience);
  assert.equal(socket.pongs[0].toString(), 'still there?');
  const long = 'x'.repeat(1_000_000);
  const call = enc.call(8, 'say', w().str(long).done());
  await subscribe(socket, 1, 'SELECT * FROM note');
  for (let at = 0; at < call.length; at += 65_000)
    socket.send(at === 0 ? OP.binary : OP.continuation, call.subarray(at, at + 65_000), { fin: at + 65_000 >= call.length });
  const { update } = await socket.next();
  assert.equal(update[0].tables[0].rows[0].events[0], strHex(long));
});

test('fragments that grow past 32 MiB are stopped there', async () => {
  const name = await shared();
  const socket = await enter(name, v2);
  const piece = frame(OP.continuation, Buffer.alloc(1 << 20), { fin: false });
  socket.send(OP.binary, Buffer.alloc(1 << 20), { fin: false });
  for (let i = 0; i < 40 && !socket.close && !socket.tcp.destroyed; i++) {
    if (!socket.tcp.write(piece)) await Promise.race([new Promise(resolve => socket.tcp.once('drain', resolve)), socket.ended]);
  }
  const end = await socket.over();
  assert.ok(end === null || end.code === 1009, JSON.stringify(end));
  assert.equal((await (await enter(name, v2)).initial).kind, 'initial', 'others go on');
});

test('a client’s Close is answered with the same code', async () => {
  const name = await shared();
  for (const code of [1000, 1001, 3000, 4999]) {
    const socket = await enter(name, v2);
    socket.send(OP.close, w().raw([code >> 8, code & 255]).raw(Buffer.from('bye')).done());
    const end = await socket.over();
    assert.equal(end.code, code);
  }
  const bare = await enter(name, v2);
  bare.send(OP.close);
  assert.ok([1000, 1005].includes((await bare.over()).code));
});

// ---- clients that are slow, silent, or many

test('a client that does not read is cut off, and the others do not notice', async () => {
  const name = await fresh();
  const [slow, quick, caller] = [await enter(name, v3), await enter(name, v3), await enter(name, v3)];
  await subscribe(slow, 1, 'SELECT * FROM note');
  await subscribe(quick, 1, 'SELECT * FROM note');
  await subscribe(quick, 2, 'SELECT * FROM visit');
  slow.tcp.pause();
  const text = w().str('x'.repeat(8 << 20)).done();
  let heard = 0;
  let gone = false;
  const mine = Buffer.from(slow.initial.identity, 'hex').reverse().toString('hex');
  for (let i = 0; i < 50 && !gone; i++) {
    caller.say(enc.call(i, 'say', text));
    assert.equal((await caller.next()).ok, true);
    while (heard <= i) {
      for (const { set, tables } of (await quick.nextOf('update')).sets) {
        if (set === 1) heard++;
        else gone ||= tables[0].rows[0].inserts[0].includes(mine);
      }
    }
  }
  while (!gone) gone = (await quick.nextOf('update')).sets.some(({ tables }) => tables[0].rows[0].inserts[0].includes(mine));
  assert.ok(heard < 50, 'it was cut off before long');
  slow.tcp.resume();
  const end = await slow.over();
  assert.ok(end === null || end.code === 1008, JSON.stringify(end));
});

test('a client that floods us with calls delays itself, not the others', async () => {
  const name = await fresh();
  const [flood, polite] = [await enter(name, v3), await enter(name, v3)];
  const total = 30_000;
  const batch = Buffer.concat(Array.from({ length: 1000 }, (_, i) => enc.call(i, 'add_and_remove', w().u32(i).done())));
  let answered = 0;
  const draining = (async () => {
    for (; answered < total; answered++) await flood.next();
  })();
  for (let i = 0; i < total / 1000; i++) flood.send(OP.binary, batch);
  await until(() => answered > 0, 'the flood to be at work', patience);
  await add(polite, 1);
  assert.ok(answered < total, 'the polite one was served in the middle of the flood');
  await within(draining, 'the flood’s own answers', 2 * patience);
});

test('whoever is silent is dropped, whoever answers pings stays', async () => {
  const name = await fresh(brisk);
  const [silent, alive] = [await enter(name, v2, brisk), await enter(name, v2, brisk)];
  silent.answerPings = false;
  await within(silent.ended, 'the silent one to be dropped');
  await until(() => alive.pings >= 10, 'ten pings', patience);
  assert.equal(alive.tcp.destroyed, false);
  await add(alive, 1);
});

test('a request that is never finished is given up on, and delays nobody', async () => {
  const half = ['G', 'GET /v1/ping HT', 'GET /v1/ping HTTP/1.1\r\nhost: x\r\n', 'POST /v1/identity HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc'];
  const waiting = half.map(bytes => rawHttp(brisk, bytes));
  assert.equal((await http(brisk, 'GET', '/v1/ping')).status, 200);
  for (const said of await Promise.all(waiting)) assert.match(said, /^($|HTTP\/1\.1 408 )/);
});

test('two hundred clients wait at next to no cost and all hear the news', async () => {
  const name = await fresh();
  const clients = await Promise.all(Array.from({ length: 200 }, (_, i) => enter(name, i % 2 ? v2 : v3)));
  await Promise.all(clients.map(socket => subscribe(socket, 1, 'SELECT * FROM t')));
  const metrics = (await http(server, 'GET', '/v1/metrics')).text;
  const id = (await http(server, 'GET', `/v1/database/${name}/identity`)).text;
  assert.match(metrics, new RegExp(`^spacetime_worker_connected_clients\\{[^}]*${id}[^}]*\\} 200$`, 'm'));
  await callOk(server, name, 'add', ['x', 77]);
  for (const message of await Promise.all(clients.map(socket => socket.next())))
    assert.deepEqual(message.sets[0].tables[0].rows[0].inserts, [u32(77)]);
  await Promise.all(clients.map(socket => socket.bye()));
  const left = async () => JSON.parse((await http(server, 'POST', `/v1/database/${name}/sql`, { body: 'SELECT COUNT(*) AS n FROM st_client' })).text)[0].rows[0][0];
  await until(async () => (await left()) === 1, 'all to be seen off (but the one who asks)', patience);
});
