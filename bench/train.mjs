// train.mjs: a server's day in half a minute: what the optimised build learns from, and is tried with.
//
//   make optimized      or, when everything is built:  node bench/train.mjs PROGRAM [SECONDS]
//
// SECONDS  of each run of bench/load (1)
//
// PICTURE
//   transfers, inserts   modules in C and in TypeScript, 64 clients with 40 calls in flight and with one, protocols v3 and v2
//   beside subscribers   the same while each of 300 clients watches rows of its own and some watch a whole table
//   everything else      SQL over HTTP, procedures, views, schedules, refusals, joins: bench/modules/soak
//   a start              of what is there then, and once more after kill -9
//
// What has not run at all is compiled as ever, what has run as often as it did: so time decides how much of each is done.
// All of it is checked as well, by bench/load and here; the exit code is 1 if anything is wrong.
//
// Nothing is from outside this directory and its modules: a clone and what tools/deps installs are enough.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const top = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const program = resolve(process.argv[2] ?? join(top, 'build/lightcone'));
const seconds = Number(process.argv[3] ?? 1);
process.env.LIGHTCONE = program;  // whose server it is that these start
const { bundle, call, enc, http, newIdentity, published, session, sql, startServer, w } = await import('../tests/e2e/support.mjs');

const tool = [join(dirname(program), 'bench/load'), join(top, 'build/train/bench/load'), join(top, 'build/release/bench/load')].find(existsSync);
const source = module => readFileSync(join(top, 'bench/modules', module, 'src/index.ts'), 'utf8');

// Checks at its end that every account holds what the acknowledged calls have left there.
function load(server, database, ...words) {
  const args = ['--url', `127.0.0.1:${server.port}`, '--database', database, '--seconds', String(seconds), '--warmup', '0', ...words];
  return new Promise((done, failed) => {
    const child = spawn(tool, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    child.stdout.on('data', text => (said += text));
    child.stderr.on('data', text => (said += text));
    child.on('exit', code => (code === 0 ? done() : failed(new Error(`load ${words.join(' ')} ended with ${code}:\n${said}`))));
  });
}

async function calls(server, database) {
  for (const protocol of ['v3', 'v2'])
    for (const [scenario, ...words] of [['transfer'], ['transfer', '--in-flight', '1'], ['insert']])
      await load(server, database, '--protocol', protocol, '--scenario', scenario, ...words);
}

// Reads what comes, so that the server has somebody to send to.
async function watch(server, database, request, ...queries) {
  const socket = await session(server, database, { compression: request % 3 ? 'None' : 'Gzip' });
  socket.say(enc.subscribe(request, request, ...queries));
  assert.equal((await socket.nextOf('subscribed')).request, request);
  return socket;
}

async function watched(server, database) {
  const clients = [];
  for (let i = 0; i < 300; i++) clients.push(await watch(server, database, i, `SELECT * FROM account WHERE id = ${i * 333}`));
  await load(server, database, '--protocol', 'v3', '--scenario', 'transfer');
  const all = await watch(server, database, 1, 'SELECT * FROM account');
  await load(server, database, '--protocol', 'v3', '--scenario', 'transfer', '--connections', '4', '--in-flight', '4');
  assert.ok(clients.some(client => client.messages.some(message => message.kind === 'update')), 'nobody was told of anything');
  for (const client of [...clients, all]) client.drop();
}

function must(answer, what) {
  assert.equal(answer.status, 200, `${what}: ${answer.text}`);
  return answer;
}

const queries = [
  'SELECT COUNT(*) AS n FROM item', 'SELECT * FROM item WHERE bucket = 7', 'SELECT * FROM item WHERE slot < 2000', "SELECT slot FROM item WHERE text = 'no'",
  'SELECT item.* FROM item JOIN counter ON item.bucket = counter.id WHERE counter.value > 0',
];

async function everything(server) {
  const socket = await session(server, 'soak');
  const subscriber = await watch(server, 'soak', 2, 'SELECT * FROM item', 'SELECT * FROM first', 'SELECT * FROM mine', 'SELECT * FROM counter WHERE id = 3');
  const { token } = await newIdentity(server);
  for (const end = Date.now() + 5000 * seconds, slots = { next: 0 }; Date.now() < end; ) {
    for (let i = 0; i < 64; i++) socket.say(enc.call(i, i % 16 ? 'put' : 'refuse', i % 16 ? w().u32(slots.next++ * 7).u32(i * 20).done() : w().u32(i).done()));
    for (let i = 0; i < 64; i++) assert.equal(Boolean((await socket.nextOf('result')).internal), false);
    socket.say(enc.procedure(1, 'deposit', w().u32(3).done()));
    assert.equal(Boolean((await socket.nextOf('procedure')).internal), false);
    for (const query of queries) must(await sql(server, 'soak', query, token), query);
    must(await call(server, 'soak', 'once', [], token), 'once');
    subscriber.messages.splice(0);
  }
  subscriber.drop();
  await socket.bye();
}

async function count(server) {
  const [{ rows }] = must(await sql(server, 'c', 'SELECT COUNT(*) AS n FROM message'), 'rows').json;
  return Number(rows[0][0]);
}

async function day(server) {
  execFileSync(join(top, 'sdk/typescript/build'));
  const c = join(top, 'bench/modules/transfer-c');
  execFileSync(program, ['build', '--no-config', '-p', c]);
  const { token } = await newIdentity(server);
  must(await http(server, 'PUT', '/v1/database/c?host_type=Wasm', { token, body: readFileSync(join(c, 'build/module.wasm')) }), 'publish');
  await published(server, 'ts', bundle(source('transfer')), { token });
  await published(server, 'soak', bundle(source('soak')), { token });
  for (const database of ['c', 'ts']) {
    await calls(server, database);
    await watched(server, database);
  }
  await everything(server);
  const before = await count(server);
  assert.ok(before > 0);
  await server.stop();
  await server.start();
  assert.equal(await count(server), before);
  await load(server, 'c', '--protocol', 'v3', '--scenario', 'insert');
  const later = await count(server);
  await server.kill();
  await server.start();
  assert.equal(await count(server), later);
}

const server = await startServer();
try {
  await day(server);
} catch (error) {
  console.error(`${error.stack}\n${server.output}`);
  process.exitCode = 1;
}
await server.end();
