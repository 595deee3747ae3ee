// What bench/load calls: a row appended, and money moved between two of many accounts.
import { schema, SenderError, t, table } from 'spacetimedb/server';

const ACCOUNTS = 100_000;
const START_BALANCE = 1000n;

const spacetimedb = schema({
  account: table(
    { name: 'account', public: true },
    { id: t.u32().primaryKey(), balance: t.i64() }
  ),
  message: table(
    { name: 'message', public: true },
    { id: t.u64().primaryKey().autoInc(), text: t.string() }
  ),
});
export default spacetimedb;

export const init = spacetimedb.init(ctx => {
  for (let id = 0; id < ACCOUNTS; id++) ctx.db.account.insert({ id, balance: START_BALANCE });
});

export const insert = spacetimedb.reducer({ text: t.string() }, (ctx, { text }) => {
  ctx.db.message.insert({ id: 0n, text });
});

export const transfer = spacetimedb.reducer(
  { from: t.u32(), to: t.u32(), amount: t.u32() },
  (ctx, { from, to, amount }) => {
    const debit = ctx.db.account.id.find(from);
    const credit = ctx.db.account.id.find(to);
    if (!debit || !credit) throw new SenderError('no such account');
    if (from === to) throw new SenderError('an account cannot pay itself');
    if (debit.balance < BigInt(amount)) throw new SenderError('insufficient funds');
    ctx.db.account.id.update({ id: from, balance: debit.balance - BigInt(amount) });
    ctx.db.account.id.update({ id: to, balance: credit.balance + BigInt(amount) });
  }
);

// Forget the messages, so that a run does not pay for the ones before it.
export const clear = spacetimedb.reducer(ctx => {
  for (const message of [...ctx.db.message.iter()]) ctx.db.message.id.delete(message.id);
});
