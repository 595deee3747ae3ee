// Random transactions, subscriptions, ends of them, other rules and other indexes, with clients of every
// protocol beside each other: what each holds is what SQL says if it asks now.
//
//   SEED=7 ROUNDS=500 node --test tests/e2e/differential.test.mjs
//
// What a commit means to whom is compared with nested loops in src/live/differential_test.c; here it is
// what has gone through sessions, sockets and four encodings.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Speaker, dialects } from './dialects.mjs';
import { moduleOf, relationsOf } from './fixtures.mjs';
import { random } from './harness.mjs';
import { call, http, newIdentity, publish, published, rows, startServer } from './support.mjs';

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const rounds = Number(process.env.ROUNDS ?? 60);
const next = random(seed);
const below = n => Math.floor(next() * n);
const oneOf = list => list[below(list.length)];
const db = 'differential';

const module = ({ rules, bIndexed }) => [
  'table a(id U32, k U32, n U32) pk id index k',
  `table b(id U32, k U32, n U32) pk id${bIndexed ? ' index k' : ''}`,
  'table own(id U32, who Identity, k U32) pk id index who index k',
  'table pub(k U32) unique k',
  'view mine(id U32, who Identity, k U32)',
  'view big(id U32, k U32, n U32)',
  "code export const mine = db.view({ name: 'mine', public: true }, t.array(table_own.rowType), ctx => [...ctx.db.own.who.filter(ctx.sender)]);",
  "code export const big = db.anonymousView({ name: 'big', public: true }, t.array(table_a.rowType), ctx => ctx.from.b.rightSemijoin(ctx.from.a, (b, a) => b.id.eq(a.id)).where(a => a.n.gt(1)));",
  ...rules.map(rule => `rule ${rule}`),
];
const ruleSets = [
  ['SELECT * FROM own WHERE who = :sender', 'SELECT own.* FROM own JOIN pub ON own.k = pub.k'],
  ['SELECT own.* FROM own JOIN pub ON own.k = pub.k WHERE own.id > 2'],
  [],
  ['SELECT * FROM own WHERE who = :sender', 'SELECT * FROM a WHERE k < 3'],
];

const k = () => below(4);
const questions = [
  () => ['a', 'SELECT * FROM a'],
  () => ['a', `SELECT * FROM a WHERE k = ${k()}`],
  () => ['a', `SELECT * FROM a WHERE n > ${k()} AND NOT k = ${k()}`],
  () => ['a', `SELECT a.* FROM a JOIN b ON a.k = b.k WHERE b.n = ${k()}`],
  () => ['b', `SELECT b.* FROM a JOIN b ON a.id = b.id WHERE a.n < ${k()}`],
  () => ['a', 'SELECT a.* FROM a LEFT JOIN b ON a.k = b.k WHERE b.id IS NULL'],
  () => ['a', `SELECT x.* FROM a x JOIN a y ON x.k = y.n WHERE y.id = ${below(8)}`],
  () => [null, 'SELECT k, COUNT(*) AS c, SUM(n) AS s FROM a GROUP BY k'],
  () => ['own', 'SELECT * FROM own'],
  () => ['own', 'SELECT own.* FROM own JOIN a ON own.k = a.k'],
  () => ['mine', 'SELECT * FROM mine'],
  () => ['a', 'SELECT a.* FROM mine JOIN a ON mine.id = a.id'],
  () => ['big', `SELECT * FROM big WHERE k <> ${k()}`],
];

let server, owner;
const people = [];
let clients = [];
before(async () => {
  server = await startServer({ words: ['--in-memory', '--view-failure', 'abort'] });
  owner = await newIdentity(server);
  people.push(owner, await newIdentity(server), await newIdentity(server));
});
after(async () => {
  for (const { speaker } of clients) speaker.drop();
  await server?.end();
});

// ── clients ──────────────────────────────────────────────────────────────────────────────────────

const shape = { rules: ruleSets[0], bIndexed: true };
const schemaOf = () => ({
  ...Object.fromEntries(relationsOf(module(shape)).map(({ name, columns }) => [name, columns.map(([, type]) => type.toLowerCase())])),
  [questions[7]()[1]]: ['u32', 'u64', 'u64'],
});

async function enterAll() {
  clients = [];
  for (const [i, dialect] of dialects.entries()) {
    for (const who of [people[i % 3], people[(i + 1) % 3]])
      clients.push({ who, dialect, speaker: await Speaker.enter(server, db, dialect, { schema: schemaOf(), token: who.token }), sets: new Map() });
  }
}

async function changeSets(client, at) {
  const { speaker, sets } = client;
  if (sets.has(at)) {
    assert.equal((await speaker.unsubscribe(at)).error, undefined);
    sets.delete(at);
    return;
  }
  const asked = Array.from({ length: 1 + below(3) }, () => oneOf(questions)());
  const texts = [...new Map(asked.map(one => [one[1], one])).values()];
  assert.equal((await speaker.subscribe(at, ...texts.map(([, text]) => text))).error, undefined);
  sets.set(at, texts);
}

// ── what is held, and what it should be ──────────────────────────────────────────────────────────

const plain = row => JSON.stringify(row.map(value => (Array.isArray(value) ? value[0].replace(/^0x/, '') : value)));

async function answers(who, text, known) {
  const key = `${who.identity} ${text}`;
  if (!known.has(key)) known.set(key, [...new Set((await rows(server, db, text, who.token)).map(plain))]);
  return known.get(key);
}

async function compare(client, known) {
  const { speaker, sets, who } = client;
  await speaker.quiet();
  const all = [...sets].map(([set, texts]) => ({ set, texts }));
  // Under v1 a text is watched once, and no set is told apart.
  const wanted = speaker.is1 ? [{ set: 0, texts: [...new Map(all.flatMap(({ texts }) => texts).map(one => [one[1], one])).values()] }] : all;
  for (const { set, texts } of wanted) {
    const want = [];
    for (const [table, text] of texts) want.push(...(await answers(who, text, known)).map(row => `${table ?? text} ${row}`));
    const held = [...(speaker.sets.get(set) ?? [])].flatMap(([table, counts]) => [...counts].flatMap(([row, count]) => Array(count).fill(`${table} ${row}`)));
    assert.deepEqual(held.sort(), want.sort(), `${client.dialect}, seed ${seed}: ${texts.map(([, text]) => text).join('; ')}`);
  }
}

// ── transactions ─────────────────────────────────────────────────────────────────────────────────

const tables = { a: new Map(), b: new Map(), own: new Map(), pub: new Map() };
const made = { a: () => [below(8), k(), k()], b: () => [below(8), k(), k()], own: () => [below(8), oneOf(people).identity, k()], pub: () => [k()] };

function change(table, ops) {
  const row = made[table](), held = tables[table], was = held.get(row[0]);
  if (was) ops.push(['-', table, was]);
  held.delete(row[0]);
  if (was && below(2)) return;
  ops.push(['+', table, row]);
  held.set(row[0], row);
}

async function transact() {
  const ops = [];
  for (let i = 1 + below(4); i > 0; i--) change(oneOf(Object.keys(tables)), ops);
  const answer = await call(server, db, 'tx', [JSON.stringify(ops)], owner.token);
  assert.equal(answer.status, 200, answer.text);
}

// ── the whole ────────────────────────────────────────────────────────────────────────────────────

async function otherRules() {
  shape.rules = oneOf(ruleSets.filter(rules => rules !== shape.rules));
  const body = moduleOf(module(shape), { writes: true }), token = owner.token;
  const plan = await http(server, 'POST', `/v1/database/${db}/pre_publish?host_type=Js`, { token, body });
  const answer = await publish(server, db, body, { token, query: `&policy=BreakClients&token=${plan.json.AutoMigrate.token}` });
  assert.equal(answer.status, 200, answer.text);
  for (const { speaker } of clients) assert.equal((await speaker.socket.over()).code, 1001);
  await enterAll();
}

async function otherIndexes() {
  shape.bIndexed = !shape.bIndexed;
  await published(server, db, moduleOf(module(shape), { writes: true }), { token: owner.token });
}

test(`${rounds} rounds, whoever asks in whichever protocol (seed ${seed})`, async () => {
  await published(server, db, moduleOf(module(shape), { writes: true }), { token: owner.token });
  await enterAll();
  let heard = 0;
  for (let round = 1; round <= rounds; round++) {
    for (let i = 0; i < 3; i++) await changeSets(oneOf(clients), below(4));
    // While it is written, somebody subscribes.
    await Promise.all([transact().then(transact), changeSets(oneOf(clients), 10 + below(3))]);
    if (round % 25 === 0) await otherRules();
    if (round % 10 === 0) await otherIndexes();
    if (round % 2) continue;
    const known = new Map();
    for (const client of clients) {
      await compare(client, known);
      heard += client.speaker.updates.splice(0).length;
    }
  }
  assert.ok(heard > rounds * 2, `${heard} updates: somebody was listening`);
});
