// Every case of the specification's conformance list has a test, and the list says truly which.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { top } from './harness.mjs';
import { file as storiesFile, readStories } from './stories.mjs';

const wanted = [...Array.from({ length: 140 }, (_, i) => String(i + 1)), '113a'];

// case N, and the lines below it.
function listed() {
  const cases = new Map();
  for (const block of readFileSync(join(top, 'tests/conformance/sql/cases.txt'), 'utf8').split(/^(?=case )/m).slice(1)) {
    const [, id] = /^case (\w+)/.exec(block);
    assert.ok(!cases.has(id), `case ${id} stands there twice`);
    cases.set(id, block.split('\n').slice(1).filter(line => line && !line.startsWith('#')));
  }
  return cases;
}

// Does a file say that it keeps the case? A story, the title of a test, or a comment at one.
function keeps(path, id) {
  const text = readFileSync(join(top, path), 'utf8');
  if (join(top, path) === storiesFile) return readStories(text).stories.some(story => story.id === id && story.lines.length > 1);
  return text.split('\n').some(line => new RegExp(`\\b[cC]ases? ([\\w, ]*\\W)?${id}\\b|^TEST\\(.*//.*\\b${id}\\b`).test(line));
}

test('all 141 cases are there', () => {
  const cases = listed();
  assert.deepEqual(wanted.filter(id => !cases.has(id)), []);
  for (const id of cases.keys()) assert.ok(wanted.includes(id) || /^b\d+$/.test(id), `case ${id} is of no list`);
});

test('each has statements of its own, or a file that keeps it', () => {
  for (const [id, lines] of listed()) {
    const [first = ''] = lines;
    if (!first.startsWith('elsewhere: ')) {
      assert.ok(lines.length >= 2, `case ${id} says nothing`);
      continue;
    }
    const files = first.slice('elsewhere: '.length).replace(/ \(.*\)$/, '').split(', ');
    for (const path of files) {
      assert.ok(existsSync(join(top, path)), `case ${id}: there is no ${path}`);
      assert.ok(keeps(path, id), `case ${id}: ${path} does not mention it`);
    }
  }
});

test('a story is of a case, and cases about subscribers are stories', () => {
  const { stories, fixtures } = readStories();
  for (const { id, fixture } of stories) {
    assert.ok(wanted.includes(id), `story ${id}`);
    assert.ok(fixtures.has(fixture), `story ${id}: no fixture ${fixture}`);
  }
  const told = new Set(stories.map(story => story.id));
  // All of §6.5 and §6.6 but those whose subject is not a story: many interleavings (110, 113), a disk that
  // stalls (112), pipelining (113a), what a failure is (127, 128), what is refused at publishing (130).
  const others = ['110', '112', '113', '113a', '127', '128', '130'];
  for (let id = 84; id <= 130; id++) assert.equal(told.has(String(id)), !others.includes(String(id)), `case ${id}`);
  assert.ok(!told.has('113a'));
});
