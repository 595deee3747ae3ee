// dialects.mjs: one client that speaks any of the four protocols, and keeps what it is told as an SDK
// would. A test written against it runs over v1.json, v1.bsatn, v2 and v3 alike.
//
//   const ann = await Speaker.enter(server, name, 'v1.json', { token });
//   await ann.subscribe(1, 'SELECT * FROM item');
//   await ann.call('put', [7, 'a']);      { ok: true, changes } or { error }
//   ann.rows('item')                      ['[7,"a"]', …], sorted
//
// What must always hold is checked as it arrives (sql-and-subscriptions §3.1): a row is taken away only
// where it was given; of a keyed table no two versions of a row are held at the same time.
import assert from 'node:assert/strict';
import { OP, Reader, enc, session, w } from './support.mjs';
import { enc1, json1 } from './v1.mjs';

export const dialects = ['v1.json', 'v1.bsatn', 'v2', 'v3'];
const names = { 'v1.json': 'v1.json', 'v1.bsatn': 'v1.bsatn', v2: 'v2.bsatn', v3: 'v3.bsatn' };

// ---- values: columns as ['u32', 'str', …]

const readers = {
  u8: r => r.u8(), u32: r => r.u32(), i32: r => r.take(4).readInt32LE(), u64: r => Number(r.u64()), i64: r => Number(r.i64()),
  str: r => r.str(), bool: r => r.u8() === 1, identity: r => r.hex(32), f64: r => String(r.take(8).readDoubleLE()),
};
// The same of JSON, where that is not the value itself.
const plain = {
  identity: value => (Array.isArray(value) ? value[0] : Object.values(value)[0]).replace(/^0x/, ''),
  f64: value => String(value),
};
const writers = {
  u8: (out, v) => out.u8(v), u32: (out, v) => out.u32(v), u64: (out, v) => out.u64(v), str: (out, v) => out.str(v),
  bool: (out, v) => out.u8(v ? 1 : 0),
};

export class Speaker {
  sets = new Map();   // id -> table -> row -> count; under v1 everything is in set 0
  events = [];        // [table, row]
  updates = [];       // [{changes, request}] of others' transactions, in order
  ends = null;        // [{set, error}] of sets that ended by themselves, where a test has put a list
  #request = 100;

  // `schema`: tables and reducers as {item: ['u32', 'str'], …} and {put: ['u32', 'str'], …};
  // `keys`: the position of each table's primary key.
  static async enter(server, database, dialect, { schema = {}, keys = {}, token, query = '' } = {}) {
    const self = new Speaker();
    Object.assign(self, { dialect, schema, keys, is1: dialect.startsWith('v1'), isJson: dialect === 'v1.json' });
    self.socket = await session(server, database, { protocols: [`${names[dialect]}.spacetimedb`], token, query });
    assert.equal(self.socket.protocol, dialect);
    self.enc = self.isJson ? json1 : self.is1 ? enc1 : enc;
    return self;
  }

  say(...messages) {
    if (this.dialect === 'v3') return this.socket.say(...messages);
    for (const message of messages) this.socket.send(this.isJson ? OP.text : OP.binary, message);
  }

  drop() { this.socket.drop(); }

  // ---- rows

  shown(table, row) {
    if (this.isJson) {
      const value = JSON.parse(row);
      const columns = Array.isArray(value) ? value : Object.values(value);
      return JSON.stringify(columns.map((column, i) => (plain[this.schema[table]?.[i]] ?? (x => x))(column)));
    }
    const r = new Reader(Buffer.from(row, 'hex'));
    const columns = this.schema[table] ?? assert.fail(`no columns for ${table}`);
    const out = columns.map(type => readers[type](r));
    assert.equal(r.left, 0, `the columns of ${table}`);
    return JSON.stringify(out);
  }

  // What a list of tables means, in one form: [{set, table, inserts, deletes, events}].
  #changes(tables, set = 0, as) {
    return tables.flatMap(({ table, rows }) => {
      if (as && rows.length) rows = [{ inserts: [], deletes: [], [as]: rows.flatMap(x => (typeof x === 'string' ? [x] : [...x.inserts, ...x.deletes])) }];
      return rows.map(one => ({
        set, table, ...Object.fromEntries(['inserts', 'deletes', 'events'].map(key => [key, (one[key] ?? []).map(x => this.shown(table, x))])),
      }));
    });
  }

  #apply(changes) {
    const touched = new Set();
    for (const { set, table, inserts, deletes, events } of changes) {
      const tables = this.sets.get(set) ?? this.sets.set(set, new Map()).get(set);
      const rows = tables.get(table) ?? tables.set(table, new Map()).get(table);
      for (const row of events) this.events.push([table, row]);
      for (const row of inserts) rows.set(row, (rows.get(row) ?? 0) + 1);
      for (const row of deletes) rows.set(row, (rows.get(row) ?? 0) - 1);
      touched.add(rows);
      rows.table = table;
    }
    for (const rows of touched) {
      const seen = new Set();
      for (const [row, count] of rows) {
        assert.ok(count >= 0, `${this.dialect}: ${rows.table} lost ${row}, which it did not have`);
        if (count === 0) rows.delete(row);
        if (count === 0 || !(rows.table in this.keys)) continue;
        const key = JSON.stringify(JSON.parse(row)[this.keys[rows.table]]);
        assert.ok(!seen.has(key), `${this.dialect}: two versions of ${rows.table} ${key}`);
        seen.add(key);
      }
    }
    return changes;
  }

  // Rows of a table, of one set or of whichever has it; each as often as it is held.
  rows(table, set) {
    const from = this.is1 ? [this.sets.get(0)] : set === undefined ? [...this.sets.values()] : [this.sets.get(set)];
    return from.flatMap(tables => [...(tables?.get(table) ?? [])]).flatMap(([row, count]) => Array(count).fill(row)).sort();
  }

  // ---- hearing

  #others(message) {
    if (message.kind === 'update') {
      const changes = message.sets.flatMap(({ set, tables }) => this.#changes(tables, set));
      this.updates.push({ changes: this.#apply(changes) });
    } else if (message.kind === 'light' || (message.kind === 'transaction' && message.request !== this.awaits)) {
      this.updates.push({ changes: this.#apply(this.#changes(message.tables ?? [])), request: message.request, message });
    } else if (this.ends && message.kind === 'refused' && message.request === null) {
      this.ends.push({ set: message.set, error: message.error });
      if (this.is1) this.sets.clear();
      else this.sets.delete(message.set);
    } else return false;
    return true;
  }

  // The next message that is not about others' transactions.
  async answer(what) {
    for (;;) {
      const message = await this.socket.next(what);
      if (!this.#others(message)) return message;
    }
  }

  // Take up what has arrived until `condition` holds.
  async hear(condition, what = 'an update') {
    while (!condition(this)) {
      const message = await this.socket.next(what);
      assert.ok(this.#others(message), `${this.dialect}: ${JSON.stringify(message, (_, v) => (typeof v === 'bigint' ? Number(v) : v))} instead of ${what}`);
    }
  }

  async hearUpdate() {
    const before = this.updates.length;
    await this.hear(() => this.updates.length > before);
    return this.updates[before];
  }

  // Everything that the server says before the answer to a question that changes nothing.
  async quiet() {
    const { error } = await this.oneOff('SELECT * FROM st_table WHERE table_id = 0');
    assert.equal(error, undefined);
  }

  // ---- asking

  async subscribe(set, ...queries) {
    const request = ++this.#request;
    this.say(this.enc.subscribe(request, set, ...queries));
    return this.#subscribed(await this.answer('subscribed'), request, set);
  }
  async single(set, query) {
    const request = ++this.#request;
    this.say(this.enc.single(request, set, query));
    return this.#subscribed(await this.answer('subscribed'), request, set);
  }
  async legacy(...queries) {
    const request = ++this.#request;
    this.say(this.enc.legacy(request, ...queries));
    const message = await this.answer('the rows of a legacy subscription');
    if (message.kind === 'initial-rows') this.sets.clear();
    return this.#subscribed(message, request);
  }
  #subscribed(message, request, set) {
    assert.equal(message.request, request, JSON.stringify(message));
    if (message.kind === 'refused') return { error: message.error, set: message.set };
    assert.ok(message.kind.startsWith('subscribed') || message.kind === 'initial-rows', message.kind);
    if (set !== undefined) assert.equal(message.set, set);
    return { kind: message.kind, tables: message.tables, changes: this.#apply(this.#changes(message.tables, this.is1 ? 0 : set, 'inserts')) };
  }

  async unsubscribe(set, { single = false } = {}) {
    const request = ++this.#request;
    if (single) this.say(this.enc.unsubscribeSingle(request, set));
    else if (this.is1) this.say(this.enc.unsubscribe(request, set));
    else this.say(this.enc.unsubscribe(request, set, true));
    const message = await this.answer('unsubscribed');
    assert.equal(message.request, request);
    if (message.kind === 'refused') return { error: message.error, set: message.set };
    assert.ok(message.kind.startsWith('unsubscribed'), message.kind);
    const changes = this.#apply(this.#changes(message.tables, this.is1 ? 0 : set, 'deletes'));
    if (!this.is1) {
      assert.deepEqual([...(this.sets.get(set)?.values() ?? [])].flatMap(rows => [...rows]), [], 'rows of a set that has ended');
      this.sets.delete(set);
    }
    return { kind: message.kind, changes };
  }

  // End a set without being told its rows; only v2 and v3 can.
  async leave(set) {
    const request = ++this.#request;
    this.say(this.enc.unsubscribe(request, set, false));
    const message = await this.answer('unsubscribed');
    assert.deepEqual([message.kind, message.request, message.tables], ['unsubscribed', request, null]);
    this.sets.delete(set);
    return {};
  }

  args(reducer, list) {
    if (this.isJson) return JSON.stringify(list);
    const types = this.schema[`${reducer}()`] ?? assert.fail(`no arguments of ${reducer}`);
    return list.reduce((out, value, i) => writers[types[i]](out, value), w()).done();
  }

  // Say it without waiting; result() hears what came of it.
  begin(reducer, list = [], flags = 0) {
    const request = ++this.#request;
    this.say(this.enc.call(request, reducer, this.args(reducer, list), ...(this.is1 ? [flags] : [])));
    return request;
  }
  async result(request) {
    this.awaits = request;
    const message = await this.answer('the result of a call');
    this.awaits = undefined;
    assert.equal(message.request, request, JSON.stringify(message, (_, v) => (typeof v === 'bigint' ? Number(v) : v)));
    if (this.is1) {
      assert.equal(message.kind, 'transaction');
      if (message.failed !== undefined) return { error: message.failed, message };
      return { ok: true, message, changes: this.#apply(this.#changes(message.tables)) };
    }
    assert.equal(message.kind, 'result');
    if (!message.ok) return { error: message.err ?? message.internal, message };
    return { ok: true, message, changes: this.#apply(message.update.flatMap(({ set, tables }) => this.#changes(tables, set))) };
  }
  call(reducer, list) {
    return this.result(this.begin(reducer, list));
  }

  ask(query) {
    const request = ++this.#request;
    this.say(this.enc.oneOff(this.is1 ? request.toString(16).padStart(4, '0') : request, query));
    return request;
  }
  async asked(request) {
    const message = await this.answer('the answer to a query');
    assert.equal(message.kind, 'rows', JSON.stringify(message));
    assert.equal(this.is1 ? parseInt(message.id, 16) : message.request, request);
    if (message.error !== undefined) return { error: message.error };
    assert.equal(message.tables.length, 1);
    return message.tables[0];
  }
  async oneOff(query) {
    return this.asked(this.ask(query));
  }
  // The rows as values; the table's columns must be known.
  async query(query) {
    const { error, table, rows } = await this.oneOff(query);
    assert.equal(error, undefined);
    return rows.map(row => this.shown(table, row)).sort();
  }
}
