// Our client where it says it runs: one program of a user's, unchanged, in Node, Deno and Bun. It connects, calls,
// is refused, loses its server and gets it back, keeps its identity, and ends when it has nothing more to do.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { lightcone, moduleBindings, moduleBundle, startServer, temporaryDirectory, top, until } from './harness.mjs';

const app = temporaryDirectory('runtimes');
const modules = join(top, 'build/runtimes/node_modules');
const [deno, bun] = process.arch === 'arm64' ? ['linux-arm64-glibc', 'bun-linux-aarch64'] : ['linux-x64-glibc', 'bun-linux-x64'];

// Deno finds no `./types` where there is a `./types.ts` unless it is told to look for it.
const runtimes = {
  node: { commands: [process.execPath], words: [join(app, 'client.mjs')] },
  deno: { commands: [join(modules, '@deno', deno, 'deno'), 'deno'], words: ['run', '--quiet', '--allow-net', '--sloppy-imports', join(app, 'client.ts')] },
  bun: { commands: [join(modules, '@oven', bun, 'bin/bun'), 'bun'], words: ['run', join(app, 'client.ts')] },
};
for (const runtime of Object.values(runtimes))
  runtime.command = runtime.commands.find(command => spawnSync(command, ['--version']).status === 0);

let server;

before(async () => {
  server = await startServer();
  mkdirSync(join(app, 'node_modules/lightcone'), { recursive: true });
  for (const part of ['package.json', 'dist']) cpSync(join(top, 'sdk/typescript', part), join(app, 'node_modules/lightcone', part), { recursive: true });
  writeFileSync(join(app, 'package.json'), '{ "private": true, "type": "module" }\n');
  copyFileSync(join(top, 'tests/runtimes/client.ts'), join(app, 'client.ts'));
  execFileSync(lightcone, ['generate', '--no-config', '--yes', '--lang', 'typescript', '--js-path', moduleBundle('chat'), '--out-dir', join(app, 'module_bindings')], { stdio: 'ignore' });
  execFileSync(join(top, 'build/tools/node_modules/.bin/esbuild'), [join(app, 'client.ts'), '--bundle', '--format=esm', '--packages=external', '--log-level=warning', `--outfile=${join(app, 'client.mjs')}`]);
});
after(async () => {
  await server?.end();
  rmSync(app, { recursive: true, force: true });
});

class Program {
  constructor({ command, words }, ...more) {
    this.child = spawn(command, [...words, ...more], { cwd: app, env: { ...process.env, DENO_NO_UPDATE_CHECK: '1', DENO_DIR: join(app, 'deno') } });
    this.said = '';
    for (const stream of [this.child.stdout, this.child.stderr]) stream.on('data', text => (this.said += text));
    this.ended = new Promise(resolve => this.child.on('exit', (code, signal) => resolve(code ?? signal)));
  }
  async says(words) {
    const pattern = new RegExp(`^${words}.*$`, 'm');
    await until(() => pattern.test(this.said), words, 30_000).catch(error => {
      throw new Error(`${error.message}\nIt said:\n${this.said}`);
    });
    return pattern.exec(this.said)[0].split(' ');
  }
  times(line) {
    return this.said.split('\n').filter(said => said === line).length;
  }
}

for (const [name, runtime] of Object.entries(runtimes)) {
  const skip = runtime.command ? false : `${name} is not installed (tools/deps test does it)`;

  test(`${name}: connects, calls, and finds its server again`, { skip }, async () => {
    const database = `chat-${name}`;
    await server.publish(database, moduleBundle('chat'));
    const { DbConnection } = await moduleBindings('chat', 'lightcone');
    const other = await new Promise((resolve, reject) =>
      DbConnection.builder().withUri(server.ws).withDatabaseName(database).onConnect(resolve).onConnectError((_context, error) => reject(error)).build()
    );
    const long = Array.from({ length: 200 }, (_, i) => `word ${i % 50}`).join(' ');
    for (let i = 0; i < 20; i++) await other.reducers.sendMessage({ text: `${100 + i} ${long}` }); // more than the server sends plain
    const one = new Program(runtime, server.ws, database);
    try {
      const [, identity, token] = await one.says('connected ');
      await one.says('applied 2');
      await one.says('named ');
      await one.says('refused SenderError: Messages must not be empty');
      await one.says(`message ${long.length + 4}`);
      await one.says('message first of mine');
      await other.reducers.sendMessage({ text: 'hello' });
      await one.says('message hello');

      await server.kill();
      await one.says('lost');
      await server.start();
      assert.equal((await one.says('reconnected '))[1], identity, 'the same one as before');
      await one.says('message after');
      await other.reducers.sendMessage({ text: 'goodbye' });
      await one.says('twice 0');
      assert.equal(await one.ended, 0, one.said);
      for (const line of ['message first of mine', 'message hello', 'message after', 'lost']) assert.ok(one.times(line) >= 1, line);

      const again = new Program(runtime, server.ws, database, token);
      assert.equal((await again.says('connected '))[1], identity, 'a token brings it back');
      await again.ended;
    } finally {
      one.child.kill('SIGKILL');
      other.disconnect();
    }
  });

  test(`${name}: is told when there is no such database, and ends`, { skip }, async () => {
    const one = new Program(runtime, server.ws, 'no-such-database');
    await one.says('error .*404.*`no-such-database` not found');
    assert.equal(await one.ended, 0, one.said);
    assert.equal(one.said.split('error ').length, 2, one.said);
  });

  test(`${name}: is told when its token is no token, and ends`, { skip }, async () => {
    const one = new Program(runtime, server.ws, `chat-${name}`, 'nonsense');
    await one.says('error .*token');
    assert.equal(await one.ended, 0, one.said);
  });
}
