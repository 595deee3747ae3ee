// The HTTP API as a program sees it: every route, who may use it, and what goes wrong.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import {
  Socket, bundle, call, callOk, http, logs, moduleCode, newIdentity, patience, published, publish, rawHttp, rows, session,
  sql, startServer, until, within,
} from './support.mjs';

let server, foreign, code, ann, bob, strangerToken, db;
const hex64 = /^[0-9a-f]{64}$/;

before(async () => {
  code = moduleCode('probe');
  [server, foreign] = await Promise.all([startServer(), startServer()]);
  [ann, bob] = [await newIdentity(server), await newIdentity(server)];
  strangerToken = (await newIdentity(foreign)).token;
  db = await published(server, 'main', code, { token: ann.token });
});
after(async () => {
  await Promise.all([server?.end(), foreign?.end()]);
});

const get = (path, token) => http(server, 'GET', path, { token });
const claimsOf = token => JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));

function assertText(answer, status, text) {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.headers['content-type'], 'text/plain; charset=utf-8');
  if (text instanceof RegExp) assert.match(answer.text, text);
  else assert.equal(answer.text, text);
}
function assertJson(answer, status = 200) {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.headers['content-type'], 'application/json');
  return answer.json;
}
function assertEmpty(answer, status) {
  assert.equal(answer.status, status, answer.text);
  assert.equal(answer.text, '');
}

// ---- what concerns no database

test('ping, health and metrics answer anybody', async () => {
  assertEmpty(await get('/v1/ping'), 200);
  const health = assertJson(await get('/v1/health'));
  assert.match(health.version, /^2\.\d+\.\d+$/);
  assert.deepEqual(health.nodes, [0]);
  assert.equal(health.schedulable, true);
  const metrics = await get('/v1/metrics');
  assert.equal(metrics.status, 200);
  assert.match(metrics.headers['content-type'], /^text\/plain/);
  const value = new RegExp(`^[a-z_]+\\{[^}]*${db}[^}]*\\} [0-9.e+]+$`, 'm');
  assert.match(metrics.text, value, 'a metric of the database that is here');
  for (const line of metrics.text.split('\n').filter(Boolean))
    assert.match(line, /^(# (HELP|TYPE) [a-z_]+ .*|[a-z_]+(\{[^}]*\})? [0-9.e+-]+)$/);
});

// As the format has it: what a metric is, then all of its samples, whichever loop they are of; and that once.
test('each metric says what it is, with the samples of all databases behind it', async () => {
  for (const name of ['second', 'third']) await published(server, name, code, { token: ann.token });
  const { text } = await get('/v1/metrics');
  const seen = new Map();
  let family;
  for (const line of text.split('\n').filter(Boolean)) {
    const [, word, name, rest] = line.match(/^# (HELP|TYPE) (\S+) (.+)$/) ?? [];
    if (word === 'HELP') {
      assert.ok(!seen.has(name), `${name} comes twice`);
      seen.set(name, []);
      family = name;
    } else if (word === 'TYPE') {
      assert.equal(name, family);
      assert.match(rest, /^(counter|gauge)$/);
      if (name.endsWith('_total')) assert.equal(rest, 'counter', name);
    } else {
      assert.equal(line.match(/^[a-z_]+/)[0], family);
      seen.get(family).push(line);
    }
  }
  assert.equal(seen.get('lightcone_calls_ok_total').length, 3);
  assert.ok(seen.get('lightcone_connections').length > 1, 'several loops');
  assert.equal(seen.get('lightcone_background_called_back_total').length, 1);
  assert.ok(seen.get('spacetime_num_table_rows').length >= 3);
  assert.ok(seen.get('lightcone_setting').length >= 3 * 10);
});

test('every answer says that any origin may read it', async () => {
  for (const answer of [await get('/v1/ping'), await get('/v1/database/nobody'), await get('/v1/health')]) {
    assert.equal(answer.headers['access-control-allow-origin'], '*');
    assert.equal(answer.headers.vary, 'origin, access-control-request-method, access-control-request-headers');
  }
});

test('OPTIONS on a path that exists is answered before anything is looked up', async () => {
  for (const path of ['/v1/ping', '/v1/identity', '/v1/database/nobody/subscribe', '/v1/database/UPPER/sql', '/v1/database']) {
    const answer = await http(server, 'OPTIONS', path, { headers: { authorization: 'nonsense' } });
    assertEmpty(answer, 200);
    assert.equal(answer.headers['access-control-allow-origin'], '*');
    assert.equal(answer.headers['access-control-allow-methods'], '*');
    assert.equal(answer.headers['access-control-allow-headers'], 'authorization,accept,content-type');
  }
  assertEmpty(await http(server, 'OPTIONS', '/v1/nothing'), 404);
});

test('a path that does not exist is 404, a method that does not exist 405 with Allow', async () => {
  for (const path of ['/v1/nothing', '/v1/ping/', '/ping', '/v1', '/', '/v1/database/main/nothing', '/v1/database/'])
    assertEmpty(await get(path), 404);
  for (const [method, path, allowed] of [
    ['POST', '/v1/ping', ['GET', 'HEAD']],
    ['DELETE', '/v1/identity', ['POST']],
    ['PATCH', '/v1/database/main', ['GET', 'HEAD', 'PUT', 'DELETE']],
    ['GET', '/v1/database/main/call/add', ['POST']],
    ['POST', '/v1/database/main/subscribe', ['GET', 'HEAD']],
  ]) {
    const answer = await http(server, method, path);
    assertEmpty(answer, 405);
    const said = answer.headers.allow.split(',').map(word => word.trim()).sort();
    assert.deepEqual(said, allowed.sort(), `${method} ${path}`);
  }
});

test('HEAD is GET without the body', async () => {
  for (const path of ['/v1/ping', '/v1/health', '/v1/database/main']) {
    const head = await http(server, 'HEAD', path);
    const whole = await get(path);
    assert.equal(head.status, 200);
    assert.equal(head.text, '');
    assert.equal(head.headers['content-length'], whole.headers['content-length']);
  }
});

// ---- identities and tokens

test('a new identity is what its token says, in the forms the original uses', async () => {
  const answer = assertJson(await http(server, 'POST', '/v1/identity'));
  assert.deepEqual(Object.keys(answer), ['identity', 'token']);
  assert.match(answer.identity, hex64);
  assert.match(answer.identity, /^c200/);
  const [head] = answer.token.split('.');
  assert.equal(Buffer.from(head, 'base64url').toString(), '{"typ":"JWT","alg":"ES256"}');
  const claims = claimsOf(answer.token);
  assert.deepEqual(Object.keys(claims), ['hex_identity', 'sub', 'iss', 'aud', 'iat', 'exp']);
  assert.equal(claims.hex_identity, answer.identity);
  assert.equal(claims.iss, 'localhost');
  assert.deepEqual(claims.aud, ['spacetimedb']);
  assert.equal(claims.exp, null);
  assert.match(claims.sub, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.ok(Math.abs(claims.iat - Date.now() / 1000) < 60);
});

test('tokens are signed with the key that the public-key route shows', async () => {
  const answer = await get('/v1/identity/public-key');
  assert.equal(answer.status, 200);
  assert.equal(answer.headers['content-type'], 'application/pem-certificate-chain');
  assert.match(answer.text, /^-----BEGIN PUBLIC KEY-----/);
  const { createPublicKey, verify } = await import('node:crypto');
  const [head, body, signature] = ann.token.split('.');
  const key = { key: createPublicKey(answer.text), dsaEncoding: 'ieee-p1363' };
  assert.ok(verify('sha256', Buffer.from(`${head}.${body}`), key, Buffer.from(signature, 'base64url')));
});

test('a websocket token is the same person for sixty seconds', async () => {
  const { token } = assertJson(await http(server, 'POST', '/v1/identity/websocket-token', { token: ann.token }));
  const claims = claimsOf(token);
  assert.equal(claims.hex_identity, ann.identity);
  assert.equal(claims.exp - claims.iat, 60);
  assertEmpty(await get(`/v1/identity/${ann.identity}/verify`, token), 204);
  assertText(await http(server, 'POST', '/v1/identity/websocket-token'), 401, 'Authorization required');
  assertText(await http(server, 'POST', '/v1/identity/websocket-token', { token: 'x' }), 401, /^Invalid token/);
});

test('verify tells whether a token is a given identity', async () => {
  assertEmpty(await get(`/v1/identity/${ann.identity}/verify`, ann.token), 204);
  assertEmpty(await get(`/v1/identity/${bob.identity}/verify`, ann.token), 400);
  assertText(await get(`/v1/identity/${ann.identity}/verify`), 401, 'Authorization required');
  for (const bad of ['abc', `0x${ann.identity}`, ann.identity.slice(1), `${ann.identity}0`, 'z'.repeat(64)])
    assertText(await get(`/v1/identity/${bad}/verify`, ann.token), 400, /^Invalid URL: /);
});

test('an identity’s databases are those it owns', async () => {
  const cid = await newIdentity(server);
  const empty = assertJson(await get(`/v1/identity/${cid.identity}/databases`));
  assert.deepEqual(empty, { identities: [] });
  const made = [];
  for (const name of ['cid-a', 'cid-b']) made.push(await published(server, name, code, { token: cid.token }));
  const two = assertJson(await get(`/v1/identity/${cid.identity}/databases`));
  assert.deepEqual(two.identities.sort(), made.sort());
  assertText(await get('/v1/identity/xyz/databases'), 400, /^Invalid URL: /);
});

// Every way to present credentials badly, on a route of each kind.
const malformed = ['Basic YWxpY2U6eA==', 'Bearer', 'Bearer ', 'nonsense', ''];
const tampered = token => {
  const [head, body, signature] = token.split('.');
  const other = { ...JSON.parse(Buffer.from(body, 'base64url')), sub: 'somebody-else' };
  const flipped = Buffer.from(signature, 'base64url');
  flipped[5] ^= 1;
  const none = Buffer.from('{"typ":"JWT","alg":"none"}').toString('base64url');
  return [
    `${head}.${Buffer.from(JSON.stringify(other)).toString('base64url')}.${signature}`,
    `${head}.${body}.${flipped.toString('base64url')}`,
    `${head}.${body}.`,
    `${none}.${body}.`,
    `${head}.${body}`,
    `${token}.x`,
    'a.b.c',
    'garbage',
    'A'.repeat(10_000),
  ];
};

test('credentials that are not right are refused wherever they are looked at', async () => {
  const routes = [
    ['GET', '/v1/ping'],
    ['POST', '/v1/identity/websocket-token'],
    ['GET', '/v1/database/main'],
    ['POST', '/v1/database/main/sql'],
    ['GET', '/v1/database/nobody'],
    ['PUT', '/v1/database/new-one'],
    ['GET', '/v1/database/main/subscribe'],
  ];
  for (const [method, path] of routes) {
    for (const authorization of malformed) {
      const answer = await http(server, method, path, { headers: { authorization } });
      assertText(answer, 400, 'Authorization is invalid: malformed token');
    }
    for (const token of [...tampered(ann.token), strangerToken]) {
      const answer = await http(server, method, path, { token });
      assertText(answer, 401, /^Invalid token/);
      assert.equal(answer.headers['spacetime-identity'], undefined, 'nobody was recognised');
    }
  }
  assertText(await get('/v1/database/new-one', ann.token), 404, '`new-one` not found');
});

test('routes that look at no credentials ignore even malformed ones', async () => {
  for (const [method, path] of [['GET', '/v1/health'], ['POST', '/v1/identity'], ['GET', '/v1/identity/public-key'], ['GET', '/v1/metrics']])
    assert.equal((await http(server, method, path, { headers: { authorization: 'nonsense' } })).status, 200, path);
});

test('a token may come in the query, and the header wins', async () => {
  const inQuery = await get(`/v1/database/main?token=${ann.token}`);
  assert.equal(inQuery.status, 200);
  assert.equal(inQuery.headers['spacetime-identity'], ann.identity);
  const both = await get(`/v1/database/main?token=garbage`, bob.token);
  assert.equal(both.headers['spacetime-identity'], bob.identity);
  assertText(await get('/v1/database/main?token=garbage'), 401, /^Invalid token/);
});

test('who comes without credentials is somebody new every time', async () => {
  const [one, two, missing] = [await get('/v1/database/main'), await get('/v1/database/main'), await get('/v1/database/nobody')];
  assert.notEqual(one.headers['spacetime-identity'], two.headers['spacetime-identity']);
  for (const answer of [one, two, missing]) {
    const { 'spacetime-identity': identity, 'spacetime-identity-token': token } = answer.headers;
    assert.match(identity, hex64);
    assertEmpty(await get(`/v1/identity/${identity}/verify`, token), 204);
  }
  const known = await get('/v1/database/main', ann.token);
  assert.equal(known.headers['spacetime-identity'], ann.identity);
  assert.equal(known.headers['spacetime-identity-token'], ann.token);
});

// ---- databases: names and what is told of them

test('a database is found by name and by identity', async () => {
  const hashForm = /^0x[1-9a-f][0-9a-f]{0,63}$/;
  for (const target of ['main', db, `0x${db}`, db.toUpperCase()]) {
    const info = assertJson(await get(`/v1/database/${target}`));
    assert.deepEqual(Object.keys(info), ['database_identity', 'owner_identity', 'host_type', 'initial_program']);
    assert.deepEqual(info.database_identity, { __identity__: `0x${db}` });
    assert.deepEqual(info.owner_identity, { __identity__: `0x${ann.identity}` });
    assert.deepEqual(info.host_type, { Js: [] });
    assert.match(info.initial_program, hashForm);
  }
  assertText(await get('/v1/database/main/identity'), 200, db);
  assertText(await get(`/v1/database/${db}/identity`), 200, db);
  const unknown = 'c2'.padEnd(64, '0');
  assertText(await get(`/v1/database/${unknown}/identity`), 200, unknown);
  assertText(await get(`/v1/database/${unknown}`), 404, 'No such database.');
  assertText(await get('/v1/database/nobody/identity'), 404, '`nobody` not found');
  assertText(await get('/v1/database/%6dain/identity'), 200, db);
});

test('what cannot be a name is refused with the reason', async () => {
  for (const bad of ['UPPER', 'a_b', 'a--b', '-a', 'a-', 'a%20b', 'a.b', '%C3%A4', '%00', 'a%2Fb', '%zz']) {
    for (const path of ['', '/sql', '/names', '/identity']) {
      const method = path === '/sql' ? 'POST' : 'GET';
      assertText(await http(server, method, `/v1/database/${bad}${path}`), 400, /^Invalid URL: /);
    }
    assertText(await publish(server, bad, code, { token: ann.token }), 400, /^Invalid URL: /);
  }
});

test('names are added, listed and replaced; a taken one is refused', async () => {
  const id = await published(server, 'first-name', code, { token: ann.token });
  const names = async () => assertJson(await get('/v1/database/first-name/names')).names;
  assert.deepEqual(await names(), ['first-name']);
  const add = (name, token) => http(server, 'POST', `/v1/database/${id}/names`, { token, body: name });
  assert.deepEqual(assertJson(await add('second-name', ann.token)), {
    Success: { domain: 'second-name', database_identity: id },
  });
  assert.deepEqual((await names()).sort(), ['first-name', 'second-name']);
  assertText(await add('Bad Name', ann.token), 400, /Bad Name/);
  assertText(await add('', ann.token), 400, /./);
  assertText(await add('main', ann.token), 500, 'record with the name main already exists');
  assert.deepEqual(assertJson(await add('main', bob.token), 401), { PermissionDenied: { domain: 'main' } });

  const set = (list, token, target = id) =>
    http(server, 'PUT', `/v1/database/${target}/names`, { token, body: typeof list === 'string' ? list : JSON.stringify(list), headers: { 'content-type': 'application/json' } });
  assert.deepEqual(assertJson(await set(['x'], bob.token), 401), { NotYourDatabase: { database: id } });
  assert.deepEqual(assertJson(await set(['main'], ann.token), 400), { OtherError: 'Cannot rename to main because it already is in use.' });
  assert.deepEqual(assertJson(await set(['first-name'], ann.token), 400), { OtherError: 'Cannot rename to first-name because it already is in use.' });
  assertText(await set(['no good'], ann.token), 400, /^Error parsing `no good`: /);
  assertText(await set('{"a":1}', ann.token), 422, /^Failed to deserialize the JSON body/);
  assertText(await set('[', ann.token), 400, /^Failed to parse the request body as JSON/);
  assert.equal(assertJson(await set(['third-name', 'fourth-name'], ann.token)), 'Success');
  assertText(await get('/v1/database/first-name'), 404, '`first-name` not found');
  assertText(await get('/v1/database/fourth-name/identity'), 200, id);
  assert.deepEqual((assertJson(await get(`/v1/database/${id}/names`)).names).sort(), ['fourth-name', 'third-name']);
  // A name, once somebody's, stays theirs.
  assert.deepEqual(assertJson(await publish(server, 'first-name', code, { token: bob.token }), 401), {
    PermissionDenied: { name: 'first-name' },
  });
});

test('the server’s clock can be read', async () => {
  const { __timestamp_micros_since_unix_epoch__: now } = assertJson(await get('/v1/database/main/unstable/timestamp'));
  assert.ok(Math.abs(now / 1000 - Date.now()) < 60_000);
});

test('the schema is told to anybody, in both versions', async () => {
  const ten = assertJson(await get('/v1/database/main/schema?version=10'));
  assert.deepEqual(Object.keys(ten), ['sections']);
  const section = name => ten.sections.find(s => name in s)?.[name];
  assert.ok(section('Typespace'));
  const tables = section('Tables').map(table => table.source_name).sort();
  assert.deepEqual(tables, ['alarm', 'gate', 'kinds', 'note', 'person', 'secret', 't', 'visit']);
  assert.ok(section('Reducers').some(reducer => reducer.source_name === 'add_and_remove'));
  const nine = assertJson(await get('/v1/database/main/schema?version=9'));
  assert.deepEqual(Object.keys(nine), ['typespace', 'tables', 'reducers', 'types', 'misc_exports', 'row_level_security']);
  const person = nine.tables.find(table => table.name === 'person');
  assert.deepEqual(person.primary_key, [0]);
  assert.deepEqual(person.table_access, { Public: [] });
  assert.deepEqual(nine.tables.find(table => table.name === 'secret').table_access, { Private: [] });
  assert.deepEqual(nine.reducers.find(r => r.name === 'add').params.elements[1], {
    name: { some: 'n' },
    algebraic_type: { U32: [] },
  });
  for (const query of ['', '?version=8', '?version=', '?version=ten'])
    assertText(await get(`/v1/database/main/schema${query}`), 400, /^Failed to deserialize query string: /);
});

// ---- bodies

test('a body over two megabytes is refused, a module may be larger', async () => {
  const large = 'x'.repeat(2 * 1024 * 1024 + 1);
  for (const path of ['/v1/database/main/sql', '/v1/database/main/names', '/v1/database/main/call/add']) {
    const answer = await http(server, 'POST', path, { body: large, headers: { 'content-type': 'application/json' } });
    assertText(answer, 413, 'Failed to buffer the request body: length limit exceeded');
  }
  const id = await published(server, 'large', `${code}\n// ${'x'.repeat(3 * 1024 * 1024)}\n`, { token: ann.token });
  assert.match(id, hex64);
});

test('a large module for nobody’s name is read to its end and answered', async () => {
  const answer = await http(server, 'POST', '/v1/database/nobody/pre_publish?host_type=Js', { body: 'x'.repeat(5_000_000), token: ann.token });
  assertText(answer, 404, '`nobody` not found');
});

test('requests that are not HTTP are answered 400 and the connection ends', async () => {
  for (const bytes of ['hello\r\n\r\n', 'GET /v1/ping HTTP/1.1\r\nbad header\r\n\r\n', 'GET /v1/ping HTTP/1.1\r\ncontent-length: x\r\n\r\n', 'GET /v1/ping HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n'])
    assert.match(await rawHttp(server, bytes), /^HTTP\/1\.1 400 /);
  const tooLarge = await rawHttp(server, `GET /v1/ping HTTP/1.1\r\nx: ${'y'.repeat(100_000)}\r\n\r\n`);
  assert.match(tooLarge, /^HTTP\/1\.1 431 /);
});

test('one connection serves many requests, also when they come at once', async () => {
  const one = 'GET /v1/ping HTTP/1.1\r\nhost: x\r\n\r\n';
  const last = 'GET /v1/health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n';
  const said = await rawHttp(server, one.repeat(20) + last);
  assert.equal(said.match(/HTTP\/1\.1 200 /g).length, 21);
  assert.match(said, /schedulable/);
});

test('a connection may go from one database to another', async () => {
  await published(server, 'elsewhere', code, { token: ann.token });
  const request = (name, more) => {
    const query = 'SELECT COUNT(*) AS n FROM secret';
    return `POST /v1/database/${name}/sql HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${ann.token}\r\ncontent-length: ${query.length}\r\n${more}\r\n${query}`;
  };
  await callOk(server, 'elsewhere', 'hide', [1, 'x']);
  const order = ['main', 'elsewhere', 'main', 'elsewhere', 'elsewhere', 'main'];
  const said = await rawHttp(server, order.map((name, i) => request(name, i === 5 ? 'connection: close\r\n' : '')).join(''));
  const counts = [...said.matchAll(/"rows":\[\[(\d+)\]\]/g)].map(m => Number(m[1]));
  const here = (await rows(server, 'main', 'SELECT COUNT(*) AS n FROM secret', ann.token))[0][0];
  assert.deepEqual(counts, order.map(name => (name === 'main' ? here : 1)));
});

// ---- calls

test('a call runs the reducer and tells how long it took', async () => {
  const answer = await call(server, 'main', 'add', ['bob', 7], bob.token);
  assertEmpty(answer, 200);
  assert.match(answer.headers['spacetime-execution-duration-micros'], /^\d+$/);
  assert.match(answer.headers['spacetime-energy-used'], /^\d+$/);
  assert.equal(answer.headers['spacetime-identity'], bob.identity);
  assert.deepEqual(await rows(server, 'main', 'SELECT * FROM t WHERE n = 7'), [[7]]);
  assert.equal((await call(server, 'main', 'add', { n: 8, name: 'by name' })).status, 200);
  assert.deepEqual(await rows(server, 'main', 'SELECT * FROM t WHERE n = 8'), [[8]]);
  assert.equal((await call(server, db, 'remove', [8])).status, 200, 'by the database’s identity');
});

test('a call’s content type is exactly application/json', async () => {
  const type = async headers => http(server, 'POST', '/v1/database/main/call/add', { body: Buffer.from('["x",1]'), headers });
  assertText(await type({}), 400, 'Header of type `content-type` was missing');
  for (const wrong of ['application/json; charset=utf-8', 'text/plain', 'application/JSONx'])
    assertText(await type({ 'content-type': wrong }), 415, 'Expected request with `Content-Type: application/json`');
});

test('arguments that do not fit are refused with the reason', async () => {
  for (const [args, why] of [
    [['bob'], /^invalid arguments for reducer add: .*invalid length 1, expected args for add with 2 elements/],
    [['bob', 1, 2], /^invalid arguments for reducer add: .*invalid length 3, expected args for add with 2 elements/],
    [[], /^invalid arguments for reducer add: .*invalid length 0, expected args for add with 2 elements/],
    [['bob', '7'], /^invalid arguments for reducer add: /],
    [['bob', -1], /^invalid arguments for reducer add: /],
    [['bob', 4294967296], /^invalid arguments for reducer add: /],
    [['bob', 1.5], /^invalid arguments for reducer add: /],
    [[1, 7], /^invalid arguments for reducer add: /],
    [[null, 7], /^invalid arguments for reducer add: /],
    [{ name: 'x' }, /^invalid arguments for reducer add: /],
    [{ name: 'x', n: 1, m: 2 }, /^invalid arguments for reducer add: /],
    ['', /^invalid arguments for reducer add: /],
    ['[', /^invalid arguments for reducer add: /],
    ['["x",1] trailing', /^invalid arguments for reducer add: /],
    ['7', /^invalid arguments for reducer add: /],
    [`${'['.repeat(100_000)}`, /^invalid arguments for reducer add: /],
  ])
    assertText(await call(server, 'main', 'add', args), 400, why);
  const notText = await http(server, 'POST', '/v1/database/main/call/add', { body: Buffer.from([0x5b, 0x22, 0xff, 0x22, 0x5d]), headers: { 'content-type': 'application/json' } });
  assertText(notText, 400, /UTF-8/);
});

test('what may not be called does not exist, and lifecycle reducers say why', async () => {
  assertText(await call(server, 'main', 'nothing'), 404, 'No such procedure');
  assertText(await call(server, 'main', 'init', [], ann.token), 400, "can't directly call special Init lifecycle reducer");
  assertText(await call(server, 'main', 'on_connect', [], ann.token), 400, "can't directly call special OnConnect lifecycle reducer");
  assertText(await call(server, 'main', 'on_disconnect'), 400, "can't directly call special OnDisconnect lifecycle reducer");
  const row = [{ scheduled_id: 1, scheduled_at: { Interval: { __time_duration_micros__: 1 } } }];
  assertText(await call(server, 'main', 'ring', row, bob.token), 404, 'No such procedure');
  assertEmpty(await call(server, 'main', 'ring', row, ann.token), 200);
  assertText(await call(server, 'nobody', 'add', ['x', 1]), 404, '`nobody` not found');
});

test('a reducer that refuses or breaks answers 530 and changes nothing', async () => {
  const before = await rows(server, 'main', 'SELECT COUNT(*) AS n FROM t');
  const refused = await call(server, 'main', 'refuse', ['not today: ü']);
  assertText(refused, 530, 'not today: ü');
  assert.match(refused.headers['spacetime-energy-used'], /^\d+$/);
  assertText(await call(server, 'main', 'crash'), 530, 'The instance encountered a fatal error.');
  assert.deepEqual(await rows(server, 'main', 'SELECT COUNT(*) AS n FROM t'), before);
  assert.deepEqual(await rows(server, 'main', 'SELECT * FROM t WHERE n = 4242'), []);
  await callOk(server, 'main', 'add', ['x', 4243]);
  await callOk(server, 'main', 'remove', [4243]);
});

test('a connect hook that refuses keeps calls and queries out with 403', async () => {
  await published(server, 'gated', code, { token: ann.token });
  await callOk(server, 'gated', 'close_gate', [true]);
  assertText(await call(server, 'gated', 'add', ['x', 1], ann.token), 403, /the gate is closed/);
  assertText(await sql(server, 'gated', 'SELECT * FROM t', ann.token), 403, /the gate is closed/);
  assert.equal((await get('/v1/database/gated/schema?version=10')).status, 200, 'the schema asks no hook');
  assert.equal((await get('/v1/database/gated/logs', ann.token)).status, 200);
  const socket = await Socket.open(server, '/v1/database/gated/subscribe');
  assert.equal(socket.status, 101);
  const end = await socket.over();
  assert.equal(end.code, 1008);
  assert.match(end.reason, /the gate is closed/);
  assert.equal(socket.messages.length, 0, 'who is not let in hears nothing');
});

// Conformance case 75, whose other half is above.
test('a statement is somebody who comes and goes', async () => {
  await published(server, 'doors', bundle(`
    import { schema, table, t } from 'spacetimedb/server';
    const passed = table({ name: 'passed', public: true }, { n: t.u32().primaryKey().autoInc(), who: t.identity(), came: t.bool() });
    const db = schema({ passed });
    export default db;
    export const came = db.clientConnected(ctx => { ctx.db.passed.insert({ n: 0, who: ctx.sender, came: true }); });
    export const went = db.clientDisconnected(ctx => { ctx.db.passed.insert({ n: 0, who: ctx.sender, came: false }); });
  `), { token: ann.token });
  const seen = () => rows(server, 'doors', 'SELECT came FROM passed WHERE who = :sender ORDER BY n', bob.token);
  assert.deepEqual(await seen(), [[true]]);
  assert.deepEqual(await seen(), [[true], [false], [true]]);
  assert.equal((await sql(server, 'doors', 'SELECT nope FROM passed', bob.token)).status, 400);
  assert.deepEqual(await seen(), [[true], [false], [true], [false], [true], [false], [true]]);
});

// ---- values

test('every kind of value goes in and out as JSON', async () => {
  const row = `[1,true,-9007199254740993,340282366920938463463374607431768211455,"-0x10",0.1,{"some":"ü\\n"},"00ff",[0,65535],` +
    `{"__identity__":"0x${ann.identity}"},{"__timestamp_micros_since_unix_epoch__":-1},{"angry":3}]`;
  assertEmpty(await call(server, 'main', 'keep', row), 200);
  const lenient = `{"id":2,"yes":false,"small":0,"large":0,"huge":"0x0","real":3,"maybe":null,"raw":[1,2],"list":[],` +
    `"who":["0x${bob.identity}"],"at":[5],"mood":[0,[]]}`;
  assertEmpty(await call(server, 'main', 'keep', lenient), 200);
  const answer = await sql(server, 'main', 'SELECT * FROM kinds');
  const { schema, rows: got, stats } = assertJson(answer)[0];
  assert.deepEqual(schema.elements.map(e => e.name.some), ['id', 'yes', 'small', 'large', 'huge', 'real', 'maybe', 'raw', 'list', 'who', 'at', 'mood']);
  assert.deepEqual(stats, { rows_inserted: 0, rows_deleted: 0, rows_updated: 0 });
  assert.equal(got.length, 2);
  const text = answer.text.replace(/\s/g, '');
  assert.ok(text.includes(`[1,true,-9007199254740993,340282366920938463463374607431768211455,"-0x10",0.1,[0,"ü\\n"],"00ff",[0,65535],["0x${ann.identity}"],[-1],[1,3]]`), answer.text);
  assert.ok(text.includes(`[2,false,0,0,"0x0",3.0,[1,[]],"0102",[],["0x${bob.identity}"],[5],[0,[]]]`), answer.text);
});

// ---- sql

test('sql answers with a schema, rows and a duration', async () => {
  await callOk(server, 'main', 'hire', ['sql-ann', 30]);
  await callOk(server, 'main', 'hire', ["sql-o'hara", 40]);
  const answer = await sql(server, 'main', "SELECT name, age AS years FROM person WHERE name = 'sql-o''hara';");
  const [result, ...none] = assertJson(answer);
  assert.deepEqual(none, []);
  assert.deepEqual(Object.keys(result), ['schema', 'rows', 'total_duration_micros', 'stats']);
  assert.deepEqual(result.schema.elements, [
    { name: { some: 'name' }, algebraic_type: { String: [] } },
    { name: { some: 'years' }, algebraic_type: { U32: [] } },
  ]);
  assert.deepEqual(result.rows, [["sql-o'hara", 40]]);
  assert.ok(Number.isInteger(result.total_duration_micros));
  assert.match(answer.headers['spacetime-execution-duration-micros'], /^\d+$/);
  assert.deepEqual(await rows(server, 'main', "SELECT COUNT(*) AS n FROM person WHERE age >= 30 AND (name = 'sql-ann' OR name = 'nobody')"), [[1]]);
  assert.equal((await http(server, 'POST', '/v1/database/main/sql?confirmed=false', { body: 'SELECT * FROM t' })).status, 200);
  assertText(await http(server, 'POST', '/v1/database/main/sql?confirmed=maybe', { body: 'SELECT * FROM t' }), 400, /^Failed to deserialize query string: /);
});

test('sql that is not right is 400 with a sentence', async () => {
  for (const [query, why] of [
    ['', /Empty SQL query/],
    ['  ;  ', /Empty SQL query/],
    ['SELECT * FROM t; SELECT * FROM t', /Multiple SQL statements are not supported/],
    ['SELEKT', /./],
    ['SELECT * FROM', /./],
    ['SELECT * FROM nothing', /no such table: `nothing`/],
    ['SELECT nothing FROM t', /`nothing` is not in scope/],
    ["SELECT * FROM t WHERE n = 'seven'", /./],
    ['SELECT * FROM t WHERE n', /Unexpected type/],
    ['SELECT * FROM t WHERE n = -1', /cannot be parsed as type `U32`/],
    ['SELECT * FROM t WHERE n = 4294967296', /cannot be parsed as type `U32`/],
    ['SELECT DISTINCT n FROM t', /Unsupported/],
    ['SELECT n + 1 FROM t', /./],
    ['DROP TABLE t', /Unsupported|not supported/i],
    [`SELECT * FROM t -- ${'x'.repeat(50_000)}`, /exceeds maximum allowed length/],
  ]) {
    const answer = await sql(server, 'main', query, ann.token);
    assertText(answer, 400, why);
    assert.doesNotMatch(answer.text, /^(unknown error|not ok)$/i);
  }
  const deep = `SELECT * FROM t WHERE ${'('.repeat(1000)}n = 1${')'.repeat(1000)} -- ${'x'.repeat(40_000)}`;
  assert.equal((await sql(server, 'main', deep)).status, 200);
  const notText = await sql(server, 'main', Buffer.from([0xff, 0xfe]));
  assertText(notText, 400, /^Request body didn't contain valid UTF-8/);
});

test('a private table is there for its owner and for nobody else', async () => {
  await callOk(server, 'main', 'hide', [1, 'treasure']);
  assert.deepEqual(await rows(server, 'main', 'SELECT text FROM secret WHERE id = 1', ann.token), [['treasure']]);
  for (const token of [bob.token, undefined])
    assertText(await sql(server, 'main', 'SELECT * FROM secret', token), 400, 'no such table: `secret`. If the table exists, it may be marked private.');
  assertText(await sql(server, 'main', 'SELECT * FROM st_connection_credentials', bob.token), 400, /no such table/);
  const tables = (await rows(server, 'main', 'SELECT table_name FROM st_table', bob.token)).flat();
  for (const name of ['t', 'person', 'st_table', 'st_client']) assert.ok(tables.includes(name), name);
});

// ---- logs

test('the log is its owner’s, in lines of JSON, the last ones if wanted', async () => {
  for (const text of ['log one', 'log two', 'log “three”']) await callOk(server, 'main', 'log_line', [text]);
  const answer = await get('/v1/database/main/logs', ann.token);
  assert.equal(answer.status, 200);
  assert.equal(answer.headers['content-type'], 'application/x-ndjson');
  assert.equal(answer.headers['cache-control'], 'no-cache');
  const all = await logs(server, 'main', ann.token);
  const messages = all.map(record => record.message);
  assert.deepEqual(messages.filter(m => m.startsWith('log ')), ['log one', 'log two', 'log “three”']);
  const last = await logs(server, 'main', ann.token, '?num_lines=2');
  assert.deepEqual(last.map(r => r.message), ['log two', 'log “three”']);
  assert.equal(last[0].level, 'Info');
  assert.ok(Number.isInteger(last[0].ts));
  assert.deepEqual(await logs(server, 'main', ann.token, '?num_lines=0'), []);
  assert.ok(messages.includes('Database initialized'));
  assert.ok(messages.includes('Invoking `init` reducer'));
  for (const query of ['?num_lines=x', '?num_lines=-1', '?num_lines=99999999999', '?follow=perhaps'])
    assertText(await get(`/v1/database/main/logs${query}`, ann.token), 400, /^Failed to deserialize query string: /);
});

test('following the log brings new lines as they are written, and ends with the database', async () => {
  await published(server, 'followed', code, { token: ann.token });
  await callOk(server, 'followed', 'log_line', ['before']);
  const stop = new AbortController();
  const follow = async query => {
    const answer = await fetch(`${server.url}/v1/database/followed/logs?follow=true${query}`, { headers: { authorization: `Bearer ${ann.token}` }, signal: stop.signal });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('content-type'), 'application/x-ndjson');
    const heard = { text: '', over: false };
    heard.end = (async () => {
      for await (const piece of answer.body) heard.text += Buffer.from(piece).toString();
      heard.over = true;
    })();
    return heard;
  };
  const fresh = await follow('');
  const some = await follow('&num_lines=1');
  await until(() => some.text.includes('before'), 'the last line', patience);
  await callOk(server, 'followed', 'log_line', ['after']);
  await until(() => fresh.text.includes('after') && some.text.includes('after'), 'the new line', patience);
  assert.doesNotMatch(fresh.text, /before/);
  for (const line of some.text.trim().split('\n')) JSON.parse(line);
  assertEmpty(await http(server, 'DELETE', '/v1/database/followed', { token: ann.token }), 200);
  await within(Promise.all([fresh.end, some.end]), 'the streams to end with the database');
});

test('who stops following a log does no harm', async () => {
  const stop = new AbortController();
  const answer = await fetch(`${server.url}/v1/database/main/logs?follow=true`, { headers: { authorization: `Bearer ${ann.token}` }, signal: stop.signal });
  assert.equal(answer.status, 200);
  stop.abort();
  for (let i = 0; i < 20; i++) await callOk(server, 'main', 'log_line', ['nobody listens']);
});

// ---- what only the owner may do

test('what is the owner’s is nobody else’s', async () => {
  await published(server, 'mine', code, { token: ann.token });
  const id = (await get('/v1/database/mine/identity')).text;
  const actions = [
    ['PUT', '/v1/database/mine?host_type=Js', 'update database', `${code}\n//x`],
    ['PUT', '/v1/database/mine?host_type=Js&clear=true', 'reset database', code],
    ['PUT', '/v1/database/mine/reset?host_type=Js', 'reset database', code],
    ['POST', '/v1/database/mine/pre_publish?host_type=Js', 'update database', code],
    ['DELETE', '/v1/database/mine', 'delete database'],
    ['POST', '/v1/database/mine/lock', 'delete database'],
    ['POST', '/v1/database/mine/unlock', 'delete database'],
    ['GET', '/v1/database/mine/logs', 'view module logs'],
  ];
  for (const [method, path, action, body] of actions) {
    for (const token of [bob.token, undefined]) {
      const answer = await http(server, method, path, { token, body });
      const caller = answer.headers['spacetime-identity'];
      assertText(answer, 403, `${caller} is not authorized to perform action on database ${id}: ${action}`);
    }
  }
  assert.equal((await get('/v1/database/mine')).status, 200);
});

test('a locked database is neither deleted nor emptied, but may be updated', async () => {
  await published(server, 'locked', code, { token: ann.token });
  await callOk(server, 'locked', 'add', ['x', 1]);
  const lock = word => http(server, 'POST', `/v1/database/locked/${word}`, { token: ann.token });
  assertEmpty(await lock('lock'), 200);
  assertEmpty(await lock('lock'), 200);
  assertText(await http(server, 'DELETE', '/v1/database/locked', { token: ann.token }), 403, 'Database is locked and cannot be deleted. Run `spacetime unlock` first.');
  const reset = /^Database is locked and cannot be reset with --delete-data. Run `spacetime unlock` first\.$/;
  assertText(await publish(server, 'locked', code, { token: ann.token, query: '&clear=true' }), 403, reset);
  assertText(await http(server, 'PUT', '/v1/database/locked/reset?host_type=Js', { token: ann.token, body: code }), 403, reset);
  await published(server, 'locked', `${code}\n// a newer one`, { token: ann.token });
  assert.deepEqual(await rows(server, 'locked', 'SELECT * FROM t'), [[1]]);
  assertEmpty(await lock('unlock'), 200);
  assertEmpty(await http(server, 'DELETE', '/v1/database/locked', { token: ann.token }), 200);
});

test('a deleted database is gone for everybody and may be published again', async () => {
  const id = await published(server, 'brief', code, { token: ann.token });
  await callOk(server, 'brief', 'add', ['x', 1]);
  const watcher = await session(server, 'brief');
  const unread = await Socket.open(server, '/v1/database/brief/subscribe', { token: bob.token });
  assertEmpty(await http(server, 'DELETE', '/v1/database/brief', { token: ann.token }), 200);
  for (const socket of [watcher, unread]) assert.deepEqual(await socket.over(), { code: 1001, reason: 'module exited' });
  for (const path of ['', '/names', '/schema?version=10', '/logs']) assertText(await get(`/v1/database/brief${path}`, ann.token), 404, 'No such database.');
  assertText(await call(server, 'brief', 'add', ['x', 2]), 404, 'No such database.');
  assertText(await sql(server, id, 'SELECT * FROM t'), 404, 'No such database.');
  const refused = await Socket.open(server, '/v1/database/brief/subscribe');
  assert.equal(refused.status, 404);
  assertEmpty(await http(server, 'DELETE', '/v1/database/brief', { token: ann.token }), 200);
  assertEmpty(await http(server, 'DELETE', `/v1/database/${id}`, { token: ann.token }), 200);
  assertText(await http(server, 'DELETE', '/v1/database/never-was', { token: ann.token }), 404, '`never-was` not found');
  assert.deepEqual(assertJson(await publish(server, 'brief', code, { token: bob.token }), 401), { PermissionDenied: { name: 'brief' } });
  assertText(await publish(server, id, code, { token: bob.token }), 403, /is not authorized to perform action on database/);
  assert.equal(await published(server, 'brief', code, { token: ann.token }), id, 'the name leads to the same identity');
  assert.deepEqual(await rows(server, 'brief', 'SELECT * FROM t'), [], 'and nothing of the old one is left');
});

test('two databases of one server have nothing in common', async () => {
  const [one, two] = await Promise.all(['twin-a', 'twin-b'].map(name => published(server, name, code, { token: ann.token })));
  assert.notEqual(one, two);
  await callOk(server, 'twin-a', 'add', ['x', 1]);
  await callOk(server, 'twin-b', 'add', ['x', 2]);
  await callOk(server, 'twin-b', 'log_line', ['only in b']);
  assert.deepEqual(await rows(server, 'twin-a', 'SELECT * FROM t'), [[1]]);
  assert.deepEqual(await rows(server, 'twin-b', 'SELECT * FROM t'), [[2]]);
  assert.ok(!(await logs(server, 'twin-a', ann.token)).some(record => record.message === 'only in b'));
});

test('a database without a name is reached by its identity', async () => {
  const answer = await publish(server, '', code, { token: ann.token, method: 'POST' });
  const { Success: success } = assertJson(answer);
  assert.equal(success.domain, null);
  assert.equal(success.op, 'created');
  assert.deepEqual(assertJson(await get(`/v1/database/${success.database_identity}/names`)), { names: [] });
  await callOk(server, success.database_identity, 'add', ['x', 3]);
  const again = assertJson(await publish(server, success.database_identity, code, { token: ann.token })).Success;
  assert.deepEqual(again, { domain: null, database_identity: success.database_identity, op: 'updated' });
  const clear = await publish(server, '', code, { token: ann.token, method: 'POST', query: '&clear=true' });
  assertText(clear, 400, 'Clear database requires database name or identity');
});

// ---- pre-publish and the publish query

test('pre-publish tells the plan without carrying it out', async () => {
  await published(server, 'planned', code, { token: ann.token });
  const plan = async (body, query = '&style=NoColor') =>
    assertJson(await http(server, 'POST', `/v1/database/planned/pre_publish?host_type=Js${query}`, { token: ann.token, body }));
  const more = code.replace(/hire = /, 'hire2 = 0, hire = ');
  const same = await plan(more);
  assert.deepEqual(Object.keys(same.AutoMigrate), ['migrate_plan', 'break_clients', 'token', 'major_version_upgrade']);
  assert.equal(same.AutoMigrate.break_clients, false);
  assert.equal(same.AutoMigrate.major_version_upgrade, false);
  assert.match(same.AutoMigrate.token, /^0x[0-9a-f]{1,64}$/);
  const broken = await http(server, 'POST', '/v1/database/planned/pre_publish?host_type=Js', { token: ann.token, body: 'export default {' });
  assertText(broken, 500, /SyntaxError/);
  assertText(await http(server, 'POST', '/v1/database/planned/pre_publish?host_type=Java', { token: ann.token, body: code }), 400, /^Failed to deserialize query string: /);
});

test('publish checks what it is asked', async () => {
  const put = (query, name = 'picky') => http(server, 'PUT', `/v1/database/${name}?${query}`, { token: ann.token, body: code });
  for (const query of ['host_type=js', 'host_type=', 'host_type=Js&clear=1', 'host_type=Js&policy=Break', 'host_type=Js&num_replicas=x'])
    assertText(await put(query), 400, /^Failed to deserialize query string: /);
  assertText(await put('host_type=Js&num_replicas=256'), 400, 'Replication factor 256 out of bounds');
  assertText(await put('host_type=Js&policy=BreakClients'), 400, 'Migration policy is set to `BreakClients`, but no migration token was provided.');
  assertText(await get('/v1/database/picky'), 404, '`picky` not found');
  const made = assertJson(await put('host_type=Js&num_replicas=3&unknown=1')).Success;
  assert.equal(made.domain, 'picky');
  assert.equal(made.op, 'created');
  const other = await put('host_type=Js', 'main');
  assert.equal(assertJson(other).Success.op, 'updated', 'the same program again is no change');
});

test('a module from somebody who may not publish it is not kept in memory before he is refused', async () => {
  const memory = () => Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${server.child.pid}/status`, 'utf8'))[1]);
  const body = Buffer.alloc(96 << 20, 'x');
  const base = memory();
  for (const [method, path, token, status, text] of [
    ['PUT', '/v1/database/main', bob.token, 403, /is not authorized to perform action on database [0-9a-f]{64}: update database/],
    ['PUT', '/v1/database/main', 'nonsense', 401, /./],
    ['PUT', '/v1/database/main', undefined, 403, /is not authorized/],
    ['PUT', '/v1/database/main/reset', bob.token, 403, /reset database/],
    ['POST', '/v1/database/main/pre_publish', bob.token, 403, /update database/],
    ['POST', '/v1/database/nobody-has-this/pre_publish', bob.token, 404, /not found/],
  ]) {
    const answer = await http(server, method, path, { token, body });
    assert.equal(answer.status, status, `${method} ${path}: ${answer.text}`);
    assert.match(answer.text, text);
  }
  assert.ok(memory() - base < 48 << 10, `${memory() - base} KiB more than before`);
});
