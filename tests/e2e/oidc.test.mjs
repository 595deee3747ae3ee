// Tokens of foreign OpenID Connect issuers, from an issuer that runs here.
import assert from 'node:assert/strict';
import { createPrivateKey, generateKeyPairSync, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { after, before, test } from 'node:test';
import { ask, connect, moduleBindings, moduleBundle, sleep, startServer, subscribe, until } from './harness.mjs';

class Issuer {
  constructor() {
    this.asked = { configuration: 0, keys: 0 };
    this.delay = 0;
    this.fail = null;
    this.pairs = {
      r1: generateKeyPairSync('rsa', { modulusLength: 2048 }),
      e1: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    };
  }

  async start() {
    this.server = createServer(async (asking, answer) => {
      await sleep(this.delay);
      if (this.fail) return answer.writeHead(this.fail).end('no');
      if (asking.url === '/.well-known/openid-configuration') {
        this.asked.configuration++;
        answer.end(JSON.stringify({ issuer: this.name, jwks_uri: `${this.name}/keys` }));
      } else {
        this.asked.keys++;
        const keys = Object.entries(this.pairs).map(([kid, pair]) => ({ ...pair.publicKey.export({ format: 'jwk' }), kid, use: 'sig' }));
        answer.end(JSON.stringify({ keys }));
      }
    });
    await new Promise(resolve => this.server.listen(0, '127.0.0.1', resolve));
    this.name = `http://127.0.0.1:${this.server.address().port}`;
    return this;
  }

  token(subject, { kid = 'r1', alg = kid[0] === 'r' ? 'RS256' : 'ES256', claims = {}, pair = this.pairs[kid] } = {}) {
    const part = value => Buffer.from(JSON.stringify(value)).toString('base64url');
    const iat = Math.floor(Date.now() / 1000);
    const text = `${part({ alg, kid, typ: 'JWT' })}.${part({ iss: this.name, sub: subject, aud: 'app', iat, exp: iat + 600, ...claims })}`;
    const key = { key: createPrivateKey(pair.privateKey.export({ type: 'pkcs8', format: 'pem' })), dsaEncoding: 'ieee-p1363' };
    return `${text}.${sign('sha256', text, key).toString('base64url')}`;
  }

  end() {
    this.server.closeAllConnections?.();
    this.server.close();
  }
}

let issuer, server, chat;
before(async () => {
  chat = await moduleBindings('chat');
  issuer = await new Issuer().start();
  server = await startServer({ words: ['--issuers', issuer.name] });
});
after(async () => {
  await server?.end();
  issuer?.end();
});

const bearer = token => ({ authorization: `Bearer ${token}` });
const publish = (at, name, token, bundle = readFileSync(moduleBundle('chat'))) =>
  ask(`${at.url}/v1/database/${name}?host_type=Js`, { method: 'PUT', headers: bearer(token), body: bundle });

test('the first request of an issuer waits for its keys; its body is not lost; one fetch serves all', async () => {
  issuer.delay = 150;
  const token = issuer.token('owner');
  const [published, ...pings] = await Promise.all([
    publish(server, 'chat', token),
    ...Array.from({ length: 20 }, (_, i) => ask(`${server.url}/v1/ping`, { headers: bearer(issuer.token(`p${i}`)) })),
  ]);
  issuer.delay = 0;
  assert.equal(published.status, 200, published.text);
  for (const { status } of pings) assert.equal(status, 200);
  assert.deepEqual(issuer.asked, { configuration: 1, keys: 1 });
});

test('who published is the owner: another subject is not', async () => {
  const sql = subject =>
    ask(`${server.url}/v1/database/chat/logs`, { headers: bearer(issuer.token(subject, { kid: 'e1' })) });
  assert.equal((await sql('owner')).status, 200);
  assert.equal((await sql('somebody')).status, 403);
});

test('a client of the npm package connects with a foreign token and is the same person each time', async () => {
  const first = await connect(chat, server, 'chat', issuer.token('ada'));
  await subscribe(first, 'SELECT * FROM user');
  await first.reducers.setName({ name: 'Ada' });
  first.connection.disconnect();
  await first.lost;
  const again = await connect(chat, server, 'chat', issuer.token('ada', { kid: 'e1' }));
  await subscribe(again, 'SELECT * FROM user');
  assert.equal(again.identity.toHexString(), first.identity.toHexString());
  assert.equal(again.db.user.identity.find(again.identity).name, 'Ada');
  again.connection.disconnect();
  await again.lost;
});

test('forged, tampered, expired and misdirected tokens are 401 with a reason, on every kind of route', async () => {
  const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const good = issuer.token('owner');
  const [head, body, signature] = good.split('.');
  const part = value => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = JSON.parse(Buffer.from(body, 'base64url'));
  const bad = {
    'another key': [issuer.token('owner', { pair: stranger }), /InvalidSignature/],
    'another body': [[head, part({ ...claims, sub: 'root' }), signature].join('.'), /InvalidSignature/],
    'alg none': [[part({ alg: 'none', kid: 'r1' }), body, ''].join('.'), /InvalidAlgorithm/],
    'HS256 with the public key': [[part({ alg: 'HS256', kid: 'r1' }), body, signature].join('.'), /InvalidAlgorithm/],
    expired: [issuer.token('owner', { claims: { exp: 1000 } }), /ExpiredSignature/],
    'an unknown key': [issuer.token('owner', { kid: 'r9', pair: stranger }), /Specified key ID not found/],
    'another issuer': [issuer.token('owner', { claims: { iss: 'http://127.0.0.1:1' } }), /does not accept tokens of the issuer/],
    'no subject': [issuer.token('owner', { claims: { sub: undefined } }), /Missing required claim: sub/],
    'a wrong identity': [issuer.token('owner', { claims: { hex_identity: 'c200'.padEnd(64, '0') } }), /Identity mismatch/],
  };
  const routes = [
    ['GET', '/v1/database/chat/logs'],
    ['POST', '/v1/database/chat/sql'],
    ['DELETE', '/v1/database/chat'],
    ['PUT', '/v1/database/chat/names'],
    ['PUT', '/v1/database/chat/settings'],
    ['POST', '/v1/identity/websocket-token'],
  ];
  for (const [what, [token, why]] of Object.entries(bad))
    for (const [method, path] of routes) {
      const { status, text } = await ask(server.url + path, { method, headers: bearer(token), body: method === 'GET' ? undefined : '[]' });
      assert.equal(status, 401, `${what} on ${method} ${path}: ${text}`);
      assert.match(text, why, what);
    }
  assert.equal((await ask(`${server.url}/v1/database/chat`)).status, 200);
});

test('an issuer that does not answer costs its own callers a wait and others nothing', async () => {
  const slow = await new Issuer().start();
  const own = await startServer({ words: ['--issuers', `${slow.name},${issuer.name}`] });
  try {
    slow.delay = 3000;
    const waiting = ask(`${own.url}/v1/ping`, { headers: bearer(slow.token('a')) });
    // One that gives up while it waits.
    const gone = request(`${own.url}/v1/ping`, { headers: bearer(slow.token('b')) });
    gone.on('error', () => {});
    gone.end();
    setTimeout(() => gone.destroy(), 100);
    const began = Date.now();
    assert.equal((await ask(`${own.url}/v1/ping`, { headers: bearer(issuer.token('c')) })).status, 200);
    for (let i = 0; i < 50; i++) assert.equal((await ask(`${own.url}/v1/ping`)).status, 200);
    assert.ok(Date.now() - began < 2500, 'others were held up');
    slow.fail = 500;
    const { status, text } = await waiting;
    assert.equal(status, 401);
    assert.match(text, /Error fetching public key for issuer http:.*answered with status 500/);
    slow.fail = null;
    slow.delay = 60_000;
    await sleep(10_100);  // a failure is believed for ten seconds
    const left = ask(`${own.url}/v1/ping`, { headers: bearer(slow.token('d')) }).catch(error => error);
    await sleep(200);
    await own.stop();  // with a fetch under way
    await left;
  } finally {
    slow.end();
    await own.end();
  }
});

test('by default only issuers on the public internet are asked, and none is if the option says so', async () => {
  const open = await startServer();
  const closed = await startServer({ words: ['--issuers', 'none'] });
  try {
    const hidden = `https://localhost:${issuer.server.address().port}`;
    const toHidden = await ask(`${open.url}/v1/ping`, { headers: bearer(issuer.token('a', { claims: { iss: hidden } })) });
    assert.equal(toHidden.status, 401);
    assert.match(toHidden.text, /refusing to connect to private or special-purpose addresses/);
    const inTheClear = await ask(`${open.url}/v1/ping`, { headers: bearer(issuer.token('a')) });
    assert.match(inTheClear.text, /does not accept tokens of the issuer http:/);
    const refused = await ask(`${closed.url}/v1/ping`, { headers: bearer(issuer.token('a', { claims: { iss: hidden } })) });
    assert.match(refused.text, /does not accept tokens of the issuer https:/);
    await until(async () => (await ask(`${open.url}/v1/ping`)).status === 200, 'the server to serve on');
  } finally {
    await open.end();
    await closed.end();
  }
});
