// soak_series.mjs: a server's resources, sampled from outside while it works, and whether they stay flat.
//
// FLAT means two things. No sample is above the series' bound. And of the last two thirds of the run (the
// first is for filling caches) no steady growth is left: a line through the lowest sample of each
// of its thirty stretches either rises by less than the allowance, or not for sure (its slope is within
// four standard errors). Lowest samples, because what is given back between two peaks has not leaked.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

const MB = 1 << 20;

function sizes(dir, classify, into) {
  let names = [];
  try {
    names = readdirSync(dir, { withFileTypes: true });
  } catch {
    return into;  // it went while we looked
  }
  for (const entry of names) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) sizes(path, classify, into);
    else {
      try {
        const stat = statSync(path);
        const kind = classify(path);
        into[kind] = (into[kind] ?? 0) + stat.blocks * 512;
        into.files = (into.files ?? 0) + 1;
      } catch {
        // so did this
      }
    }
  }
  return into;
}

const kindOf = path =>
  /\/control\//.test(path) ? 'control' : /\/module_logs\//.test(path) ? 'module logs'
  : /\/log\//.test(path) ? 'log' : /\/pages/.test(path) ? 'pages' : 'other files';

// The sums over all databases of what /v1/metrics says now.
export async function metricsOf(url) {
  const text = await (await fetch(`${url}/v1/metrics`)).text();
  const sums = {};
  for (const line of text.split('\n')) {
    const found = /^([a-z_]+)(?:\{[^}]*\})? (\d+)$/.exec(line);
    if (found && found[1] !== 'lightcone_setting') sums[found[1]] = (sums[found[1]] ?? 0) + Number(found[2]);
  }
  return sums;
}

// unit: what the numbers are divided by. bound: of every sample. allowed: growth, of the mean or at least so much.
export const series = {
  'resident memory': { unit: MB, bound: 1500 * MB, floor: 8 * MB },
  'file descriptors': { bound: 400, floor: 3 },
  'threads': { bound: 120, floor: 2 },
  'data directory': { unit: MB, bound: 1024 * MB, floor: 8 * MB },
  'log': { unit: MB, bound: 400 * MB, floor: 8 * MB },
  'pages': { unit: MB, bound: 400 * MB, floor: 4 * MB },
  'control': { unit: MB, bound: 300 * MB, floor: 2 * MB },
  'module logs': { unit: MB, bound: 2 * MB, floor: 1 * MB },
  'other files': { unit: MB, bound: 64 * MB, floor: 1 * MB },
  'files': { bound: 200, floor: 3 },
  'lightcone_store_bytes': { unit: MB, bound: 300 * MB, floor: 4 * MB },
  'lightcone_snapshot_bytes': { unit: MB, bound: 300 * MB, floor: 4 * MB },
  'lightcone_snapshots_live': { bound: 60, floor: 2 },
  'lightcone_snapshot_oldest_age_us': { unit: 1e6, bound: 60e6, floor: 1e6 },
  'lightcone_identities': { bound: 4096, floor: 10 },
  'lightcone_inbox_bytes': { unit: MB, bound: 64 * MB, floor: 1 * MB },
  // Those of clients who left are kept for ten minutes.
  'lightcone_view_results': { bound: 11_000, floor: 10, share: 0.25 },
  'spacetime_subscription_sets': { bound: 400, floor: 5 },
  'spacetime_active_queries': { bound: 400, floor: 5 },
  'spacetime_worker_connected_clients': { bound: 200, floor: 5 },
  'lightcone_connections': { bound: 400, floor: 5 },
  'lightcone_page_file_bytes': { unit: MB, bound: 400 * MB, floor: 4 * MB },
  // Of eight at once, beside everything else there is, so it says little but that nothing got stuck.
  'latency of a short call, p99': { unit: 1, bound: 60_000, floor: 200, share: 0.5 },
};
const SHARE = 0.03;
const STRETCHES = 30;

export async function sample(server, pid, dataDir) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const disk = sizes(dataDir, kindOf, { control: 0, log: 0, pages: 0, 'module logs': 0, 'other files': 0 });
  const { files, ...kinds } = disk;
  return {
    'resident memory': Number(/VmRSS:\s+(\d+)/.exec(status)[1]) * 1024,
    'threads': Number(/Threads:\s+(\d+)/.exec(status)[1]),
    'file descriptors': readdirSync(`/proc/${pid}/fd`).length,
    'data directory': Object.values(kinds).reduce((a, b) => a + b, 0),
    ...kinds, files,
    ...await metricsOf(server.url),
  };
}

// A line through points at 0, 1, 2, …: {slope, error}, the second being its standard error.
export function line(ys) {
  const n = ys.length, mx = (n - 1) / 2, my = ys.reduce((a, b) => a + b, 0) / n;
  let sxx = 0, sxy = 0;
  ys.forEach((y, x) => {
    sxx += (x - mx) ** 2;
    sxy += (x - mx) * (y - my);
  });
  const slope = sxy / sxx;
  const left = ys.reduce((sum, y, x) => sum + (y - my - slope * (x - mx)) ** 2, 0);
  return { slope, error: Math.sqrt(left / Math.max(1, n - 2) / sxx) };
}

// `values` are equally spaced over the whole run.
export function judge(values, { bound, floor, share = SHARE }) {
  const late = values.slice(Math.floor(values.length / 3));
  const count = Math.min(STRETCHES, late.length);
  const lows = Array.from({ length: count }, (_, i) =>
    Math.min(...late.slice(Math.floor((i * late.length) / count), Math.floor(((i + 1) * late.length) / count))));
  const { slope, error } = line(lows);
  const growth = slope * (count - 1);
  const noise = 4 * error * (count - 1);
  const mean = late.reduce((a, b) => a + b, 0) / late.length;
  const max = Math.max(...values);
  const why = [];
  if (max > bound) why.push('above its bound');
  if (growth > Math.max(floor, share * mean) && growth > noise) why.push('grows');
  return { first: values[0], mean, min: Math.min(...late), max, growth, noise, why };
}

export function report(samples, minutes) {
  const rows = [['series', 'start', 'low', 'mean', 'max', 'bound', 'growth', 'noise', '']];
  const bad = [];
  for (const [name, rule] of Object.entries(series)) {
    const values = samples.map(s => s[name]).filter(v => v !== undefined);
    if (values.length < 6) {
      bad.push(`${name}: ${values.length} samples`);
      continue;
    }
    const found = judge(values, rule);
    const unit = rule.unit ?? 1;
    const show = v => (v / unit).toFixed(unit === 1 && Number.isInteger(v) ? 0 : 1);
    rows.push([name + (unit === MB ? ', MiB' : unit === 1e6 ? ', s' : ''), show(found.first), show(found.min), show(found.mean),
      show(found.max), show(rule.bound), show(found.growth), show(found.noise), found.why.join(', ') || 'flat']);
    if (found.why.length) bad.push(`${name}: ${found.why.join(', ')}`);
  }
  const widths = rows[0].map((_, i) => Math.max(...rows.map(row => row[i].length)));
  console.log(`\n${samples.length} samples in ${minutes.toFixed(1)} minutes; growth and noise are of the last two thirds`);
  for (const row of rows)
    console.log(row.map((cell, i) => (i === 0 || i === 8 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  ').trimEnd());
  return bad;
}
