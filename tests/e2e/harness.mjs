// harness.mjs: servers, modules, clients and the command line for the end-to-end tests.
//
// A test gets a server of its own: a free port, a fresh data directory, its own cli.toml. Everything
// made on the way lies under build/test and is put away when the test ends well.
import { execFile, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const top = join(dirname(fileURLToPath(import.meta.url)), '../..');
export const lightcone = process.env.LIGHTCONE ?? join(top, 'build/lightcone');
const work = join(top, 'build/test');
mkdirSync(work, { recursive: true });

// Node 18, which Debian 12 has, is without it.
if (!Array.prototype.toSorted)
  Object.defineProperty(Array.prototype, 'toSorted', {
    value(compare) {
      return [...this].sort(compare);
    },
  });

export const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));

// Wait until `condition` gives something true, and give that.
export async function until(condition, what, ms = 10_000) {
  for (const end = Date.now() + ms; ; await sleep(10)) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited ${ms} ms in vain for ${what}`);
  }
}

export function temporaryDirectory(name) {
  return mkdtempSync(join(work, `${name}-`));
}

export async function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.on('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

// A random sequence that a printed seed repeats.
export function random(seed) {
  let state = BigInt(seed) || 1n;
  return () => {
    state ^= (state << 13n) & 0xffffffffffffffffn;
    state ^= state >> 7n;
    state ^= (state << 17n) & 0xffffffffffffffffn;
    return Number(state >> 11n) / 2 ** 53;
  };
}

// One request on a connection of its own: fetch keeps connections, also those that a killed server
// has left behind.
export function ask(url, { method = 'GET', headers = {}, body } = {}) {
  return new Promise((resolve, reject) => {
    const asking = request(url, { method, headers, agent: false }, async answer => {
      try {
        let text = '';
        for await (const piece of answer.setEncoding('utf8')) text += piece;
        resolve({ status: answer.statusCode, text });
      } catch (error) {
        reject(error);
      }
    });
    asking.on('error', reject);
    asking.end(body);
  });
}

export class Server {
  constructor(options = {}) {
    this.options = options;
    this.dir = options.dir ?? temporaryDirectory('server');
    this.output = '';
  }

  // Starts, or starts again on the same port and data after kill() or stop().
  async start() {
    this.port ??= await freePort();
    this.url = `http://127.0.0.1:${this.port}`;
    this.ws = `ws://127.0.0.1:${this.port}`;
    const words = ['start', '--listen-addr', `127.0.0.1:${this.port}`];
    words.push('--data-dir', join(this.dir, 'data'), ...(this.options.words ?? []));
    // `prefix` is a command that becomes the server: prlimit, setpriv.
    const [command, ...all] = [...(this.options.prefix ?? []), lightcone, ...words];
    const env = { ...process.env, ...this.options.env };
    this.child = spawn(command, all, { stdio: ['ignore', 'pipe', 'pipe'], env });
    let said = '';
    const hear = text => {
      said += text;
      this.output = (this.output + text).slice(-100_000);
    };
    this.child.stdout.on('data', hear);
    this.child.stderr.on('data', hear);
    const child = this.child;
    this.ended = new Promise(resolve => child.on('exit', (code, signal) => resolve({ code, signal })));
    await until(
      () => {
        if (child.exitCode !== null || child.signalCode !== null)
          throw new Error(`the server ended by itself:\n${said}`);
        return said.includes('Starting SpacetimeDB listening on ');
      },
      'the server to listen',
      60_000
    );
    return this;
  }

  async kill() {
    this.child.kill('SIGKILL');
    return this.ended;
  }

  async stop() {
    const child = this.child;  // by the time we lose patience it may be another one's turn
    child.kill('SIGINT');
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => {
        child.kill('SIGKILL');
        reject(new Error(`the server did not stop on SIGINT:\n${this.output.slice(-3000)}`));
      }, 10_000);
    });
    try {
      return await Promise.race([this.ended, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async end() {
    if (this.child.exitCode === null && this.child.signalCode === null) await this.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }

  // Run the command against this server. Never throws for an exit code.
  cli(...words) {
    return this.cliWith({}, ...words);
  }

  cliWith({ input = '', cwd = this.dir, env = {}, config = join(this.dir, 'cli.toml') }, ...words) {
    return new Promise(resolve => {
      const child = execFile(
        lightcone,
        ['--config-path', config, ...words],
        {
          cwd,
          env: { ...process.env, NO_COLOR: '1', HOME: this.dir, ...env },
          timeout: 60_000,
          maxBuffer: 64 << 20,
        },
        (error, stdout, stderr) => resolve({ code: error ? (error.code ?? 'killed') : 0, stdout, stderr })
      );
      child.stdin.on('error', () => {});  // it may have ended without reading
      child.stdin.end(input);
    });
  }

  async publish(name, bundle, ...words) {
    const path = bundle.endsWith('.wasm') ? '--bin-path' : '--js-path';
    const done = await this.cli('publish', name, path, bundle, '--server', this.url, '--yes', ...words);
    if (done.code !== 0) throw new Error(`publish failed:\n${done.stdout}${done.stderr}\n${this.output.slice(-2000)}`);
    return /identity: ([0-9a-f]{64})/.exec(done.stdout)[1];
  }

  async sql(database, query, token) {
    const { status, text } = await ask(`${this.url}/v1/database/${database}/sql`, {
      method: 'POST',
      body: query,
      headers: token ? { authorization: `Bearer ${token}` } : {},
    });
    if (status !== 200) throw new Error(`${status} ${text}`);
    return JSON.parse(text)[0].rows;
  }
}

export async function startServer(options) {
  return new Server(options).start();
}

// ---- modules and their bindings, built once a run

function newerThan(output, ...inputs) {
  if (!existsSync(output)) return false;
  const made = statSync(output).mtimeMs;
  return inputs.every(input => statSync(input).mtimeMs < made);
}

const examples = ['chat', 'game-c'];

// The bundle, or the wasm file, of a module in tests/modules or of an example.
export function moduleBundle(name) {
  const dir = examples.includes(name) ? join(top, 'examples', name, 'spacetimedb') : join(top, 'tests/modules', name);
  const inC = existsSync(join(dir, 'src')) && readdirSync(join(dir, 'src')).some(file => file.endsWith('.c'));
  const bundle = join(dir, inC ? 'build/module.wasm' : 'dist/bundle.js');
  const sources = inC
    ? [lightcone, ...readdirSync(join(dir, 'src')).map(file => join(dir, 'src', file))]
    : [join(dir, 'src/index.ts')];
  if (!newerThan(bundle, ...sources))
    execFileSync(lightcone, ['build', '--no-config', '-p', dir], { stdio: ['ignore', 'ignore', 'inherit'] });
  return bundle;
}

// Generated TypeScript for a bundle, compiled so that Node can import it. It lies in build/tools,
// where it finds the package that it is for.
export async function moduleBindings(name, sdk = 'spacetimedb') {
  const bundle = moduleBundle(name);
  const file = sdk === 'spacetimedb' ? name : `${name}-${sdk}`;
  const source = join(work, 'bindings', file);
  const compiled = join(top, 'build/tools/e2e', `${file}.mjs`);
  if (!newerThan(compiled, bundle, lightcone)) {
    const quiet = { stdio: ['ignore', 'ignore', 'inherit'] };
    execFileSync(
      lightcone,
      ['generate', '--no-config', '--yes', '--lang', 'typescript', '--sdk', sdk, bundle.endsWith('.wasm') ? '-b' : '-j', bundle, '-o', source],
      quiet
    );
    execFileSync(
      join(top, 'build/tools/node_modules/.bin/esbuild'),
      [join(source, 'index.ts'), '--bundle', '--format=esm', '--packages=external', '--log-level=warning', `--outfile=${compiled}`],
      quiet
    );
  }
  return import(compiled);
}

// ---- clients

// A connected client of the npm package. `lost` resolves when the connection ends.
export async function connect(bindings, server, database, token) {
  let lose;
  const lost = new Promise(resolve => (lose = resolve));
  return new Promise((resolve, reject) => {
    bindings.DbConnection.builder()
      .withUri(server.ws)
      .withDatabaseName(database)
      .withToken(token)
      .withCompression('none')
      .onConnect((connection, identity, newToken) =>
        resolve({ connection, identity, token: newToken, lost, db: connection.db, reducers: connection.reducers })
      )
      .onConnectError((_ctx, error) => reject(error))
      .onDisconnect((_ctx, error) => lose(error))
      .build();
  });
}

// Subscribe and wait for the first rows. Gives the handle.
export async function subscribe(client, ...queries) {
  return new Promise((resolve, reject) => {
    const handle = client.connection
      .subscriptionBuilder()
      .onApplied(() => resolve(handle))
      .onError(ctx => reject(ctx.event ?? new Error('subscription failed')))
      .subscribe(queries);
  });
}
