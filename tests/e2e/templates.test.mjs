// Each template, as a person meets it: init, npm install, `lightcone dev`, the page in Chromium in two windows;
// the module changed while it runs, then broken, then mended; Ctrl-C.
//
// The packages come from npm's cache where it has them. Next.js needs a newer Node than Debian 12 has; where there is
// none `lightcone dev` says so, and its template is passed over.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ask, lightcone, temporaryDirectory, top, until } from './harness.mjs';

const { chromium } = await import(join(top, 'build/tools/node_modules/playwright-core/index.mjs'));
const executable = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
const [major, minor] = process.versions.node.split('.').map(Number);
const isOld = major < 20 || (major === 20 && minor < 9);
const patience = Number(process.env.PATIENCE ?? 1) * 60_000;
const timed = { timeout: 3 * patience };
const needsNode = { skip: isOld && `Node ${process.versions.node} is too old for Next.js`, ...timed };

let browser;
const projects = [];
before(async () => {
  browser = await chromium.launch({ executablePath: executable, args: ['--no-sandbox', '--disable-background-networking', '--no-first-run'] });
});
after(async () => {
  await browser?.close();
  for (const project of projects) await project.end();
});

async function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer().on('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

// A project made by `init` in a home of its own, whose server is called local, as everybody's.
class Project {
  constructor() {
    this.home = temporaryDirectory('project');
    this.dir = join(this.home, 'app');
    this.said = '';
    this.problems = [];
    projects.push(this);
  }
  async init(...words) {
    this.port = await freePort();
    this.url = `http://127.0.0.1:${this.port}`;
    mkdirSync(join(this.home, 'config'));
    writeFileSync(
      join(this.home, 'config/cli.toml'),
      `default_server = "local"\n\n[[server_configs]]\nnickname = "local"\nhost = "127.0.0.1:${this.port}"\nprotocol = "http"\n`
    );
    this.cli('init', '--non-interactive', ...words, '--project-path', this.dir, 'app');
    this.database = JSON.parse(readFileSync(join(this.dir, 'lightcone.local.json'), 'utf8')).database;
    return this;
  }
  cli(...words) {
    return execFileSync(lightcone, ['--root-dir', this.home, ...words], { cwd: existsSync(this.dir) ? this.dir : this.home, encoding: 'utf8' });
  }
  install() {
    execFileSync('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: this.dir, stdio: ['ignore', 'ignore', 'inherit'] });
    return this;
  }
  // The child leads a group, so that what it leaves behind can be found.
  dev(...words) {
    this.child = spawn(lightcone, ['--root-dir', this.home, 'dev', ...words], {
      cwd: this.dir,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0', NEXT_TELEMETRY_DISABLED: '1' },
    });
    const hear = text => (this.said += text);
    this.child.stdout.setEncoding('utf8').on('data', hear);
    this.child.stderr.setEncoding('utf8').on('data', hear);
    this.ended = new Promise(resolve => this.child.on('exit', (code, signal) => resolve(code ?? signal)));
    return this;
  }
  async hears(what, since = 0, ms = patience) {
    const pattern = what instanceof RegExp ? what : undefined;
    const found = () => (pattern ? pattern.exec(this.said.slice(since)) : this.said.slice(since).includes(what));
    try {
      return await until(() => {
        if (this.child.exitCode !== null) throw new Error('it ended');
        return found();
      }, `it to say ${what}`, ms);
    } catch (error) {
      throw new Error(`${error.message}; it said:\n${this.said}`);
    }
  }
  async hasPublished(since = 0) {
    await this.hears(/^---$/m, since);
  }
  path(name) {
    return join(this.dir, name);
  }
  // Replace in a source file, which must have it. Gives where the output was then, and a way back.
  change(file, from, to) {
    const before = readFileSync(this.path(file), 'utf8');
    assert.ok(before.includes(from), `${file} has no ${from}`);
    const since = this.said.length;
    writeFileSync(this.path(file), before.replace(from, to));
    return { since, back: () => writeFileSync(this.path(file), before) };
  }
  lineOf(file, text) {
    return readFileSync(this.path(file), 'utf8').split(text)[0].split('\n').length;
  }
  async open(ready = '[role=status].live') {
    this.pageUrl ??= (await this.hears(/Local:\s+(http:\/\/localhost:\d+)/))[1];
    const context = await browser.newContext({ viewport: { width: 1000, height: 640 } });
    (this.contexts ??= []).push(context);
    const page = await context.newPage();
    page.setDefaultTimeout(patience);
    page.on('pageerror', error => this.problems.push(String(error)));
    await page.goto(this.pageUrl);
    await page.locator(ready).waitFor();
    return page;
  }
  sql(query) {
    return this.cli('sql', query, '--format', 'json');
  }
  // A module that does not build: said with file and line, and the version before goes on. Then mended.
  async breaks(file, from, to, line, stillWorks) {
    const { since, back } = this.change(file, from, to);
    await this.hears(new RegExp(`${file.replaceAll('.', '\\.')}:${line}:\\d+: error`), since);
    await this.hears('The version before goes on running.', since);
    await stillWorks();
    const mended = this.said.length;
    back();
    await this.hasPublished(mended);
  }
  // Ctrl-C: it ends well, and so does all that it has started. A page that stayed open would load itself
  // anew from the next project's front end, which has the same port.
  async ctrlC() {
    for (const context of this.contexts ?? []) await context.close();
    process.kill(this.child.pid, 'SIGINT');
    assert.equal(await this.ended, 0, this.said);
    await assert.rejects(ask(`${this.url}/v1/ping`), 'the server has ended too');
    if (this.pageUrl) await assert.rejects(ask(this.pageUrl), 'the page server has ended too');
    assert.deepEqual(this.problems, []);
  }
  async end() {
    if (this.child && this.child.exitCode === null) {
      this.child.kill('SIGTERM');
      await this.ended;
    }
    rmSync(this.home, { recursive: true, force: true });
  }
}

const shot = (page, name) => page.screenshot({ path: join(top, 'build/test', `template-${name}.png`) });

test('dev keeps the data of a module in C, tells where it fails, and ends all it has started', { timeout: 3 * patience }, async () => {
  const file = 'spacetimedb/src/module.c';
  const project = (await new Project().init('--lang', 'c')).dev();
  await project.hasPublished();
  project.cli('call', 'add', 'Ada');
  const first = project.change(file, 'Hello, World!', 'Hello, Moon!');
  await project.hasPublished(first.since);
  project.cli('call', 'say_hello');
  await project.hears('Hello, Ada!');
  await project.hears('Hello, Moon!');
  const broken = project.change(file, 'if (name.len == 0)', 'if name.len == 0)');
  await project.hears(/src\/module\.c:\d+:\d+: error/, broken.since);
  await project.hears('The version before goes on running.', broken.since);
  project.cli('call', 'add', 'Grace');
  // Rows would be lost: refused, the reason said, nothing lost.
  broken.back();
  await project.hasPublished(broken.since);
  const lossy = project.change(file, 'String name LC_INDEX;', 'String name LC_INDEX;\n    uint32_t age;');
  await project.hears('Aborting because publishing would require manual migration', lossy.since);
  await project.hears('lightcone dev --delete-data=on-conflict', lossy.since);
  await project.hears('The version before goes on running.', lossy.since);
  project.cli('call', 'add', 'Linus');
  const mended = project.said.length;
  lossy.back();
  await project.hasPublished(mended);
  assert.match(project.sql('SELECT * FROM person'), /Ada.*Grace.*Linus/s);
  await project.ctrlC();
});

test('basic-ts', timed, async () => {
  const file = 'spacetimedb/src/index.ts';
  const project = (await new Project().init('--template', 'basic-ts')).install().dev();
  const [one, two] = [await project.open(), await project.open()];
  await one.getByLabel('Name').fill('Ada');
  await one.keyboard.press('Enter');
  await two.getByText('Ada').waitFor();
  await two.getByLabel('Name').fill('Ada');
  await two.keyboard.press('Enter');
  await two.getByText('Ada is here already').waitFor();
  await shot(two, 'basic-ts');

  const { since } = project.change(file, 'name: trimmed }', 'name: `Dr ${trimmed}` }');
  await project.hasPublished(since);
  await one.getByLabel('Name').fill('Grace');
  await one.keyboard.press('Enter');
  await two.getByText('Dr Grace').waitFor();

  // A new column with a default: the table changes below the rows, the bindings follow, the page reloads.
  const column = project.change(file, 'name: t.string().unique() }', 'name: t.string().unique(), age: t.u32().default(7) }');
  await project.hears(/error TS\d+/, column.since);
  const whole = project.change(file, 'name: `Dr ${trimmed}` }', 'name: trimmed, age: 8 }');
  await project.hasPublished(whole.since);
  assert.match(project.sql("SELECT age FROM person WHERE name = 'Ada'"), /7/);
  await two.locator('li', { hasText: 'Ada' }).waitFor();

  await project.breaks(file, 'const trimmed = name.trim();', 'const trimmed = ;', 14, async () => {
    await one.getByLabel('Name').fill('Linus');
    await one.keyboard.press('Enter');
    await two.getByText('Linus').waitFor();
  });

  // A function that fails is told with the line of the source.
  const panics = project.change(file, 'ctx.db.person.id.delete(id);', "throw new TypeError('no more of this');");
  await project.hasPublished(panics.since);
  await one.locator('li', { hasText: 'Linus' }).getByRole('button').click();
  await project.hears(new RegExp(`src/index\\.ts:${project.lineOf(file, 'throw new TypeError')}`), panics.since);
  await project.hears('no more of this', panics.since);
  await project.ctrlC();
});

async function chat(template) {
  const file = 'spacetimedb/src/index.ts';
  const project = (await new Project().init('--template', template)).install().dev();
  const [ada, grace] = [await project.open(), await project.open()];
  await ada.getByLabel('Your name').fill('Ada');
  await ada.getByRole('button', { name: 'Save' }).click();
  await grace.getByLabel('People').getByText('Ada').waitFor();
  const say = async (page, text) => {
    await page.getByLabel('Message', { exact: true }).fill(text);
    await page.keyboard.press('Enter');
  };
  await say(ada, 'Hello');
  await grace.locator('.message:not(.mine) .bubble', { hasText: 'Hello' }).waitFor();
  // Two windows of one person: online until both are closed.
  const people = grace.getByLabel('People');
  const second = await ada.context().newPage();
  await second.goto(ada.url());
  await second.getByLabel('People').getByText('Ada').waitFor();
  await second.close();
  await say(ada, 'One window left');
  await grace.getByText('One window left').waitFor();
  assert.equal(await people.locator('li.away', { hasText: 'Ada' }).count(), 0);

  await say(grace, 'x'.repeat(2001));
  await grace.getByText('Messages must not be longer than 2000 characters').waitFor();
  await grace.getByLabel('Message', { exact: true }).fill('');

  const { since } = project.change(file, "text: checked(text, 'Messages', 2000)", "text: checked(text, 'Messages', 2000).toUpperCase()");
  await project.hasPublished(since);
  await say(grace, 'is it louder now?');
  await ada.getByText('IS IT LOUDER NOW?').waitFor();
  await ada.locator('.bubble', { hasText: /^Hello$/ }).waitFor();
  await shot(ada, template);
  await project.breaks(file, 'const db = schema(', 'const db = = schema(', project.lineOf(file, 'const db = schema('), async () => {
    await say(ada, 'still here');
    await grace.getByText('STILL HERE').waitFor();
  });
  await project.ctrlC();
}
test('chat-react', timed, () => chat('chat-react'));
test('nextjs-chat', needsNode, () => chat('nextjs-chat'));

test('basic-c', timed, async () => {
  const file = 'spacetimedb/src/module.c';
  const project = (await new Project().init('--template', 'basic-c')).install().dev();
  const [one, two] = [await project.open(), await project.open()];
  await one.getByLabel('Name').fill(' Ada ');
  await one.keyboard.press('Enter');
  await two.getByText('Ada').waitFor();
  await project.hears('Ada was added');
  const { since } = project.change(file, 'A person has a name', 'Nobody is called that');
  await project.hasPublished(since);
  await one.getByLabel('Name').fill('  ');
  await one.keyboard.press('Enter');
  await one.getByText('Nobody is called that').waitFor();
  const broken = project.change(file, 'LC_REDUCER\nError remove', 'LC_REDUCER\nErrr remove');
  await project.hears(/src\/module\.c:\d+/, broken.since);
  await project.hears('The version before goes on running.', broken.since);
  await two.getByRole('button', { name: 'Remove' }).click();
  await one.getByText('Ada').waitFor({ state: 'detached' });
  await project.ctrlC();
});

test('game-canvas', timed, async () => {
  const file = 'spacetimedb/src/index.ts';
  const project = (await new Project().init('--template', 'game-canvas')).install().dev();
  const [one, two] = [await project.open(), await project.open()];
  await two.locator('#scores li').nth(1).waitFor();
  // Asking by HTTP makes the asker a player too, for that moment.
  const asker = /[0-9a-f]{64}/.exec(project.cli('login', 'show'))[0];
  const places = () => {
    const [{ rows }] = JSON.parse(project.sql('SELECT identity, x, y, dy FROM player'));
    return new Map(rows.map(([[id], ...place]) => [id, place]).filter(([id]) => !id.endsWith(asker)).sort());
  };
  // A page that Vite has reloaded while it connected was another player before.
  await until(() => places().size === 2, 'two players to be there', patience);
  const before = places();
  await one.bringToFront();
  await one.keyboard.down('ArrowRight');
  const hasMoved = id => places().get(id)[0] !== before.get(id)[0];
  await until(() => [...before.keys()].some(hasMoved), 'one to have moved', patience);
  await one.keyboard.up('ArrowRight');
  assert.equal([...before.keys()].filter(hasMoved).length, 1, 'only who steers moves');
  await shot(one, 'game-canvas');

  const { since } = project.change(file, 'const SPEED = 320;', 'const SPEED = 0;');
  await project.hasPublished(since);
  const stopped = places();
  await one.keyboard.down('ArrowDown');
  await until(() => [...places().values()].some(([, , dy]) => dy > 0), 'the wish to arrive', patience);
  const where = map => [...map].map(([id, [x, y]]) => [id, x, y]);
  assert.deepEqual(where(places()), where(stopped), 'the rules that count are the new ones');
  await one.keyboard.up('ArrowDown');
  await project.breaks(file, 'const TICK_MS = 33;', 'const TICK_MS = ;', project.lineOf(file, 'const TICK_MS = 33'), async () => {
    assert.equal(places().size, 2);
  });
  await project.ctrlC();
});

test('node-client', timed, async () => {
  const file = 'spacetimedb/src/index.ts';
  const project = (await new Project().init('--template', 'node-client')).install().dev();
  await project.hears(/Connected to app-\w+: \d+ people, 0 messages\./);
  const say = text => execFileSync('npm', ['start', '--silent', text], { cwd: project.dir, encoding: 'utf8' });
  say('Hello from another terminal');
  await project.hears(/Guest \w{4}: Hello from another terminal/);
  const { since } = project.change(file, 'Guest ${', 'Visitor ${');
  await project.hasPublished(since);
  say('And now?');
  await project.hears(/Visitor \w{4}: And now\?/, since);
  await project.breaks(file, 'export default db;', 'export default ;', project.lineOf(file, 'export default db'), async () => {
    say('The old version answers');
    await project.hears(/Visitor \w{4}: The old version answers/, since);
  });
  await project.ctrlC();
});
