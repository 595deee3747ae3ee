// What the npm module library makes of our host functions: its error classes, its transactions that
// try twice, its requests, its log lines, and the places of exceptions.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { bundle, http, logs, newIdentity, published, rows, startServer } from './support.mjs';

const source = `
import { errors, schema, SenderError, SpacetimeHostError, t, table } from 'spacetimedb/server';

const item = table({ name: 'item', public: true }, { id: t.u32().primaryKey(), name: t.string() });
const said = table({ name: 'said', public: true }, { id: t.u64().primaryKey().autoInc(), text: t.string() });
const library = schema({ item, said });
export default library;

const outcome = (body: () => unknown) => {
  try {
    return String(body());
  } catch (e: any) {
    return \`\${e.name} \${e instanceof SpacetimeHostError} \${e instanceof Error}: \${e.message}\`;
  }
};

export const classes = library.reducer(ctx => {
  ctx.db.item.insert({ id: 1, name: 'one' });
  const text = [
    outcome(() => ctx.db.item.insert({ id: 1, name: 'two' }).name),
    outcome(() => ctx.db.item.id.update({ id: 9, name: 'nine' }).name),
    outcome(() => { try { ctx.db.item.insert({ id: 1, name: 'x' }); } catch (e) { return e instanceof (errors as any).UniqueAlreadyExists; } }),
    outcome(() => Math.random()),
    outcome(() => new TextDecoder('latin1')),
  ].join('|');
  ctx.db.said.insert({ id: 0n, text });
});

export const loud = library.reducer(() => {
  console.log('log', 1, { a: [2] });
  console.warn('warn');
  console.time('span');
  console.timeEnd('span');
});

export const broken = library.reducer(() => {
  deeper();
});
function deeper() {
  throw new RangeError('out of everything');  // LINE
}

export const tries = library.procedure({ fail: t.u32() }, t.string(), (ctx, { fail }) => {
  let runs = 0;
  const text = outcome(() => ctx.withTx(tx => {
    runs++;
    if (runs <= fail) throw new Error('thrown in run ' + runs);
    tx.db.item.insert({ id: 100 + runs, name: 'from a procedure' });
    return 'done';
  }));
  return runs + ' ' + text;
});

export const nested = library.procedure(t.string(), ctx =>
  outcome(() => ctx.withTx(() => ctx.withTx(() => 'inner')))
);

export const asks = library.procedure({ url: t.string() }, t.string(), (ctx, { url }) =>
  outcome(() => { const r = ctx.http.fetch(url); return r.status + ' ' + r.text(); })
);
export const asks_inside = library.procedure({ url: t.string() }, t.string(), (ctx, { url }) =>
  outcome(() => ctx.withTx(() => ctx.http.fetch(url).status))
);

export const no_user_errors = library.procedure(t.string(), () => {
  throw new SenderError('not for the sender');
});
`;

const db = 'library';
let server, ann;
before(async () => {
  server = await startServer({ words: ['--outbound-http', 'all'] });
  ann = await newIdentity(server);
  await published(server, db, bundle(source, '--sourcemap=inline', '--sourcefile=src/index.ts'), { token: ann.token });
});
after(async () => server?.end());

const call = (name, ...args) =>
  http(server, 'POST', `/v1/database/${db}/call/${name}`, {
    token: ann.token,
    body: JSON.stringify(args),
    headers: { 'content-type': 'application/json' },
  });
const answer = async (name, ...args) => {
  const got = await call(name, ...args);
  assert.equal(got.status, 200, got.text);
  return JSON.parse(got.text);
};

test('errors are of the classes that the library names', async () => {
  assert.equal((await call('classes')).status, 200);
  const [[text]] = await rows(server, db, 'SELECT text FROM said');
  const [twice, missing, instance, random, label] = text.split('|');
  assert.equal(twice, 'UniqueAlreadyExists true true: Value with given unique identifier already exists');
  assert.equal(missing, 'NoSuchRow true true: The row was not found, e.g., in an update call');
  assert.equal(instance, 'true');
  assert.match(random, /^TypeError false true: Math.random is not available/);
  assert.match(label, /^RangeError false true/);
});

test('its console arrives in the log, with the place of the call', async () => {
  assert.equal((await call('loud')).status, 200);
  const lines = (await logs(server, db, ann.token)).filter(line => line.function === 'loud');
  assert.deepEqual(lines.map(line => line.level), ['Info', 'Warn', 'Info']);
  assert.match(lines[0].message, /^log 1 \{ a: \[ 2 \] \}$/);
  for (const line of lines.slice(0, 2)) assert.match(line.filename, /src\/index\.ts$/);
  assert.ok(lines[1].line_number > lines[0].line_number, JSON.stringify(lines));
  assert.match(lines[2].message, /^Timing span "span": [\d.]+(ns|µs|ms|s)$/);
});

test('an exception is where somebody wrote it', async () => {
  assert.equal((await call('broken')).status, 530);
  const panic = (await logs(server, db, ann.token)).find(line => line.level === 'Panic');
  assert.equal(panic.message, 'RangeError: out of everything');
  assert.match(panic.filename, /src\/index\.ts$/);
  assert.equal(panic.line_number, 1 + source.split('\n').findIndex(line => line.includes('// LINE')));
  assert.equal(panic.trace[0].func_name, 'deeper');
});

test('a transaction of a procedure is kept or undone', async () => {
  assert.equal(await answer('tries', 0), '1 done');
  assert.deepEqual(await rows(server, db, 'SELECT id FROM item WHERE id >= 100'), [[101]]);
  assert.equal(await answer('tries', 5), '1 Error false true: thrown in run 1');
  assert.deepEqual(await rows(server, db, 'SELECT id FROM item WHERE id >= 100'), [[101]]);
});

test('there is one transaction at a time, and none while waiting', async () => {
  assert.match(await answer('nested'), /^WouldBlockTransaction true true/);
  assert.match(await answer('asks_inside', server.url + '/v1/ping'), /^WouldBlockTransaction true true/);
});

test('requests answer, or fail in words', async () => {
  assert.equal(await answer('asks', server.url + '/v1/ping'), '200 ');
  assert.match(await answer('asks', 'http://127.0.0.1:1/'), /^HttpError true true: .*onnect/);
  assert.match(await answer('asks', 'no url'), /Error/);
});

test('a procedure has no user errors', async () => {
  const got = await call('no_user_errors');
  assert.equal(got.status >= 500, true, got.text);
});
