// PostgreSQL's protocol with psql, with two drivers of npm and two of Python, and with a socket that keeps to no rules.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import pg from 'pg';
import postgres from 'postgres';
import { message, pgOptions, psql, RawPg, startPgServer, startup } from './pg_support.mjs';
import { top } from './harness.mjs';
import { bundle, callOk, http, logs, newIdentity, published, publish, rows, sleep, sql, until, within } from './support.mjs';

let server, ann, ben;
const clients = [];

async function client(token = ann.token, database = 'shop') {
  const one = new pg.Client(pgOptions(server, database, token));
  one.on('error', () => {});
  await one.connect();
  clients.push(one);
  return one;
}

const failure = async promise => promise.then(() => assert.fail('it was accepted'), error => error);

before(async () => {
  server = await startPgServer();
  [ann, ben] = [await newIdentity(server), await newIdentity(server)];
  await published(server, 'shop', bundle(`
    import { schema, table, t, SenderError } from 'spacetimedb/server';
    const item = table({ name: 'item', public: true }, { id: t.u64().primaryKey().autoInc(), name: t.string(), price: t.u32().index('btree'), at: t.timestamp() });
    const kinds = table({ name: 'kinds', public: true }, {
      id: t.u32().primaryKey(), b: t.bool(), i_8: t.i8(), u_8: t.u8(), i_64: t.i64(), u_64: t.u64(),
      u_256: t.u256(), f_32: t.f32(), f_64: t.f64(), s: t.string(), bytes: t.byteArray(), who: t.identity(), uid: t.uuid(),
      at: t.timestamp(), took: t.timeDuration(), maybe: t.option(t.i32()), words: t.array(t.string()), nums: t.array(t.i32()),
      kind: t.enum('Kind', ['red', 'green']), place: t.object('Place', { x: t.i32(), y: t.string() }) });
    const wish = table({ name: 'wish', public: true }, { id: t.u32().primaryKey(), what: t.option(t.string()), color: t.enum('Color', ['blue', 'grey']) });
    const secret = table({ name: 'secret' }, { id: t.u32().primaryKey(), word: t.string() });
    const big = table({ name: 'big', public: true }, { id: t.u64().primaryKey(), pad: t.string() });
    const guest = table({ name: 'guest', public: true }, { n: t.u32().primaryKey().autoInc(), who: t.identity(), came: t.bool() });
    const shop = schema({ item, kinds, wish, secret, big, guest });
    export default shop;
    export const cheap = shop.anonymousView({ name: 'cheap', public: true }, t.array(item.rowType), ctx => [...ctx.db.item.price.filter(1)]);
    export const came = shop.clientConnected(ctx => { ctx.db.guest.insert({ n: 0, who: ctx.sender, came: true }); });
    export const went = shop.clientDisconnected(ctx => { ctx.db.guest.insert({ n: 0, who: ctx.sender, came: false }); });
    export const fill = shop.reducer({ from: t.u32(), count: t.u32() }, (ctx, { from, count }) => {
      for (let i = 0; i < count; i++) ctx.db.big.insert({ id: BigInt(from + i), pad: 'x'.repeat(200) });
    });
    export const touch = shop.reducer({ id: t.u64(), pad: t.string() }, (ctx, row) => { ctx.db.big.id.update(row); });
    export const mix = shop.reducer(ctx => { ctx.db.kinds.insert({
      id: 1, b: true, i_8: -8, u_8: 200, i_64: -9000000000000000000n, u_64: 18000000000000000000n, u_256: 2n ** 255n, f_32: 1.5, f_64: -0.1,
      s: 'héllo "q"', bytes: new Uint8Array([1, 2, 255]), who: ctx.sender, uid: { __uuid__: 0x0123456789abcdef0123456789abcdefn },
      at: { __timestamp_micros_since_unix_epoch__: 1767225600123456n }, took: { __time_duration_micros__: 3661500000n },
      maybe: undefined, words: ['a', 'b "c"', ''], nums: [1, -2], kind: { tag: 'green' }, place: { x: 1, y: 'z' } }); });
  `), { token: ann.token });
  await callOk(server, 'shop', 'mix', [], ann.token);
});
after(async () => {
  for (const one of clients) await one.end().catch(() => {});
  await server?.end();
});

// ── psql ─────────────────────────────────────────────────────────────────────────────────────────

test('psql reads, writes and says what went wrong', async () => {
  const done = await psql(server, 'shop', ann.token, '-v', 'VERBOSITY=verbose',
    '-c', "insert into item (id, name, price, at) values (0, 'lamp', 12, '2026-01-01T00:00:00Z'), (0, 'chair', 40, '2026-01-02T03:04:05.678Z')",
    '-c', "update item set price = 13 where name = 'lamp'; select name, price, at from item order by price",
    '-c', 'select * from nope',
    '-c', 'select name from item where price = = 1',
    '-c', 'select count(*) as n from item');
  assert.match(done.stdout, /INSERT 0 2\nUPDATE 1\n/);
  assert.match(done.stdout, /lamp\s+\|\s+13 \| 2026-01-01 00:00:00\+00\n.*chair\s+\|\s+40 \| 2026-01-02 03:04:05\.678\+00/);
  assert.match(done.stderr, /ERROR:  42P01: no such table: `nope`/);
  assert.match(done.stderr, /ERROR:  42601: .*\nLINE 1: select name from item where price = = 1\n {44}\^/);
  assert.match(done.stdout, /n \n---\n 2\n\(1 row\)/);
});

test('psql shows each type as PostgreSQL would', async () => {
  const { stdout } = await psql(server, 'shop', ann.token, '-x', '-At', '-c', 'select * from kinds');
  assert.deepEqual(Object.fromEntries(stdout.trim().split('\n').map(line => line.split(/\|(.*)/s))), {
    id: '1', b: 't', i_8: '-8', u_8: '200', i_64: '-9000000000000000000', u_64: '18000000000000000000', u_256: String(2n ** 255n),
    f_32: '1.5', f_64: '-0.1', s: 'héllo "q"', bytes: '\\x0102ff', who: `\\x${ann.identity}`, uid: '01234567-89ab-cdef-0123-456789abcdef',
    at: '2026-01-01 00:00:00.123456+00', took: '01:01:01.5', maybe: '', words: '{a,"b \\"c\\"",""}', nums: '{1,-2}',
    kind: 'green', place: '{"x": 1, "y": "z"}',
  });
});

test('psql describes tables, indexes and the database', async () => {
  const list = await psql(server, 'shop', ann.token, '-At', '-c', '\\dt');
  assert.deepEqual(list.stdout.trim().split('\n').map(line => line.split('|').slice(0, 3).join(' ')),
    ['big', 'guest', 'item', 'kinds', 'secret', 'wish'].map(name => `public ${name} table`));
  const others = await psql(server, 'shop', ben.token, '-At', '-c', '\\dt sec*');
  assert.match(others.stderr + others.stdout, /Did not find any relation named "sec\*"/);
  const item = await psql(server, 'shop', ann.token, '-c', '\\d item');
  assert.match(item.stdout, /Table "public\.item"/);
  assert.match(item.stdout, /id +\| numeric +\| +\| not null \| auto_inc/);
  assert.match(item.stdout, /at +\| timestamp with time zone/);
  assert.match(item.stdout, /"item_id_idx_btree" PRIMARY KEY, btree \(id\)/);
  const rest = await psql(server, 'shop', ann.token, '-At', '-c', '\\dv', '-c', '\\l', '-c', '\\dn', '-c', '\\du', '-c', '\\di item*');
  assert.equal(rest.stderr, '');
  assert.match(rest.stdout, /public\|cheap\|view/);
  assert.match(rest.stdout, /shop\|/);
  assert.match(rest.stdout, /item_price_idx_btree\|index/);
  const functions = await psql(server, 'shop', ann.token, '-c', '\\df');
  assert.match(functions.stderr, /pg_catalog is answered for psql's/);
});

test('who may not come in is told why', async () => {
  assert.match((await psql(server, 'nowhere', ann.token, '-c', 'select 1')).stderr, /FATAL: {2}database "nowhere" does not exist/);
  assert.match((await psql(server, 'shop', 'garbage', '-c', 'select 1')).stderr, /FATAL: {2}Invalid token/);
  assert.equal((await failure(client('garbage'))).code, '28P01');
  assert.equal((await failure(client(ann.token, 'nowhere'))).code, '3D000');
});

// ── npm pg ───────────────────────────────────────────────────────────────────────────────────────

test('npm pg gets values of every type', async () => {
  const { rows: [row] } = await (await client()).query('select * from kinds');
  assert.equal(row.b, true);
  assert.equal(row.u_8, 200);
  assert.equal(row.u_64, '18000000000000000000');
  assert.deepEqual(row.bytes, Buffer.from([1, 2, 255]));
  assert.equal(row.who.toString('hex'), ann.identity);
  assert.equal(row.at.toISOString(), '2026-01-01T00:00:00.123Z');
  assert.equal(row.took.toISOString(), 'P0Y0M0DT1H1M1.5S');
  assert.equal(row.maybe, null);
  assert.deepEqual(row.words, ['a', 'b "c"', '']);
  assert.deepEqual(row.place, { x: 1, y: 'z' });
});

test('the binary form of each type says the same as the text', async () => {
  const one = await client();
  const columns = ['id', 'b', 'i_8', 'u_8', 'i_64', 'f_32', 'f_64', 's', 'bytes', 'who', 'kind', 'maybe'];
  const ask = binary => one.query({ text: `select ${columns.join(', ')} from kinds`, binary });
  assert.deepEqual((await ask(true)).rows, (await ask(false)).rows);
});

test('parameters are values of what they meet', async () => {
  const one = await client();
  const found = async (where, ...values) => (await one.query(`select id from kinds where ${where}`, values)).rowCount;
  assert.equal(await found('b = $1 and u_64 = $2 and s = $3', true, '18000000000000000000', 'héllo "q"'), 1);
  assert.equal(await found('i_8 in ($1, $2) and f_64 < $3', 5, -8, 0), 1);
  assert.equal(await found('bytes = $1', Buffer.from([1, 2, 255])), 1);
  assert.equal(await found('who = $1 and uid = $2', Buffer.from(ann.identity, 'hex'), '01234567-89ab-cdef-0123-456789abcdef'), 1);
  assert.equal(await found('at between $1 and $2', new Date('2026-01-01T00:00:00Z'), new Date('2026-01-01T00:00:01Z')), 1);
  assert.equal(await found('id = $1 and b = $2', 1, false), 0);
  assert.equal((await one.query('select id from kinds order by id limit $1 offset $2', [1, 1])).rowCount, 0);
});

test('what is written with parameters is there, options and variants too', async () => {
  const one = await client();
  const done = await one.query('insert into wish (id, what, color) values ($1, $2, $3), ($4, $5, $6)', [1, "a 'quoted' thing", 'grey', 2, null, 'blue']);
  assert.deepEqual([done.command, done.rowCount], ['INSERT', 2]);
  assert.deepEqual((await one.query('select * from wish order by id')).rows,
    [{ id: '1', what: "a 'quoted' thing", color: 'grey' }, { id: '2', what: null, color: 'blue' }]);
  assert.equal((await one.query('update wish set what = $1 where id = $2', [null, 1])).rowCount, 1);
  assert.equal((await one.query('delete from wish where what is null')).rowCount, 2);
  assert.equal((await failure(one.query('insert into wish (id, what, color) values ($1, $2, $3)', [3, null, 'pink']))).code, '22P02');
  assert.equal((await failure(one.query('select * from item where name = $1', [null]))).code, '22004');
});

test('literals in the text are as drivers write values into it', async () => {
  const one = await client();
  assert.equal((await one.query("insert into wish (id, what, color) values (11, 'x'::text, 'grey'), (12, NULL, 'blue'), ('13'::int8, null, 'blue'::varchar)")).rowCount, 3);
  assert.deepEqual((await one.query("select id, what from wish where what is null and id > '11'::integer order by id")).rows, [{ id: '12', what: null }, { id: '13', what: null }]);
  assert.equal((await one.query("update wish set what = 'y' where id = $1::int4", [12])).rowCount, 1);
  assert.equal((await one.query("select id from kinds where bytes = '\\x0102ff'::bytea and uid = '01234567-89ab-cdef-0123-456789abcdef'::uuid and at > '2025-12-31'::date")).rowCount, 1);
  assert.equal((await failure(one.query("select id from wish where what = 'y'::nonsense"))).code, '0A000');
  assert.equal((await failure(one.query("insert into wish (id, what, color) values (NULL, NULL, 'blue')"))).code, '22004');
  assert.equal((await one.query('delete from wish where id > 10')).rowCount, 3);
});

test('errors have their SQLSTATEs, and the connection goes on', async () => {
  const one = await client();
  const code = async (text, ...values) => (await failure(one.query(text, values.length ? values : undefined))).code;
  assert.equal(await code('select * from nope'), '42P01');
  assert.equal(await code('select nope from item'), '42703');
  assert.equal(await code('selec'), '42601');
  assert.equal(await code('select * from item where id = $1', 'abc'), '22P02');
  assert.equal(await code('select * from item where id = true'), '42804');
  assert.equal(await code('select distinct name from item'), '0A000');
  await one.query("insert into secret (id, word) values (1, 'a')");
  assert.equal(await code("insert into secret (id, word) values (1, 'b')"), '23505');
  assert.equal((await failure(one.query('select name from item where price = = 1'))).position, '37');
  assert.equal((await failure(one.query('select name from item where prize = 1'))).position, '29');
  assert.deepEqual((await one.query('select 1 as one')).rows, [{ one: 1 }]);
});

test('others see public tables only and write nothing', async () => {
  const one = await client(ben.token);
  assert.equal((await failure(one.query('select * from secret'))).code, '42P01');
  assert.equal((await failure(one.query("insert into item (id, name, price, at) values (0, 'x', 1, '2026-01-01T00:00:00Z')"))).code, '42501');
  assert.ok((await one.query('select * from item')).rowCount >= 0);
});

test('a named statement is prepared once', async () => {
  const one = await client();
  for (const price of [13, 40])
    assert.equal((await one.query({ name: 'by-price', text: 'select name from item where price = $1', values: [price] })).rowCount, 1);
});

test('transactions of several statements are refused, not pretended', async () => {
  const one = await client();
  const error = await failure(one.query('begin'));
  assert.equal(error.code, '0A000');
  assert.match(error.message, /autocommit/);
  assert.equal((await one.query('rollback')).command, 'ROLLBACK');
});

test('what drivers and pools ask when they connect is answered', async () => {
  const one = await client();
  assert.match((await one.query('select version()')).rows[0].version, /Lightcone/);
  assert.deepEqual((await one.query("select current_database() as db, current_schema, 'x' as s, true as t")).rows,
    [{ db: 'shop', current_schema: 'public', s: 'x', t: true }]);
  assert.equal((await one.query("set application_name = 'here'")).command, 'SET');
  assert.deepEqual((await one.query('show application_name')).rows, [{ application_name: 'here' }]);
  assert.deepEqual((await one.query('show transaction isolation level')).rows, [{ transaction_isolation: 'serializable' }]);
  assert.equal((await failure(one.query("set client_encoding = 'latin1'"))).code, '22023');
  assert.equal((await failure(one.query('set nonsense = 1'))).code, '42704');
  await one.query('discard all');
});

test('a view is read like a table', async () => {
  const one = await client();
  await one.query("insert into item (id, name, price, at) values (0, 'nail', 1, $1)", [new Date()]);
  assert.deepEqual((await one.query('select name from cheap')).rows, [{ name: 'nail' }]);
});

// ── postgres.js ──────────────────────────────────────────────────────────────────────────────────

test('postgres.js describes its parameters and walks with a cursor', async () => {
  const { user, ...options } = pgOptions(server, 'shop', ann.token);
  const db = postgres({ ...options, username: user, max: 1 });
  await db`insert into item ${db([{ id: 0, name: 'stool', price: 7, at: new Date('2026-02-03T04:05:06Z') }])}`;
  assert.deepEqual(await db`select name, at from item where price = ${7}`.then(rows => [...rows]), [{ name: 'stool', at: new Date('2026-02-03T04:05:06Z') }]);
  const seen = [];
  await db`select price from item order by price`.cursor(1, ([row]) => { seen.push(Number(row.price)); });
  assert.deepEqual(seen, [1, 7, 13, 40]);
  assert.deepEqual((await db`select words, nums from kinds`)[0], { words: ['a', 'b "c"', ''], nums: [1, -2] });
  await db.end();
});

// ── Python ───────────────────────────────────────────────────────────────────────────────────────

// Debian's, which has the packages: python3 on the path may be another.
const python = '/usr/bin/python3';
for (const driver of ['psycopg', 'psycopg2']) {
  const there = spawnSync(python, ['-c', `import ${driver}`]).status === 0;
  test(`${driver} reads, writes and is told what there is not`, { skip: there ? false : `python3-${driver} is not installed` }, async () => {
    const words = [join(top, 'tests/e2e/pg_python.py'), driver, String(server.pgPort), 'shop', ann.token, ann.identity];
    const { stdout, stderr } = spawnSync(python, words, { encoding: 'utf8', timeout: 60_000, env: { ...process.env, PYTHONUTF8: '1' } });
    assert.equal(stdout, 'well\n', stderr);
  });
}

// ── a connection is a client ─────────────────────────────────────────────────────────────────────

test('the module hears of a connection once when it comes and once when it goes', async () => {
  const cara = await newIdentity(server);
  const heard = async () => (await rows(server, 'shop', `select came from guest where who = 0x${cara.identity}`, ann.token)).map(([came]) => came);
  const one = await client(cara.token);
  await one.query('select 1');
  await one.query('select * from item');
  assert.deepEqual(await heard(), [true]);
  await one.end();
  await until(async () => (await heard()).length === 2, 'the goodbye');
  assert.deepEqual((await heard()).sort(), [false, true]);
});

test('a module that rejects clients rejects these too', async () => {
  await published(server, 'closed', bundle(`
    import { schema, t, SenderError } from 'spacetimedb/server';
    const db = schema({});
    export default db;
    export const no = db.clientConnected(() => { throw new SenderError('not today'); });
  `), { token: ann.token });
  const error = await failure(client(ann.token, 'closed'));
  assert.equal(error.code, '28000');
  assert.match(error.message, /not today/);
});

test('a database that is deleted says goodbye', async () => {
  await published(server, 'gone', bundle("import { schema } from 'spacetimedb/server'; export default schema({});"), { token: ann.token });
  const one = await client(ann.token, 'gone');
  const last = new Promise(resolve => one.on('error', resolve));
  await http(server, 'DELETE', '/v1/database/gone', { token: ann.token });
  assert.equal((await within(last, 'the end')).code, '57P01');
});

test('a new version of the module that breaks clients sends these away too', async () => {
  const code = column => bundle(`import { schema, table, t } from 'spacetimedb/server';
    export default schema({ thing: table({ name: 'thing', public: true }, { id: t.u32().primaryKey(), ${column} }) });`);
  await published(server, 'grows', code('a: t.u32()'), { token: ann.token });
  const one = await client(ann.token, 'grows');
  const ask = () => one.query({ name: 'all', text: 'select * from thing' });
  await ask();
  const last = new Promise(resolve => one.on('error', resolve));
  const next = code('a: t.u32(), b: t.string().default("x")');
  const plan = await http(server, 'POST', '/v1/database/grows/pre_publish?host_type=Js', { token: ann.token, body: next });
  await published(server, 'grows', next, { token: ann.token, query: `&policy=BreakClients&token=${plan.json.AutoMigrate.token}` });
  // The change is one that breaks clients: they are all sent away, and find the new columns when they return.
  assert.equal((await within(last, 'the goodbye')).code, '57P01');
  assert.equal((await (await client(ann.token, 'grows')).query('select * from thing')).fields.length, 3);

});

// ── large answers ────────────────────────────────────────────────────────────────────────────────

const bigRows = 60_000;

test('a large answer arrives whole, and one nobody reads holds nobody up', async () => {
  for (let from = 0; from < bigRows; from += 5000) await callOk(server, 'shop', 'fill', [from, 5000], ann.token);
  const raw = await RawPg.login(server, 'shop', ann.token);
  raw.socket.pause();
  raw.say(message('Q', 'select * from big'));
  const one = await client();
  const all = await one.query('select * from big');
  assert.equal(all.rowCount, bigRows);
  assert.equal(new Set(all.rows.map(row => row.id)).size, bigRows);
  await callOk(server, 'shop', 'touch', [5, 'changed'], ann.token);
  raw.socket.resume();
  await within(raw.has('Z'), 'the rest');
  const got = raw.messages.filter(({ name }) => name === 'D');
  assert.equal(got.length, bigRows);
  // One state: what was written while it was read is not in it.
  assert.ok(!got.some(({ body }) => body.includes('changed')));
  raw.socket.destroy();
});

test('rows are given in portions, and what is not asked for ends with the batch', async () => {
  const raw = await RawPg.login(server, 'shop', ann.token);
  const execute = count => message('E', '', Buffer.from([0, 0, count >> 8, count & 255]));
  const zeros = Buffer.alloc(6);
  raw.say(message('P', '', 'select id from big', Buffer.alloc(2)), message('B', '', '', zeros), execute(1000), message('H'));
  await raw.has('s');
  assert.equal(raw.messages.filter(({ name }) => name === 'D').length, 1000);
  raw.say(execute(500), message('S'));
  await raw.has('Z');
  assert.equal(raw.messages.filter(({ name }) => name === 'D').length, 1500);
  raw.say(execute(1), message('S'));  // the portal went with the batch
  await raw.has('Z', 2);
  assert.match(raw.messages.find(({ name }) => name === 'E').body.toString(), /portal "" does not exist/);
  raw.socket.destroy();
});

test('a statement is cancelled, and the connection goes on', async () => {
  const one = await client(), other = new pg.Client(pgOptions(server, 'shop', ann.token));
  const slow = failure(one.query('select count(*) as n from big a join big b on a.pad = b.pad'));
  await sleep(300);
  const stopper = new RawPg(server);
  const number = n => { const b = Buffer.alloc(4); b.writeInt32BE(n); return b; };
  const wrong = new RawPg(server);
  wrong.say(message('', number(80877102), number(one.processID), number(one.secretKey ^ 1)));
  await wrong.ended;
  stopper.say(message('', number(80877102), number(one.processID), number(one.secretKey)));
  await stopper.ended;
  const error = await within(slow, 'the end of the statement');
  assert.equal(error.code, '57014');
  assert.deepEqual((await one.query('select 1 as one')).rows, [{ one: 1 }]);
  void other;
});

test('a write of many rows goes beside the loop and is one transaction', async () => {
  const before = await http(server, 'GET', '/v1/metrics');
  const slow = text => Number(/^lightcone_slow_calls_total.* (\d+)$/m.exec(text)?.[1] ?? 0);
  const one = await client();
  let writing = true, worst = 0, probes = 0;
  const probe = (async () => {
    const other = await client();
    while (writing) {
      const began = performance.now();
      await other.query('select name from item where id = 1');
      worst = Math.max(worst, performance.now() - began);
      probes++;
      await sleep(2);
    }
  })();
  const done = await one.query("update big set pad = 'y' where id >= 10");
  writing = false;
  await probe;
  assert.equal(done.rowCount, bigRows - 10);
  assert.deepEqual((await one.query("select count(*) as n from big where pad = 'y'")).rows, [{ n: String(bigRows - 10) }]);
  assert.ok(probes > 2, `${probes} probes`);
  const after = await http(server, 'GET', '/v1/metrics');
  assert.ok(slow(after.text) > slow(before.text), 'it ran in the slow lane');
  const error = await failure(one.query('update big set id = 5 where id >= 10'));
  assert.equal(error.code, '23505');
  assert.deepEqual((await one.query('select count(*) as n from big')).rows, [{ n: String(bigRows) }]);
});

test('a long write whose rows others keep changing is made all the same', async () => {
  const one = await client();
  let writing = true, calls = 0;
  const others = (async () => {
    while (writing) {
      await callOk(server, 'shop', 'touch', [calls++ % 50, `t${calls}`], ann.token);
    }
  })();
  const done = await one.query('delete from big where id >= 100');
  writing = false;
  await others;
  assert.equal(done.rowCount, bigRows - 100);
  assert.deepEqual((await one.query('select count(*) as n from big')).rows, [{ n: '100' }]);
});

// ── rates ────────────────────────────────────────────────────────────────────────────────────────

test('writes keep to the rate of calls, over HTTP as well', async () => {
  const set = body => http(server, 'PUT', '/v1/database/shop/settings', { token: ann.token, body: JSON.stringify(body), headers: { 'content-type': 'application/json' } });
  assert.equal((await set({ identity_rate: 2, identity_burst: 2, call_wait_max_ms: 0 })).status, 200);
  const one = await client();
  const codes = [];
  for (let i = 0; i < 6; i++) codes.push((await one.query(`delete from wish where id = ${i}`).catch(error => error)).code ?? 'ok');
  assert.ok(codes.includes('53400'), codes.join());
  const statuses = [];
  for (let i = 0; i < 4; i++) statuses.push((await sql(server, 'shop', 'delete from wish where id = 1', ann.token)).status);
  assert.ok(statuses.includes(429), statuses.join());
  assert.equal((await one.query('select * from wish')).rowCount, 0);
  assert.equal((await set({ identity_rate: null, identity_burst: null, call_wait_max_ms: null })).status, 200);
});

// ── no rules ─────────────────────────────────────────────────────────────────────────────────────

test('after an error nothing is done until Sync', async () => {
  const raw = await RawPg.login(server, 'shop', ann.token);
  const none = Buffer.alloc(2), zeros = Buffer.alloc(6);
  raw.say(
    message('P', '', 'select * from nope', none), message('B', '', '', zeros), message('E', '', Buffer.alloc(4)), message('S'),
    message('P', '', 'select 1', none), message('D', Buffer.from('S'), ''), message('B', '', '', zeros), message('E', '', Buffer.alloc(4)), message('S'));
  await raw.has('Z', 2);
  assert.equal(raw.names, 'EZ1tT2DCZ');
  raw.say(message('Q', ''), message('Q', ' ; -- nothing'), message('Q', "select 1; select 'x'; bad; select 2"));
  await raw.has('Z', 5);
  assert.equal(raw.names.slice(9), 'IZIZTDCTDCEZ');
  raw.socket.destroy();
});

test('what is not the protocol ends the connection and nothing else', async () => {
  for (const bytes of [Buffer.from('GET / HTTP/1.1\r\n\r\n'), Buffer.alloc(8), Buffer.from([0, 0, 0, 8, 0, 2, 0, 0]), message('', Buffer.from([0, 3, 0, 0]), 'user')]) {
    const raw = new RawPg(server);
    raw.say(bytes);
    await within(raw.ended, 'the end');
    assert.equal(raw.messages[0]?.name, 'E');
  }
  const raw = await RawPg.login(server, 'shop', ann.token);
  raw.say(Buffer.from([0x51, 0xff, 0xff, 0xff, 0xff]));
  await within(raw.ended, 'the end');
  assert.match(raw.messages[0].body.toString(), /FATAL.*08P01/s);
  const early = new RawPg(server);
  early.say(startup('shop'), message('Q', 'select 1'));
  await within(early.ended, 'the end');
  assert.equal(early.names, 'RE');
  assert.deepEqual((await (await client()).query('select 1 as one')).rows, [{ one: 1 }]);
});

test('who leaves at once has still said what it said', async () => {
  const raw = await RawPg.login(server, 'shop', ann.token);
  raw.say(message('Q', "insert into secret (id, word) values (77, 'bye')"), message('X'));
  raw.socket.end();
  await until(async () => (await rows(server, 'shop', 'select word from secret where id = 77', ann.token)).length === 1, 'the row');
});

test('nothing of all this was an error of ours', async () => {
  assert.ok(!/panic|assert|Assertion/i.test(server.output), server.output.slice(-2000));
  assert.ok(!/fatal/i.test(await logs(server, 'shop', ann.token).then(lines => JSON.stringify(lines))));
});
