// Scheduled work of every sort. What a job's label says is what it does, besides noting that it ran.
import { ScheduleAt } from 'spacetimedb';
import { schema, table, t, SenderError } from 'spacetimedb/server';

const job = table(
  { name: 'job', public: true, scheduled: (): any => run_job },
  {
    scheduledId: t.u64().primaryKey().autoInc(),
    scheduledAt: t.scheduleAt(),
    label: t.string(),
    left: t.u32(),
  }
);
const ran = table(
  { name: 'ran', public: true, indexes: [{ accessor: 'by_label', algorithm: 'btree', columns: ['label'] }] },
  {
    id: t.u64().primaryKey().autoInc(),
    label: t.string(),
    at: t.timestamp(),
    due: t.option(t.timestamp()),
    by: t.identity(),
    connected: t.bool(),
  }
);

const clock = schema({ job, ran });
export default clock;

export const run_job = clock.reducer({ arg: job.rowType }, (ctx, { arg }) => {
  ctx.db.ran.insert({
    id: 0n,
    label: arg.label,
    at: ctx.timestamp,
    due: arg.scheduledAt.tag === 'Time' ? arg.scheduledAt.value : undefined,
    by: ctx.sender,
    connected: ctx.connectionId !== null,
  });
  switch (arg.label.split(' ')[0]) {
    case 'refuses':
      throw new SenderError('this job refuses');
    case 'crashes':
      throw new Error('this job crashes');
    case 'chain': // the next link is a row of its own
      if (arg.left)
        ctx.db.job.insert({ scheduledId: 0n, scheduledAt: ScheduleAt.time(ctx.timestamp.microsSinceUnixEpoch + 20_000n), label: arg.label, left: arg.left - 1 });
      break;
    case 'snoozes': // the same row, later
      if (arg.left)
        ctx.db.job.scheduledId.update({ ...arg, scheduledAt: ScheduleAt.time(ctx.timestamp.microsSinceUnixEpoch + 20_000n), left: arg.left - 1 });
      break;
    case 'stops': // an interval that ends itself
      if (arg.left) ctx.db.job.scheduledId.update({ ...arg, left: arg.left - 1 });
      else ctx.db.job.scheduledId.delete(arg.scheduledId);
      break;
  }
});

export const plan_at = clock.reducer({ label: t.string(), at: t.timestamp(), left: t.u32() }, (ctx, { label, at, left }) => {
  ctx.db.job.insert({ scheduledId: 0n, scheduledAt: ScheduleAt.time(at.microsSinceUnixEpoch), label, left });
});
export const plan_every = clock.reducer({ label: t.string(), micros: t.i64(), left: t.u32() }, (ctx, { label, micros, left }) => {
  ctx.db.job.insert({ scheduledId: 0n, scheduledAt: ScheduleAt.interval(micros), label, left });
});
export const plan_and_fail = clock.reducer({ label: t.string() }, (ctx, { label }) => {
  ctx.db.job.insert({ scheduledId: 0n, scheduledAt: ScheduleAt.time(ctx.timestamp.microsSinceUnixEpoch), label, left: 0 });
  throw new SenderError('changed my mind');
});
export const move = clock.reducer({ label: t.string(), at: t.timestamp() }, (ctx, { label, at }) => {
  for (const row of [...ctx.db.job.iter()])
    if (row.label === label)
      ctx.db.job.scheduledId.update({ ...row, scheduledAt: ScheduleAt.time(at.microsSinceUnixEpoch) });
});
export const cancel = clock.reducer({ label: t.string() }, (ctx, { label }) => {
  for (const row of [...ctx.db.job.iter()]) if (row.label === label) ctx.db.job.scheduledId.delete(row.scheduledId);
});
