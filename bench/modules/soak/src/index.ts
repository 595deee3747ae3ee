// What bench/soak.mjs does all day: rows that come and go, slow reducers, procedures, views, schedules.
// However long it runs, `item` holds SLOTS rows at most and `counter` COUNTERS.
import { ScheduleAt } from 'lightcone';
import { schema, SenderError, t, table } from 'lightcone/server';

const SLOTS = 10_000;
const COUNTERS = 64;

const item = table(
  { name: 'item', public: true },
  { slot: t.u32().primaryKey(), bucket: t.u32().index('btree'), serial: t.u64().autoInc().unique(), text: t.string() }
);
const counter = table({ name: 'counter', public: true }, { id: t.u32().primaryKey(), value: t.u64() });
const present = table({ name: 'present', public: true }, { connection: t.connectionId().primaryKey() });
const beat = table(
  { name: 'beat', scheduled: (): any => onBeat },
  { scheduledId: t.u64().primaryKey().autoInc(), scheduledAt: t.scheduleAt(), once: t.bool() }
);
const db = schema({ item, counter, present, beat });
export default db;

function spin(ms: number) {
  for (const end = Date.now() + ms; Date.now() < end; );
}
function add(tables: any, id: number) {
  tables.counter.id.update({ id, value: tables.counter.id.find(id).value + 1n });
}

export const init = db.init(ctx => {
  for (let id = 0; id < COUNTERS; id++) ctx.db.counter.insert({ id, value: 0n });
  ctx.db.beat.insert({ scheduledId: 0n, scheduledAt: ScheduleAt.interval(50_000n), once: false });
});
export const came = db.clientConnected(ctx => {
  ctx.db.present.insert({ connection: ctx.connectionId! });
});
export const left = db.clientDisconnected(ctx => {
  ctx.db.present.connection.delete(ctx.connectionId!);
});

// Half of the time a row leaves, half of the time another one takes its place; some do not fit a page.
export const put = db.reducer({ slot: t.u32(), size: t.u32() }, (ctx, { slot, size }) => {
  slot %= SLOTS;
  if (ctx.db.item.slot.find(slot)) ctx.db.item.slot.delete(slot);
  else ctx.db.item.insert({ slot, bucket: slot % 100, serial: 0n, text: 'x'.repeat(size) });
});
export const refuse = db.reducer({ slot: t.u32() }, (ctx, { slot }) => {
  ctx.db.item.slot.delete(slot % SLOTS);
  throw new SenderError('not today');
});
export const slow = db.reducer({ id: t.u32(), ms: t.u32() }, (ctx, { id, ms }) => {
  let bytes = 0;
  for (const row of ctx.db.item.bucket.filter(id)) bytes += row.text.length;
  spin(ms);
  if (bytes >= 0) add(ctx.db, id);
});
export const once = db.reducer({}, ctx => {
  const at = ctx.timestamp.microsSinceUnixEpoch + 20_000n;
  ctx.db.beat.insert({ scheduledId: 0n, scheduledAt: ScheduleAt.time(at), once: true });
});
export const onBeat = db.reducer({ arg: beat.rowType }, (ctx, { arg }) => add(ctx.db, arg.once ? 1 : 0));

export const deposit = db.procedure({ id: t.u32() }, t.u32(), (ctx, { id }) => {
  ctx.withTx(tx => add(tx.db, id));
  return ctx.withTx(tx => Number(tx.db.item.count()));
});

const Load = t.row('Load', { bucket: t.u32(), rows: t.u32() });
export const first = db.anonymousView({ name: 'first', public: true }, t.array(Load), ctx => [
  { bucket: 0, rows: [...ctx.db.item.bucket.filter(0)].length },
]);
export const mine = db.view({ name: 'mine', public: true }, t.array(counter.rowType), ctx => {
  const row = ctx.db.counter.id.find(Number(ctx.sender.__identity__ % 64n));
  return row ? [row] : [];
});
