// The HTTP API against its own document: random requests, some as the document wants them and some
// not, and every answer must be one that the document promises. A failure prints the request; SEED=…
// repeats a run, REQUESTS=… makes it longer.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { after, before, test } from 'node:test';
import { ask, moduleBundle, random, startServer } from './harness.mjs';

let server, document, owner, stranger, bundle;
const requests = Number(process.env.REQUESTS ?? 2500);

before(async () => {
  bundle = readFileSync(moduleBundle('chat'));
  server = await startServer();
  document = JSON.parse((await ask(`${server.url}/v1/openapi.json`)).text);
  const identity = async () => JSON.parse((await ask(`${server.url}/v1/identity`, { method: 'POST' })).text);
  owner = await identity();
  stranger = await identity();
});
after(() => server?.end());

const publish = name =>
  ask(`${server.url}/v1/database/${name}?host_type=Js`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${owner.token}` },
    body: bundle,
  });

// ---- the document

const resolve = value => (value?.$ref ? resolve(value.$ref.slice(2).split('/').reduce((at, key) => at[key], document)) : value);

const operations = () =>
  Object.entries(document.paths).flatMap(([path, item]) =>
    ['get', 'post', 'put', 'delete', 'patch']
      .filter(method => item[method])
      .map(method => ({
        path,
        method,
        ...item[method],
        parameters: [...(item.parameters ?? []), ...(item[method].parameters ?? [])].map(resolve),
      }))
  );

// Why a value is not what a schema says; undefined: it is.
function mismatch(schema, value, at = '$') {
  schema = resolve(schema);
  if (schema.oneOf && schema.oneOf.every(one => mismatch(one, value, at))) return `${at} is none of ${JSON.stringify(schema.oneOf)}`;
  if ('const' in schema && value !== schema.const) return `${at} is not ${schema.const}`;
  if (schema.enum && !schema.enum.includes(value)) return `${at} is not one of ${schema.enum}`;
  const kind = value === null ? 'null' : Array.isArray(value) ? 'array' : Number.isInteger(value) ? 'integer' : typeof value;
  if (schema.type && ![schema.type].flat().includes(kind)) return `${at} is ${kind}, not ${schema.type}`;
  if (schema.pattern && !new RegExp(schema.pattern).test(value)) return `${at} does not match ${schema.pattern}`;
  for (const key of schema.required ?? []) if (!(key in value)) return `${at} has no ${key}`;
  for (const [key, one] of Object.entries(schema.properties ?? {})) {
    const why = key in value && mismatch(one, value[key], `${at}.${key}`);
    if (why) return why;
  }
  if (kind === 'array' && schema.items)
    for (const [i, item] of value.entries()) {
      const why = mismatch(schema.items, item, `${at}[${i}]`);
      if (why) return why;
    }
}

function judge(operation, answer) {
  const { status, text, type } = answer;
  const promised = resolve(operation.responses[status] ?? operation.responses.default);
  if (!promised) return `status ${status} is not promised: ${text.slice(0, 300)}`;
  if (operation.responses.default) return;
  const content = promised.content ?? {};
  if (text === '' && (answer.method === 'head' || !Object.keys(content).includes('application/json') || operation.operationId === 'call')) return;
  const kind = type?.split(';')[0];
  if (!promised.content) return text === '' || status >= 400 ? undefined : `a body was not promised: ${text.slice(0, 200)}`;
  // What the spec has as a JSON refusal is JSON; all other refusals are text.
  if (!content[kind] && !(status >= 400 && kind === 'application/json')) return `${kind} is not promised with ${status}: ${text.slice(0, 200)}`;
  if (kind !== 'application/json') return;
  if (type !== 'application/json') return `content type ${type}`;
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    return `not JSON: ${text.slice(0, 200)}`;
  }
  return content[kind] && mismatch(content[kind].schema, value);
}

// ---- requests

const pick = (rnd, list) => list[Math.floor(rnd() * list.length)];

function text(rnd) {
  const pieces = ['a', 'chat', '-', '%', '%00', '%2e%2e', '..', 'é', '\u{1f600}', ' ', '"', "'", ';', '{', '[', '0x', 'c200', '\\', '<', '?'];
  return Array.from({ length: Math.floor(rnd() * 5) }, () => pick(rnd, pieces)).join('');
}

function segment(rnd, name) {
  if (name === 'database')
    return pick(rnd, ['chat', 'chat', 'chat', 'nowhere', 'c200'.padEnd(64, 'a'), '0xc200', 'UPPER', '-', encodeURIComponent(text(rnd))]);
  if (name === 'function') return pick(rnd, ['send_message', 'set_name', 'init', 'nothing', 'onConnect', encodeURIComponent(text(rnd))]);
  if (name === 'identity') return pick(rnd, [owner.identity, stranger.identity, 'c200', encodeURIComponent(text(rnd))]);
  return encodeURIComponent(text(rnd));
}

function queryValue(rnd, schema) {
  if (rnd() < 0.3) return text(rnd);
  if (schema.enum) return pick(rnd, schema.enum);
  if (schema.type === 'boolean') return pick(rnd, ['true', 'false', 'True', '']);
  if (schema.type === 'integer') return pick(rnd, ['0', '1', '5', '-1', '256', '99999999999999999999']);
  return pick(rnd, ['', '0x00', '5s', 'chat', '1', owner.token, 'f'.repeat(32)]);
}

function body(rnd, operation) {
  const kind = Object.keys(operation.requestBody?.content ?? {})[0];
  const odd = ['', '[]', '{}', 'null', '[1,', '"x"', '['.repeat(2000), '{"a":'.repeat(500), '\0\xff\xfe', '1e999', '[9007199254740993]', 'x'.repeat(100_000)];
  if (rnd() < 0.4) return pick(rnd, odd);
  if (operation.operationId === 'sql')
    return pick(rnd, ['SELECT * FROM user', 'SELECT * FROM message WHERE text = \'a\'', 'SELECT', 'DELETE FROM message', 'SELECT * FROM st_table', 'EXPLAIN SELECT * FROM user', 'SHOW row_limit', `SELECT ${'('.repeat(300)}`]);
  if (operation.operationId === 'call') return pick(rnd, ['["hello"]', '{"text":"x"}', '{"name":"Ada"}', '[]', '[1]', '["a","b"]', '[null]']);
  if (operation.operationId === 'putSettings') return pick(rnd, ['{"slice_us":2000}', '{"slice_us":null}', '{"nothing":1}', '{"slice_us":-1}', '{"slice_us":"a"}']);
  if (kind === 'text/plain') return pick(rnd, ['other-name', 'chat', 'Bad Name']);
  if (operation.operationId === 'setNames') return pick(rnd, ['["chat"]', '["chat","more"]', '["Bad Name"]', '[1]']);
  if (kind === 'application/octet-stream') return pick(rnd, [bundle, Buffer.from('\0asm\x01\0\0\0'), 'export default 1']);
  return undefined;
}

function requestOf(rnd, operation) {
  // Without these, which would make another path of it.
  const whole = name => segment(rnd, name).replace(/^(\.\.?)?$/, 'x');
  let path = operation.path.replace(/\{(\w+)\}/g, (_, name) => whole(name));
  const query = operation.parameters
    .filter(p => p.in === 'query' && (p.required || rnd() < 0.4) && rnd() < 0.95)
    // A log that goes on for ever is another test's business.
    .filter(p => p.name !== 'follow')
    .map(p => `${p.name}=${encodeURIComponent(queryValue(rnd, resolve(p.schema)))}`);
  if (rnd() < 0.1) query.push(`${encodeURIComponent(text(rnd))}=${encodeURIComponent(text(rnd))}`);
  if (query.length) path += `?${query.join('&')}`;
  const headers = {};
  const token = pick(rnd, [owner.token, owner.token, stranger.token, undefined, undefined, 'x.y.z', 'garbage']);
  if (token) headers.authorization = pick(rnd, [`Bearer ${token}`, `Bearer ${token}`, `Bearer ${token}`, `Basic ${token}`, 'Bearer']);
  const kind = Object.keys(operation.requestBody?.content ?? {})[0];
  if (kind && rnd() < 0.9) headers['content-type'] = rnd() < 0.9 ? kind : 'text/html';
  return { path, method: operation.method, headers, body: operation.method === 'get' ? undefined : body(rnd, operation) };
}

function send({ path, method, headers, body }) {
  return new Promise((resolve, reject) => {
    const asking = request(server.url + path, { method: method.toUpperCase(), headers, agent: false, timeout: 20_000 }, async answer => {
      let text = '';
      for await (const piece of answer.setEncoding('utf8')) text += piece;
      resolve({ status: answer.statusCode, type: answer.headers['content-type'], text, method });
    });
    asking.on('timeout', () => asking.destroy(new Error('no answer in 20 s')));
    asking.on('error', reject);
    asking.end(body);
  });
}

test('every answer to a random request is one that the document promises', async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
  const rnd = random(seed);
  const all = operations();
  const seen = new Set();
  assert.equal((await publish('chat')).status, 200);
  for (let i = 0; i < requests; i++) {
    const operation = pick(rnd, all);
    const asked = requestOf(rnd, operation);
    const where = `SEED=${seed}, request ${i}: ${asked.method} ${asked.path} ${JSON.stringify(asked.headers)} ${String(asked.body ?? '').slice(0, 200)}`;
    const answer = await send(asked).catch(error => assert.fail(`${where}\n${error.message}\n${server.output.slice(-1000)}`));
    const why = judge(operation, answer);
    assert.equal(why, undefined, `${where}\n${why}`);
    seen.add(`${operation.operationId} ${answer.status}`);
    // What was deleted, locked or renamed comes back, so that there is something to ask about.
    if (i % 40 === 39) {
      await ask(`${server.url}/v1/database/chat/unlock`, { method: 'POST', headers: { authorization: `Bearer ${owner.token}` } });
      assert.ok([200, 401].includes((await publish('chat')).status));
    }
  }
  assert.equal((await ask(`${server.url}/v1/ping`)).status, 200);
  for (const operation of all) assert.ok([...seen].some(s => s.startsWith(`${operation.operationId} `)), `${operation.operationId} was never asked`);
});

test('the document is what readers of OpenAPI expect', () => {
  assert.match(document.openapi, /^3\.1/);
  const ids = operations().map(o => o.operationId);
  assert.equal(new Set(ids).size, ids.length);
  for (const operation of operations()) {
    assert.ok(operation.summary, operation.operationId);
    const named = [...operation.path.matchAll(/\{(\w+)\}/g)].map(m => m[1]);
    for (const name of named) assert.ok(operation.parameters.some(p => p.in === 'path' && p.name === name && p.required), `${operation.operationId}: ${name}`);
  }
});

test('what the server does not have it says', async () => {
  assert.equal((await ask(`${server.url}/internal/heap`)).status, 501);
  assert.deepEqual(JSON.parse((await ask(`${server.url}/v1/energy/${owner.identity}`)).text), { balance: '0' });
  assert.deepEqual(JSON.parse((await ask(`${server.url}/v1/prometheus/sd_config`)).text), [
    { targets: [`127.0.0.1:${server.port}`], labels: {} },
  ]);
});
