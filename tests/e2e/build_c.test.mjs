// Modules in C from the command line: init, build, generate, publish, publish again; and what is said
// when something is wrong.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ask, lightcone, startServer, temporaryDirectory, top, until } from './harness.mjs';

let server;
before(async () => (server = await startServer()));
after(() => server?.end());

// The command without a server; never throws.
function run(words, options = {}) {
  return new Promise(resolve =>
    execFile(options.exe ?? lightcone, words, { env: { ...process.env, HOME: server.dir, ...options.env }, cwd: options.cwd }, (error, stdout, stderr) =>
      resolve({ code: error ? error.code : 0, stdout, stderr })
    )
  );
}

function moduleOf(text) {
  const dir = temporaryDirectory('c-module');
  mkdirSync(join(dir, 'src'));
  writeFileSync(join(dir, 'src/module.c'), text);
  return dir;
}

const small = `#include "lightcone.h"
LC_TABLE(item, PUBLIC)
typedef struct Item {
    uint32_t id LC_PRIMARY_KEY;
    String name;
} Item;
LC_REDUCER
Error add(Ctx *ctx, uint32_t id, String name) {
    return item_insert(&(Item){.id = id, .name = name});
}
`;

test('a new project in C builds, publishes and answers', async () => {
  const dir = join(server.dir, 'fresh');
  const made = await server.cliWith({ cwd: server.dir }, 'init', '--lang', 'c', '--project-path', dir, 'My Game', '--non-interactive');
  assert.equal(made.code, 0, made.stderr);
  const database = JSON.parse(readFileSync(join(dir, 'lightcone.local.json'))).database;
  assert.match(database, /^my-game-[a-z0-9]{5}$/);
  const published = await server.cliWith({ cwd: dir }, 'publish', '--server', server.url, '--yes');
  assert.equal(published.code, 0, published.stderr + published.stdout);
  const added = await server.cliWith({ cwd: dir }, 'call', database, 'add', '"Ann"', '--server', server.url);
  assert.equal(added.code, 0, added.stderr);
  assert.deepEqual(await server.sql(database, 'SELECT name FROM person'), [['Ann']]);
  await server.cliWith({ cwd: dir }, 'call', database, 'say_hello', '--server', server.url);
  const log = await server.cliWith({ cwd: dir }, 'logs', database, '--server', server.url);
  assert.match(log.stdout, /src\/module\.c:\d+.*Hello, Ann!/);
  const refused = await server.cliWith({ cwd: dir }, 'call', database, 'add', '""', '--server', server.url);
  assert.notEqual(refused.code, 0);
  assert.match(refused.stderr, /A person has a name/);
});

test('a new project in TypeScript builds and publishes', async () => {
  const dir = join(server.dir, 'fresh-ts');
  const made = await server.cliWith({ cwd: server.dir }, 'init', '--lang', 'typescript', '--project-path', dir, 'other');
  assert.equal(made.code, 0, made.stderr);
  symlinkSync(join(top, 'tests/node_modules'), join(dir, 'spacetimedb/node_modules'));
  const published = await server.cliWith({ cwd: dir }, 'publish', '--server', server.url, '--yes');
  assert.equal(published.code, 0, published.stderr + published.stdout);
});

test('init refuses what it cannot do', async () => {
  const dir = temporaryDirectory('full');
  writeFileSync(join(dir, 'mine'), '');
  const full = await run(['init', '--lang', 'c', '--project-path', dir, 'x']);
  assert.equal(full.code, 1);
  assert.match(full.stderr, /Cannot create new Lightcone project in non-empty directory/);
  assert.match((await run(['init', '--lang', 'c', '--non-interactive'])).stderr, /PROJECT_NAME is required in non-interactive mode/);
  assert.match((await run(['init', '--lang', 'cobol', 'x'], { cwd: dir })).stderr, /no module in the language 'cobol' to begin with. Say --lang c or --lang typescript/);
  assert.match((await run(['init', 'x', '--non-interactive'], { cwd: dir })).stderr, /Either --template or --lang must be provided/);
  rmSync(dir, { recursive: true });
});

test('the same sources give the same bytes, wherever they lie', async () => {
  const [a, b] = [moduleOf(small), moduleOf(small)];
  for (const dir of [a, b]) assert.equal((await run(['build', '-p', dir])).code, 0);
  const bytes = dir => readFileSync(join(dir, 'build/module.wasm'));
  assert.ok(bytes(a).equals(bytes(b)));
  assert.ok(bytes(a).length < 40_000, `${bytes(a).length} bytes`);
  assert.ok(!bytes(a).includes(top), 'no path of this machine is in it');
  const again = bytes(a);
  await run(['build'], { cwd: a });
  assert.ok(bytes(a).equals(again));
});

test('mistakes are told by file and line, those of the compiler too', async () => {
  const declared = moduleOf('#include "lightcone.h"\nLC_TABLE(t)\ntypedef struct T {\n    int a;\n} T;\n');
  const said = await run(['build', '-p', declared]);
  assert.equal(said.code, 1);
  assert.match(said.stderr, /^src\/module\.c:4: error: a member cannot be `int`: write int32_t$/m);
  const written = moduleOf(small + 'Error other(Ctx *ctx) { return item_find_by_name(ctx); }\n');
  const compiled = await run(['build', '-p', written]);
  assert.equal(compiled.code, 1);
  assert.match(compiled.stderr, /src\/module\.c:\d+:\d+: .*item_find_by_name/);
  const wrong = moduleOf(small.replace('.name = name', '.name = id'));
  assert.match((await run(['build', '-p', wrong])).stderr, /src\/module\.c:9:\d+: error: incompatible integer/);
});

test('without clang it says what to install', async () => {
  const dir = moduleOf(small);
  const said = await run(['build', '-p', dir], { env: { PATH: dir } });
  assert.equal(said.code, 1);
  assert.match(said.stderr, /sudo apt-get install clang lld/);
});

test('an installed command finds its library', async () => {
  const prefix = temporaryDirectory('prefix');
  mkdirSync(join(prefix, 'bin'));
  copyFileSync(lightcone, join(prefix, 'bin/lightcone'));
  const dir = moduleOf(small);
  const missing = await run(['build', '-p', dir], { exe: join(prefix, 'bin/lightcone') });
  assert.match(missing.stderr, /lightcone\.h is not where it belongs/);
  cpSync(join(top, 'sdk/module-c'), join(prefix, 'share/lightcone/module-c'), { recursive: true });
  const found = await run(['build', '-p', dir], { exe: join(prefix, 'bin/lightcone') });
  assert.equal(found.code, 0, found.stderr);
  assert.ok(existsSync(join(dir, 'build/module.wasm')));
  rmSync(prefix, { recursive: true });
});

test('bindings are generated from a C module', async () => {
  const dir = moduleOf(small);
  const done = await run(['generate', '--no-config', '--yes', '--lang', 'typescript', '--sdk', 'spacetimedb', '-p', dir, '-o', join(dir, 'bindings')]);
  assert.equal(done.code, 0, done.stderr);
  assert.match(readFileSync(join(dir, 'bindings/item_table.ts'), 'utf8'), /name: __t\.string\(\)/);
  assert.ok(existsSync(join(dir, 'bindings/add_reducer.ts')));
});

test('a column with a default is added to rows that are there', async () => {
  const dir = moduleOf(small);
  const publish = () => server.cli('publish', 'growing', '-p', dir, '--server', server.url, '--yes');
  assert.equal((await publish()).code, 0);
  await server.cli('call', 'growing', 'add', '1', '"one"', '--server', server.url);
  writeFileSync(
    join(dir, 'src/module.c'),
    small.replace('String name;', 'String name;\n    int32_t size LC_DEFAULT(-7);\n    String *note LC_DEFAULT("new");')
  );
  const again = await publish();
  assert.equal(again.code, 0, again.stderr + again.stdout);
  assert.deepEqual(await server.sql('growing', 'SELECT * FROM item'), [[1, 'one', -7, [0, 'new']]]);
});

test('a panic ends the call, is in the log with its line, and the next call works', async () => {
  const dir = moduleOf(
    small + 'LC_REDUCER\nError fall(Ctx *ctx) {\n    TRY(add(ctx, 9, LC_STR("lost")));\n    lc_panic("over %d", 9);\n}\n'
  );
  assert.equal((await server.cli('publish', 'falling', '-p', dir, '--server', server.url, '--yes')).code, 0);
  const fallen = await server.cli('call', 'falling', 'fall', '--server', server.url);
  assert.notEqual(fallen.code, 0);
  assert.equal((await server.cli('call', 'falling', 'add', '1', '"one"', '--server', server.url)).code, 0);
  assert.deepEqual(await server.sql('falling', 'SELECT name FROM item'), [['one']]);
  await until(async () => /fall src\/module\.c:14: over 9/.test((await server.cli('logs', 'falling', '--server', server.url)).stdout), 'the panic in the log');
});

test('all kinds of declarations compile without a warning, and work', async () => {
  const dir = moduleOf(`#include "lightcone.h"
typedef uint64_t ThingId;
typedef String *MaybeName;
typedef enum Mood { MOOD_HAPPY, MOOD_VERY_SAD } Mood;
typedef struct Node { String name; Array(Node) children; } Node;
typedef struct Empty { enum { ONLY } tag; } Empty;
LC_TABLE(thing, PUBLIC, UNIQUE(mood, size), INDEX(size, mood))
struct Thing {
    ThingId id LC_PRIMARY_KEY LC_AUTO_INC;
    Mood mood;
    int32_t size;
    Array(MaybeName) names;
    Array(Array(uint8_t)) grid;
    Empty empty;
};
LC_TABLE(old_thing)
LC_TABLE(new_thing, PUBLIC, DIRECT(code))
typedef struct Coded { uint16_t code; Identity owner LC_INDEX; } Coded;
LC_ROW_FILTER("SELECT * FROM new_thing WHERE owner = :sender");
LC_REDUCER
Error add(Ctx *ctx, Mood mood, int32_t size, Array(MaybeName) names) {
    Thing thing = {.mood = mood, .size = size, .names = names};
    TRY(thing_insert(&thing));
    if (thing.id == 0) return lc_error("no number");
    if (thing_find_by_mood_size(mood, size)->id != thing.id) return lc_error("another");
    return old_thing_insert(&(Coded){.code = (uint16_t)thing.id, .owner = ctx->sender});
}
LC_VIEW
Query(Thing) big(ViewCtx *ctx) { return (Query(Thing)){LC_STR("SELECT * FROM thing WHERE size > 10")}; }
LC_VIEW LC_VIEW_KEY(id)
Thing *sad(AnonymousViewCtx *ctx) {
    ThingScan scan = thing_range_by_mood_size(MOOD_VERY_SAD, LC_ANY, 0, LC_ANY, 0);
    return thing_next(&scan) ? scan.row : NULL;
}
LC_PROCEDURE
Result(uint32_t, String) halve(ProcedureCtx *ctx, uint32_t n) {
    if (n % 2) return (Result(uint32_t, String)){.err = lc_some(LC_STR("odd"))};
    return (Result(uint32_t, String)){.ok = lc_some(n / 2)};
}
LC_PROCEDURE
Node tree(ProcedureCtx *ctx) {
    Node root = {.name = LC_STR("root")};
    lc_push(&root.children, (Node){.name = LC_STR("leaf")});
    return root;
}
LC_PROCEDURE
void nothing(ProcedureCtx *ctx) {}
static String wide_hex(I128 v) {
    return lc_format("%016llx%016llx", (unsigned long long)((U128)v >> 64), (unsigned long long)v);
}
LC_PROCEDURE
Array(String) wide(ProcedureCtx *ctx, I128 a, I128 b) {
    Array(String) out = {0};
    lc_push(&out, wide_hex(a * b));
    lc_push(&out, wide_hex(a / b));
    lc_push(&out, wide_hex(a % b));
    lc_push(&out, wide_hex((I128)((U128)a / (U128)b)));
    lc_push(&out, wide_hex((I128)((U128)a % (U128)b)));
    lc_push(&out, wide_hex(a << (int)(b & 127)));
    lc_push(&out, wide_hex(a >> (int)(b & 127)));
    return out;
}
`);
  const built = await run(['build', '-p', dir]);
  assert.equal(built.code, 0, built.stderr);
  assert.equal(built.stderr, '');
  const file = join(dir, 'build/module.wasm');
  await server.publish('kinds', file);
  const call = (...words) => server.cli('call', 'kinds', ...words, '--server', server.url);
  const said = async (...words) => {
    const done = await call(...words);
    assert.equal(done.code, 0, done.stderr);
    return done.stdout.trim();
  };
  await said('add', '{"happy":[]}', '5', '[{"some":"x"},{"none":[]}]');
  await said('add', '{"very_sad":[]}', '50', '[]');
  assert.match((await call('add', '{"happy":[]}', '5', '[]')).stderr, /thing: a row with the same unique value exists/);
  assert.deepEqual(await server.sql('kinds', 'SELECT id, size FROM big'), [[2, 50]]);
  assert.deepEqual(await server.sql('kinds', 'SELECT id, size FROM sad'), [[2, 50]]);
  assert.deepEqual(JSON.parse(await said('halve', '8')), [0, 4]);
  assert.deepEqual(JSON.parse(await said('halve', '7')), [1, 'odd']);
  assert.deepEqual(JSON.parse(await said('tree')), ['root', [['leaf', []]]]);
  await said('nothing');
  const bits = 128n;
  const unsigned = v => BigInt.asUintN(128, v);
  const hex = v => unsigned(v).toString(16).padStart(32, '0');
  const values = [7n, -7n, 3n, (1n << 64n) + 5n, -(1n << 100n) - 12345n, (1n << 127n) - 1n, -(1n << 126n), 0xffffffffffffffffn];
  for (const a of values)
    for (const b of values) {
      const by = unsigned(b) % bits;
      const wanted = [a * b, a / b, a % b, unsigned(a) / unsigned(b), unsigned(a) % unsigned(b), a << by, a >> by].map(hex);
      const { text } = await ask(`${server.url}/v1/database/kinds/call/wide`, { method: 'POST', body: `[${a},${b}]`, headers: { 'content-type': 'application/json' } });
      assert.deepEqual(JSON.parse(text), wanted, `${a}, ${b}`);
    }
});
