// Lists that clients append to and read, while the server is killed and started again; the history of
// all of it is checked for cycles: the method of Elle (Kingsbury and Alvaro, VLDB 2020), from outside.
//
//   APPEND_KILLS=50 SEED=1 node --test tests/e2e/append.test.mjs
//
// Every element is appended once, so the final lists say in which order those who appended came, and
// what a transaction read says which appends it saw:
//
//     ww  who appended x        -> who appended the element behind x
//     wr  who appended x        -> who read a list that ends in x
//     rw  who read up to x      -> who appended the element behind x
//     rt  who was answered      -> who was asked for after that
//
// A history of a serializable database that keeps its word has no cycle of these. A transaction writes
// down what it read, as a row, so that is known exactly of those that happened. Who was not answered
// because the server died is INDETERMINATE: it happened or it did not, wholly; if it did, it has an
// order like the others, but nobody may be said to come after it.
//
// Every third list is one row that is rewritten whole; the others are a row for each element, found
// through an index. Transactions are short reducers, reducers for the slow lane, procedures' transactions
// and, as readers, SQL.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { random } from './harness.mjs';
import { bundle, enc, newIdentity, patience, published, rows, session, sleep, sql, startServer, until, w } from './support.mjs';

const kills = Number(process.env.APPEND_KILLS ?? 6);
const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
const next = random(seed);
const below = n => Math.floor(next() * n);
const db = 'append';

const source = `
import { schema, SenderError, t, table } from 'spacetimedb/server';
const whole = table({ name: 'whole', public: true }, { key: t.u32().primaryKey(), elements: t.array(t.u32()) });
const element = table({ name: 'element', public: true },
  { place: t.u64().primaryKey(), key: t.u32().index('btree'), value: t.u32() });
const done = table({ name: 'done', public: true }, { txn: t.u32().primaryKey(), reads: t.string() });
const db = schema({ whole, element, done });
export default db;

function read(tables, key) {
  if (key % 3 === 0) return [...(tables.whole.key.find(key)?.elements ?? [])];
  return [...tables.element.key.filter(key)].sort((a, b) => (a.place < b.place ? -1 : 1)).map(row => row.value);
}
function append(tables, key, value) {
  const list = read(tables, key);
  if (key % 3 !== 0) tables.element.insert({ place: BigInt(key) * 1000000n + BigInt(list.length), key, value });
  else if (list.length) tables.whole.key.update({ key, elements: [...list, value] });
  else tables.whole.insert({ key, elements: [value] });
}
// ops: key, and the element to append or 0 to read.
function run(tables, txn, ops, ms) {
  const reads = [];
  for (let i = 0; i < ops.length; i += 2) {
    if (ops[i + 1]) append(tables, ops[i], ops[i + 1]);
    else reads.push(ops[i] + ':' + read(tables, ops[i]).join(','));
    for (const end = Date.now() + ms / ops.length; ms && Date.now() < end; );
  }
  if (txn % 50 === 49) throw new SenderError('never mind');
  tables.done.insert({ txn, reads: reads.join(';') });
}
const args = { txn: t.u32(), ops: t.array(t.u32()), ms: t.u32() };
export const short = db.reducer(args, (ctx, { txn, ops }) => run(ctx.db, txn, ops, 0));
export const slow = db.reducer(args, (ctx, { txn, ops, ms }) => run(ctx.db, txn, ops, ms));
export const proc = db.procedure(args, t.bool(), (ctx, { txn, ops, ms }) => {
  ctx.withTx(tx => run(tx.db, txn, ops, ms));
  return true;
});
`;

// asked, answered: numbers of a clock that ticks with every event. answered is Infinity: nobody knows.
// outcome: ok, refused, unknown.
const txns = [];
let tick = 0;
let elements = 0;
let server;

before(async () => {
  server = await startServer({ words: ['--checkpoint-log', '1048576'] });
  const { token } = await newIdentity(server);
  await published(server, db, bundle(source), { token });
});
after(async () => server?.end());

const keyNear = () => Math.floor(txns.length / 120) * 6 + below(6);

function transaction(kind) {
  const txn = { number: txns.length, kind, asked: tick++, answered: Infinity, outcome: 'unknown', appends: [], reads: [] };
  const ops = [];
  for (let n = 1 + below(4); n > 0; n--) {
    const key = keyNear();
    const value = next() < 0.5 ? ++elements : 0;
    if (value) txn.appends.push({ key, value });
    ops.push(key, value);
  }
  txns.push(txn);
  const body = w().u32(txn.number).u32(ops.length);
  for (const op of ops) body.u32(op);
  txn.args = body.u32(kind === 'short' ? 0 : 4 + below(16)).done();
  return txn;
}

// One transaction after another until the server dies.
async function client(kind, inFlight) {
  const socket = await session(server, db);
  const waiting = new Map();
  const say = () => {
    const txn = transaction(kind);
    waiting.set(txn.number, txn);
    socket.say(kind === 'proc' ? enc.procedure(txn.number, 'proc', txn.args) : enc.call(txn.number, kind, txn.args));
  };
  for (let i = 0; i < inFlight; i++) say();
  for (;;) {
    const answer = await socket.nextOf(kind === 'proc' ? 'procedure' : 'result');
    const txn = waiting.get(answer.request);
    assert.ok(txn, 'an answer to a question');
    waiting.delete(answer.request);
    txn.answered = tick++;
    const wrong = answer.err ?? answer.internal;
    txn.outcome = wrong ? 'refused' : 'ok';
    txn.error = wrong;
    say();
  }
}

// Reads a list by SQL, from outside: a transaction of its own that appends nothing.
async function reader() {
  for (;;) {
    const key = keyNear();
    const txn = { number: -1, kind: 'sql', asked: tick++, answered: Infinity, outcome: 'unknown', appends: [], reads: [] };
    const query = key % 3 === 0 ? `SELECT elements FROM whole WHERE key = ${key}` : `SELECT place, value FROM element WHERE key = ${key}`;
    const answer = await sql(server, db, query);
    if (answer.status !== 200) throw new Error(answer.text);
    const found = answer.json[0].rows;
    txn.answered = tick++;
    txn.outcome = 'ok';
    txn.reads.push({ key, list: key % 3 === 0 ? (found[0]?.[0] ?? []) : found.sort((a, b) => Number(BigInt(a[0]) - BigInt(b[0]))).map(row => row[1]) });
    sqlReads.push(txn);
    await sleep(2);
  }
}
const sqlReads = [];

// What is there in the end.
async function collect() {
  const lists = new Map();
  for (const [key, list] of await rows(server, db, 'SELECT * FROM whole')) lists.set(key, list);
  const found = (await rows(server, db, 'SELECT * FROM element')).map(([place, key, value]) => ({ place: BigInt(place), key, value }));
  for (const { key, value } of found.sort((a, b) => (a.place < b.place ? -1 : 1))) {
    if (!lists.has(key)) lists.set(key, []);
    lists.get(key).push(value);
  }
  const happened = new Map(await rows(server, db, 'SELECT * FROM done'));
  return { lists, happened };
}

function checkPromises({ lists, happened }) {
  const writer = new Map();
  for (const txn of txns) {
    const there = happened.has(txn.number);
    const word = `${txn.kind} ${txn.number} (seed ${seed})`;
    if (txn.outcome === 'ok') assert.ok(there, `${word} was acknowledged and is lost`);
    if (txn.outcome === 'refused') assert.ok(!there, `${word} was refused and has happened: ${txn.error}`);
    for (const { key, value } of txn.appends) {
      const times = (lists.get(key) ?? []).filter(one => one === value).length;
      assert.equal(times, there ? 1 : 0, `${word}: element ${value} is there ${times} times, done: ${there}`);
      if (there) writer.set(value, txn);
    }
    if (there)
      txn.reads = happened.get(txn.number).split(';').filter(Boolean).map(text => {
        const [key, list] = text.split(':');
        return { key: Number(key), list: list ? list.split(',').map(Number) : [] };
      });
  }
  for (const [key, list] of lists)
    for (const value of list) assert.ok(writer.has(value), `list ${key} holds ${value}, which nobody appended (seed ${seed})`);
  return writer;
}

// ww, wr, rw. A transaction's own appends are among what it reads afterwards.
function dataEdges(all, lists, writer, edge) {
  for (const list of lists.values())
    for (let i = 1; i < list.length; i++) edge(writer.get(list[i - 1]), writer.get(list[i]), 'ww');
  for (const txn of all) {
    for (const { key, list } of txn.reads) {
      const final = lists.get(key) ?? [];
      list.forEach((value, i) => assert.equal(value, final[i],
        `${txn.kind} ${txn.number} read ${list} of list ${key}, which became ${final} (seed ${seed})`));
      if (list.length) edge(writer.get(list.at(-1)), txn, 'wr');
      if (list.length < final.length) edge(txn, writer.get(final[list.length]), 'rw');
    }
  }
}

// rt, without an edge for each pair: moments of time are nodes too, each before the next.
function timeEdges(all, edge) {
  const answered = all.filter(txn => txn.answered !== Infinity).sort((a, b) => a.answered - b.answered);
  const moments = answered.map(txn => ({ kind: 'moment', at: txn.answered, edges: [] }));
  moments.forEach((moment, i) => {
    edge(answered[i], moment, 'rt');
    if (i + 1 < moments.length) edge(moment, moments[i + 1], 'rt');
  });
  for (const txn of all) {
    let low = 0, high = moments.length;  // the last moment before it was asked for
    while (low < high) {
      const middle = (low + high) >> 1;
      if (moments[middle].at < txn.asked) low = middle + 1;
      else high = middle;
    }
    if (low) edge(moments[low - 1], txn, 'rt');
  }
  return moments;
}

// A cycle as a text, or null.
function findCycle(nodes) {
  for (const node of nodes) node.state = 0;
  for (const root of nodes) {
    if (root.state) continue;
    const path = [{ node: root, at: 0 }];
    root.state = 1;
    while (path.length) {
      const top = path.at(-1);
      const step = top.node.edges[top.at++];
      if (!step) {
        top.node.state = 2;
        path.pop();
      } else if (step.to.state === 1) {
        const from = path.findIndex(one => one.node === step.to);
        return path.slice(from).map(({ node, at }) => `${node.kind} ${node.number ?? node.at} -${node.edges[at - 1].why}->`).join(' ');
      } else if (step.to.state === 0) {
        step.to.state = 1;
        path.push({ node: step.to, at: 0 });
      }
    }
  }
  return null;
}

function historyCycle(all, lists, writer) {
  for (const txn of all) txn.edges = [];
  const edge = (from, to, why) => from !== to && from.edges.push({ to, why });
  dataEdges(all, lists, writer, edge);
  return findCycle([...all, ...timeEdges(all, edge)]);
}

const kinds = ['short', 'slow', 'proc'];
const countOf = (kind, outcome) => txns.filter(txn => txn.kind === kind && txn.outcome === outcome).length;
const kindsDone = () => kinds.map(kind => countOf(kind, 'ok') > 0);

test(`a history over ${kills} kills has no cycle and loses nothing that was promised (seed ${seed})`, async () => {
  for (let round = 0; round <= kills; round++) {
    const words = [];
    const all = [client('short', 4), client('short', 4), client('short', 1), client('slow', 1), client('slow', 1), client('proc', 1), reader()];
    const over = Promise.allSettled(all.map(one => one.catch(error => words.push(error))));
    const before = txns.length + sqlReads.length;
    // In the last round of each kind, however long the workers take to get a core.
    const enough = () => txns.length + sqlReads.length > before + 80 && (round < kills || kindsDone().every(Boolean));
    await until(enough, 'some transactions', patience);
    await sleep(below(600));
    await server.kill();
    await over;
    // Everything ends because the server did; a failed expectation is not that.
    for (const error of words) if (error instanceof assert.AssertionError) throw error;
    await server.start();
  }
  const { lists, happened } = await collect();
  const writer = checkPromises({ lists, happened });
  const all = [...txns.filter(txn => happened.has(txn.number)), ...sqlReads];
  assert.equal(historyCycle(all, lists, writer), null, `seed ${seed}`);

  const count = outcome => txns.filter(txn => txn.outcome === outcome).length;
  const kept = txns.filter(txn => txn.outcome === 'unknown' && happened.has(txn.number)).length;
  console.log(`# ${count('ok')} acknowledged (${kinds.map(kind => `${countOf(kind, 'ok')} ${kind}`)}), ${count('refused')} refused, ${count('unknown')} unknown of which ${kept} happened, ${sqlReads.length} SQL`);
  assert.ok(count('ok') > 30 * kills, 'enough was acknowledged');
  for (const kind of kinds) assert.ok(countOf(kind, 'ok') > 0, `some ${kind} were acknowledged`);
});

test('the check finds what it is for', () => {
  const history = (...parts) => parts.map((part, number) => ({ number, kind: 'made', asked: 2 * number, answered: 2 * number + 1, appends: [], reads: [], ...part }));
  const lists = new Map([[1, [1, 2]], [2, [3]]]);
  const cycleOf = all => historyCycle(all, lists, new Map(all.flatMap(txn => txn.appends.map(({ value }) => [value, txn]))));
  const appends = (key, value) => ({ key, value });
  // In order, each seeing those before it.
  assert.equal(cycleOf(history({ appends: [appends(1, 1)] }, { appends: [appends(1, 2)] }, { appends: [appends(2, 3)], reads: [{ key: 1, list: [1, 2] }] })), null);
  // Written skew: each misses the other's append.
  const skew = history({ appends: [appends(1, 1)] }, { appends: [appends(1, 2)], reads: [{ key: 2, list: [] }], answered: 100 }, { appends: [appends(2, 3)], reads: [{ key: 1, list: [1] }], asked: 3, answered: 101 });
  assert.match(cycleOf(skew), /rw.*rw|rw/);
  // A read that misses what was acknowledged before it was asked for.
  assert.match(cycleOf(history({ appends: [appends(1, 1)] }, { appends: [appends(1, 2)] }, { appends: [appends(2, 3)] }, { reads: [{ key: 1, list: [1] }] })), /rt/);
  // The same is no cycle if nobody knows when the append ended.
  assert.equal(cycleOf(history({ appends: [appends(1, 1)] }, { appends: [appends(1, 2)], answered: Infinity }, { appends: [appends(2, 3)] }, { reads: [{ key: 1, list: [1] }] })), null);
});
