// interference.mjs: what everything slow does to short calls.
//
//   make bench ONLY=interference
//
// SECONDS_EACH  measured seconds of one window (10)
// ROUNDS        (3); the table shows medians
// ROWS          of the large table (1000000)
// WINDOWS       only the windows whose name contains this, and `alone` and `a busy process`
//
// Sixteen clients call short transfers, one in flight each. Windows, in every round: alone; beside a busy
// process that has nothing to do with the server, which is what a core taken away costs by itself on
// this machine; beside each disturbance; beside all of them at once. Each disturbance lasts as long as
// the window: a reducer and a view of ten seconds, a procedure that waits for the network, scans of the
// whole table by SQL one after another, subscribers of the whole table one after another. The clients that
// are measured (bench/load) and those that disturb (disturb.mjs) are two processes beside the server's.
import { fork, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { call, disturbances, rowsOf, sql } from './disturb.mjs';

const sleep = ms => new Promise(done => setTimeout(done, ms));

// Begin them; gives what ends them, which gives how often each came to its end.
function disturb(server, names) {
  const child = fork(fileURLToPath(new URL('./disturb.mjs', import.meta.url)), [JSON.stringify({ url: server.url, names })]);
  const told = new Promise((done, failed) => {
    child.once('message', done);
    child.once('exit', code => failed(new Error(`the disturbances ended with ${code}`)));
  });
  told.catch(() => {});
  return async () => {
    if (child.connected) child.send('over');
    const { counts, why } = await told;
    if (why) throw new Error(why);
    return counts;
  };
}

// `measure(seconds)` runs the transfers and gives {latency_p50, latency_p99, throughput}.
export async function interference({ server, record, measure, rounds, atMost }) {
  const seconds = Number(process.env.SECONDS_EACH || 10);
  const rows = rowsOf();
  for (let from = 0; from < rows; from += 50_000) {
    await call(server, 'fill', [from, Math.min(50_000, rows - from)]);
    process.stderr.write(`\rrows: ${from}`);
  }
  const [{ rows: [[there]] }] = JSON.parse(await sql(server, 'SELECT COUNT(*) AS n FROM big'));
  if (there !== rows) throw new Error(`there are ${there} rows`);
  const figures = new Map();
  const keep = (name, figure) => figures.set(name, [...(figures.get(name) ?? []), figure]);
  const windows = [
    ['alone', []], ['a busy process', null],
    ...Object.keys(disturbances).map(name => [name, [name]]),
    ['all at once', Object.keys(disturbances)],
  ].filter(([name, names]) => !names?.length || name.includes(process.env.WINDOWS || ''));
  await measure(2);
  for (let round = 0; round < rounds; round++) {
    for (const [name, names] of windows) {
      const busy = names ? null : spawn(process.execPath, ['-e', 'for(;;);']);
      const end = disturb(server, names ?? []);
      await sleep(400);
      keep(name, await measure(seconds));
      busy?.kill('SIGKILL');
      const counts = await end();
      if (names?.length === 1 && counts[0] !== null) keep(`${name}: how many`, { count: counts[0] });
      process.stderr.write(`\rround ${round + 1}/${rounds} ${name}\n`);
    }
  }
  const of = (name, figure) => figures.get(name).map(f => f[figure]);
  for (const [name] of windows) {
    record('interference', `${name}: the clients themselves waited`, of(name, 'client_waited'), '%');
    for (const figure of ['latency_p50', 'latency_p99']) {
      const value = of(name, figure);
      record('interference', `${name}: ${figure.replace('_', ' ')}`, value, 'us');
      if (name === 'alone') continue;
      const alone = of('alone', figure), control = of('a busy process', figure);
      const all = name === 'all at once' && figure === 'latency_p99';
      record('interference', `${name}: ${figure.slice(8)} / alone`, value.map((v, i) => v / alone[i]), 'ratio',
        all ? atMost(2) : null);
      if (name !== 'a busy process')
        record('interference', `${name}: ${figure.slice(8)} / beside a busy process`, value.map((v, i) => v / control[i]), 'ratio');
    }
    if (figures.has(`${name}: how many`)) record('interference', `${name}: in a window`, of(`${name}: how many`, 'count'), '');
  }
}
