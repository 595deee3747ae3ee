// What the durability test writes: every append goes into two tables, so half of one would show.
import { schema, table, t, SenderError } from 'spacetimedb/server';

const entry = table(
  {
    name: 'entry',
    public: true,
    indexes: [{ accessor: 'by_round', algorithm: 'btree', columns: ['round'] }],
  },
  { id: t.u64().primaryKey(), round: t.u32(), text: t.string() }
);
const shadow = table(
  {
    name: 'shadow',
    public: true,
    indexes: [{ accessor: 'by_round', algorithm: 'btree', columns: ['round'] }],
  },
  { id: t.u64().primaryKey(), round: t.u32() }
);
const total = table(
  { name: 'total', public: true },
  { key: t.u32().primaryKey(), count: t.u64() }
);
const secret = table({ name: 'secret' }, { id: t.u64().primaryKey().autoInc(), text: t.string() });

const ledger = schema({ entry, shadow, total, secret });
export default ledger;

export const append = ledger.reducer(
  { id: t.u64(), round: t.u32(), text: t.string() },
  (ctx, { id, round, text }) => {
    ctx.db.entry.insert({ id, round, text });
    const before = ctx.db.total.key.find(0);
    if (before) ctx.db.total.key.update({ key: 0, count: before.count + 1n });
    else ctx.db.total.insert({ key: 0, count: 1n });
    ctx.db.shadow.insert({ id, round });
  }
);

export const fail_half_way = ledger.reducer({ id: t.u64() }, (ctx, { id }) => {
  ctx.db.entry.insert({ id, round: 0, text: 'must not stay' });
  throw new SenderError('changed my mind');
});

export const log_something = ledger.reducer({ text: t.string() }, (_ctx, { text }) => {
  console.info(text);
  console.warn(`careful: ${text}`);
});

export const throw_error = ledger.reducer(() => {
  throw new Error('this is a bug');
});

export const tell_secret = ledger.reducer({ text: t.string() }, (ctx, { text }) => {
  ctx.db.secret.insert({ id: 0n, text });
});
