// sdk.mjs: our TypeScript client beside the npm package, both with generated bindings: `make bench ONLY=sdk`.
//
// Rows through the codecs alone; a large subscription and a stream of updates through the whole clients,
// which hear the same bytes from the same small server in this process; a module on both libraries; and what
// a page has to load.
// The two take turns, and ratios are of neighbours. Rows are timed by the processor's clock, so that what
// else the machine does matters less; the best of ten, since nothing makes a program faster than it is.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { FakeServer, greeting, say } from '../sdk/typescript/test/support.mjs';
import { moduleBindings, moduleBundle, startServer, top } from '../tests/e2e/harness.mjs';
import { bundle, callOk, newIdentity, onOurLibrary, published } from '../tests/e2e/support.mjs';

const tools = join(top, 'build/tools');
const work = join(tools, 'e2e/bench');
const ROWS = 100_000;
const ROWS_READ = 20_000;
const UPDATES = 20_000;
const now = () => Number(process.hrtime.bigint()) / 1e6;

// ---- rows

function kinds(own) {
  const { Identity, Timestamp, TimeDuration, ConnectionId, Uuid, ScheduleAt } = own;
  const people = Array.from({ length: 1000 }, (_, i) => new Identity((0xc200n << 240n) | (BigInt(i) * 0x9e3779b97f4a7c15f39cc0605cedc835n)));
  const identity = i => people[i % people.length];
  return {
    user: {
      of: t => ({ identity: t.identity(), name: t.option(t.string()), online: t.bool() }),
      row: i => ({ identity: new Identity(0xc2n << 248n | BigInt(i)), name: i % 3 ? `Person ${i}` : undefined, online: i % 2 === 0 }),
    },
    message: {
      of: t => ({ sender: t.identity(), sent: t.timestamp(), text: t.string() }),
      row: i => ({ sender: identity(i), sent: new Timestamp(1700000000000000n + BigInt(i)), text: `This is what number ${i} had to say about it, and no more.` }),
    },
    position: {
      of: t => ({ id: t.u32(), x: t.f64(), y: t.f64(), heading: t.f32(), speed: t.u16(), alive: t.bool() }),
      row: i => ({ id: i, x: i * 1.5, y: -i / 3, heading: 0.25, speed: i % 1000, alive: i % 7 !== 0 }),
    },
    player: {
      of: t => ({
        id: t.u64(), owner: t.identity(), level: t.u32(), team: t.i32(), position: t.object('Place', { x: t.f32(), y: t.f32() }),
        tags: t.array(t.string()), mood: t.option(t.enum('Mood', { happy: t.unit(), sad: t.unit() })), avatar: t.byteArray(),
        at: t.scheduleAt(), took: t.timeDuration(), link: t.connectionId(), label: t.uuid(),
      }),
      row: i => ({
        id: BigInt(i), owner: identity(i), level: i % 99, team: -(i % 7), position: { x: 1.5, y: 2.5 }, tags: ['red', 'fast'],
        mood: i % 2 ? { tag: 'happy' } : undefined, avatar: new Uint8Array(16), at: ScheduleAt.time(BigInt(i)),
        took: new TimeDuration(5n), link: new ConnectionId(BigInt(i)), label: new Uuid(BigInt(i)),
      }),
    },
  };
}

function encoded(own, type, row, count) {
  const w = new own.Writer(1 << 20);
  for (let i = 0; i < count; i++) type.codec.write(w, row(i));
  return w.finish();
}

// Nanoseconds of processor time a row.
function timed(read) {
  let best = Infinity;
  for (let i = 0; i < 10; i++) {
    const began = process.cpuUsage();
    read();
    const { user, system } = process.cpuUsage(began);
    best = Math.min(best, user + system);
  }
  return (best * 1000) / ROWS_READ;
}

async function codecs(own, npm, { record, rounds, atLeast }) {
  for (const [name, { of, row }] of Object.entries(kinds(own))) {
    const type = own.t.object(name, of(own.t));
    const bytes = encoded(own, type, row, ROWS_READ);
    const theirs = npm.AlgebraicType.makeDeserializer(npm.t.object(name, of(npm.t)).algebraicType);
    const ours = () => {
      const r = new own.Reader(bytes);
      const rows = [];
      while (r.at < r.end) rows.push(type.codec.read(r));
      return rows;
    };
    const npms = () => {
      const r = new npm.BinaryReader(bytes);
      const rows = [];
      while (r.remaining > 0) rows.push(theirs(r));
      return rows;
    };
    if (ours().length !== ROWS_READ || npms().length !== ROWS_READ) throw new Error(`${name}: not all rows were read`);
    const pairs = Array.from({ length: rounds }, () => [timed(ours), timed(npms)]);
    record('sdk', `${name}: a row read`, pairs.map(([a]) => a), 'ns');
    record('sdk', `${name}: a row read, the npm package's / ours`, pairs.map(([a, b]) => b / a), 'ratio', atLeast(2));
  }
}

// ---- whole clients

function rowList(w, list) {
  w.u8(1);
  let at = 0;
  w.array(list, (w, row) => {
    w.u64(BigInt(at));
    at += row.length;
  });
  w.sized(w => list.forEach(row => w.raw(row)));
}
const appliedWith = (set, table, list) => w => {
  w.u8(1);
  w.u32(0);
  w.u32(set);
  w.u32(1);
  w.string(table);
  rowList(w, list);
};
const updateWith = (set, table, inserts, deletes) => w => {
  w.u8(4);
  w.u32(1);
  w.u32(set);
  w.u32(1);
  w.string(table);
  w.u32(1);
  w.u8(0);
  rowList(w, inserts);
  rowList(w, deletes);
};

// [milliseconds for a subscription, microseconds for an update]
async function client(bindings, own, table) {
  const { of, row } = kinds(own)[table];
  const type = own.t.object(table, of(own.t));
  const bytes = value => {
    const w = new own.Writer();
    type.codec.write(w, value);
    return w.finish();
  };
  const rows = Array.from({ length: ROWS }, (_, i) => row(i));
  const changed = rows.slice(0, UPDATES).map(one => (table === 'user' ? { ...one, online: !one.online } : { ...one, text: `${one.text}!` }));
  const server = await new FakeServer().start();
  const builder = bindings.DbConnection.builder().withUri(server.url).withDatabaseName('x').withCompression('none');
  const connection = await new Promise((resolve, reject) => {
    builder.onConnect(resolve).onConnectError((_ctx, error) => reject(error)).build();
    void server.peer(0).then(peer => peer.send(say(greeting)));
  });
  const peer = await server.peer(0);
  let at = 0;
  const applied = new Promise(resolve => connection.subscriptionBuilder().onApplied(() => resolve(now())).subscribe(`SELECT * FROM ${table}`));
  const asked = new own.Reader(await peer.next());
  asked.skip(5);
  const set = asked.u32();
  const initial = say(appliedWith(set, table, rows.map(bytes)));
  at = now();
  peer.send(initial);
  const subscription = (await applied) - at;
  if (Number(connection.db[table].count()) !== ROWS) throw new Error(`${table}: not all rows are there`);
  let heard = 0;
  const last = new Promise(resolve => {
    const one = () => ++heard === UPDATES && resolve(now());
    if (table === 'user') connection.db.user.onUpdate(one);
    else connection.db.message.onInsert(one);
  });
  // Many messages in one payload, as a busy server sends them.
  const payloads = [];
  for (let i = 0; i < UPDATES; i += 100)
    payloads.push(say(...changed.slice(i, i + 100).map((one, k) => updateWith(set, table, [bytes(one)], [bytes(rows[i + k])]))));
  at = now();
  for (const payload of payloads) peer.send(payload);
  const update = (((await last) - at) * 1000) / UPDATES;
  connection.disconnect();
  await server.end();
  return [subscription, update];
}

async function clients(own, { record, rounds, atLeast }) {
  const ours = await moduleBindings('chat', 'lightcone');
  const npms = await moduleBindings('chat');
  for (const table of ['user', 'message']) {
    const pairs = [];
    for (let i = 0; i < rounds; i++) pairs.push([await client(ours, own, table), await client(npms, own, table)]);
    record('sdk', `${ROWS / 1000},000 ${table} rows subscribed to`, pairs.map(([[a]]) => a), 'ms');
    record('sdk', `${table}: subscribing, the npm package's / ours`, pairs.map(([[a], [b]]) => b / a), 'ratio', atLeast(2));
    record('sdk', `${table}: an update of a row, heard`, pairs.map(([[, a]]) => a), 'µs');
    record('sdk', `${table}: an update, the npm package's / ours`, pairs.map(([[, a], [, b]]) => b / a), 'ratio');
  }
}

// ---- modules: the same source on both libraries, many times within one call

const moduleSource = `
import { schema, t, table } from 'spacetimedb/server';
const account = table({ name: 'account' }, { id: t.u32().primaryKey(), balance: t.i64(), name: t.string(), who: t.identity() });
const db = schema({ account });
export default db;
export const init = db.init(ctx => {
  for (let id = 0; id < 1000; id++) ctx.db.account.insert({ id, balance: 1000n, name: 'account ' + id, who: ctx.sender });
});
export const move = db.reducer({ n: t.u32() }, (ctx, { n }) => {
  for (let i = 0; i < n; i++) {
    const from = ctx.db.account.id.find(i % 1000);
    const to = ctx.db.account.id.find((i + 1) % 1000);
    ctx.db.account.id.update({ ...from, balance: from.balance - 1n });
    ctx.db.account.id.update({ ...to, balance: to.balance + 1n });
  }
});
export const scan = db.reducer({ n: t.u32() }, (ctx, { n }) => {
  let sum = 0n;
  for (let i = 0; i < n; i++) for (const row of ctx.db.account.iter()) sum += row.balance;
  if (sum !== BigInt(n) * 1000000n) throw new Error('money was made or lost');
});
`;

async function modules({ record, rounds, atLeast }) {
  // One lane for all, since these calls outlive any slice.
  const server = await startServer({ words: ['--slice-ms', 'none'] });
  const { token } = await newIdentity(server);
  await published(server, 'ours', bundle(moduleSource, ...onOurLibrary()), { token });
  await published(server, 'npms', bundle(moduleSource), { token });
  const microseconds = async (database, reducer, n) => {
    const began = now();
    await callOk(server, database, reducer, [n], token);
    return ((now() - began) * 1000) / n;
  };
  for (const [reducer, what, n] of [['move', 'a transfer, four calls of tables', 10_000], ['scan', '1,000 rows read', 100]]) {
    const pairs = [];
    for (let i = 0; i < rounds + 2; i++) pairs.push([await microseconds('ours', reducer, n), await microseconds('npms', reducer, n)]);
    pairs.splice(0, 2); // while the code was new
    record('sdk', `module: ${what}`, pairs.map(([a]) => a), 'µs');
    record('sdk', `module: ${what}, the npm package's / ours`, pairs.map(([a, b]) => b / a), 'ratio', atLeast(1));
  }
  await server.end();
}

// ---- what a page loads

function loaded(name, sdk, source) {
  const dir = join(work, `${name}-${sdk}`);
  mkdirSync(dir, { recursive: true });
  execFileSync(join(top, 'build/lightcone'), ['generate', '--no-config', '--yes', '--lang', 'typescript', '--sdk', sdk, '-j', moduleBundle('chat'), '-o', join(dir, 'module_bindings')], { stdio: 'ignore' });
  writeFileSync(join(dir, 'main.ts'), source);
  const out = join(dir, 'out.js');
  execFileSync(join(tools, 'node_modules/.bin/esbuild'), [join(dir, 'main.ts'), '--bundle', '--minify', '--format=esm', '--target=es2022', '--platform=browser', '--external:react', '--legal-comments=none', '--log-level=error', `--outfile=${out}`]);
  return gzipSync(readFileSync(out), { level: 9 }).length / 1024;
}

function sizes({ record, atMost }) {
  const uses = {
    client: `import { DbConnection } from './module_bindings';
      DbConnection.builder().withUri('ws://x').withDatabaseName('y').onConnect(c => c.subscriptionBuilder().subscribe('SELECT * FROM user')).build();`,
    'client with React': `import { DbConnection, reducers, tables } from './module_bindings';
      import { Provider, useReducer, useTable } from 'PACKAGE/react';
      console.log(Provider, DbConnection, useTable, useReducer, reducers, tables);`,
  };
  for (const [name, source] of Object.entries(uses)) {
    const ours = loaded(name, 'lightcone', source.replace('PACKAGE', 'lightcone').replace('{ Provider', '{ LightconeProvider as Provider'));
    const npms = loaded(name, 'spacetimedb', source.replace('PACKAGE', 'spacetimedb').replace('{ Provider', '{ SpacetimeDBProvider as Provider'));
    record('sdk', `${name}: minified and compressed`, [ours], 'KiB');
    record('sdk', `${name}: size / the npm package's`, [ours / npms], 'ratio', atMost(1));
  }
}

export async function sdk(tools_) {
  process.stderr.write('sdk\n');
  execFileSync(join(top, 'sdk/typescript/build'));
  const own = await import(join(tools, 'node_modules/lightcone/dist/index.js'));
  const npm = await import(join(tools, 'node_modules/spacetimedb/dist/index.mjs')).catch(() => import('spacetimedb'));
  await codecs(own, npm, tools_);
  await clients(own, tools_);
  await modules(tools_);
  sizes(tools_);
}
