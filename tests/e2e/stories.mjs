// stories.mjs: tests/conformance/live/stories.txt as steps, and the npm client as one of those who play
// them. The language is told in the README beside that file.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { lightcone, top } from './harness.mjs';
import { relationsOf } from './fixtures.mjs';
import { within } from './support.mjs';

// ── the file ─────────────────────────────────────────────────────────────────────────────────────

export const file = join(top, 'tests/conformance/live/stories.txt');

// { fixtures: Map of lines, stories: [{ id, fixture, notSdk, lines }] }.
export function readStories(text = readFileSync(file, 'utf8')) {
  const fixtures = new Map(), stories = [];
  let open = null;
  for (const line of text.split('\n')) {
    const [word, name, ...rest] = line.split(' ');
    if (word === 'fixture') fixtures.set(name, (open = []));
    else if (word === 'story') stories.push({ id: name, fixture: rest[0], notSdk: line.endsWith(' not sdk'), lines: (open = []) });
    else if (line && !line.startsWith('#')) open.push(line);
  }
  return { fixtures, stories };
}

// `+u[1,2] -v[3]` as [['+', 'u', '[1,2]'], …].
export function opsOf(text) {
  const out = [...text.matchAll(/([+\-*]?)(\w+)(\[[^\]]*\])|!(\w+)/g)].map(([, what, table, row, why]) => (why ? ['!', why] : [what, table, row]));
  assert.ok(out.length > 0 || text.trim() === '', `no rows in ${text}`);
  return out;
}

// `1: +u[1] 2: -u[2]` as [[1, ops], [2, ops]].
export function setsOf(text) {
  return [...text.matchAll(/(\d+):([^:]*)(?=\s\d+:|$)/g)].map(([, set, ops]) => [Number(set), opsOf(ops)]);
}

// ── the npm client ───────────────────────────────────────────────────────────────────────────────

const camel = name => name.replace(/_(\w)/g, (_, c) => c.toUpperCase());

// What `lightcone generate` writes for a module, compiled; kept by content.
async function bindingsOf(code) {
  const name = `story-${createHash('sha256').update(code).digest('hex').slice(0, 24)}`;
  const out = join(top, 'build/tools/e2e', `${name}.mjs`);
  if (!existsSync(out) || statSync(out).mtimeMs < statSync(lightcone).mtimeMs) {
    const source = join(top, 'build/test/bindings', name), bundle = join(top, 'build/test/bindings', `${name}.js`);
    mkdirSync(source, { recursive: true });
    writeFileSync(bundle, code);
    const quiet = { stdio: ['ignore', 'ignore', 'inherit'] };
    execFileSync(lightcone, ['generate', '--no-config', '--yes', '--lang', 'typescript', '--sdk', 'spacetimedb', '-j', bundle, '-o', source], quiet);
    execFileSync(join(top, 'build/tools/node_modules/.bin/esbuild'),
      [join(source, 'index.ts'), '--bundle', '--format=esm', '--packages=external', '--log-level=warning', `--outfile=${out}`], quiet);
  }
  return import(out);
}

// What the npm client keeps, in the words of the stories.
export class SdkClient {
  sets = new Map();
  events = [];
  ends = [];

  static async enter(server, database, code, fixture, token) {
    const self = new SdkClient(), bindings = await bindingsOf(code);
    self.relations = relationsOf(fixture).filter(one => !one.options.includes('private'));
    self.connection = await within(new Promise((resolve, reject) => {
      bindings.DbConnection.builder().withUri(server.ws).withDatabaseName(database).withToken(token).withCompression('none')
        .onConnect(resolve).onConnectError((_ctx, error) => reject(error)).build();
    }), 'the npm client to connect');
    for (const one of self.relations.filter(one => one.options.includes('event')))
      self.connection.db[camel(one.name)].onInsert((_ctx, row) => self.events.push([one.name, self.#row(one, row)]));
    return self;
  }

  #row({ columns }, row) {
    return JSON.stringify(columns.map(([column, type]) => {
      const value = row[camel(column)];
      return type === 'Identity' ? value.toHexString() : type[0] === 'F' ? String(value) : typeof value === 'bigint' ? Number(value) : value;
    }));
  }

  // Rows are held once, however many sets have them.
  rows() {
    return this.relations.filter(one => !one.options.includes('event'))
      .flatMap(one => [...this.connection.db[camel(one.name)].iter()].map(row => `${one.name}${this.#row(one, row)}`)).sort();
  }

  async subscribe(set, ...queries) {
    let applied = false;
    const answer = await within(new Promise(resolve => {
      const handle = this.connection.subscriptionBuilder()
        .onApplied(() => { applied = true; this.sets.set(set, handle); resolve({}); })
        .onError(ctx => {
          const error = String(ctx.event?.message ?? ctx.event);
          if (applied) this.ends.push({ set, error });
          resolve({ error });
        })
        .subscribe(queries);
    }), 'the subscription');
    return answer;
  }

  async unsubscribe(set) {
    await within(new Promise(resolve => this.sets.get(set).unsubscribeThen(resolve)), 'the end of the subscription');
    this.sets.delete(set);
    return {};
  }

  async tx(ops) {
    try {
      await within(this.connection.reducers.tx({ ops }), 'the transaction');
      return {};
    } catch (error) {
      return { error: error.message };
    }
  }

  drop() { this.connection.disconnect(); }
}
