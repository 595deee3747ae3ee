// A running database is copied, and comes back: as it was copied, or as it was at a commit since.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, renameSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { lightcone } from './harness.mjs';
import { callOk, http, moduleCode, newIdentity, published, rows, startServer, within } from './support.mjs';

let server, ann, bob, identity, generation;
const names = async () => (await rows(server, 'main', 'SELECT name FROM person')).flat().toSorted();
const hire = name => callOk(server, 'main', 'hire', [name, 1]);

before(async () => {
  server = await startServer();
  ann = await newIdentity(server);
  bob = await newIdentity(server);
  identity = await published(server, 'main', moduleCode('probe'), { token: ann.token });
  const dir = join(server.dir, 'data/databases', identity);
  generation = join(dir, readdirSync(dir)[0]);
});
after(async () => {
  await server?.end();
});

async function stop(signal) {
  server.child.kill(signal);
  return within(server.ended, `the server to end on ${signal}`);
}

async function download(token) {
  const answer = await fetch(`${server.url}/v1/database/main/backup`, { headers: { authorization: `Bearer ${token}` } });
  return { status: answer.status, body: Buffer.from(await answer.arrayBuffer()) };
}

function restore(...words) {
  renameSync(join(generation, 'log'), join(server.dir, `log-${Date.now()}`));
  renameSync(join(generation, 'pages'), join(server.dir, `pages-${Date.now()}`));
  return execFileSync(lightcone, ['restore', ...words], { encoding: 'utf8' });
}

test('only the owner gets a copy', async () => {
  const answer = await download(bob.token);
  assert.notEqual(answer.status, 200);
});

test('a copy of a running database holds what was there when it was asked for, and comes back', async () => {
  for (let i = 0; i < 200; i++) await hire(`before ${i}`);
  const kept = await names();
  const writing = (async () => {
    for (let i = 0; i < 100; i++) await hire(`meanwhile ${i}`);
  })();
  const copy = await download(ann.token);
  await writing;
  assert.equal(copy.status, 200);
  const file = join(server.dir, 'main.backup');
  writeFileSync(file, copy.body);
  await hire('later');
  const later = await names();

  await stop('SIGKILL');
  const old = join(server.dir, 'old');
  mkdirSync(old);
  execFileSync('cp', ['-r', join(generation, 'log'), old]);
  const said = restore(file, generation);
  assert.match(said, /every commit below \d+/);
  await server.start();
  const back = await names();
  for (const name of kept) assert.ok(back.includes(name), name);
  assert.ok(!back.includes('later'));
  const end = Number(/below (\d+)/.exec(said)[1]);

  await stop('SIGTERM');
  assert.match(restore(file, generation, '--log', join(old, 'log')), /every commit below/);
  await server.start();
  assert.deepEqual(await names(), later);

  await stop('SIGTERM');
  assert.match(restore(file, generation, '--log', join(old, 'log'), '--to-offset', String(end)), new RegExp(`below ${end},`));
  await server.start();
  assert.deepEqual(await names(), back);
  await hire('and goes on');
});

test('check finds a directory in order, and says what is not', async () => {
  const check = () => spawnSync(lightcone, ['check', join(server.dir, 'data')], { encoding: 'utf8' });
  assert.match(check().stdout, /a server has this database open/);
  await stop('SIGTERM');
  const good = check();
  assert.equal(good.status, 0, good.stdout + good.stderr);
  assert.match(good.stdout, /in order: \d+ tables/);
  const pages = join(generation, 'pages');
  const bytes = readFileSync(pages);
  truncateSync(pages, 8192 * 4);
  const bad = check();
  assert.equal(bad.status, 1);
  assert.match(bad.stdout, /pages: at byte \d+: the file ends[^]*\n1 problem$/m);
  writeFileSync(pages, bytes);
  assert.equal(check().status, 0);
  await server.start();
  assert.ok((await names()).includes('and goes on'));
});

test('the command makes a copy that check and restore accept', async () => {
  const home = join(server.dir, 'home');
  mkdirSync(home);
  const file = join(server.dir, 'by-command.backup');
  const run = (...words) => spawnSync(lightcone, ['--root-dir', home, ...words], { encoding: 'utf8' });
  run('login', '--token', ann.token);
  const done = run('backup', '-s', server.url, 'main', '-o', file);
  assert.equal(done.status, 0, done.stdout + done.stderr);
  assert.match(done.stdout, /every commit below \d+/);
  assert.equal(run('backup', '-s', server.url, 'main', '-o', file).status, 1, 'nothing is overwritten');
  const answer = await http(server, 'GET', '/v1/metrics');
  assert.match(answer.text, /lightcone_checkpoints_total/);
});
