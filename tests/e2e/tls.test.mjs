// A server that speaks TLS, as a person meets it: the command line, the npm client, a renewed
// certificate, and what those are told who come in the clear.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { get } from 'node:https';
import { connect as connectTls } from 'node:tls';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { readFileSync } from 'node:fs';
import { ask, lightcone, moduleBindings, moduleBundle, Server, temporaryDirectory, top, until } from './harness.mjs';

const dir = temporaryDirectory('tls');
const cert = join(dir, 'cert.pem');
const key = join(dir, 'key.pem');
let server;

function makeCertificate(name) {
  const words = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  words.push('-keyout', key, '-out', cert, '-days', '2', '-subj', `/CN=${name}`);
  words.push('-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1');
  execFileSync('openssl', words, { stdio: 'ignore' });
}

const trusting = { SSL_CERT_FILE: cert, NODE_EXTRA_CA_CERTS: cert };
const cli = (...words) => server.cliWith({ env: trusting }, ...words);

function askTls(path) {
  return new Promise((resolve, reject) => {
    const asking = get(`${server.url}${path}`, { ca: readFileSync(cert), agent: false }, async answer => {
      let text = '';
      for await (const piece of answer.setEncoding('utf8')) text += piece;
      resolve({ status: answer.statusCode, text });
    });
    asking.on('error', reject);
  });
}

before(async () => {
  makeCertificate('first');
  await moduleBindings('chat');
  server = new Server({ words: ['--tls-cert', cert, '--tls-key', key, '--static', join(top, 'examples')] });
  await server.start();
  server.url = `https://127.0.0.1:${server.port}`;
  const done = await cli('publish', 'chat', '--js-path', moduleBundle('chat'), '--server', server.url, '--yes');
  assert.equal(done.code, 0, done.stderr);
});
after(() => server?.end());

test('the command line calls and asks over https', async () => {
  const called = await cli('call', 'chat', 'set_name', '"Ada"', '--server', server.url);
  assert.equal(called.code, 0, called.stderr);
  const asked = await cli('sql', 'chat', 'SELECT name FROM user', '--server', server.url);
  assert.match(asked.stdout, /Ada/);
});

test('a certificate that nobody vouches for is refused, and the reason is said', async () => {
  const done = await server.cli('list', '--server', server.url);
  assert.notEqual(done.code, 0);
  assert.match(done.stderr, /certificate/i);
});

test('the npm client talks over wss', async () => {
  // Who is trusted is read when a process starts, hence another one.
  const script = join(dir, 'client.mjs');
  writeFileSync(
    script,
    `import { connect, moduleBindings, subscribe, until } from ${JSON.stringify(join(top, 'tests/e2e/harness.mjs'))};
     const chat = await moduleBindings('chat');
     const client = await connect(chat, { ws: 'https://127.0.0.1:${server.port}' }, 'chat');
     await subscribe(client, 'SELECT * FROM message');
     for (let i = 0; i < 200; i++) await client.reducers.sendMessage({ text: 'x'.repeat(i * 5 + 1) });
     await until(() => client.db.message.count() === 200n, 'all messages');
     console.log('seen', String(client.db.message.count()));
     client.connection.disconnect();`
  );
  const child = spawn(process.execPath, [script], { env: { ...process.env, ...trusting } });
  let said = '';
  child.stdout.on('data', text => (said += text));
  child.stderr.on('data', text => (said += text));
  const code = await new Promise(resolve => child.on('exit', resolve));
  assert.equal(code, 0, said);
  assert.match(said, /seen 200/);
});

test('http in the clear is told to say https', async () => {
  const { status, text } = await ask(`http://127.0.0.1:${server.port}/v1/ping`);
  assert.equal(status, 400);
  assert.match(text, /This port speaks TLS: use https:\/\/ or wss:\/\//);
});

const subject = () =>
  new Promise((resolve, reject) => {
    const socket = connectTls({ port: server.port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().subject.CN);
      socket.destroy();
    });
    socket.on('error', reject);
  });

test('a renewed certificate is taken on SIGHUP, a broken one is not', async () => {
  assert.equal(await subject(), 'first');
  makeCertificate('second');
  server.child.kill('SIGHUP');
  await until(async () => (await subject()) === 'second', 'the new certificate');
  const good = readFileSync(cert);
  writeFileSync(cert, 'nonsense');
  server.child.kill('SIGHUP');
  await until(() => /cannot use the certificate .*cert\.pem/.test(server.output), 'a complaint');
  assert.equal(await subject(), 'second');
  writeFileSync(cert, good);
  assert.equal((await askTls('/v1/ping')).status, 200);
});

test('protocols before TLS 1.2 are refused', async () => {
  const old = new Promise((resolve, reject) => {
    const options = { port: server.port, host: '127.0.0.1', rejectUnauthorized: false, ciphers: 'DEFAULT@SECLEVEL=0' };
    const socket = connectTls({ ...options, minVersion: 'TLSv1', maxVersion: 'TLSv1.1' }, resolve);
    socket.on('error', reject);
  });
  await assert.rejects(old, /protocol version|unsupported protocol/i);
});

test('one option without the other, and files that are not there, are said at the start', async () => {
  const start = (...words) =>
    new Promise(resolve => {
      const child = spawn(lightcone, ['start', '--in-memory', '--listen-addr', '127.0.0.1:0', ...words]);
      let said = '';
      child.stderr.on('data', text => (said += text));
      child.on('exit', code => resolve({ code, said }));
    });
  const alone = await start('--tls-cert', cert);
  assert.equal(alone.code, 2);
  assert.match(alone.said, /--tls-cert and --tls-key go together/);
  const missing = await start('--tls-cert', join(dir, 'none.pem'), '--tls-key', key);
  assert.equal(missing.code, 1);
  assert.match(missing.said, /cannot use the certificate .*none\.pem: no such file/i);
});
