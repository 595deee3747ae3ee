// `make run` (tools/run): the chat is published and its owner may look inside, also the second time, and also for somebody
// whose saved token is of another server.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { freePort, lightcone, startServer, temporaryDirectory, top, until } from './harness.mjs';

let other, dir, env;
const groups = new Set();  // the script's and the server's

before(async () => {
  other = await startServer();
  dir = temporaryDirectory('run');
  env = { ...process.env, NO_COLOR: '1', HOME: dir, XDG_CONFIG_HOME: join(dir, 'config'), DATA: join(dir, 'data'), ADDR: `127.0.0.1:${await freePort()}` };
});
after(async () => {
  for (const pid of groups) {
    try {
      process.kill(-pid, 'SIGKILL');
    } catch {}  // it ended by itself, which the test has said
  }
  await other?.end();
  if (dir) rmSync(dir, { recursive: true, force: true });
});

const command = (file, ...words) => new Promise(resolve => {
  execFile(file, words, { cwd: top, env, timeout: 60_000 }, (error, stdout, stderr) =>
    resolve({ code: error ? (error.code ?? 'killed') : 0, text: stdout + stderr }));
});

async function run() {
  const child = spawn('tools/run', { cwd: top, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  groups.add(child.pid);
  const started = { child, said: '' };
  started.ended = new Promise(resolve => child.on('exit', (code, signal) => resolve(signal ?? code)));
  for (const stream of [child.stdout, child.stderr]) stream.on('data', text => (started.said += text));
  await until(() => {
    if (child.exitCode !== null) throw new Error(`tools/run ended:\n${started.said}`);
    return started.said.includes('Ctrl-C stops it.');
  }, 'the server to run', 300_000);
  return started;
}

// What it told us to type.
async function logs({ said }) {
  const [, words] = /^ +(build\/lightcone .*logs .*) -f$/m.exec(said);
  const [file, ...rest] = words.split(' ');
  return command(file, ...rest);
}

test('what was begun with an identity of its own goes on with it', async () => {
  assert.equal((await command(lightcone, 'login', '--server-issued-login', other.url)).code, 0);
  const first = await run();
  assert.doesNotMatch(first.said, /could not be published/);
  assert.equal((await logs(first)).code, 0);
  process.kill(-first.child.pid, 'SIGKILL');
  groups.delete(first.child.pid);
  await first.ended;

  const second = await run();
  assert.doesNotMatch(second.said, /could not be published/);
  const told = await logs(second);
  assert.equal(told.code, 0, told.text);
  second.child.kill('SIGTERM');
  assert.equal(await second.ended, 0);
  groups.delete(second.child.pid);
  assert.match(second.said, /Stopped\. Everything is in /);
});
