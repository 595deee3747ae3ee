// Clients that come back are told what they missed and hold what their queries return: after a cut, kill -9,
// a stop, and what makes it impossible. docs/internals/protocols-ext.md, Resume and Progress.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { random } from './harness.mjs';
import { bundle, call, callOk, enc, http, newIdentity, publish, published, session, startServer, until } from './support.mjs';

const module = (...more) =>
  bundle(`
    import { schema, table, t } from 'spacetimedb/server';
    const item = table({ name: 'item', public: true }, { id: t.u32().primaryKey(), room: t.u32().index('btree'), mood: t.option(t.string()), text: t.string() });
    const tag = table({ name: 'tag', public: true }, { n: t.u32(), text: t.string() });
    const room = table({ name: 'room', public: true }, { id: t.u32().primaryKey(), open: t.bool() });
    const note = table({ name: 'note', public: true }, { id: t.u32().primaryKey(), owner: t.identity().index('btree'), text: t.string() });
    const said = table({ name: 'said', public: true, event: true }, { n: t.u32() });
    ${more.join('\n')}
    const db = schema({ item, tag, room, note, said, ${more.map(line => line.match(/const (\w+)/)[1])} });
    export default db;
    export const put = db.reducer({ id: t.u32(), room: t.u32(), text: t.string() }, (ctx, { id, room, text }) => {
      const row = { id, room, mood: id % 2 ? text : undefined, text };
      if (ctx.db.item.id.find(id)) ctx.db.item.id.update(row); else ctx.db.item.insert(row);
    });
    export const drop = db.reducer({ id: t.u32() }, (ctx, { id }) => { ctx.db.item.id.delete(id); });
    export const fill = db.reducer({ from: t.u32(), count: t.u32() }, (ctx, { from, count }) => {
      for (let id = from; id < from + count; id++) ctx.db.item.insert({ id, room: id % 100, mood: undefined, text: 'a text of some length, number ' + id });
    });
    export const mark = db.reducer({ n: t.u32() }, (ctx, { n }) => { ctx.db.tag.insert({ n, text: 'tag ' + n }); });
    export const unmark = db.reducer({ n: t.u32() }, (ctx, { n }) => { ctx.db.tag.delete({ n, text: 'tag ' + n }); });
    export const setRoom = db.reducer({ id: t.u32(), open: t.bool() }, (ctx, row) => {
      if (ctx.db.room.id.find(row.id)) ctx.db.room.id.update(row); else ctx.db.room.insert(row);
    });
    export const write = db.reducer({ id: t.u32(), text: t.string() }, (ctx, { id, text }) => {
      const row = { id, owner: ctx.sender, text };
      if (ctx.db.note.id.find(id)) ctx.db.note.id.update(row); else ctx.db.note.insert(row);
    });
    export const say = db.reducer({ n: t.u32() }, (ctx, row) => { ctx.db.said.insert(row); });
    export const openItems = db.anonymousView({ name: 'open_items', public: true }, t.array(item.rowType), ctx =>
      [...ctx.db.item.room.filter(1)]);
    export const mine = db.clientVisibilityFilter.sql('SELECT * FROM note WHERE note.owner = :sender');
  `);

let server, owner, ann;
before(async () => {
  server = await startServer();
  [owner, ann] = [await newIdentity(server), await newIdentity(server)];
});
after(() => server?.end());

const protocols = ['v1.bsatn.lightcone', 'v3.bsatn.spacetimedb'];

// What an SDK keeps: rows of each table with how often each is held, and the last place it was told that
// is still true of them.
class Client {
  rows = new Map();
  point = undefined;
  events = 0;
  constructor(name, token, queries) {
    Object.assign(this, { name, token, queries });
  }
  // One set a query.
  get sets() {
    return this.queries.map((query, i) => ({ set: i + 1, queries: [query] }));
  }
  async open() {
    this.socket = await session(server, this.name, { protocols, token: this.token });
    this.bytesBefore = this.socket.tcp.bytesRead;
    return this;
  }
  get bytes() {
    return this.socket.tcp.bytesRead - this.bytesBefore;
  }
  table(name) {
    if (!this.rows.has(name)) this.rows.set(name, new Map());
    return this.rows.get(name);
  }
  add(name, row, by) {
    const rows = this.table(name);
    const count = (rows.get(row) ?? 0) + by;
    assert.ok(count >= 0, `a row of ${name} that is not here was deleted`);
    if (count) rows.set(row, count);
    else rows.delete(row);
    this.point = undefined;
  }
  take(message) {
    const all = (name, rows, by) => rows.forEach(row => this.add(name, row, by));
    const update = sets => {
      for (const pass of ['inserts', 'deletes'])
        for (const { tables } of sets)
          for (const { table, rows } of tables)
            for (const part of rows)
              if (part.events) this.events += pass === 'inserts' ? part.events.length : 0;
              else all(table, part[pass], pass === 'inserts' ? 1 : -1);
    };
    if (message.kind === 'subscribed') {
      this.point = undefined;
      message.tables.forEach(({ table, rows }) => all(table, rows, 1));
    }
    if (message.kind === 'update') update(message.sets);
    else if (message.kind === 'result' && message.update) update(message.update);
    else if (message.kind === 'progress') this.point = message;
    else if (message.kind === 'resumed' && message.tables)
      for (const { table, how, gone, rows } of message.tables) {
        if (how === 0) all(table, gone, -1);
        // Keys are numbers of four bytes and come first.
        const keys = new Set(gone.map(row => row.slice(0, 8)));
        for (const [row, count] of how === 0 ? [] : [...this.table(table)])
          if (how === 2 || keys.has(row.slice(0, 8))) this.add(table, row, -count);
        all(table, rows, 1);
      }
    return message;
  }
  async nextOf(kind) {
    for (;;) {
      const message = this.take(await this.socket.next(kind));
      if (message.kind === kind) return message;
      assert.ok(['update', 'progress', 'result', 'subscribed'].includes(message.kind), `${message.kind}: ${message.error}`);
    }
  }
  async subscribe() {
    this.rows.clear();
    this.socket.say(...this.sets.map(({ set, queries }) => enc.subscribe(set, set, ...queries)));
    for (let i = 0; i < this.queries.length; i++) await this.nextOf('subscribed');
    await this.settled();
    return this;
  }
  async settled() {
    while (!this.point) await this.nextOf('progress');
  }
  cut() {
    this.socket.drop();
    // What had come by then has come.
    for (const message of this.socket.messages.splice(0)) this.take(message);
  }
  async resume(point = this.point, sets = this.sets) {
    await this.open();
    this.socket.say(enc.resume(7, point.history, point.offset, sets));
    return this.nextOf('resumed');
  }
  // Everything others have done up to now has been heard of.
  async caughtUp() {
    this.socket.say(enc.oneOff(99, 'SELECT * FROM room'));
    await this.nextOf('rows');
  }
  async expectCurrent(what) {
    await this.caughtUp();
    const fresh = await (await new Client(this.name, this.token, this.queries).open()).subscribe();
    for (const name of new Set([...this.rows.keys(), ...fresh.rows.keys()]))
      assert.deepEqual([...this.table(name)].sort(), [...fresh.table(name)].sort(), `${what}: ${name}`);
    fresh.socket.drop();
  }
}

async function metric(name) {
  const { text } = await http(server, 'GET', '/v1/metrics');
  return Number(text.split('\n').filter(line => line.startsWith(name)).reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0));
}
const run = (name, reducer, ...args) => callOk(server, name, reducer, args, owner.token);
const fresh = async name => published(server, name, module(), { token: owner.token });

const restarts = {
  'the socket is cut': async () => {},
  'kill -9': async () => {
    await server.kill();
    await server.start();
  },
  'a stop': async () => {
    await server.stop();
    await server.start();
  },
};

for (const [how, restart] of Object.entries(restarts))
  test(`${how}: what was missed, and no more`, async () => {
    const name = `missed-${Object.keys(restarts).indexOf(how)}`;
    await fresh(name);
    await run(name, 'fill', 0, 5000);
    for (const n of [1, 2, 3]) await run(name, 'mark', n);
    const client = await (await new Client(name, ann.token, ['SELECT * FROM item', 'SELECT * FROM item WHERE room = 3', 'SELECT * FROM tag']).open()).subscribe();
    const whole = client.bytes;
    client.cut();
    await run(name, 'put', 3, 4, 'another room');
    await run(name, 'put', 8, 8, 'the same room');
    await run(name, 'drop', 103);
    await run(name, 'put', 9000, 3, 'new');
    await run(name, 'put', 9001, 3, 'comes and');
    await run(name, 'drop', 9001);
    await run(name, 'unmark', 2);
    await run(name, 'mark', 4);
    await run(name, 'mark', 5);
    await run(name, 'unmark', 5);
    await restart();
    await run(name, 'put', 9, 9, 'afterwards');
    const { tables, error } = await client.resume();
    assert.equal(error, undefined);
    assert.deepEqual(tables.map(({ table, how }) => [table, how]).sort(), [['item', 1], ['tag', 0]]);
    const [item, tag] = ['item', 'tag'].map(name => tables.find(({ table }) => table === name));
    assert.deepEqual([item.gone.length, item.rows.length, tag.gone.length, tag.rows.length], [4, 5, 1, 1]);
    assert.ok(client.bytes < whole / 100, `${client.bytes} bytes of ${whole}`);
    await client.settled();
    await run(name, 'put', 10, 3, 'live again');
    await client.expectCurrent(how);
    client.cut();
  });

test('nothing happened: nothing is told, joins and views are not either', async () => {
  await fresh('nothing');
  await run('nothing', 'fill', 0, 100);
  await run('nothing', 'set_room', 1, true);
  const client = await (await new Client('nothing', ann.token, ['SELECT * FROM item', 'SELECT item.* FROM item JOIN room ON item.room = room.id', 'SELECT * FROM tag']).open()).subscribe();
  client.cut();
  assert.deepEqual((await client.resume()).tables, []);
  await client.expectCurrent('nothing');
  client.cut();
});

test('joins and views are told whole, beside tables that are not', async () => {
  await fresh('whole');
  await run('whole', 'fill', 0, 300);
  for (const id of [1, 2]) await run('whole', 'set_room', id, true);
  await run('whole', 'mark', 1);
  const queries = ['SELECT item.* FROM item JOIN room ON item.room = room.id WHERE room.open = true', 'SELECT * FROM open_items', 'SELECT * FROM tag', 'SELECT * FROM room', 'SELECT * FROM said'];
  for (const restart of Object.values(restarts)) {
    const client = await (await new Client('whole', ann.token, queries).open()).subscribe();
    client.cut();
    await run('whole', 'set_room', 2, false);
    await run('whole', 'put', 1, 1, `changed ${restart}`);
    await run('whole', 'say', 1);
    await restart();
    const { tables, error } = await client.resume();
    assert.equal(error, undefined);
    assert.deepEqual(tables.map(({ table, how }) => [table, how]).sort(), [['item', 2], ['open_items', 2], ['room', 1]]);
    await client.expectCurrent('whole');
    assert.equal(client.events, 0);
    await run('whole', 'say', 2);
    await client.caughtUp();
    assert.equal(client.events, 1);
    client.cut();
    await run('whole', 'set_room', 2, true);
  }
});

test('what a rule hides is not told, not even its key', async () => {
  await fresh('rules');
  const note = (who, id, text) => callOk(server, 'rules', 'write', [id, text], who.token);
  await note(ann, 1, 'mine');
  const client = await (await new Client('rules', ann.token, ['SELECT * FROM note']).open()).subscribe();
  client.cut();
  await note(owner, 2, 'not hers');
  const first = await client.resume();
  assert.deepEqual(first.tables.flatMap(({ gone, rows }) => [...gone, ...rows]), []);
  await client.settled();
  client.cut();
  await note(owner, 2, 'changed, and not hers');
  await note(ann, 3, 'hers');
  const second = await client.resume();
  assert.deepEqual(second.tables.map(({ how, gone, rows }) => [how, gone.length, rows.length]), [[2, 0, 2]]);
  await client.expectCurrent('rules');
  client.cut();
});

test('a place that is none is refused, and subscribing works as ever', async () => {
  await fresh('places');
  await fresh('elsewhere');
  await run('places', 'mark', 1);
  const queries = ['SELECT * FROM tag'];
  const client = await (await new Client('places', ann.token, queries).open()).subscribe();
  const other = await (await new Client('elsewhere', ann.token, queries).open()).subscribe();
  const somebody = await (await new Client('places', owner.token, queries).open()).subscribe();
  for (const each of [client, other, somebody]) each.cut();
  const { point } = client;
  const before = await metric('lightcone_resumes_other_history_total');
  const history = Buffer.from(point.history);
  history[0] ^= 1;
  const wrong = { history: 'another history', random: randomBytes(16) };
  const cases = {
    'an offset that is ahead': { ...point, offset: point.offset + 1n },
    'an offset that is behind': { ...point, offset: point.offset - 1n },
    'the begin': { ...point, offset: 0n },
    'an offset of the far future': { ...point, offset: (1n << 64n) - 1n },
    'another history': { ...point, history },
    'nonsense': { ...point, history: wrong.random },
    'another database’s': other.point,
    'somebody else’s': somebody.point,
  };
  for (const [what, place] of Object.entries(cases)) {
    const { error } = await client.resume(place);
    assert.ok(error, what);
    await client.subscribe();
    await run('places', 'mark', 100 + Object.keys(cases).indexOf(what));
    await client.expectCurrent(what);
    client.cut();
  }
  assert.equal((await metric('lightcone_resumes_other_history_total')) - before, 8);
});

test('another schema, another rule: everything anew', async () => {
  await fresh('schema');
  const client = await (await new Client('schema', ann.token, ['SELECT * FROM tag']).open()).subscribe();
  client.cut();
  const before = await metric('lightcone_resumes_other_schema_total');
  const more = module("const extra = table({ name: 'extra', public: true }, { id: t.u32().primaryKey() });");
  assert.equal((await publish(server, 'schema', more, { token: owner.token })).status, 200);
  assert.match((await client.resume()).error, /schema/);
  await client.subscribe();
  client.cut();
  const ruled = more.replace('note.owner = :sender', 'note.owner = :sender OR note.id = 5');
  assert.notEqual(ruled, more);
  const plan = await http(server, 'POST', '/v1/database/schema/pre_publish?host_type=Js', { token: owner.token, body: ruled });
  const query = `&policy=BreakClients&token=${plan.json.AutoMigrate.token}`;
  const answer = await publish(server, 'schema', ruled, { token: owner.token, query });
  assert.equal(answer.status, 200, answer.text);
  assert.match((await client.resume()).error, /schema/);
  assert.equal((await metric('lightcone_resumes_other_schema_total')) - before, 2);
  // From then on it can.
  await client.subscribe();
  client.cut();
  assert.equal((await client.resume()).error, undefined);
  client.cut();
  // A database that was made anew under its name is another.
  assert.equal((await publish(server, 'schema', more, { token: owner.token, query: '&clear=true' })).status, 200);
  assert.ok((await client.resume()).error);
  client.cut();
});

test('only the first wish of a connection, and only queries that compile', async () => {
  await fresh('first');
  const client = await (await new Client('first', ann.token, ['SELECT * FROM tag']).open()).subscribe();
  client.socket.say(enc.resume(3, client.point.history, client.point.offset, [{ set: 9, queries: ['SELECT * FROM item'] }]));
  assert.match((await client.nextOf('resumed')).error, /first/);
  client.cut();
  const none = await client.resume(client.point, [{ set: 1, queries: ['SELECT * FROM tag'] }, { set: 2, queries: ['SELECT * FROM nowhere'] }]);
  assert.match(none.error, /nowhere/);
  await client.subscribe();  // under the numbers of the sets that were refused together
  client.cut();
  const twice = await client.resume(client.point, [{ set: 1, queries: ['SELECT * FROM tag'] }, { set: 1, queries: ['SELECT * FROM item'] }]);
  assert.match(twice.error, /already exists/);
  client.cut();
  // Who does not want to wait for the disk is told no place.
  const hasty = await session(server, 'first', { protocols, token: ann.token, query: '&confirmed=false' });
  hasty.say(enc.subscribe(1, 1, 'SELECT * FROM tag'));
  await hasty.nextOf('subscribed');
  hasty.say(enc.resume(3, client.point.history, client.point.offset, []), enc.oneOff(4, 'SELECT * FROM tag'));
  assert.ok((await hasty.nextOf('resumed')).error);
  await hasty.nextOf('rows');
  assert.equal(hasty.passed, undefined);
  hasty.drop();
});

test('too much log is not read: a setting says how much', async () => {
  await fresh('much');
  const client = await (await new Client('much', ann.token, ['SELECT * FROM tag']).open()).subscribe();
  const set = body => http(server, 'PUT', '/v1/database/much/settings', { token: owner.token, body: JSON.stringify(body), headers: { 'content-type': 'application/json' } });
  assert.equal((await set({ resume_bytes_max: 65536 })).status, 200);
  client.cut();
  await run('much', 'fill', 0, 1000);
  assert.ok((await client.resume()).error === undefined, 'it is about 64 KiB');
  await client.settled();
  client.cut();
  await run('much', 'fill', 10000, 3000);
  assert.match((await client.resume()).error, /too much/);
  client.cut();
  assert.equal((await set({ resume_bytes_max: 0 })).status, 200);
  assert.match((await client.resume()).error, /does not resume/);
  client.socket.say(enc.subscribe(1, 1, 'SELECT * FROM tag'), enc.oneOff(2, 'SELECT * FROM tag'));
  await client.nextOf('subscribed');
  await client.nextOf('rows');
  assert.equal(client.point, undefined, 'nobody is told a place');
  client.cut();
});

test('random: cut at any moment, killed at any moment, everybody holds what the queries return', async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
  const rand = random(seed + 1);
  const below = n => Math.floor(rand() * n);
  const pool = [
    'SELECT * FROM item', 'SELECT * FROM item WHERE room = 1', 'SELECT * FROM item WHERE id < 20', "SELECT * FROM item WHERE text = 'b'",
    'SELECT * FROM tag', 'SELECT * FROM tag WHERE n < 5', 'SELECT * FROM room', 'SELECT * FROM note', 'SELECT * FROM open_items',
    'SELECT item.* FROM item JOIN room ON item.room = room.id WHERE room.open = true',
  ];
  await fresh('random');
  const clients = [];
  for (let i = 0; i < 6; i++)
    clients.push(new Client('random', [ann, owner][i % 2].token, pool.filter(() => rand() < 0.4).concat('SELECT * FROM tag WHERE n > 100')));
  for (const client of clients) await (await client.open()).subscribe();
  let resumed = 0, told = 0;
  const writer = { busy: true };
  const write = async () => {
    const text = ['a', 'b', 'c'][below(3)];
    const [reducer, ...args] = [['put', below(40), below(4), text], ['drop', below(40)], ['mark', below(10)], ['unmark', below(10)], ['set_room', below(4), rand() < 0.5], ['write', below(8), text]][below(6)];
    // While the server is down nobody answers; nor does it matter.
    await call(server, 'random', reducer, args, [ann, owner][below(2)].token).catch(() => {});
  };
  const writing = (async () => { while (writer.busy) await write(); })();
  for (let round = 0; round < 10; round++) {
    const away = clients.filter(() => rand() < 0.7);
    const kills = round % 5 === 4;
    for (const client of kills ? clients : away) client.cut();
    if (kills) {
      await server.kill();
      await server.start();
    }
    for (let i = below(12); i > 0; i--) await write();
    for (const client of kills ? clients : away) {
      const answer = client.point ? await client.resume() : { error: 'no place' };
      if (answer.error) {
        told++;
        if (client.point) client.socket.drop();
        await (await client.open()).subscribe();
      } else resumed++;
    }
    writer.busy = round < 9;
  }
  await writing;
  for (const client of clients) await client.expectCurrent(`seed ${seed}`);
  for (const client of clients) client.cut();
  assert.ok(resumed > told, `${resumed} resumed, ${told} were told everything; seed ${seed}`);
});

test('a hundred clients come back at once after kill -9', async () => {
  await fresh('herd');
  await run('herd', 'fill', 0, 2000);
  const clients = await Promise.all(Array.from({ length: 100 }, async () => (await new Client('herd', ann.token, ['SELECT * FROM item']).open()).subscribe()));
  await server.kill();
  await server.start();
  await run('herd', 'put', 5, 5, 'new');
  const before = await metric('lightcone_resumes_total');
  await Promise.all(clients.map(async client => {
    const { tables } = await client.resume();
    assert.deepEqual([tables[0].gone.length, tables[0].rows.length], [1, 1]);
    assert.ok(client.bytes < 500);
  }));
  assert.equal((await metric('lightcone_resumes_total')) - before, 100);
  await clients[0].expectCurrent('herd');
  for (const client of clients) client.cut();
});

test('idle clients are told now and then how far it is', { timeout: 60_000 }, async () => {
  await fresh('idle');
  const client = await (await new Client('idle', ann.token, ['SELECT * FROM tag']).open()).subscribe();
  const { offset } = client.point;
  await run('idle', 'put', 1, 1, 'of no concern');
  await until(async () => (await client.nextOf('progress')).offset > offset, 'a later place', 40_000);
  client.cut();
  await run('idle', 'mark', 1);
  const { tables } = await client.resume();
  assert.deepEqual(tables.map(({ table, rows }) => [table, rows.length]), [['tag', 1]]);
  client.cut();
});
