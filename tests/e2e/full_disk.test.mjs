// A disk that is full and files that may not be written: writes stop with a reason, reads go on, nothing
// that was acknowledged is lost, and when the cause is gone so is the trouble, without a restart.
//
// A disk that is full is made with RLIMIT_FSIZE, by prlimit: writes beyond so many bytes of a file fail.
// Files that may not be written with chmod; for root that means something after setpriv took away
// CAP_DAC_OVERRIDE.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Server } from './harness.mjs';
import { bundle, call, enc, http, newIdentity, patience, publish, published, rows, session, until, w } from './support.mjs';

const db = 'full';
const source = `
import { schema, t, table } from 'spacetimedb/server';
const entry = table({ name: 'entry', public: true }, { id: t.u32().primaryKey(), text: t.string() });
const db = schema({ entry });
export default db;
export const put = db.reducer({ id: t.u32(), size: t.u32() }, (ctx, { id, size }) => {
  ctx.db.entry.insert({ id, text: 'x'.repeat(size) });
});
`;
const put = (id, size) => w().u32(id).u32(size).done();
const limit = (server, bytes) => execFileSync('prlimit', ['--pid', String(server.child.pid), `--fsize=${bytes}:unlimited`]);
const ids = async server => (await rows(server, db, 'SELECT id FROM entry')).map(([id]) => id).sort((a, b) => a - b);
const readOnly = async server => /^lightcone_database_read_only\{.*\} 1$/m.test((await http(server, 'GET', '/v1/metrics')).text);

let code;
before(() => {
  code = bundle(source);
});

async function filled(options) {
  const server = await new Server(options).start();
  const ann = await newIdentity(server);
  await published(server, db, code, { token: ann.token });
  for (let id = 0; id < 50; id++) assert.equal((await call(server, db, 'put', [id, 100])).status, 200);
  return { server, ann };
}

// What it is like while nothing can be written.
async function checkReadOnly(server, token, acknowledged, why) {
  const there = new Set(await ids(server));
  for (const id of acknowledged) assert.ok(there.has(id), `${id} was acknowledged and is lost`);
  const refused = await call(server, db, 'put', [9999, 1]);
  assert.notEqual(refused.status, 200);
  assert.match(refused.text, why);
  const update = await publish(server, db, `${code}\n`, { token });
  assert.notEqual(update.status, 200);
  assert.match(update.text, why);
  const socket = await session(server, db);
  socket.say(enc.subscribe(1, 1, 'SELECT * FROM entry WHERE id = 1'));
  assert.equal((await socket.nextOf('subscribed')).tables[0].rows.length, 1);
  socket.say(enc.call(1, 'put', put(9998, 1)));
  assert.match((await socket.nextOf('result')).internal, why);
  socket.drop();
}

async function checkRecovers(server, acknowledged) {
  await until(async () => !(await readOnly(server)), 'it to be written again', patience * 2);
  assert.equal((await call(server, db, 'put', [5000, 1])).status, 200);
  const now = await ids(server);
  for (const id of [...acknowledged, 5000]) assert.ok(now.includes(id), `${id} was acknowledged and is lost`);
  for (const id of [9998, 9999]) assert.ok(!now.includes(id), `${id} was refused and is there`);
}

test('a disk that fills up under load', async () => {
  const { server, ann } = await filled();
  const acknowledged = new Set(Array.from({ length: 50 }, (_, id) => id));
  const socket = await session(server, db);
  let id = 100;
  const writing = (async () => {
    for (;;) {
      const mine = [];
      for (let i = 0; i < 8; i++) {
        mine.push(id);
        socket.say(enc.call(id, 'put', put(id++, 2000)));
      }
      for (let i = 0; i < 8; i++) {
        const result = await socket.nextOf('result');
        if (result.ok) acknowledged.add(result.request);
      }
    }
  })().catch(error => error);
  await until(() => acknowledged.size > 100, 'some to be acknowledged', patience);
  limit(server, 64 << 10);
  await writing;  // its connection is cut: what it was not told may not be on the disk
  await until(() => readOnly(server), 'it to be read-only', patience);
  await checkReadOnly(server, ann.token, acknowledged, /read-only because the disk is full/);
  limit(server, 'unlimited');
  await checkRecovers(server, acknowledged);
  // And what a kill leaves is the same.
  await server.kill();
  await server.start();
  const now = await ids(server);
  for (const one of [...acknowledged, 5000]) assert.ok(now.includes(one), `${one} was acknowledged and is lost`);
  await server.end();
});

test('starting on a full disk says what is wrong', async () => {
  const server = new Server({ prefix: ['prlimit', '--fsize=0'] });
  await assert.rejects(server.start(), error => {
    assert.match(error.message, /Error: cannot write .*lightcone\.pid: .*: is the disk of the data directory full/);
    return true;
  });
  assert.equal((await server.ended).code, 1);
  // Room for the pid and for nothing else.
  server.options.prefix = ['prlimit', '--fsize=64'];
  await assert.rejects(server.start(), error => {
    assert.match(error.message, /Error: .*(full|too large|No space)/i);
    return true;
  });
  // The next start, with room, is not disturbed by what these left behind.
  server.options.prefix = [];
  await server.start();
  assert.equal((await http(server, 'GET', '/v1/ping')).status, 200);
  await server.end();
});

function each(dir, change) {
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) each(path, change);
    else change(path, false);
  }
  change(dir, true);
}
const root = process.getuid() === 0;
const bounded = root ? ['setpriv', '--bounding-set=-dac_override'] : [];

test('files that may not be written are read, and written again when they may', async () => {
  const { server, ann } = await filled({ prefix: bounded });
  const acknowledged = Array.from({ length: 50 }, (_, id) => id);
  await server.stop();
  const data = join(server.dir, 'data/databases');
  const modes = new Map();
  each(data, (path, isDir) => {
    modes.set(path, statSync(path).mode & 0o777);
    chmodSync(path, isDir ? 0o555 : 0o444);
  });
  await server.start();
  assert.ok(await readOnly(server));
  await checkReadOnly(server, ann.token, acknowledged, /read-only because its files may not be written/);
  for (const [path, mode] of [...modes].reverse()) chmodSync(path, mode);
  await checkRecovers(server, acknowledged);
  await server.end();
});
