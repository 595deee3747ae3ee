// What several clients do to each other and to the server when all of them want the same thing at
// once, leave in the middle, or mean harm.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import {
  Socket, bundle, call, callOk, enc, http, newIdentity, publish, published, rows, session, sleep, startServer, until, w,
} from './support.mjs';

const source = `
import { schema, table, t, SenderError } from 'spacetimedb/server';
import { ScheduleAt } from 'spacetimedb';
const item = table({ name: 'item', public: true }, { id: t.u64().primaryKey().autoInc(), text: t.string() });
const gate = table({ name: 'gate' }, { id: t.u8().primaryKey() });
const alarm = table({ name: 'alarm', scheduled: (): any => ring },
  { scheduledId: t.u64().primaryKey().autoInc(), scheduledAt: t.scheduleAt() });
const m = schema({ item, gate, alarm });
export default m;
export const onConnect = m.clientConnected(ctx => {
  if (!ctx.db.gate.id.find(0)) return;
  for (const end = Date.now() + 5; Date.now() < end; );
  throw new SenderError('closed');
});
export const shut = m.reducer({}, ctx => { ctx.db.gate.insert({ id: 0 }); });
export const put = m.reducer({ text: t.string() }, (ctx, { text }) => { ctx.db.item.insert({ id: 0n, text }); });
export const fill = m.reducer({ n: t.u32(), size: t.u32() }, (ctx, { n, size }) => {
  for (let i = 0; i < n; i++) ctx.db.item.insert({ id: 0n, text: 'x'.repeat(size) });
});
export const ring = m.reducer({ arg: alarm.rowType }, ctx => { ctx.db.item.insert({ id: 0n, text: 'rang' }); });
export const wind = m.reducer({ at: t.i64() }, (ctx, { at }) => {
  ctx.db.alarm.insert({ scheduledId: 0n, scheduledAt: ScheduleAt.time(at) });
});
`;
const code = bundle(source);
const broken = bundle(`${source}\nexport const init = m.init(() => { throw new SenderError('never'); });\n`);

let server, ann, bob;
before(async () => {
  server = await startServer();
  ann = await newIdentity(server);
  bob = await newIdentity(server);
});
after(() => server?.end());

const texts = async name => (await rows(server, name, 'SELECT * FROM item', ann.token)).map(row => row[1]).sort();
const v3 = { protocols: ['v3.bsatn.spacetimedb'] };

test('clients that a slow hook refuses are told so, and the others go on', async () => {
  await published(server, 'gated', code, { token: ann.token });
  const inside = await session(server, 'gated', { token: ann.token });
  inside.say(enc.call(1, 'shut'));
  await inside.nextOf('result');
  const refused = await Promise.all(Array.from({ length: 20 }, () => Socket.open(server, '/v1/database/gated/subscribe')));
  await Promise.all(refused.map(socket => socket.ended));
  for (const socket of refused) assert.match(socket.close.reason, /rejected by `client_connected` reducer: closed/);
  inside.say(enc.call(2, 'put', w().str('still here').done()));
  assert.ok((await inside.nextOf('result')).ok);
  inside.drop();
});

test('a database that is reset twice at once is there afterwards, and after a restart', async () => {
  const id = await published(server, 'twice', code, { token: ann.token });
  await callOk(server, 'twice', 'put', ['before'], ann.token);
  const query = '&clear=true';
  const answers = await Promise.all([1, 2, 3].map(() => publish(server, 'twice', code, { token: ann.token, query })));
  for (const answer of answers) assert.equal(answer.status, 200, answer.text);
  await callOk(server, 'twice', 'put', ['after'], ann.token);
  assert.deepEqual(await texts('twice'), ['after']);
  await server.kill();
  assert.equal(readdirSync(join(server.dir, 'data/databases', id)).length, 1, 'old generations are gone');
  await server.start();
  assert.deepEqual(await texts('twice'), ['after']);
});

test('what a reset or a deletion left behind is cleared away at the next start', async () => {
  const id = await published(server, 'left', code, { token: ann.token });
  const dir = join(server.dir, 'data/databases', id);
  await http(server, 'DELETE', '/v1/database/left', { token: ann.token });
  assert.deepEqual(existsSync(dir) ? readdirSync(dir) : [], []);
  await published(server, 'left', code, { token: ann.token });
  assert.deepEqual(readdirSync(dir), ['1'], 'no file of the deleted one is used again');
});

test('two people who publish a new name at once: one has it, the other is refused', async () => {
  for (let round = 0; round < 5; round++) {
    const name = `contested-${round}`;
    const [a, b] = await Promise.all([ann, bob].map(who => publish(server, name, code, { token: who.token })));
    assert.deepEqual([a.status, b.status].sort(), [200, 401], `${a.text}\n${b.text}`);
    const winner = a.status === 200 ? ann : bob;
    const info = (await http(server, 'GET', `/v1/database/${name}`)).json;
    assert.equal(BigInt(info.owner_identity.__identity__), BigInt(`0x${winner.identity}`));
  }
});

test('a name whose first publish failed stays its owner’s, by name and by identity', async () => {
  assert.equal((await publish(server, 'mine', broken, { token: ann.token })).status, 500);
  const identity = (await http(server, 'GET', '/v1/database/mine/identity')).text;
  assert.equal((await publish(server, 'mine', code, { token: bob.token })).status, 401);
  assert.equal((await publish(server, identity, code, { token: bob.token })).status, 403);
  assert.equal(await published(server, 'mine', code, { token: ann.token }), identity);
});

test('the identity of a deleted database is not for somebody else', async () => {
  const identity = await published(server, 'gone', code, { token: ann.token });
  await http(server, 'DELETE', '/v1/database/gone', { token: ann.token });
  assert.equal((await publish(server, identity, code, { token: bob.token })).status, 403);
  assert.equal((await publish(server, 'gone', code, { token: bob.token })).status, 401);
  assert.equal(await published(server, identity, code, { token: ann.token }), identity);
});

test('publishes that fail take no loop and no memory for good', async () => {
  const threads = () => readdirSync(`/proc/${server.child.pid}/task`).length;
  await publish(server, null, broken, { token: ann.token, method: 'POST' });
  const first = threads();
  for (let i = 0; i < 12; i++) {
    const answer = await publish(server, null, broken, { token: ann.token, method: 'POST' });
    assert.equal(answer.status, 500, answer.text);
  }
  assert.ok(threads() <= first + 4, `${threads()} threads after ${first}`);
});

test('a lock set while a reset is on its way holds', async () => {
  await published(server, 'locked', code, { token: ann.token });
  await callOk(server, 'locked', 'put', ['kept'], ann.token);
  const reset = publish(server, 'locked', code, { token: ann.token, query: '&clear=true' });
  const lock = http(server, 'POST', '/v1/database/locked/lock', { token: ann.token });
  const [answer] = await Promise.all([reset, lock]);
  const again = await publish(server, 'locked', code, { token: ann.token, query: '&clear=true' });
  assert.equal(again.status, 403, again.text);
  if (answer.status === 403) assert.deepEqual(await texts('locked'), ['kept']);
});

test('questions of a client that left are not answered into memory', async () => {
  await published(server, 'asked', code, { token: ann.token });
  await callOk(server, 'asked', 'fill', [1000, 1000], ann.token);
  const memory = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.child.pid}/status`, 'utf8'))[1]) / 1024;
  const start = memory();
  const socket = await session(server, 'asked', { ...v3, token: ann.token });
  const ask = enc.oneOff(1, 'SELECT * FROM item');
  socket.say(Buffer.concat([...Array.from({ length: 3000 }, () => ask), enc.call(9, 'put', w().str('last').done())]));
  await sleep(20);
  socket.drop();
  await until(async () => (await texts('asked')).includes('last'), 'the call behind the questions', 30_000);
  assert.ok(memory() - start < 400, `${memory() - start} MiB more`);
});

test('an alarm at any instant there is rings or is refused', async () => {
  await published(server, 'alarms', code, { token: ann.token });
  for (const at of ['-9223372036854775808', '-1']) await callOk(server, 'alarms', 'wind', `[${at}]`, ann.token);
  assert.equal((await call(server, 'alarms', 'wind', '[9223372036854775807]', ann.token)).status, 530);
  await until(async () => (await texts('alarms')).length === 2, 'two alarms');
  await sleep(100);
  assert.deepEqual(await texts('alarms'), ['rang', 'rang']);
});

test('the server stops in the middle of publishing, and holds what it acknowledged', async () => {
  const names = ['one', 'two', 'three', 'four'].map(name => `stop-${name}`);
  const answers = names.map(name => publish(server, name, code, { token: ann.token }).catch(() => ({ status: 0 })));
  await sleep(150);
  await server.stop();
  const statuses = (await Promise.all(answers)).map(answer => answer.status);
  await server.start();
  for (const [i, name] of names.entries()) {
    const { status, text } = await http(server, 'GET', `/v1/database/${name}`);
    if (statuses[i] === 200) assert.equal(status, 200, `${name}: ${text}\n${server.output.slice(-2000)}`);
    if (status === 200) await callOk(server, name, 'put', ['works'], ann.token);
  }
});
