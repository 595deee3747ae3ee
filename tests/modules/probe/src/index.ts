// A bit of everything that the tests of the server's own doors ask about.
import { schema, table, t, SenderError } from 'spacetimedb/server';

const Mood = t.enum('Mood', { calm: t.unit(), angry: t.u32() });

const num = table({ name: 't', public: true }, { n: t.u32() });
const person = table(
  { name: 'person', public: true },
  { id: t.u64().primaryKey().autoInc(), name: t.string().unique(), age: t.u32() }
);
const secret = table({ name: 'secret' }, { id: t.u32().primaryKey(), text: t.string() });
const note = table({ name: 'note', public: true, event: true }, { text: t.string() });
const visit = table(
  { name: 'visit', public: true },
  { id: t.u64().primaryKey().autoInc(), who: t.identity(), connection: t.option(t.connectionId()), what: t.string() }
);
const gate = table({ name: 'gate' }, { id: t.u8().primaryKey(), closed: t.bool() });
const kinds = table(
  { name: 'kinds', public: true },
  {
    id: t.u32().primaryKey(),
    yes: t.bool(),
    small: t.i64(),
    large: t.u128(),
    huge: t.i256(),
    real: t.f64(),
    maybe: t.option(t.string()),
    raw: t.byteArray(),
    list: t.array(t.u16()),
    who: t.identity(),
    at: t.timestamp(),
    mood: Mood,
  }
);
const alarm = table(
  { name: 'alarm', scheduled: (): any => ring },
  { scheduledId: t.u64().primaryKey().autoInc(), scheduledAt: t.scheduleAt() }
);

const probe = schema({ t: num, person, secret, note, visit, gate, kinds, alarm });
export default probe;

export const init = probe.init(ctx => {
  ctx.db.visit.insert({ id: 0n, who: ctx.sender, connection: ctx.connectionId ?? undefined, what: 'init' });
});
export const onConnect = probe.clientConnected(ctx => {
  if (ctx.db.gate.id.find(0)?.closed) throw new SenderError('the gate is closed');
  ctx.db.visit.insert({ id: 0n, who: ctx.sender, connection: ctx.connectionId ?? undefined, what: 'came' });
});
export const onDisconnect = probe.clientDisconnected(ctx => {
  ctx.db.visit.insert({ id: 0n, who: ctx.sender, connection: ctx.connectionId ?? undefined, what: 'left' });
});

export const ring = probe.reducer({ arg: alarm.rowType }, () => {});

export const add = probe.reducer({ name: t.string(), n: t.u32() }, (ctx, { n }) => {
  ctx.db.t.insert({ n });
});
export const remove = probe.reducer({ n: t.u32() }, (ctx, { n }) => {
  ctx.db.t.delete({ n });
});
export const add_and_remove = probe.reducer({ n: t.u32() }, (ctx, { n }) => {
  ctx.db.t.insert({ n });
  ctx.db.t.delete({ n });
});
export const hire = probe.reducer({ name: t.string(), age: t.u32() }, (ctx, { name, age }) => {
  ctx.db.person.insert({ id: 0n, name, age });
});
export const birthday = probe.reducer({ name: t.string() }, (ctx, { name }) => {
  const who = ctx.db.person.name.find(name);
  if (!who) throw new SenderError(`nobody is called ${name}`);
  ctx.db.person.id.update({ ...who, age: who.age + 1 });
});
export const hide = probe.reducer({ id: t.u32(), text: t.string() }, (ctx, { id, text }) => {
  ctx.db.secret.insert({ id, text });
});
export const say = probe.reducer({ text: t.string() }, (ctx, { text }) => {
  ctx.db.note.insert({ text });
});
export const log_line = probe.reducer({ text: t.string() }, (_ctx, { text }) => {
  console.info(text);
});
export const refuse = probe.reducer({ text: t.string() }, (ctx, { text }) => {
  ctx.db.t.insert({ n: 4242 });
  throw new SenderError(text);
});
export const crash = probe.reducer(() => {
  throw new Error('a bug, on purpose');
});
export const spin = probe.reducer(() => {
  for (;;) {}
});
export const close_gate = probe.reducer({ closed: t.bool() }, (ctx, { closed }) => {
  if (ctx.db.gate.id.find(0)) ctx.db.gate.id.update({ id: 0, closed });
  else ctx.db.gate.insert({ id: 0, closed });
});
export const keep = probe.reducer(
  {
    id: t.u32(),
    yes: t.bool(),
    small: t.i64(),
    large: t.u128(),
    huge: t.i256(),
    real: t.f64(),
    maybe: t.option(t.string()),
    raw: t.byteArray(),
    list: t.array(t.u16()),
    who: t.identity(),
    at: t.timestamp(),
    mood: Mood,
  },
  (ctx, row) => {
    ctx.db.kinds.insert(row);
  }
);
