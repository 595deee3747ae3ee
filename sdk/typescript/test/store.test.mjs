// The tables of a client against a slow twin: random messages, guesses and reconnects.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Store, rowsOf } from '../dist/client/store.js';
import { Reader, Writer, table } from '../dist/index.js';
import { randomOf } from './support.mjs';

const codec = {
  read: r => ({ id: r.u8(), group: r.u8(), name: r.string() }),
  write: (w, v) => (w.u8(v.id), w.u8(v.group), w.string(v.name)),
};
const keyed = table('keyed', codec, { primaryKey: 'id', unique: ['id'] });
const plain = table('plain', codec, {});
const bytesOf = row => {
  const w = new Writer();
  codec.write(w, row);
  return w.finish();
};

const rowList = (...lists) => {
  const w = new Writer();
  for (const rows of lists) writeList(w, rows);
  return new Reader(w.finish());
};
function writeList(w, rows) {
  const all = rows.map(bytesOf);
  const sizes = new Set(all.map(one => one.length));
  if (sizes.size === 1) {
    w.u8(0);
    w.u16(all[0].length);
  } else {
    w.u8(1);
    let at = 0;
    w.array(all, (w, one) => {
      w.u64(BigInt(at));
      at += one.length;
    });
  }
  w.sized(w => all.forEach(one => w.raw(one)));
}

// What there is, as a list with repetitions; a key's row is the one inserted last.
class Twin {
  constructor(isKeyed) {
    this.isKeyed = isKeyed;
    this.all = [];
  }
  key = row => (this.isKeyed ? String(row.id) : JSON.stringify(row));
  insert(row) {
    if (this.isKeyed) this.all = this.all.map(other => (other.id === row.id ? row : other));
    this.all.push(row);
  }
  delete(row) {
    this.all.splice(this.all.findIndex(other => this.key(other) === this.key(row)), 1);
  }
  visible(guesses) {
    const map = new Map(this.all.map(row => [this.key(row), row]));
    for (const [row, there] of guesses) {
      if (there) map.set(this.key(row), row);
      else map.delete(this.key(row));
    }
    return map;
  }
}

for (const def of [keyed, plain]) {
  test(`${def.name}: what is shown is what the twin has; changes add up to the difference`, () => {
    const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
    for (let round = 0; round < 60; round++) {
      const r = randomOf(seed * 100 + round + 1);
      const store = new Store(def, bytesOf);
      let twin = new Twin(def === keyed);
      const shown = new Map(); // kept current from changes alone
      store.onChange.add(() => {});
      let guesses = [];
      // In one moment of the server a key has one row.
      let current = new Map();
      const rowFor = id => {
        if (def === plain) return { id, group: r.below(3), name: r.pick(['', 'a', 'bc']) };
        if (!current.has(id)) current.set(id, { id, group: r.below(3), name: r.pick(['', 'a', 'bc']) });
        return current.get(id);
      };
      if (r.chance(0.5)) store.index(['group']);
      for (let step = 0; step < 40; step++) {
        const what = r.below(10);
        store.begin();
        store.dropGuesses();
        if (what < 7) {
          // A message: some rows change, held as often as before.
          if (r.chance(0.5)) current = new Map([...current].filter(() => r.chance(0.5)));
          const stale = twin.all.filter(row => def === keyed && !(current.has(row.id) && JSON.stringify(current.get(row.id)) === JSON.stringify(row)));
          const inserts = stale.map(row => rowFor(row.id));
          const deletes = [...stale];
          for (let i = r.below(4); i > 0; i--) inserts.push(rowFor(r.below(8)));
          const rest = twin.all.filter(row => !stale.includes(row));
          for (let i = r.below(3); i > 0 && rest.length > 0; i--) deletes.push(...rest.splice(r.below(rest.length), 1));
          store.insertRows(rowList(inserts));
          store.deleteRows(rowList(deletes));
          inserts.forEach(row => twin.insert(row));
          deletes.forEach(row => twin.delete(row));
        } else if (what < 9) {
          guesses = Array.from({ length: r.below(3) }, () => [{ id: r.below(8), group: r.below(3), name: 'guess' }, r.chance(0.7)]);
          if (r.chance(0.3) && twin.all.length > 0) guesses.push([r.pick(twin.all), false]);
        } else if (r.chance(0.5)) {
          // Back after a while: keys of which all is forgotten, or rows that go one copy each.
          const gone = def === keyed ? [0, 1, 2, 3, 4, 5, 6, 7].filter(() => r.chance(0.4)) : [];
          const went = def === keyed ? gone.map(id => ({ id, group: 9, name: 'means nothing' })) : twin.all.filter(() => r.chance(0.3));
          for (const id of gone) {
            twin.all = twin.all.filter(row => row.id !== id);
            if (r.chance(0.5)) current.delete(id);
          }
          if (def === plain) went.forEach(row => twin.delete(row));
          const came = Array.from({ length: r.below(6) }, () => rowFor(r.below(8)));
          came.forEach(row => twin.insert(row));
          store.since(def === keyed ? 1 : 0, rowList(went, came));
        } else if (r.chance(0.5)) {
          const came = Array.from({ length: r.below(6) }, () => ({ id: r.below(8), group: r.below(3), name: 'all' }));
          const rows = def === keyed ? came.map(row => ({ ...row, group: row.id % 3 })) : came;
          twin = new Twin(def === keyed);
          current = new Map(rows.map(row => [row.id, row]));
          rows.forEach(row => twin.insert(row));
          store.since(2, rowList([], rows));
        } else {
          store.refill();
          twin = new Twin(def === keyed);
          current = new Map();
          const rows = Array.from({ length: r.below(6) }, () => rowFor(r.below(8)));
          store.insertRows(rowList(rows));
          rows.forEach(row => twin.insert(row));
          store.swap();
        }
        for (const [row, there] of guesses) store.guess(store.keyOf(row), there ? row : undefined);
        for (const { before, after } of store.finish()) {
          if (before) assert.ok(shown.delete(twin.key(before)), `seed ${seed}, round ${round}, step ${step}: it was shown`);
          if (after) shown.set(twin.key(after), after);
        }
        const expected = twin.visible(guesses);
        const sorted = rows => [...rows].map(row => JSON.stringify(row)).sort();
        const where = `seed ${seed}, round ${round}, step ${step}`;
        assert.deepEqual(sorted(store.iter()), sorted(expected.values()), where);
        assert.deepEqual(sorted(shown.values()), sorted(expected.values()), where);
        assert.equal(store.size, expected.size, where);
        for (const group of [0, 1, 2]) {
          const found = store.index(['group']).rows.get(group) ?? [];
          assert.deepEqual(sorted(found), sorted([...expected.values()].filter(row => row.group === group)), where);
        }
      }
    }
  });
}

test('the queries of hooks see what their SQL would', () => {
  const store = new Store(keyed, bytesOf);
  const other = new Store(plain, bytesOf);
  store.begin();
  store.insertRows(rowList([{ id: 1, group: 1, name: "it's" }, { id: 2, group: 2, name: '' }, { id: 3, group: 2, name: 'c' }]));
  store.finish();
  other.begin();
  other.insertRows(rowList([{ id: 9, group: 2, name: 'x' }]));
  other.finish();
  const ids = query => rowsOf(query, store, other).map(row => row.id);
  const query = keyed.where(k => k.group.eq(2).and(k.name.ne('')).or(k.name.eq("it's")));
  assert.equal(query.toSql(), `SELECT * FROM "keyed" WHERE (("keyed"."group" = 2 AND "keyed"."name" <> '') OR "keyed"."name" = 'it''s')`);
  assert.deepEqual(ids(query), [1, 3]);
  assert.deepEqual(ids(keyed.where(k => k.id.gte(2)).where(k => k.id.lt(3).not())), [3]);
  const joined = keyed.leftSemijoin(plain.where(p => p.id.gt(3)), (k, p) => k.group.eq(p.group));
  assert.equal(joined.toSql(), 'SELECT "keyed".* FROM "keyed" JOIN "plain" ON "keyed"."group" = "plain"."group" WHERE "plain"."id" > 3');
  assert.deepEqual(ids(joined), [2, 3]);
});
