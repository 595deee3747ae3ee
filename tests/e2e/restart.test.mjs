// What is left after a server stopped, kindly or not.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { lightcone } from './harness.mjs';
import {
  call, callOk, enc, http, logs, moduleCode, newIdentity, patience, published, rows, session, sql, startServer,
  until, within,
} from './support.mjs';

let server, ann, bob;
const db = 'main';

before(async () => {
  server = await startServer();
  ann = await newIdentity(server);
  bob = await newIdentity(server);
  await published(server, db, moduleCode('probe'), { token: ann.token });
});
after(async () => {
  await server?.end();
});

async function stop(signal) {
  server.child.kill(signal);
  return within(server.ended, `the server to end on ${signal}`);
}
async function again(signal) {
  await stop(signal);
  await server.start();
}

// Nobody is left in st_client but the one who asks. Who asked before may still be on the way out: an
// answer does not wait for the hook of the one who leaves, and that may need the slow lane.
async function aloneIn(name) {
  await until(async () => (await rows(server, name, 'SELECT * FROM st_client')).length === 1, 'the others to leave', patience);
}

// So that later starts have less to open.
async function remove(name) {
  await http(server, 'POST', `/v1/database/${name}/unlock`, { token: ann.token });
  assert.equal((await http(server, 'DELETE', `/v1/database/${name}`, { token: ann.token })).status, 200);
}

for (const signal of ['SIGTERM', 'SIGINT', 'SIGKILL']) {
  test(`after ${signal} everything that was acknowledged is there`, async () => {
    const name = `kept-${signal.toLowerCase()}`;
    const kept = await published(server, name, moduleCode('probe'), { token: ann.token });
    for (let i = 0; i < 20; i++) await callOk(server, name, 'hire', [`p${i}`, i]);
    await callOk(server, name, 'birthday', ['p3']);
    await callOk(server, name, 'hide', [1, 'x']);
    await callOk(server, name, 'log_line', [`before ${signal}`]);
    assert.equal((await http(server, 'POST', `/v1/database/${name}/names`, { token: ann.token, body: `${name}-too` })).status, 200);
    assert.equal((await http(server, 'POST', `/v1/database/${name}/lock`, { token: ann.token })).status, 200);
    const before = await rows(server, name, 'SELECT * FROM person');
    await aloneIn(name);
    const key = (await http(server, 'GET', '/v1/identity/public-key')).text;
    const info = (await http(server, 'GET', `/v1/database/${name}`)).text;

    const end = await stop(signal);
    if (signal === 'SIGKILL') assert.equal(end.signal, 'SIGKILL');
    else assert.deepEqual(end, { code: 0, signal: null });
    await server.start();

    const byId = list => list.toSorted((a, b) => a[0] - b[0]);
    assert.deepEqual(byId(await rows(server, name, 'SELECT * FROM person')), byId(before));
    assert.equal((await http(server, 'GET', '/v1/identity/public-key')).text, key);
    assert.equal((await http(server, 'GET', `/v1/identity/${ann.identity}/verify`, { token: ann.token })).status, 204);
    assert.equal((await http(server, 'GET', `/v1/database/${name}-too/identity`)).text, kept);
    assert.equal((await http(server, 'GET', `/v1/database/${name}`)).text, info);
    assert.deepEqual(await rows(server, name, 'SELECT text FROM secret', ann.token), [['x']]);
    assert.equal((await sql(server, name, 'SELECT * FROM secret', bob.token)).status, 400);
    assert.ok((await logs(server, name, ann.token)).some(record => record.message === `before ${signal}`));
    assert.equal((await http(server, 'DELETE', `/v1/database/${name}`, { token: ann.token })).status, 403, 'still locked');

    await callOk(server, name, 'hire', ['the next', 1]);
    const ids = (await rows(server, name, 'SELECT id FROM person')).flat();
    assert.equal(new Set(ids).size, ids.length);
    const [[next]] = await rows(server, name, "SELECT id FROM person WHERE name = 'the next'");
    assert.ok(next > Math.max(...before.map(row => row[0])), 'numbers are not given twice');
    assert.equal((await call(server, name, 'hire', ['p3', 1])).status, 530, 'unique columns stay unique');
    await remove(name);
  });
}

test('clients of a server that died are seen off when it comes back', async () => {
  const visits = async () => (await rows(server, db, 'SELECT * FROM visit')).map(([, [who], , what]) => `${who} ${what}`);
  const clients = await Promise.all([1, 2, 3].map(() => session(server, db)));
  for (const { initial } of clients) assert.ok((await visits()).includes(`0x${initial.identity} came`));
  await again('SIGKILL');
  const after = await until(async () => {
    const all = await visits();
    return clients.every(({ initial }) => all.includes(`0x${initial.identity} left`)) && all;
  }, 'the hooks of those who were there', patience);
  for (const { initial } of clients) assert.equal(after.filter(v => v === `0x${initial.identity} left`).length, 1);
  await aloneIn(db);
  const credentials = () => rows(server, db, 'SELECT * FROM st_connection_credentials', ann.token);
  await until(async () => (await credentials()).length === 1, 'their credentials to go', patience);
});

test('a server that stops says good-bye to its clients, and they are seen off', async () => {
  const client = await session(server, db);
  await stop('SIGTERM');
  assert.deepEqual(await client.over(), { code: 1001, reason: 'module exited' });
  await server.start();
  const left = `0x${client.initial.identity}`;
  await until(async () => (await rows(server, db, 'SELECT * FROM visit')).some(([, [who], , what]) => who === left && what === 'left'), 'its hook', patience);
});

test('a client that comes back finds itself and its subscriptions', async () => {
  const first = await session(server, db, { token: bob.token });
  first.say(enc.subscribe(1, 1, 'SELECT * FROM person'));
  await first.next();
  await callOk(server, db, 'hire', ['bob himself', 33]);
  const update = await first.next();
  await again('SIGKILL');
  await within(first.ended, 'the socket to break');
  const second = await session(server, db, { token: bob.token });
  assert.equal(second.initial.identity, bob.identity);
  second.say(enc.subscribe(1, 1, 'SELECT * FROM person'));
  const { tables } = await second.next();
  assert.ok(tables[0].rows.includes(update.sets[0].tables[0].rows[0].inserts[0]));
  await second.bye();
});

test('updates, resets and deletions are remembered', async () => {
  const code = moduleCode('probe');
  await published(server, 'changed', code, { token: ann.token });
  await callOk(server, 'changed', 'add', ['x', 1]);
  await published(server, 'changed', `${code.replace("console.info(text)", "console.info('new: ' + text)")}`, { token: ann.token });
  await published(server, 'emptied', code, { token: ann.token });
  await callOk(server, 'emptied', 'add', ['x', 2]);
  await published(server, 'emptied', code, { token: ann.token, query: '&clear=true' });
  await published(server, 'deleted', code, { token: ann.token });
  assert.equal((await http(server, 'DELETE', '/v1/database/deleted', { token: ann.token })).status, 200);
  await again('SIGKILL');
  assert.deepEqual(await rows(server, 'changed', 'SELECT * FROM t'), [[1]]);
  await callOk(server, 'changed', 'log_line', ['hello']);
  assert.ok((await logs(server, 'changed', ann.token)).some(r => r.message === 'new: hello'), 'the newest program runs');
  assert.deepEqual(await rows(server, 'emptied', 'SELECT * FROM t'), []);
  assert.equal((await sql(server, 'deleted', 'SELECT * FROM t')).text, 'No such database.');
});

test('a second server on the same data is refused and harms nothing', async () => {
  const words = ['start', '--listen-addr', '127.0.0.1:0', '--data-dir', join(server.dir, 'data')];
  const second = spawn(lightcone, words, { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  second.stdout.on('data', text => (said += text));
  second.stderr.on('data', text => (said += text));
  const code = await within(new Promise(resolve => second.on('exit', resolve)), 'the second server to give up');
  assert.equal(code, 1);
  assert.match(said, /cannot take lock on database/);
  assert.match(said, new RegExp(`owned by pid (Some\\()?${server.child.pid}\\b`));
  assert.doesNotMatch(said, /listening/);
  await callOk(server, db, 'add', ['x', 1]);
});

test('a port that is taken is said so', async () => {
  const words = ['start', '--listen-addr', `127.0.0.1:${server.port}`, '--data-dir', join(server.dir, 'other')];
  const second = spawn(lightcone, words, { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  second.stderr.on('data', text => (said += text));
  const code = await within(new Promise(resolve => second.on('exit', resolve)), 'the second server to give up');
  assert.equal(code, 1);
  assert.match(said, new RegExp(`${server.port}`));
});

test('modules that all take long to load are loaded in turn, not all at once until none has been in time', async () => {
  // A loop that waits for its own results takes as long in every engine; a module may load for ten seconds.
  const burn = rounds => `let x = 1; for (let i = 0; i < ${rounds}; i++) x = (Math.imul(x, 1664525) + 1013904223) | 0; globalThis.burnt = x;`;
  const began = performance.now();
  new Function(burn(2e8))();
  const rounds = Math.round((2e8 * 3200) / (performance.now() - began));
  const slow = await startServer();
  try {
    const names = Array.from({ length: 4 }, (_, i) => `slow-${i}`);
    const owner = await newIdentity(slow);
    const code = `${moduleCode('probe')}\n${burn(rounds)}`;
    for (const name of names) await published(slow, name, code, { token: owner.token });
    await slow.stop();
    slow.options.prefix = ['taskset', '-c', '0'];
    await slow.start();
    for (const name of names) assert.equal((await http(slow, 'GET', `/v1/database/${name}`)).status, 200, slow.output.slice(-1000));
  } finally {
    await slow.end();
  }
});
