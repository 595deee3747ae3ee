// Publishing WebAssembly: the first time, over a module of the other kind and back, and what is no
// module. The module is written by hand, so that nothing but the server is tested.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { bundle, call, callOk, enc, http, logs, newIdentity, publish, rows, session, startServer, until, w } from './support.mjs';

let server, ann;
const open = [];

before(async () => {
  server = await startServer();
  ann = await newIdentity(server);
});
after(async () => {
  for (const socket of open) socket.drop();
  await server?.end();
});

const U32 = 11, STRING = 4;
const some = (x, name) => x.u8(0).str(name);

// The definition of a module with the table `t (n u32)`, the reducer `add (n u32)` and whatever else.
function definition({ extra = false } = {}) {
  const x = w().u8(2).u32(4);
  some(x.u8(0).u32(1).u8(2).u32(1), 'n').u8(U32);
  x.u8(1).u32(1).u32(0).str('T').u32(0).u8(1);
  x.u8(2).u32(extra ? 2 : 1);
  for (const name of extra ? ['t', 'extra'] : ['t']) x.str(name).u32(0).u32(0).u32(0).u32(0).u32(0).u8(1).u8(0).u32(0).u8(0);
  some(x.u8(3).u32(1).str('add').u32(1), 'n').u8(U32).u8(1).u8(2).u32(0).u8(STRING);
  return x.done();
}

const text = bytes => [...bytes].map(byte => `\\${byte.toString(16).padStart(2, '0')}`).join('');
const little = n => { const b = Buffer.alloc(4); b.writeUInt32LE(n); return b; };

function wasm(name, { def = definition(), call = '', imports = '' } = {}) {
  const wat = join(server.dir, `${name}.wat`), out = join(server.dir, `${name}.wasm`);
  writeFileSync(wat, `(module
    (import "spacetime_10.0" "bytes_sink_write" (func $write (param i32 i32 i32) (result i32)))
    (import "spacetime_10.0" "bytes_source_read" (func $read (param i32 i32 i32) (result i32)))
    (import "spacetime_10.0" "table_id_from_name" (func $table (param i32 i32 i32) (result i32)))
    (import "spacetime_10.0" "datastore_insert_bsatn" (func $insert (param i32 i32 i32) (result i32)))
    ${imports}
    (memory (export "memory") 1)
    (data (i32.const 8) "${text(little(def.length))}")
    (data (i32.const 16) "t")
    (data (i32.const 4096) "${text(def)}")
    (func (export "__describe_module__") (param $sink i32)
      (drop (call $write (local.get $sink) (i32.const 4096) (i32.const 8))))
    (func (export "__call_reducer__") (param $id i32) (param i64 i64 i64 i64) (param i64 i64) (param i64) (param $args i32) (param i32) (result i32)
      ${call}
      (i32.store (i32.const 32) (i32.const 4))
      (drop (call $read (local.get $args) (i32.const 64) (i32.const 32)))
      (drop (call $table (i32.const 16) (i32.const 1) (i32.const 36)))
      (i32.store (i32.const 32) (i32.const 4))
      (call $insert (i32.load (i32.const 36)) (i32.const 64) (i32.const 32)))
  )`);
  execFileSync('wat2wasm', [wat, '-o', out]);
  return out;
}

const script = () => bundle(`
  import { schema, table, t } from 'spacetimedb/server';
  const one = table({ name: 't', public: true }, { n: t.u32() });
  const db = schema({ t: one });
  export default db;
  export const add = db.reducer({ n: t.u32() }, (ctx, { n }) => { ctx.db.t.insert({ n: n + 100 }); });
`);
const put = (name, file, query = '') =>
  http(server, 'PUT', `/v1/database/${name}?host_type=Wasm${query}`, { token: ann.token, body: readFileSync(file) });
const numbers = async name => (await rows(server, name, 'SELECT * FROM t')).flat().sort((a, b) => a - b);

test('a wasm module is published by the command, called, changed in place and kept', async () => {
  const file = wasm('first');
  const done = await server.cli('publish', 'cabin', '--bin-path', file, '--server', server.url, '--yes');
  assert.equal(done.code, 0, done.stdout + done.stderr);
  assert.match(done.stdout, /\(WASM\) Skipping build\. Instead we are publishing .*first\.wasm/);
  assert.match(done.stdout, /Created new database with name: cabin, identity: [0-9a-f]{64}/);
  await callOk(server, 'cabin', 'add', [1]);
  const next = await server.cli('publish', 'cabin', '--bin-path', wasm('second', { def: definition({ extra: true }) }), '--server', server.url, '--yes');
  assert.equal(next.code, 0, next.stdout + next.stderr);
  assert.match(next.stdout, /▸ Created user table: extra \(public\)/);
  assert.match(next.stdout, /Updated database with name: cabin/);
  await callOk(server, 'cabin', 'add', [2]);
  await server.kill();
  await server.start();
  await callOk(server, 'cabin', 'add', [3]);
  assert.deepEqual(await numbers('cabin'), [1, 2, 3]);
  assert.deepEqual(await rows(server, 'cabin', 'SELECT * FROM extra'), []);
});

test('a database changes from JavaScript to wasm and back with its rows and its clients', async () => {
  const name = 'changing';
  assert.equal((await publish(server, name, script(), { token: ann.token })).status, 200);
  const socket = await session(server, name, { protocols: ['v3.bsatn.spacetimedb'], token: ann.token });
  open.push(socket);
  socket.say(enc.subscribe(1, 1, 'SELECT * FROM t'));
  await socket.next();
  await callOk(server, name, 'add', [1]);
  assert.equal((await socket.next()).kind, 'update');
  const answer = await put(name, wasm('change'));
  assert.equal(answer.status, 200, answer.text);
  socket.say(enc.call(1, 'add', w().u32(2).done()));
  assert.equal((await socket.next()).ok, true, 'the same connection, the other engine');
  assert.deepEqual(await numbers(name), [2, 101]);
  // What is shown is the kind it was made with; what runs is the newest program.
  assert.deepEqual((await http(server, 'GET', `/v1/database/${name}`)).json.host_type, { Js: [] });
  await server.kill();
  await server.start();
  await callOk(server, name, 'add', [3]);
  assert.equal((await publish(server, name, script(), { token: ann.token })).status, 200);
  await callOk(server, name, 'add', [4]);
  assert.deepEqual(await numbers(name), [2, 3, 101, 104]);
});

test('what is not a module of its kind is refused with the reason, and the old one serves on', async () => {
  const name = 'strict';
  assert.equal((await put(name, wasm('strict'))).status, 200);
  const broken = join(server.dir, 'broken.wasm');
  for (const [what, bytes] of [
    ['no wasm', 'export default {}'],
    ['cut off', readFileSync(join(server.dir, 'strict.wasm')).subarray(0, 100)],
    ['empty', ''],
  ]) {
    writeFileSync(broken, bytes);
    const answer = await put(name, broken);
    assert.equal(answer.status, 500, `${what}: ${answer.text}`);
    assert.ok(answer.text.length > 5, what);
  }
  const unknown = await put(name, wasm('unknown', { imports: '(import "spacetime_10.9" "nothing" (func))' }));
  assert.equal(unknown.status, 500);
  assert.match(unknown.text, /spacetime_10\.9|10\.9/);
  const lies = await put(name, wasm('lies', { def: Buffer.from('02ff', 'hex') }));
  assert.equal(lies.status, 500);
  const asScript = await publish(server, name, readFileSync(join(server.dir, 'strict.wasm')), { token: ann.token });
  assert.equal(asScript.status, 500);
  await callOk(server, name, 'add', [7]);
  assert.deepEqual(await numbers(name), [7]);
});

test('the same program again is no change, and what was compiled for the plan is not compiled again', async () => {
  const name = 'twice';
  const file = wasm('twice', { call: '(drop (i32.const 77))' });
  const bytes = readFileSync(file);
  assert.equal((await put(name, wasm('before', { call: '(drop (i32.const 78))' }))).status, 200);
  const began = Date.now();
  const plan = await http(server, 'POST', `/v1/database/${name}/pre_publish?host_type=Wasm&style=NoColor`, { token: ann.token, body: bytes });
  const planned = Date.now() - began;
  assert.equal(plan.json.AutoMigrate.break_clients, false);
  const again = Date.now();
  assert.equal((await put(name, file)).json.Success.op, 'updated');
  const took = Date.now() - again;
  assert.ok(took < planned, `planning took ${planned} ms, publishing ${took} ms`);
  const lines = (await logs(server, name, ann.token)).length;
  assert.equal((await put(name, file)).json.Success.op, 'updated');
  assert.equal((await logs(server, name, ann.token)).length, lines);
});

test('a trap ends the call and not the module', async () => {
  const name = 'trapping';
  assert.equal((await put(name, wasm('trapping', { call: '(if (i32.eqz (i32.and (i32.load8_u (i32.const 900)) (i32.const 1))) (then (i32.store8 (i32.const 900) (i32.const 1)) (unreachable)))' }))).status, 200);
  const trapped = await call(server, name, 'add', [1], ann.token);
  assert.equal(trapped.status, 530);
  assert.match(trapped.text, /The instance encountered a fatal error\./);
  // The instance is a new one: its memory begins again, so it traps again, and so on.
  assert.equal((await call(server, name, 'add', [1], ann.token)).status, 530);
  assert.deepEqual(await numbers(name), []);
});

test('publishing beside a busy database: the old version serves until the new one is there', async () => {
  const name = 'busy';
  assert.equal((await put(name, wasm('busy-1'))).status, 200);
  let running = true, ran = 0;
  const caller = (async () => {
    for (let n = 0; running; n++) {
      await callOk(server, name, 'add', [n]);
      ran = n + 1;
    }
  })();
  await until(() => ran > 5, 'some calls');
  const answers = await Promise.all([1, 2, 3].map(i => put(name, wasm(`busy-${i}x`, { call: `(drop (i32.const ${i}))` }))));
  for (const answer of answers) assert.equal(answer.status, 200, answer.text);
  const at = ran;
  await until(() => ran > at + 5, 'calls after it');
  running = false;
  await caller;
  assert.equal((await numbers(name)).length, ran, 'no call was lost');
});
