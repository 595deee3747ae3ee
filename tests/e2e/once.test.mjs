// Calls that carry a number happen once: docs/internals/protocols-ext.md, CallOnce.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { moduleCode, enc, newIdentity, published, rows, session, sleep, startServer, until, w } from './support.mjs';

const protocols = ['v1.bsatn.lightcone', 'v3.bsatn.spacetimedb'];
let server, owner, db;

before(async () => {
  server = await startServer();
  owner = await newIdentity(server);
  db = await published(server, 'once', await moduleCode('lanes'), { token: owner.token });
});
after(() => server?.end());

const open = (token, more = {}) => session(server, 'once', { protocols, token, ...more });
const id = n => w().u32(n).done();
const idMs = (n, ms) => w().u32(n).u32(ms).done();
const value = async n => (await rows(server, 'once', `SELECT value FROM counter WHERE id = ${n}`, owner.token))[0]?.[0] ?? 0;
const remembered = async () => (await rows(server, 'once', 'SELECT number FROM st_call_once', owner.token)).map(r => r[0]).sort();

async function once(client, request, key, number, settled, reducer, args) {
  client.say(enc.callOnce(request, key, number, settled, reducer, args));
  const result = await client.nextOf('result');
  assert.equal(result.request, request);
  return result;
}

test('a repeat does nothing and is answered as the first time, from another connection too', async () => {
  const who = await newIdentity(server);
  const key = randomBytes(16);
  const a = await open(who.token);
  assert.equal(a.protocol, 'v3');
  const first = await once(a, 1, key, 1, 0, 'increment', id(1));
  assert.ok(first.ok);
  const again = await once(a, 2, key, 1, 0, 'increment', id(1));
  assert.ok(again.ok);
  assert.equal(again.timestamp, first.timestamp);
  await a.bye();
  const b = await open(who.token);
  assert.equal((await once(b, 3, key, 1, 0, 'increment', id(1))).timestamp, first.timestamp);
  assert.equal(await value(1), 1);
  assert.ok((await once(b, 4, key, 2, 0, 'increment', id(1))).ok);
  assert.equal(await value(1), 2);
  await b.bye();
});

test('numbers are those of an identity and of a session', async () => {
  const [x, y] = [await newIdentity(server), await newIdentity(server)];
  const key = randomBytes(16);
  const [a, b] = [await open(x.token), await open(y.token)];
  await once(a, 1, key, 1, 0, 'increment', id(2));
  await once(b, 1, key, 1, 0, 'increment', id(2));
  await once(a, 2, randomBytes(16), 1, 0, 'increment', id(2));
  assert.equal(await value(2), 3);
  await a.bye();
  await b.bye();
});

test('what failed left nothing and may be tried again', async () => {
  const who = await newIdentity(server);
  const key = randomBytes(16);
  const a = await open(who.token);
  assert.match((await once(a, 1, key, 1, 0, 'slow_failure', w().u32(0).done())).err, /slow and wrong/);
  assert.match((await once(a, 2, key, 1, 0, 'nothing', id(3))).internal, /no such reducer/);
  assert.ok((await once(a, 3, key, 1, 0, 'increment', id(3))).ok);
  assert.equal(await value(3), 1);
  await a.bye();
});

test('what is settled is forgotten with the next call', async () => {
  const who = await newIdentity(server);
  const key = randomBytes(16);
  const a = await open(who.token);
  const before = (await remembered()).length;
  for (let n = 1; n <= 5; n++) await once(a, n, key, n, 0, 'increment', id(4));
  assert.equal((await remembered()).length, before + 5);
  await once(a, 6, key, 6, 6, 'increment', id(4));
  assert.equal((await remembered()).length, before + 1);
  assert.equal(await value(4), 6);
  await a.bye();
});

test('a repeat that overtakes its slow first try waits for the truth', async () => {
  const who = await newIdentity(server);
  const key = randomBytes(16);
  const [a, b] = [await open(who.token), await open(who.token)];
  a.say(enc.callOnce(1, key, 1, 0, 'slow_increment', idMs(5, 400)));
  await sleep(100);
  b.say(enc.callOnce(1, key, 1, 0, 'slow_increment', idMs(5, 400)));
  const [first, second] = [await a.nextOf('result'), await b.nextOf('result')];
  assert.ok(first.ok && second.ok);
  assert.equal(first.timestamp, second.timestamp);
  assert.equal(await value(5), 1);
  await a.bye();
  await b.bye();
});

test('a call and its repeat in one breath, many times: each number counts once', async () => {
  const who = await newIdentity(server);
  const key = randomBytes(16);
  const a = await open(who.token);
  for (let n = 1; n <= 200; n++) {
    a.say(enc.callOnce(2 * n, key, n, 0, 'increment', id(6)));
    a.say(enc.callOnce(2 * n + 1, key, n, 0, 'increment', id(6)));
  }
  for (let n = 0; n < 400; n++) assert.ok((await a.nextOf('result')).ok);
  assert.equal(await value(6), 200);
  await a.bye();
});

test('kill -9 between a call and its repeat: it happened once, or not and then happens', async () => {
  const who = await newIdentity(server);
  const key = randomBytes(16);
  for (let round = 1; round <= 6; round++) {
    const a = await open(who.token);
    a.say(enc.callOnce(1, key, round, round, 'increment', id(7)));
    if (round % 2) await a.nextOf('result');  // else nobody knows whether it was carried out
    else await sleep(round);
    await server.kill();
    await server.start();
    const b = await open(who.token);
    assert.ok((await once(b, 2, key, round, round, 'increment', id(7))).ok);
    assert.equal(await value(7), round);
    await b.bye();
  }
});

test('clients of v3 and v2 have no such message, and nobody but the owner sees the table', async () => {
  const old = await session(server, 'once', { protocols: ['v3.bsatn.spacetimedb'] });
  old.say(enc.callOnce(1, randomBytes(16), 1, 0, 'increment', id(8)));
  await old.ended;
  assert.equal(await value(8), 0);
  const stranger = await newIdentity(server);
  await assert.rejects(rows(server, 'once', 'SELECT * FROM st_call_once', stranger.token));
  const told = await rows(server, 'once', "SELECT table_name FROM st_table WHERE table_name = 'st_call_once'", owner.token);
  assert.deepEqual(told, []);
});

test('repeats are counted', async () => {
  const a = await open();
  await until(async () => /lightcone_calls_repeated_total\{[^}]*\} \d+/.test((await (await fetch(`${server.url}/v1/metrics`)).text())), 'the counter');
  await a.bye();
});
