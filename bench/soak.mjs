// soak.mjs: everything at once, for a long time: does the server stay as large as it was?
//
//   make soak [MINUTES=30]      or, when everything is built:  MINUTES=2 node bench/soak.mjs
//
// DIR      where the server's copy, its data and its output go (build/soak); emptied first
// LOAD_CONNECTIONS, LOAD_IN_FLIGHT  of the transfers in C (16, 8)
// LIBRARY=npm                       the TypeScript module on npm's module library instead of ours
//
// PICTURE
//   soak-c   transfers through the module in C, as fast as bench/load can; every 20 s it checks the balances
//   soak     the TypeScript module of bench/modules/soak: rows that come and go, refusals, slow reducers,
//            procedures, schedules, views, SQL over all rows, subscribers who stay a moment and leave with
//            and without a word, HTTP calls; published again every half minute, in two versions by turns
//   passing  a database that is made, called and deleted again
//
// The live data is bounded, so nothing else may grow either: see soak_series.mjs. Ends with a table; the exit
// code is 1 if a series grows or anything failed that should not.
import { spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundle, call, enc, http, newIdentity, onOurLibrary, published, publish, session, sleep, sql, w } from '../tests/e2e/support.mjs';
import { metricsOf, report, sample } from './soak_series.mjs';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const dir = resolve(process.env.DIR || join(root, 'build/soak'));
const minutes = Number(process.env.MINUTES || 30);
const every = Math.max(1000, Math.min(5000, (minutes * 60_000) / 200));
const counts = {};
const troubles = [];
let over = false;

const count = what => (counts[what] = (counts[what] ?? 0) + 1);
const random = n => Math.floor(Math.random() * n);
function trouble(what, error) {
  count(`trouble: ${what}`);
  if (troubles.length < 20) troubles.push(`${new Date().toISOString()} ${what}: ${error.stack ?? error}`);
}
function must(answer, what) {
  if (answer.status !== 200) throw new Error(`${what}: ${answer.status} ${answer.text}`);
  return answer;
}

// Until the end, again and again; what fails is noted and tried again a second later.
async function always(what, once) {
  while (!over) {
    const mine = [];
    try {
      await once(mine);
    } catch (error) {
      for (const socket of mine) socket.drop();  // what we left open is not the server's leak
      if (over) return;
      trouble(what, error);
      await sleep(1000);
    }
  }
}

// ---- what clients do

const took = [];  // milliseconds of short calls since the last sample
async function opened(server, database, mine) {
  const socket = await session(server, database);
  mine.push(socket);
  return socket;
}

async function short(server, mine) {
  const socket = await opened(server, 'soak', mine);
  while (!over) {
    const sent = performance.now();
    for (let i = 0; i < 8; i++) {
      const large = random(50) === 0;
      socket.say(random(10) ? enc.call(i, 'put', w().u32(random(1 << 20)).u32(large ? 20_000 : random(1500)).done())
        : enc.call(i, 'refuse', w().u32(random(1 << 20)).done()));
    }
    for (let i = 0; i < 8; i++) {
      const result = await socket.nextOf('result');
      if (result.internal) throw new Error(result.internal);
      count(result.err ? 'calls refused by the module' : 'calls');
    }
    took.push(performance.now() - sent);
  }
  await socket.bye();
}

async function slow(server, mine) {
  const socket = await opened(server, 'soak', mine);
  for (let i = 0; !over; i++) {
    socket.say(enc.call(i, 'slow', w().u32(2 + random(62)).u32(5 + random(60)).done()));
    const result = await socket.nextOf('result');
    if (result.internal) throw new Error(result.internal);
    count('slow calls');
  }
  await socket.bye();
}

async function procedures(server, mine) {
  const socket = await opened(server, 'soak', mine);
  for (let i = 0; !over; i++) {
    socket.say(enc.procedure(i, 'deposit', w().u32(random(64)).done()));
    const result = await socket.nextOf('procedure');
    // Publishing a version ends the old one's procedures, which says so.
    if (result.internal && !/new version/.test(result.internal)) throw new Error(result.internal);
    count(result.internal ? 'procedures ended by a publish' : 'procedures');
  }
  await socket.bye();
}

const queries = () => [
  'SELECT * FROM item', `SELECT * FROM item WHERE bucket = ${random(100)}`, `SELECT * FROM item WHERE slot < ${random(5000)}`,
  'SELECT * FROM first', 'SELECT * FROM mine', `SELECT * FROM counter WHERE id = ${random(64)}`,
].filter(() => random(3) === 0);

async function subscriber(server, mine) {
  const socket = await opened(server, 'soak', mine);
  const asked = [queries(), queries(), ['SELECT * FROM present']];
  for (const [set, texts] of asked.entries()) socket.say(enc.subscribe(set, set, ...texts));
  for (const end = Date.now() + random(4000); Date.now() < end && !over; ) {
    await sleep(100);
    for (const message of socket.messages.splice(0)) {
      if (message.kind === 'refused') throw new Error(message.error);
      count(message.kind === 'update' ? 'updates' : message.kind);
    }
  }
  if (random(3) === 0) return socket.drop();
  for (let set = random(3); set < 3; set++) socket.say(enc.unsubscribe(set, set));
  await socket.bye();
}

async function reads(server) {
  for (const text of ["SELECT slot FROM item WHERE text = 'no'", 'SELECT COUNT(*) AS n FROM item', 'SELECT * FROM item WHERE bucket = 7',
    'SELECT item.* FROM item JOIN counter ON item.bucket = counter.id WHERE counter.value > 5']) {
    must(await sql(server, 'soak', text), text);
    count('queries');
  }
  must(await call(server, 'soak', 'once'), 'once');
  const caller = await newIdentity(server);
  must(await call(server, 'soak', 'put', [random(1 << 20), 10], caller.token), 'put');
  count('HTTP calls');
  await sleep(50);
}

const source = readFileSync(join(root, 'bench/modules/soak/src/index.ts'), 'utf8');
const words = process.env.LIBRARY === 'npm' ? [] : onOurLibrary();
const versions = [source, source.replace('not today', 'not now')].map(text => bundle(text, ...words));
async function again(server, token, turn) {
  await sleep(30_000 * Math.min(1, minutes / 5));
  if (over) return;
  must(await publish(server, 'soak', versions[turn.n++ % 2], { token }), 'publish');
  count('publishes');
}

async function passing(server, token, mine) {
  await published(server, 'passing', versions[0], { token });
  const socket = await opened(server, 'passing', mine);
  socket.say(enc.call(1, 'put', w().u32(1).u32(100).done()));
  await socket.nextOf('result');
  must(await http(server, 'DELETE', '/v1/database/passing', { token }), 'delete');
  await socket.over();
  count('databases made and deleted');
  await sleep(10_000 * Math.min(1, minutes / 5));
}

// Balances are checked by bench/load itself at the end of every run.
function transfers(server) {
  const tool = join(root, 'build/release/bench/load');
  const args = ['--url', server.address, '--database', 'soak-c', '--scenario', 'transfer', '--protocol', 'v3', '--json',
    '--connections', process.env.LOAD_CONNECTIONS || '16', '--in-flight', process.env.LOAD_IN_FLIGHT || '8', '--seconds', '20', '--warmup', '0.1'];
  return new Promise((done, failed) => {
    const child = spawn(tool, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '', said = '';
    child.stdout.on('data', more => (text += more));
    child.stderr.on('data', more => (said += more));
    child.on('exit', code => {
      if (code !== 0) return failed(new Error(`load ended with ${code}: ${said}${text}`));
      counts['transfers in C'] = (counts['transfers in C'] ?? 0)
        + Math.round(20 * JSON.parse(text).find(figure => figure.name === 'throughput').value);
      done();
    });
  });
}

// ---- the run

function freePort() {
  return new Promise(done => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => done(port));
    });
  });
}

async function start() {
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  // A copy, so that building does not disturb it.
  copyFileSync(join(root, 'build/lightcone'), join(dir, 'lightcone'));
  const port = Number(process.env.PORT || await freePort());
  const log = openSync(join(dir, 'server.log'), 'w');
  const child = spawn(join(dir, 'lightcone'), ['start', '--listen-addr', `127.0.0.1:${port}`, '--data-dir', join(dir, 'data'),
    '--memory-max', String(24 << 20), '--checkpoint-log', String(32 << 20), '--setting', `module_log_max=${512 << 10}`], { stdio: ['ignore', log, log], cwd: dir });
  child.on('exit', (code, signal) => {
    if (!over) trouble('the server ended by itself', new Error(`${code ?? signal}`));
    over = true;
  });
  const server = { port, child, address: `127.0.0.1:${port}`, url: `http://127.0.0.1:${port}` };
  for (let tries = 0; ; tries++) {
    try {
      await fetch(`${server.url}/v1/ping`);
      return server;
    } catch (error) {
      if (tries > 200 || over) throw error;
      await sleep(50);
    }
  }
}

const percentile = (list, p) => list.sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * p))];

async function main() {
  const server = await start();
  const { token } = await newIdentity(server);
  const wasm = join(root, 'bench/modules/transfer-c/build/module.wasm');
  if (!existsSync(wasm)) throw new Error(`${wasm} is not built: use make soak`);
  must(await http(server, 'PUT', '/v1/database/soak-c?host_type=Wasm', { token, body: readFileSync(wasm) }), 'publish soak-c');
  await published(server, 'soak', versions[0], { token });

  const turn = { n: 1 };
  const doing = [
    always('transfers', () => transfers(server)),
    ...Array.from({ length: 4 }, () => always('short calls', mine => short(server, mine))),
    ...Array.from({ length: 3 }, () => always('slow calls', mine => slow(server, mine))),
    ...Array.from({ length: 2 }, () => always('procedures', mine => procedures(server, mine))),
    ...Array.from({ length: 12 }, () => always('subscribers', mine => subscriber(server, mine))),
    ...Array.from({ length: 2 }, () => always('reads', () => reads(server))),
    always('publishing', () => again(server, token, turn)),
    always('passing databases', mine => passing(server, token, mine)),
  ];
  const samples = [];
  const began = Date.now();
  const file = join(dir, 'samples.json');
  while (!over && Date.now() - began < minutes * 60_000) {
    await sleep(every);
    try {
      const now = await sample(server, server.child.pid, join(dir, 'data'));
      now['latency of a short call, p99'] = percentile(took.splice(0), 0.99);
      samples.push(now);
      writeFileSync(file, JSON.stringify(samples));
    } catch (error) {
      if (!over) trouble('a sample', error);
    }
  }
  const lasted = (Date.now() - began) / 60_000;
  over = true;
  await Promise.race([Promise.allSettled(doing), sleep(60_000)]);
  // With nobody left, nothing of anybody may be left.
  await sleep(3000);
  const rest = await metricsOf(server.url).catch(error => trouble('the last sample', error));
  const ended = new Promise(done => server.child.on('exit', (code, signal) => done(code ?? signal)));
  server.child.kill('SIGINT');
  const exit = await Promise.race([ended, sleep(30_000)]);

  console.log(Object.entries(counts).map(([what, n]) => `${n} ${what}`).join(', '));
  const bad = report(samples, lasted);
  for (const name of ['spacetime_worker_connected_clients', 'spacetime_subscription_sets', 'lightcone_snapshots_live',
    'lightcone_slow_calls_active', 'lightcone_procedures_active', 'lightcone_inbox_messages', 'lightcone_reads_active'])
    if (rest?.[name] !== 0) bad.push(`${name} is ${rest?.[name]} with nobody connected`);
  if (exit !== 0) bad.push(`the server ended with ${exit}`);
  for (const text of troubles) console.log(text);
  if (troubles.length) bad.push('something failed that should not have');
  console.log(bad.length ? `NOT STEADY: ${bad.join('; ')}` : 'steady');
  process.exit(bad.length ? 1 : 0);
}

await main();
