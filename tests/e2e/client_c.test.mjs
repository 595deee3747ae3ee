// The client in C as people meet it: examples/chat-c, built with sanitizers by the machine's compiler, two of
// them in a room with the npm client; a server that is killed under them; TLS; and what `generate --lang c`
// makes of other modules, as the compiler sees it.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect, lightcone, moduleBindings, moduleBundle, Server, startServer, subscribe, temporaryDirectory, top, until } from './harness.mjs';

const dir = temporaryDirectory('client-c');
const program = join(dir, 'plain/chat-c');
const sanitize = '-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -Werror';
let server, chat;
const open = [];

function build(out, env = {}) {
  const words = { BUNDLE: moduleBundle('chat'), CFLAGS: sanitize, ...env };
  execFileSync(join(top, 'examples/chat-c/build'), [join(dir, out)], { env: { ...process.env, ...words }, stdio: ['ignore', 'inherit', 'inherit'] });
}

before(async () => {
  chat = await moduleBindings('chat');
  build('plain');
  server = await startServer();
  await server.publish('chat', moduleBundle('chat'));
});
after(async () => {
  for (const one of open) one.end();
  await server?.end();
  rmSync(dir, { recursive: true, force: true });
});

// A terminal with the chat in it.
class Terminal {
  constructor(words, { env = {}, path = program, url = server.url } = {}) {
    this.child = spawn(path, [...words, url], { env: { ...process.env, ...env } });
    this.screen = '';
    for (const stream of [this.child.stdout, this.child.stderr]) stream.on('data', text => (this.screen += text));
    this.ended = new Promise(resolve => this.child.on('exit', (code, signal) => resolve(code ?? signal)));
    open.push(this);
  }
  type(line) {
    this.child.stdin.write(`${line}\n`);
  }
  async sees(text, ms) {
    await until(() => this.screen.includes(text), JSON.stringify(text), ms).catch(error => {
      throw new Error(`${error.message}\nThe screen:\n${this.screen}`);
    });
  }
  times(text) {
    return this.screen.split(text).length - 1;
  }
  async leaves() {
    this.child.stdin.end();
    const code = await this.ended;
    assert.doesNotMatch(this.screen, /Sanitizer|runtime error/);
    return code;
  }
  end() {
    this.child.kill('SIGKILL');
  }
}

test('two terminals and an npm client see each other come, speak and go', async () => {
  const cy = await connect(chat, server, 'chat');
  open.push({ end: () => cy.connection.disconnect() });
  await subscribe(cy, 'SELECT * FROM user', 'SELECT * FROM message');
  await cy.reducers.setName({ name: 'Cy' });
  await cy.reducers.sendMessage({ text: 'early' });

  const ann = new Terminal(['--name', 'Ann']);
  await ann.sees('Cy: early');
  await ann.sees('is now Ann');
  const bob = new Terminal(['--name', 'Bob']);
  await ann.sees('is now Bob');
  bob.type('hello');
  await ann.sees('Bob: hello');
  await bob.sees('Bob: hello');
  await until(() => [...cy.db.message.iter()].some(row => row.text === 'hello'), 'the message at the npm client');
  await cy.reducers.sendMessage({ text: 'grüße' });
  for (const one of [ann, bob]) await one.sees('Cy: grüße');
  assert.equal(await bob.leaves(), 0);
  await ann.sees('* Bob left');
  assert.equal(await ann.leaves(), 0);
  assert.equal(ann.times('Bob: hello'), 1);
});

test('a reducer that refuses says so to the one who asked', async () => {
  const ann = new Terminal([]);
  await ann.sees('* connected');
  ann.type(`/name ${'x'.repeat(33)}`);
  await ann.sees('! Names must not be longer than 32 characters');
  assert.equal(await ann.leaves(), 0);
});

test('a token brings the same person back', async () => {
  const words = ['--token-file', join(dir, 'token')];
  const first = new Terminal([...words, '--name', 'Dora']);
  await first.sees('is now Dora');
  assert.equal(await first.leaves(), 0);
  assert.ok(readFileSync(join(dir, 'token'), 'utf8').length > 100);
  const again = new Terminal(words);
  await again.sees('* connected');
  again.type('it is me');
  await again.sees('Dora: it is me');
  assert.equal(await again.leaves(), 0);
});

test('a server that is killed and comes back finds its clients again, and they miss nothing', async () => {
  const ann = new Terminal(['--name', 'Eve']);
  await ann.sees('is now Eve');
  const bob = new Terminal(['--name', 'Fay']);
  await ann.sees('is now Fay');
  await bob.sees('is now Fay');
  ann.type('before');
  for (const one of [ann, bob]) await one.sees('Eve: before');
  await server.kill();
  for (const one of [ann, bob]) await one.sees('; again in ');
  ann.type('while away');  // waits for the next connection
  await server.start();
  for (const one of [ann, bob]) {
    await one.sees('Eve: while away', 30_000);
    await until(() => one.times('* connected') === 2, 'the second connection', 30_000);
  }
  bob.type('after');
  for (const one of [ann, bob]) await one.sees('Fay: after');
  for (const one of [ann, bob])
    for (const said of ['Eve: before', 'Eve: while away', 'Fay: after']) assert.equal(one.times(said), 1, `${said}\n${one.screen}`);
  assert.equal(await ann.leaves(), 0);
  assert.equal(await bob.leaves(), 0);
});

test('a database that does not exist is the end, and the reason is said', async () => {
  const child = spawn(program, [server.url, 'nowhere']);
  let screen = '';
  child.stdout.on('data', text => (screen += text));
  assert.equal(await new Promise(resolve => child.on('exit', resolve)), 1);
  assert.match(screen, /! the server refused \(404\): `nowhere` not found/);
});

test('over TLS, with a server that somebody vouches for and with no other', async () => {
  const cert = join(dir, 'cert.pem'), key = join(dir, 'key.pem');
  const words = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=x'];
  execFileSync('openssl', [...words, '-keyout', key, '-out', cert, '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'], { stdio: 'ignore' });
  build('tls', { TLS: '1' });
  const secure = await new Server({ words: ['--tls-cert', cert, '--tls-key', key] }).start();
  try {
    secure.url = `https://127.0.0.1:${secure.port}`;
    const done = await secure.cliWith({ env: { SSL_CERT_FILE: cert } }, 'publish', 'chat', '--js-path', moduleBundle('chat'), '--server', secure.url, '--yes');
    assert.equal(done.code, 0, done.stderr);
    const path = join(dir, 'tls/chat-c');
    const ann = new Terminal(['--name', 'Gil'], { path, url: secure.url, env: { CHAT_CA_FILE: cert } });
    await ann.sees('is now Gil');
    ann.type('in secret');
    await ann.sees('Gil: in secret');
    const named = new Terminal([], { path, url: `https://localhost:${secure.port}`, env: { CHAT_CA_FILE: cert } });
    await named.sees('Gil: in secret');
    assert.equal(await named.leaves(), 0);
    const stranger = new Terminal([], { path, url: secure.url });
    await stranger.sees('self-signed certificate');
    stranger.end();
    assert.equal(await ann.leaves(), 0);
    const plain = new Terminal([], { url: secure.url });  // built without TLS
    assert.equal(await plain.ended, 1);
    assert.match(plain.screen, /bad argument/);
  } finally {
    await secure.end();
  }
});

// ── every type, procedures and queries ───────────────────────────────────────────────────────────

const typesProgram = `
#include <stdio.h>
#include <string.h>
#include "conf.h"

static int left = 3;

static void counters(LcClient *client, const LcResult *result, const ConfCounter *const *rows, size_t count, void *context) {
    (void)client, (void)context, (void)rows;
    printf("query %d %zu\\n", result->status, count);
    left--;
}
static void bad(LcClient *client, const LcResult *result, const ConfCounter *const *rows, size_t count, void *context) {
    (void)client, (void)context, (void)rows;
    printf("bad %d %zu %d\\n", result->status, count, result->message.len > 0);
    left--;
}
static void done(LcClient *client, const LcResult *result, void *context) {
    (void)client;
    printf("%s %d %.*s\\n", (const char *)context, result->status, LC_ARG(result->message));
    left--;
}
int main(int argc, char **argv) {
    LcClient *client;
    LcOptions options = {.url = argv[argc - 1], .database = "conf", .module = &conf_module};
    if (lc_client_open(&options, &client)) return 1;
    if (lc_subscribe(client, &(LcSubscribe){.query = "SELECT * FROM counter"}, NULL)) return 1;
    if (conf_counter_query(client, "SELECT * FROM counter", counters, NULL)) return 1;
    if (conf_counter_query(client, "SELECT nonsense", bad, NULL)) return 1;
    if (lc_call_reducer(client, "no_such_reducer", &lc_type_unit, NULL, done, "missing")) return 1;
    while (left > 0 && lc_client_poll(client, 10000) == LC_OK) {}
    lc_client_close(client);
    while (lc_client_poll(client, 2000) == LC_OK) {}
    lc_client_free(&client);
    return left;
}
`;

function generate(name, prefix, out) {
  const file = moduleBundle(name);
  mkdirSync(out, { recursive: true });
  const from = file.endsWith('.wasm') ? '--bin-path' : '--js-path';
  execFileSync(lightcone, ['generate', '--no-config', '--yes', '--lang', 'c', '--namespace', prefix, from, file, '--out-dir', out], { stdio: ['ignore', 'ignore', 'inherit'] });
  return file;
}

const sdk = join(top, 'sdk/client-c');
const partsOfClient = () => readdirSync(join(sdk, 'src')).filter(name => name.endsWith('.c')).map(name => join(sdk, 'src', name));

test('queries and refusals reach a program with its own small loop', async () => {
  const out = join(dir, 'conf');
  await server.publish('conf', generate('conformance-c', 'conf', out));
  writeFileSync(join(out, 'main.c'), typesProgram);
  const whole = join(top, 'build/client-c/lightcone_client.c'), parts = partsOfClient();
  for (const [name, files] of [['whole', [whole]], ['parts', parts]]) {
    execFileSync('cc', ['-std=c17', ...sanitize.split(' '), '-Wall', '-Wextra', '-I', sdk, '-I', out, '-o', join(out, name), join(out, 'main.c'), join(out, 'conf.c'), ...files]);
    const said = execFileSync(join(out, name), [server.url.replace('127.0.0.1', 'localhost')], { encoding: 'utf8', timeout: 60_000 });
    assert.deepEqual(said.trim().split('\n').sort(), ['bad 2 0 1', 'missing 2 no such reducer', 'query 0 0'].sort(), name);
  }
});

test('the library compiles without a warning, whole and in parts, with gcc and clang, with TLS and without', () => {
  const whole = join(top, 'build/client-c');
  const strict = ['-std=c17', '-O1', '-Wall', '-Wextra', '-Wconversion', '-Wno-sign-conversion', '-Wshadow', '-Wstrict-prototypes', '-Wmissing-prototypes', '-Wpedantic', '-Werror'];
  for (const compiler of ['gcc', 'clang'])
    for (const tls of [[], ['-DLC_CLIENT_TLS']]) {
      execFileSync(compiler, [...strict, ...tls, '-I', whole, '-c', '-o', '/dev/null', join(whole, 'lightcone_client.c')]);
      execFileSync(compiler, [...strict, ...tls, '-I', sdk, '-fsyntax-only', ...partsOfClient()]);
    }
});

test('the library, whole, gives a program no name that does not begin with lc_', () => {
  const object = join(dir, 'whole.o');
  execFileSync('cc', ['-std=c17', '-I', sdk, '-c', '-o', object, join(top, 'build/client-c/lightcone_client.c')]);
  const names = execFileSync('nm', ['--defined-only', '--extern-only', object], { encoding: 'utf8' }).trim().split('\n').map(line => line.split(' ').at(-1));
  assert.ok(names.length > 20);
  assert.deepEqual(names.filter(name => !name.startsWith('lc_')), []);
});

test('what is generated for other modules is C without a warning, twice the same, and C++', () => {
  for (const name of ['rich', 'views', 'ledger', 'conformance-ts']) {
    const prefix = name.replace('-', '_'), out = join(dir, 'other', name), again = join(dir, 'again', name);
    generate(name, prefix, out);
    generate(name, prefix, again);
    for (const end of ['h', 'c']) assert.equal(readFileSync(join(out, `${prefix}.${end}`), 'utf8'), readFileSync(join(again, `${prefix}.${end}`), 'utf8'));
    const strict = ['-Wall', '-Wextra', '-Werror', '-Wshadow', '-I', sdk];
    execFileSync('cc', ['-std=c17', '-Wconversion', '-Wpedantic', ...strict, '-c', '-o', '/dev/null', join(out, `${prefix}.c`)]);
    execFileSync('c++', ['-std=c++17', ...strict, '-fsyntax-only', '-x', 'c++', join(out, `${prefix}.h`)]);
  }
});
