// run.mjs: the server beside the ideal one, in turn, on this machine and in this minute.
//
//   make bench [ONLY=insert|interference]   or, when everything is built:  ONLY=insert bench/run
//
// ONLY     run the scenarios whose name contains this; wasm, javascript, library (ours and npm's for modules in
//          TypeScript, each kind of call), live (subscriptions), store
//          (beside LMDB and SQLite) and restart (10 M rows after kill -9) are without a server,
//          fanout is one update to ten thousand clients
// SECONDS_EACH  measured seconds of one run (5)
// ROUNDS   alternations; the table shows medians, `spread` is (max - min) / median (3)
// BUILD    optimized: measure build/optimized/lightcone, which packages have (make optimized), instead of the build of
//          every day. Which one it was stands under the table and in latest.json. Engines by themselves are always the latter.
// KEEP=1   leave the servers' data and output in build/bench/work
//
// Prints a table and writes build/bench/latest.json:
//   [{scenario, name, value, unit, budget, met, spread, build, command}]   budget and met may be null
// Exits with 1 when a run fails or its checks do; a missed budget is printed, not fatal.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fairness } from './fairness.mjs';
import { interference } from './interference.mjs';
import { sdk } from './sdk.mjs';
import { bundle, onOurLibrary } from '../tests/e2e/support.mjs';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const out = join(root, 'build/bench');
const work = join(out, 'work');
const tool = name => join(root, 'build/release/bench', name);
const build = process.env.BUILD || 'release';
const lightcone = join(root, 'build', build, 'lightcone');
const modules = { // by the name of their database
  'interference': join(root, 'bench/modules/interference'),
  'bench': join(root, 'bench/modules/transfer'),
  'bench-c': join(root, 'bench/modules/transfer-c'),
  'bench-npm': join(root, 'bench/modules/transfer'), // the same source on the npm module library
};

const seconds = process.env.SECONDS_EACH || '5';
const rounds = Number(process.env.ROUNDS || 3);
const only = process.env.ONLY || '';

// A budget is a function of the figures so far: {met, text}, or null where there is none.
const atLeast = min => ({ text: `>= ${min}`, met: value => value >= min });
const atMost = max => ({ text: `<= ${max}`, met: value => value <= max });
const scenarios = [
  { name: 'insert', args: ['--scenario', 'insert'], rate: atLeast(80000) },
  { name: 'insert-v2', args: ['--scenario', 'insert', '--protocol', 'v2'], rate: null },
  { name: 'transfer', args: ['--scenario', 'transfer'], rate: atLeast(200000) },
  { name: 'transfer-npm', database: 'bench-npm', args: ['--scenario', 'transfer'], rate: null },
  { name: 'transfer-zipf', args: ['--scenario', 'transfer', '--zipf', '1.5'], rate: null },
  { name: 'transfer-c', database: 'bench-c', args: ['--scenario', 'transfer'], rate: atLeast(1000000) },
  { name: 'transfer-c-one-in-flight', database: 'bench-c', args: ['--scenario', 'transfer', '--in-flight', '1'], rate: atLeast(100000) },
  { name: 'insert-one-in-flight', args: ['--scenario', 'insert', '--in-flight', '1'], rate: null },
  { name: 'insert-idle', args: ['--scenario', 'insert', '--connections', '1', '--in-flight', '1'], rate: null },
];

const running = new Set();
function fail(why) {
  console.error(`bench: ${why}`);
  for (const child of running) child.kill('SIGKILL');
  process.exit(1);
}
process.on('SIGINT', () => fail('interrupted'));

function freePort() {
  return new Promise(done => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}

async function answers(url) {
  for (let tries = 0; tries < 200; tries++) {
    try {
      await fetch(url);
      return true;
    } catch {
      await new Promise(done => setTimeout(done, 50));
    }
  }
  return false;
}

// Start a server, wait until it answers; its output goes to build/bench/work/NAME.log.
async function start(name, command, args, port) {
  const log = openSync(join(work, `${name}.log`), 'w');
  const child = spawn(command, args, { cwd: work, stdio: ['ignore', log, log] });
  running.add(child);
  child.on('exit', code => {
    if (running.delete(child)) fail(`${name} ended with ${code}: see ${join(work, `${name}.log`)}`);
  });
  if (!(await answers(`http://127.0.0.1:${port}/v1/ping`))) fail(`${name} does not answer`);
  return { name, child, url: `127.0.0.1:${port}` };
}

function stop(server) {
  return new Promise(done => {
    running.delete(server.child);
    server.child.once('exit', done);
    server.child.kill('SIGTERM');
  });
}

function run(command, args, options = {}) {
  const result = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 26, ...options });
  if (result.status !== 0)
    fail(`${command} ${args.join(' ')}\n${result.stdout}${result.stderr}`);
  return result.stdout;
}

function load(server, scenario, verify) {
  const args = ['--url', server.url, '--database', scenario.database ?? 'bench', '--protocol', 'v3'];
  args.push('--seconds', seconds, '--warmup', '1', '--json', ...scenario.args);
  if (!verify) args.push('--no-verify');
  const figures = {};
  for (const figure of JSON.parse(run(tool('load'), args))) figures[figure.name] = figure.value;
  return figures;
}

const sorted = values => [...values].sort((a, b) => a - b);
const median = values => sorted(values)[Math.floor(values.length / 2)];
function spread(values) {
  const all = sorted(values);
  return median(all) ? (all[all.length - 1] - all[0]) / median(all) : 0;
}

async function startIdeal() {
  const port = await freePort();
  return start('ideal', tool('ideal'), ['--port', String(port), '--file', join(work, 'ideal.log.data')], port);
}

async function startServer(words = []) {
  const port = await freePort();
  return start('lightcone', lightcone,
    ['--root-dir', join(work, 'root'), 'start', '--listen-addr', `127.0.0.1:${port}`, '--data-dir', join(work, 'data'), ...words], port);
}

// Our package for a module in TypeScript; what somebody has installed beside it stays.
function findPackages(moduleDir) {
  run(join(root, 'sdk/typescript/build'), []);
  const packages = join(moduleDir, 'node_modules');
  if (!existsSync(packages)) symlinkSync(join(root, 'build/tools/node_modules'), packages);
  else if (!existsSync(join(packages, 'lightcone'))) symlinkSync(join(root, 'sdk/typescript'), join(packages, 'lightcone'));
}

function publish(server, database) {
  const moduleDir = modules[database];
  const what = ['--module-path', moduleDir];
  if (existsSync(join(moduleDir, 'package.json'))) findPackages(moduleDir);
  if (database === 'bench-npm') {
    const code = bundle(readFileSync(join(moduleDir, 'src/index.ts'), 'utf8'), '--alias:lightcone=spacetimedb');
    what.splice(0, 2, '--js-path', join(work, 'npm.js'));
    writeFileSync(what[1], code);
  }
  run(lightcone, ['--root-dir', join(work, 'root'), 'publish', database, ...what, '--server', `http://${server.url}`, '--yes']);
}

async function startLightcone(databases) {
  const server = await startServer();
  for (const database of databases) publish(server, database);
  return server;
}

const results = [];
function record(scenario, name, values, unit, budget = null, command = `make bench ONLY=${scenario}`) {
  const value = median(values);
  results.push({
    scenario, name, value, unit,
    budget: budget ? budget.text : null,
    met: budget ? budget.met(value) : null,
    spread: Number(spread(values).toFixed(3)),
    build: Object.hasOwn(engines, scenario) ? 'release' : build,
    command: build === 'release' ? command : `BUILD=${build} ${command}`,
  });
  return value;
}

function table() {
  const short = value => (value >= 100 ? value.toFixed(0) : value.toFixed(2));
  const rows = results.map(r => [
    r.scenario, r.name, short(r.value), r.unit, r.budget ?? '',
    r.met === null ? '' : r.met ? 'met' : 'MISSED', `${(100 * r.spread).toFixed(0)} %`,
  ]);
  rows.unshift(['scenario', 'figure', 'median', 'unit', 'budget', '', 'spread']);
  const widths = rows[0].map((_, i) => Math.max(...rows.map(row => row[i].length)));
  for (const row of rows)
    console.log(row.map((cell, i) =>
      i === 2 ? cell.padStart(widths[i]) : cell.padEnd(widths[i])).join('  ').trimEnd());
}

// The engines by themselves, without a server. Their programs take medians of their own.
const engines = {
  wasm: { tool: 'wasm', budgets: { 'a reducer call with four host calls': atMost(100), 'an instance, made and freed': atMost(10) } },
  javascript: { tool: 'host', budgets: {} },
  library: { tool: 'library', words: libraries, budgets: { 'transfer, alone: ours / npm': atMost(1), 'transfer, mixed: ours / npm': atMost(1) } },
  live: {
    tool: 'live', args: ['1000000'], budgets: {
      'WHERE id =: of 1000000 / of one': atMost(1.2),
      'a join: of 1000000 / of one': atMost(1.2),
    },
  },
  store: {
    tool: 'store', args: ['1000000', out], budgets: {
      'point read / LMDB': atMost(0.5),
      'update, 1,000 a transaction / LMDB': atMost(0.333),
      'update and commit / LMDB': atMost(0.333),
      "memory / a row's bytes and its key's, ascending": atMost(1.5),
      "memory / a row's bytes and its key's, scattered": atMost(1.5),
    },
  },
  restart: {
    tool: 'restart', args: ['10000000', out], budgets: {
      'opened after kill -9 at the end of the load': atMost(2000),
      'opened after kill -9 amid transfers, the slowest': atMost(2000),
      "a page read / the disk's own": atMost(1.5),
      'pages in memory / the limit': atMost(1.05),
    },
  },
};
// The same source on our module library and on npm's.
function libraries() {
  run(join(root, 'sdk/typescript/build'), []);
  const source = readFileSync(join(root, 'bench/modules/library/src/index.ts'), 'utf8');
  const files = { 'library-ours.js': onOurLibrary(), 'library-npm.js': ['--alias:lightcone=spacetimedb'] };
  return Object.entries(files).map(([name, words]) => {
    writeFileSync(join(out, name), bundle(source, ...words));
    return join(out, name);
  });
}
function engine(scenario) {
  const { tool: program, args = [], words = () => [], budgets } = engines[scenario];
  mkdirSync(out, { recursive: true });
  process.stderr.write(`${scenario}\n`);
  for (const { name, value, unit } of JSON.parse(run(tool(program), ['--json', ...args, ...words()])))
    record(scenario, name, [value], unit, budgets[name] ?? null);
}

// What one client that misbehaves does to another's latency: the ratio of the two is taken within a round.
async function fair() {
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  const server = await startServer();
  const ideal = await startIdeal();
  const at = ({ url }) => ({ url: `http://${url}`, port: Number(url.split(':')[1]) });
  const figures = await fairness(at(server), at(ideal),
    { seconds: Number(seconds), rounds, load: loadBeside, tool: tool('load') });
  await stop(server);
  await stop(ideal);
  for (const [kind, rows] of Object.entries(figures)) {
    const all = (side, what) => rows.map(row => row[side][what]);
    const ratio = what => rows.map(row => row.beside[what] / row.alone[what]);
    record('fairness', `${kind}: p50 alone`, all('alone', 'p50'), 'ms');
    record('fairness', `${kind}: p50 beside it / alone`, ratio('p50'), 'ratio');
    record('fairness', `${kind}: p99 alone`, all('alone', 'p99'), 'ms');
    record('fairness', `${kind}: the client itself waited, beside it`, all('beside', 'waited'), '%');
    if (rows[0].rate >= 0) record('fairness', `${kind}: its rate`, rows.map(row => row.rate), '1/s');
    record('fairness', `${kind}: p99 beside it / alone`, ratio('p99'), 'ratio', kind === 'elsewhere' ? null : atMost(2));
    if (kind === 'elsewhere') continue;
    const control = figures.elsewhere.map(row => row.beside.p99);
    record('fairness', `${kind}: p99 beside it / beside a flood elsewhere`, rows.map((row, i) => row.beside.p99 / control[i]), 'ratio');
  }
}

// One update to ten thousand clients, against ten thousand bare writes: bench/fanout takes the two in turn
// and gives a median a run; its ratio is taken within a round.
async function fanOut() {
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  const server = await startServer();
  publish(server, 'bench-c');
  const args = ['--url', server.url, '--database', 'bench-c', '--pid', String(server.child.pid), '--json', '--rounds', '1'];
  const figures = new Map();
  for (let round = 0; round < rounds; round++)
    for (const { name, value, unit } of JSON.parse(run(tool('fanout'), args)))
      figures.set(name, { unit, values: [...(figures.get(name)?.values ?? []), value] });
  await stop(server);
  for (const [name, { values, unit }] of figures)
    record('fanout', name, values, unit, name.endsWith('ratio') ? atMost(1.5) : null);
}

function finish() {
  table();
  console.log(`the server's build: ${build}`);
  mkdirSync(out, { recursive: true });
  writeFileSync(join(out, 'latest.json'), JSON.stringify(results, null, 1) + '\n');
  console.log(`written to ${join('build/bench', 'latest.json')}`);
}

// bench/load beside what else goes on here; its figures by name.
async function loadBeside(words) {
  const child = spawn(tool('load'), [...words, '--json', '--no-verify'], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  for await (const piece of child.stdout.setEncoding('utf8')) text += piece;
  return Object.fromEntries(JSON.parse(text).map(({ name, value }) => [name, value]));
}

// The transfers of interference.mjs.
const measureTransfers = (server, each) => loadBeside(['--url', server.url, '--database', 'interference', '--protocol', 'v3',
  '--scenario', 'transfer', '--connections', '16', '--in-flight', '1', '--warmup', '0.5', '--seconds', String(each)]);

async function runInterference() {
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  const server = await startServer(['--outbound-http', 'all']);
  publish(server, 'interference');
  await interference({ server, record, measure: seconds => measureTransfers(server, seconds), rounds, atMost });
  await stop(server);
  finish();
  if (!process.env.KEEP) rmSync(work, { recursive: true, force: true });
}

async function main() {
  if (only === 'interference') return runInterference();
  const chosen = scenarios.filter(s => s.name.includes(only));
  const alone = Object.keys(engines).filter(name => name.includes(only));
  alone.forEach(engine);
  if ('sdk'.includes(only)) await sdk({ record, rounds, atLeast, atMost });
  const fairly = 'fairness'.includes(only);
  if (fairly) await fair();
  const fanned = 'fanout'.includes(only);
  if (fanned) await fanOut();
  if (!chosen.length && (alone.length || fairly || fanned || 'sdk'.includes(only))) return finish();
  if (!chosen.length) fail(`no scenario's name contains "${only}"`);
  for (const needed of [lightcone, tool('load'), tool('ideal'), tool('fsync')])
    if (!existsSync(needed)) fail(`${needed} is not built: use make ${needed === lightcone && build !== 'release' ? build : 'bench'}`);
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });

  const ideal = await startIdeal();
  const server = await startLightcone(new Set(chosen.map(s => s.database ?? 'bench')));
  const sync = [];
  const runs = new Map(chosen.map(s => [s.name, { ideal: [], ours: [] }]));
  for (let round = 0; round < rounds; round++) {
    const args = ['--file', join(work, 'fsync.tmp'), '--count', '500', '--json'];
    sync.push(JSON.parse(run(tool('fsync'), args))[0].value);
    // Forth and back, so that none always has the same one before it.
    for (const scenario of round % 2 ? [...chosen].reverse() : chosen) {
      runs.get(scenario.name).ideal.push(load(ideal, scenario, false));
      runs.get(scenario.name).ours.push(load(server, scenario, true));
      process.stderr.write(`round ${round + 1}/${rounds} ${scenario.name}\n`);
    }
  }
  await stop(server);
  await stop(ideal);

  // Ratios are taken within a round, then their median: the machine's mood cancels out.
  const ratios = (above, below) => above.map((value, i) => value / below[i]);
  record('fdatasync', 'p50', sync, 'us', null, 'build/release/bench/fsync --count 500');
  for (const { name, rate } of chosen) {
    const { ideal: floor, ours } = runs.get(name);
    const of = (list, figure) => list.map(figures => figures[figure]);
    record(name, 'throughput', of(ours, 'throughput'), 'calls/s', rate);
    record(name, 'throughput of ideal', of(floor, 'throughput'), 'calls/s');
    record(name, 'share of ideal', ratios(of(ours, 'throughput'), of(floor, 'throughput')), 'ratio');
    record(name, 'latency p50', of(ours, 'latency_p50'), 'us');
    record(name, 'latency p99', of(ours, 'latency_p99'), 'us');
    record(name, 'latency p50 of ideal', of(floor, 'latency_p50'), 'us');
    if (name === 'insert-idle')
      record(name, 'latency p50 / fdatasync p50', ratios(of(ours, 'latency_p50'), sync), 'ratio', atMost(2));
  }
  const rates = name => runs.get(name)?.ours.map(figures => figures.throughput);
  if (rates('transfer') && rates('transfer-npm'))
    record('transfer-npm', "throughput of our library / npm's", ratios(rates('transfer'), rates('transfer-npm')),
      'ratio', null, 'make bench ONLY=transfer');
  if (rates('transfer') && rates('transfer-zipf'))
    // Two figures of a noisy machine: within a twentieth they are the same.
    record('transfer-zipf', 'throughput / uniform', ratios(rates('transfer-zipf'), rates('transfer')),
      'ratio', atLeast(0.95), 'make bench ONLY=transfer');
  finish();
  if (!process.env.KEEP) rmSync(work, { recursive: true, force: true });
}

await main();
