// What a server makes of log files that were torn or damaged while it was not looking.
import assert from 'node:assert/strict';
import { closeSync, cpSync, openSync, readSync, readdirSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import {
  Socket, call, callOk, http, moduleCode, newIdentity, patience, published, rows, sql, startServer, until, within,
} from './support.mjs';

let server, ann, bob;

before(async () => {
  server = await startServer();
  ann = await newIdentity(server);
  bob = await newIdentity(server);
  await published(server, 'main', moduleCode('probe'), { token: ann.token });
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
const counter = async name => (await rows(server, name, 'SELECT COUNT(*) AS n FROM person'))[0][0];

function logDir(identity) {
  const dir = join(server.dir, 'data/databases', identity);
  const generations = readdirSync(dir).toSorted((a, b) => a - b);
  return join(dir, generations.at(-1), 'log');
}
// The newest log segment and where its written part ends (the rest is preallocated zeros).
function lastSegment(identity) {
  const dir = logDir(identity);
  const file = join(dir, readdirSync(dir).filter(name => name.endsWith('.log')).toSorted().at(-1));
  const bytes = Buffer.alloc(8 << 20); // more than any of these tests writes
  const fd = openSync(file, 'r');
  let end = readSync(fd, bytes, 0, bytes.length, 0);
  closeSync(fd);
  while (end > 0 && bytes[end - 1] === 0) end--;
  return { file, end };
}
// Change bytes of a file in place: `change` is given what is there.
function alter(file, at, length, change) {
  const fd = openSync(file, 'r+');
  const bytes = Buffer.alloc(length);
  readSync(fd, bytes, 0, length, at);
  writeSync(fd, bytes.map(change), 0, length, at);
  closeSync(fd);
}

test('a write torn by a power cut is cut off, all before it stays', async () => {
  const torn = await published(server, 'torn', moduleCode('probe'), { token: ann.token });
  for (let i = 0; i < 10; i++) await callOk(server, 'torn', 'hire', [`p${i}`, i]);
  await stop('SIGKILL');
  const { end: whole } = lastSegment(torn);
  await server.start();
  await until(async () => (await counter('torn')) === 10, 'the rows', patience);
  await stop('SIGKILL');
  const { file, end } = lastSegment(torn);
  assert.ok(end > whole);
  alter(file, end - 5, 5, () => 0); // the last frame's end never reached the disk
  await server.start();
  assert.match(server.output, /cut \d+ bytes of an unfinished write/);
  assert.equal(await counter('torn'), 10);
  await callOk(server, 'torn', 'hire', ['after', 1]);
  await again('SIGKILL');
  assert.equal(await counter('torn'), 11);
  // Half a frame of noise behind the last whole one.
  await stop('SIGKILL');
  const noise = lastSegment(torn);
  alter(noise.file, noise.end, 37, (_, i) => (i * 71 + 13) & 255);
  await server.start();
  assert.equal(await counter('torn'), 11);
});

test('damage in the middle of a log is reported and keeps nobody else from being served', async () => {
  const code = moduleCode('probe');
  const damaged = await published(server, 'damaged', code, { token: ann.token });
  for (let i = 0; i < 10; i++) await callOk(server, 'damaged', 'hire', [`p${i}`, i]);
  await stop('SIGKILL');
  const dir = logDir(damaged);
  const copy = join(server.dir, 'copy');
  cpSync(dir, copy, { recursive: true });
  const { file, end } = lastSegment(damaged);
  alter(file, Math.floor(end / 2), 1, byte => byte ^ 0x40);
  await server.start();
  assert.match(server.output, new RegExp(`database ${damaged} cannot be opened`));
  for (const answer of [
    await sql(server, 'damaged', 'SELECT * FROM person'),
    await call(server, 'damaged', 'hire', ['x', 1]),
    await http(server, 'GET', '/v1/database/damaged/schema?version=10'),
  ]) {
    assert.equal(answer.status, 503);
    assert.match(answer.text, /could not be opened/);
  }
  const socket = await Socket.open(server, '/v1/database/damaged/subscribe');
  assert.equal(socket.status, 503);
  assert.equal(await counter('main') >= 0, true, 'the others are served');
  await callOk(server, 'main', 'add', ['x', 7]);
  // Nothing was written to it: with the byte mended it is as it was.
  await stop('SIGTERM');
  rmSync(dir, { recursive: true });
  cpSync(copy, dir, { recursive: true });
  await server.start();
  assert.equal(await counter('damaged'), 10);
});

test('a database whose log cannot be saved may be started over by its owner', async () => {
  const lost = await published(server, 'lost', moduleCode('probe'), { token: ann.token });
  await callOk(server, 'lost', 'add', ['x', 1]);
  await stop('SIGKILL');
  alter(lastSegment(lost).file, 0, 4096, byte => byte ^ 0xa5);
  await server.start();
  assert.equal((await sql(server, 'lost', 'SELECT * FROM t')).status, 503);
  assert.equal(await published(server, 'lost', moduleCode('probe'), { token: ann.token, query: '&clear=true' }), lost);
  assert.deepEqual(await rows(server, 'lost', 'SELECT * FROM t'), []);
  await callOk(server, 'lost', 'add', ['x', 2]);
  await again('SIGKILL');
  assert.deepEqual(await rows(server, 'lost', 'SELECT * FROM t'), [[2]]);
  assert.equal((await http(server, 'DELETE', '/v1/database/lost', { token: ann.token })).status, 200);
});

test('a damaged database can be deleted', async () => {
  const gone = await published(server, 'gone', moduleCode('probe'), { token: ann.token });
  await stop('SIGKILL');
  alter(lastSegment(gone).file, 0, 4096, byte => byte ^ 0xa5);
  await server.start();
  assert.equal((await http(server, 'DELETE', '/v1/database/gone', { token: bob.token })).status, 403);
  assert.equal((await http(server, 'DELETE', '/v1/database/gone', { token: ann.token })).status, 200);
  assert.equal((await sql(server, 'gone', 'SELECT * FROM t')).text, 'No such database.');
  await again('SIGTERM');
  assert.equal((await sql(server, 'gone', 'SELECT * FROM t')).text, 'No such database.');
});
