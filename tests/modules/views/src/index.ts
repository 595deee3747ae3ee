// Views of every kind over a small game: who sees what, and what it costs to keep it current.
import { ScheduleAt } from 'spacetimedb';
import { Range, schema, table, t, SenderError } from 'spacetimedb/server';

const player = table(
  { name: 'player', public: true },
  {
    id: t.u64().primaryKey().autoInc(),
    owner: t.identity().index('btree'),
    name: t.string(),
    level: t.u32().index('btree'),
  }
);
const item = table({ name: 'item' }, { id: t.u64().primaryKey(), owner: t.identity().index('btree'), what: t.string() });
const wish = table({ name: 'wish' }, { what: t.string() });

const presence = table({ name: 'presence' }, { connection: t.connectionId().primaryKey() });
const reaper = table(
  { name: 'reaper', scheduled: (): any => reap },
  { scheduledId: t.u64().primaryKey().autoInc(), scheduledAt: t.scheduleAt(), item: t.u64() }
);

const db = schema({ player, item, wish, presence, reaper });
export default db;

const Count = t.row('Count', { n: t.u64() });
const Mine = t.row('Mine', { id: t.u64().primaryKey(), what: t.string() });

// One result for each caller, with a primary key: changes arrive as updates.
export const myItems = db.view({ name: 'my_items', public: true }, t.array(Mine), ctx =>
  [...ctx.db.item.owner.filter(ctx.sender)].map(({ id, what }) => ({ id, what }))
);
// None or one.
export const me = db.view({ name: 'me', public: true }, t.option(player.rowType), ctx => {
  for (const row of ctx.db.player.owner.filter(ctx.sender)) return row;
  return undefined;
});
// One result for everybody; reads a range of an index.
export const veterans = db.anonymousView({ name: 'veterans', public: true }, t.array(player.rowType), ctx => [
  ...ctx.db.player.level.filter(new Range({ tag: 'included', value: 10 })),
]);
export const itemCount = db.anonymousView({ name: 'item_count', public: true }, t.array(Count), ctx => [
  { n: ctx.db.item.count() },
]);
export const present = db.anonymousView({ name: 'present', public: true }, t.array(Count), ctx => [
  { n: ctx.db.presence.count() },
]);
export const doomed = db.anonymousView({ name: 'doomed', public: true }, t.array(Count), ctx => [
  { n: ctx.db.reaper.count() },
]);
// Query builders instead of rows.
export const myPlayers = db.view({ name: 'my_players', public: true }, t.array(player.rowType), ctx =>
  ctx.from.player.where(p => p.owner.eq(ctx.sender))
);
// Fails as soon as somebody wishes for the impossible.
export const wishes = db.anonymousView({ name: 'wishes', public: true }, t.array(wish.rowType), ctx => {
  const all = [...ctx.db.wish.iter()];
  if (all.some(({ what }) => what === 'the moon')) throw new SenderError('no moon today');
  if (all.some(({ what }) => what === 'for ever')) for (;;);
  return all;
});
// Two rows with one primary key, once there are two players of one level.
export const levels = db.anonymousView(
  { name: 'levels', public: true },
  t.array(t.row('Level', { level: t.u32().primaryKey(), name: t.string() })),
  ctx => [...ctx.db.player.iter()].map(({ level, name }) => ({ level, name }))
);

export const join = db.reducer({ name: t.string() }, (ctx, { name }) => {
  ctx.db.player.insert({ id: 0n, owner: ctx.sender, name, level: 1 });
});
export const setLevel = db.reducer({ name: t.string(), level: t.u32() }, (ctx, { name, level }) => {
  for (const row of [...ctx.db.player.iter()]) if (row.name === name) ctx.db.player.id.update({ ...row, level });
});
export const take = db.reducer({ id: t.u64(), what: t.string() }, (ctx, { id, what }) => {
  if (ctx.db.item.id.find(id)) ctx.db.item.id.update({ id, owner: ctx.sender, what });
  else ctx.db.item.insert({ id, owner: ctx.sender, what });
});
export const takeSlowly = db.reducer({ id: t.u64(), what: t.string() }, (ctx, { id, what }) => {
  for (const end = Date.now() + 30; Date.now() < end; );
  ctx.db.item.insert({ id, owner: ctx.sender, what });
});
export const drop = db.reducer({ id: t.u64() }, (ctx, { id }) => {
  ctx.db.item.id.delete(id);
});
export const hope = db.reducer({ what: t.string() }, (ctx, { what }) => {
  ctx.db.wish.insert({ what });
});
export const forget = db.reducer({ what: t.string() }, (ctx, { what }) => {
  ctx.db.wish.delete({ what });
});

export const onConnect = db.clientConnected(ctx => {
  ctx.db.presence.insert({ connection: ctx.connectionId! });
});
export const onDisconnect = db.clientDisconnected(ctx => {
  ctx.db.presence.connection.delete(ctx.connectionId!);
});
export const reap = db.reducer({ arg: reaper.rowType }, (ctx, { arg }) => {
  ctx.db.item.id.delete(arg.item);
});
export const doom = db.reducer({ item: t.u64() }, (ctx, { item }) => {
  ctx.db.reaper.insert({ scheduledId: 0n, scheduledAt: ScheduleAt.time(ctx.timestamp.microsSinceUnixEpoch), item });
});
export const raise = db.procedure({ name: t.string(), level: t.u32() }, t.unit(), (ctx, { name, level }) => {
  ctx.withTx(tx => {
    for (const row of [...tx.db.player.iter()]) if (row.name === name) tx.db.player.id.update({ ...row, level });
  });
  return {};
});
