// What runs away from the loop: slow reducers, procedures, HTTP handlers, scheduled procedures.
import { ScheduleAt, TimeDuration } from 'spacetimedb';
import { Request, Router, schema, SenderError, SyncResponse, t, table } from 'spacetimedb/server';

const counter = table({ name: 'counter', public: true }, { id: t.u32().primaryKey(), value: t.u64() });
const entry = table(
  { name: 'entry', public: true },
  { id: t.u64().primaryKey().autoInc(), who: t.string().index('btree'), n: t.u32() }
);
const visit = table(
  { name: 'visit', public: true },
  { id: t.u64().primaryKey().autoInc(), who: t.identity(), what: t.string() }
);
const errand = table(
  { name: 'errand', public: true, scheduled: (): any => runErrand },
  { scheduledId: t.u64().primaryKey().autoInc(), scheduledAt: t.scheduleAt(), label: t.string(), url: t.string() }
);
const chore = table(
  { name: 'chore', public: true, scheduled: (): any => runChore },
  { scheduledId: t.u64().primaryKey().autoInc(), scheduledAt: t.scheduleAt(), label: t.string(), ms: t.u32() }
);
const knob = table({ name: 'knob' }, { id: t.u32().primaryKey(), connectMs: t.u32(), disconnectMs: t.u32() });

const lanes = schema({ counter, entry, visit, errand, chore, knob });
export default lanes;

// Compute for about so long; the loop has to see the clock often enough to be stopped in between.
function spin(ms: number) {
  let turns = 0;
  for (const end = Date.now() + ms; Date.now() < end; ) turns++;
  return turns;
}

function add(db: any, id: number, by: bigint) {
  const row = db.counter.id.find(id);
  if (row) db.counter.id.update({ id, value: row.value + by });
  else db.counter.insert({ id, value: by });
}

export const init = lanes.init(ctx => {
  ctx.db.knob.insert({ id: 0, connectMs: 0, disconnectMs: 0 });
});
export const came = lanes.clientConnected(ctx => {
  spin(ctx.db.knob.id.find(0)!.connectMs);
  const subject = ctx.senderAuth.jwt?.subject ?? 'nobody';
  ctx.db.visit.insert({ id: 0n, who: ctx.sender, what: `came ${subject ? 'known' : 'unknown'}` });
});
export const left = lanes.clientDisconnected(ctx => {
  spin(ctx.db.knob.id.find(0)!.disconnectMs);
  ctx.db.visit.insert({ id: 0n, who: ctx.sender, what: 'left' });
});
export const turnKnob = lanes.reducer({ connectMs: t.u32(), disconnectMs: t.u32() }, (ctx, args) => {
  ctx.db.knob.id.update({ id: 0, ...args });
});

// ---- reducers

export const increment = lanes.reducer({ id: t.u32() }, (ctx, { id }) => add(ctx.db, id, 1n));
export const slowIncrement = lanes.reducer({ id: t.u32(), ms: t.u32() }, (ctx, { id, ms }) => {
  const value = ctx.db.counter.id.find(id)?.value ?? 0n;
  spin(ms);
  const row = { id, value: value + 1n };
  if (ctx.db.counter.id.find(id)) ctx.db.counter.id.update(row);
  else ctx.db.counter.insert(row);
});
export const slowAlone = lanes.reducer({ who: t.string(), ms: t.u32() }, (ctx, { who, ms }) => {
  console.log(`${who} begins`);
  ctx.db.entry.insert({ id: 0n, who, n: 1 });
  spin(ms);
  ctx.db.entry.insert({ id: 0n, who, n: 2 });
  console.log(`${who} ends`);
});
export const note = lanes.reducer({ who: t.string(), n: t.u32() }, (ctx, { who, n }) => {
  ctx.db.entry.insert({ id: 0n, who, n });
});
export const slowFailure = lanes.reducer({ ms: t.u32() }, (ctx, { ms }) => {
  ctx.db.entry.insert({ id: 0n, who: 'failed', n: 0 });
  spin(ms);
  throw new SenderError('slow and wrong');
});
export const forEver = lanes.reducer({}, () => {
  for (;;);
});
export const count = lanes.reducer({ who: t.string(), ms: t.u32() }, (ctx, { who, ms }) => {
  const before = [...ctx.db.entry.who.filter(who)].length;
  spin(ms);
  const after = [...ctx.db.entry.who.filter(who)].length;
  ctx.db.entry.insert({ id: 0n, who: `${who} counted`, n: before === after ? after : 1_000_000 });
});

// ---- procedures

export const sum = lanes.procedure({ a: t.u32(), b: t.u32() }, t.u32(), (_ctx, { a, b }) => a + b);
export const whoAmI = lanes.procedure(t.string(), ctx => {
  const inside = ctx.withTx(tx => `${tx.sender.toHexString()} ${tx.connectionId !== null}`);
  return `${ctx.sender.toHexString()} ${ctx.connectionId !== null} ${inside}`;
});
export const deposit = lanes.procedure({ id: t.u32(), ms: t.u32() }, t.u32(), (ctx, { id, ms }) => {
  let tries = 0;
  ctx.withTx(tx => {
    tries++;
    const value = tx.db.counter.id.find(id)?.value ?? 0n;
    spin(ms);
    const row = { id, value: value + 1n };
    if (tx.db.counter.id.find(id)) tx.db.counter.id.update(row);
    else tx.db.counter.insert(row);
  });
  return tries;
});
export const twoSteps = lanes.procedure({ who: t.string(), fail: t.bool() }, t.u64(), (ctx, { who, fail }) => {
  ctx.withTx(tx => tx.db.entry.insert({ id: 0n, who, n: 1 }));
  if (fail) throw new Error('after the first step');
  return ctx.withTx(tx => tx.db.entry.insert({ id: 0n, who, n: 2 }).id);
});
export const undone = lanes.procedure({ who: t.string() }, t.string(), (ctx, { who }) => {
  try {
    ctx.withTx(tx => {
      tx.db.entry.insert({ id: 0n, who, n: 1 });
      throw new Error('changed my mind');
    });
  } catch (error) {
    return (error as Error).message;
  }
  return 'nothing was thrown';
});
export const spinProcedure = lanes.procedure({ ms: t.u32() }, t.unit(), (_ctx, { ms }) => {
  spin(ms);
  return {};
});
export const hogs = lanes.procedure({ id: t.u32() }, t.unit(), (ctx, { id }) => {
  let tries = 0;
  ctx.withTx(tx => {
    const value = tx.db.counter.id.find(id)?.value ?? 0n;
    if (tries++ === 0) spin(300);
    else for (;;);
    tx.db.counter.id.update({ id, value: value + 1n });
  });
  return {};
});
export const fetchText = lanes.procedure(
  { url: t.string(), method: t.string(), body: t.string(), timeoutMs: t.u32() },
  t.string(),
  (ctx, { url, method, body, timeoutMs }) => {
    console.log(`asking ${method}`);
    try {
      const answer = ctx.http.fetch(url, {
        method,
        headers: { 'x-asked-by': 'lanes' },
        body: body || undefined,
        timeout: timeoutMs ? TimeDuration.fromMillis(timeoutMs) : undefined,
      });
      return `${answer.status} ${answer.headers.get('x-said')} ${answer.text()}`;
    } catch (error) {
      return `${(error as Error).name}: ${(error as Error).message}`;
    }
  }
);
export const fetchInTransaction = lanes.procedure({ url: t.string() }, t.string(), (ctx, { url }) =>
  ctx.withTx(() => {
    try {
      ctx.http.fetch(url);
      return 'it was allowed';
    } catch (error) {
      return (error as Error).name;
    }
  })
);

// ---- scheduled procedures

export const runErrand = lanes.procedure({ arg: errand.rowType }, t.unit(), (ctx, { arg }) => {
  const there = ctx.withTx(tx => tx.db.errand.scheduledId.find(arg.scheduledId) !== null);
  let heard = 'nothing';
  if (arg.url) heard = ctx.http.fetch(arg.url).text();
  ctx.withTx(tx => tx.db.entry.insert({ id: 0n, who: `${arg.label} ${heard} ${there}`, n: 0 }));
  return {};
});
export const plan = lanes.reducer({ label: t.string(), url: t.string(), inMs: t.u32() }, (ctx, { label, url, inMs }) => {
  const at = ctx.timestamp.microsSinceUnixEpoch + BigInt(inMs) * 1000n;
  ctx.db.errand.insert({ scheduledId: 0n, scheduledAt: ScheduleAt.time(at), label, url });
});
export const planEvery = lanes.reducer({ label: t.string(), everyMs: t.u32() }, (ctx, { label, everyMs }) => {
  ctx.db.errand.insert({
    scheduledId: 0n,
    scheduledAt: ScheduleAt.interval(BigInt(everyMs) * 1000n),
    label,
    url: '',
  });
});
export const forget = lanes.reducer({ label: t.string() }, (ctx, { label }) => {
  for (const row of ctx.db.errand.iter()) if (row.label === label) ctx.db.errand.delete(row);
});
export const runChore = lanes.reducer({ arg: chore.rowType }, (ctx, { arg }) => {
  spin(arg.ms);
  ctx.db.entry.insert({ id: 0n, who: arg.label, n: 0 });
});
export const planChore = lanes.reducer({ label: t.string(), ms: t.u32() }, (ctx, { label, ms }) => {
  ctx.db.chore.insert({ scheduledId: 0n, scheduledAt: ScheduleAt.time(0n), label, ms });
});

// ---- HTTP handlers

export const hello = lanes.httpHandler((_ctx, _request) => new SyncResponse('hello'));
export const echo = lanes.httpHandler((_ctx, request: Request) => {
  const headers: [string, string][] = [];
  request.headers.forEach((value: string, name: string) => headers.push([name, value]));
  return new SyncResponse(JSON.stringify({ method: request.method, uri: request.uri, headers, body: request.text() }), {
    status: 201,
    headers: { 'content-type': 'application/json', 'x-made-by': 'lanes', 'content-length': '3' },
  });
});
export const store = lanes.httpHandler((ctx, request: Request) => {
  const who = request.text();
  const id = ctx.withTx(tx => tx.db.entry.insert({ id: 0n, who, n: 7 }).id);
  return new SyncResponse(`${id}`);
});
export const broken = lanes.httpHandler(() => {
  throw new Error('this handler is broken');
});
export const routes = lanes.httpRouter(
  new Router().get('', hello).get('/', hello).any('/echo', echo).post('/store', store).get('/broken', broken)
);
