// compile.ts: a codec for a type that is known only at run time.
//
// PICTURE
//   shape ── source of a reader and a writer ── new Function ──> codec        where that is allowed
//        └── a tree of closures ─────────────────────────────> codec        under a strict CSP
//
// Both do the same (a test holds them together on random types). The first makes objects of one
// hidden class by a literal, which is what engines are quick with. Generated bindings need neither.
//
// ALWAYS TRUE  Names reach source text only through JSON.stringify; each product and sum has functions of
// its own, so types may be recursive.
import type { Codec, Reader, Writer } from './bytes.js';
import type { AnyType, Member, Shape } from './types.js';

type Link = (type: AnyType) => Codec<any>;

let canGenerate: boolean | undefined;
function generating(): boolean {
  if (canGenerate === undefined) {
    try {
      canGenerate = new Function('return true')() as boolean;
    } catch {
      canGenerate = false;
    }
  }
  return canGenerate;
}

export function compile(shape: Shape): Codec<unknown> {
  return generating() ? compileSource(shape) : compileClosures(shape);
}

// ---- source

class Source {
  readonly links: Codec<any>[] = [];
  private readonly numbers = new Map<Shape, number>();

  // A codec of its own: reached through its number when the code runs, so recursion is no trouble.
  private link(type: AnyType): string {
    let number = this.numbers.get(type.shape);
    if (number === undefined) {
      number = this.links.length;
      this.numbers.set(type.shape, number);
      this.links.push({
        read: r => type.codec.read(r),
        write: (w, value) => type.codec.write(w, value),
      });
    }
    return `links[${number}]`;
  }
  read(type: AnyType): string {
    const { shape } = type;
    switch (shape.kind) {
      case 'array':
        return `r.array(r => ${this.read(shape.element)})`;
      case 'option':
        return `(r.some() ? ${this.read(shape.element)} : undefined)`;
      case 'result':
        return `(r.ok() ? { ok: ${this.read(shape.ok)} } : { err: ${this.read(shape.err)} })`;
      case 'product':
      case 'sum':
        return `${this.link(type)}.read(r)`;
      default:
        return `r.${shape.kind}()`;
    }
  }
  write(type: AnyType, value: string): string {
    const { shape } = type;
    switch (shape.kind) {
      case 'array':
        return `w.array(${value}, (w, v) => ${this.write(shape.element, 'v')})`;
      case 'option':
        return `w.option(${value}, (w, v) => ${this.write(shape.element, 'v')})`;
      case 'result':
        return `w.result(${value}, (w, v) => ${this.write(shape.ok, 'v')}, (w, v) => ${this.write(shape.err, 'v')})`;
      case 'product':
      case 'sum':
        return `${this.link(type)}.write(w, ${value})`;
      default:
        return `w.${shape.kind}(${value})`;
    }
  }
}

// `__proto__: 1` in a literal would set the prototype; `["__proto__"]: 1` is a field like any other.
const keyOf = (name: string) => (name === '__proto__' ? '["__proto__"]' : JSON.stringify(name));

function productSource(source: Source, members: readonly Member[]): [string, string] {
  const fields = members.map(({ name, type }) => `${keyOf(name)}: ${source.read(type)}`);
  const writes = members.map(({ name, type }) => `${source.write(type, `v[${JSON.stringify(name)}]`)};`);
  return [`return { ${fields.join(', ')} };`, writes.join(' ')];
}

function sumSource(source: Source, name: string, members: readonly Member[]): [string, string] {
  const label = JSON.stringify(name);
  const reads = members.map(({ name, type }, tag) => {
    const value = type.shape.kind === 'unit' ? '' : `, value: ${source.read(type)}`;
    return `case ${tag}: return { tag: ${JSON.stringify(name)}${value} };`;
  });
  const writes = members.map(({ name, type }, tag) => {
    const value = type.shape.kind === 'unit' ? '' : ` ${source.write(type, 'v.value')};`;
    return `case ${JSON.stringify(name)}: w.u8(${tag});${value} return;`;
  });
  return [
    `const tag = r.u8(); switch (tag) { ${reads.join(' ')} } return r.badTag(tag, ${label});`,
    `switch (v.tag) { ${writes.join(' ')} } w.badTag(v, ${label});`,
  ];
}

function bodies(source: Source, shape: Shape): [string, string] {
  if (shape.kind === 'product') return productSource(source, shape.members());
  if (shape.kind === 'sum') return sumSource(source, shape.name ?? 'enum', shape.members());
  const type = { shape } as AnyType;
  return [`return ${source.read(type)};`, `${source.write(type, 'v')};`];
}

export function compileSource(shape: Shape): Codec<unknown> {
  const source = new Source();
  const [read, write] = bodies(source, shape);
  const make = new Function('links', `return { read(r) { ${read} }, write(w, v) { ${write} } };`);
  return make(source.links) as Codec<unknown>;
}

// ---- closures

function productClosures(members: readonly Member[], link: Link): Codec<any> {
  const names = members.map(member => member.name);
  const codecs = members.map(member => link(member.type));
  return {
    read(r: Reader) {
      const row: Record<string, unknown> = {};
      for (let i = 0; i < names.length; i++) {
        const value = codecs[i]!.read(r);
        if (names[i] === '__proto__') Object.defineProperty(row, '__proto__', { value, enumerable: true });
        else row[names[i]!] = value;
      }
      return row;
    },
    write(w: Writer, row: Record<string, unknown>) {
      for (let i = 0; i < names.length; i++) codecs[i]!.write(w, row[names[i]!]);
    },
  };
}

function sumClosures(name: string, members: readonly Member[], link: Link): Codec<any> {
  const codecs = members.map(member => (member.type.shape.kind === 'unit' ? undefined : link(member.type)));
  const tags = new Map(members.map((member, tag) => [member.name, tag]));
  return {
    read(r: Reader) {
      const tag = r.u8();
      const member = members[tag] ?? r.badTag(tag, name);
      const codec = codecs[tag];
      return codec ? { tag: member.name, value: codec.read(r) } : { tag: member.name };
    },
    write(w: Writer, value: { tag: string; value: unknown }) {
      const tag = tags.get(value.tag);
      if (tag === undefined) return w.badTag(value, name);
      w.u8(tag);
      codecs[tag]?.write(w, value.value);
    },
  };
}

export function compileClosures(shape: Shape): Codec<unknown> {
  const made = new Map<Shape, Codec<any>>();
  const link: Link = type => {
    const known = made.get(type.shape);
    if (known) return known;
    // Behind a name until it is made, because it may mention itself.
    let codec: Codec<any> | undefined;
    made.set(type.shape, { read: r => codec!.read(r), write: (w, value) => codec!.write(w, value) });
    codec = closures(type.shape, link);
    made.set(type.shape, codec);
    return codec;
  };
  return link({ shape } as AnyType);
}

function closures(shape: Shape, link: Link): Codec<any> {
  switch (shape.kind) {
    case 'array': {
      const element = link(shape.element);
      const read = (r: Reader) => element.read(r);
      const write = (w: Writer, value: unknown) => element.write(w, value);
      return { read: r => r.array(read), write: (w, list) => w.array(list, write) };
    }
    case 'option': {
      const element = link(shape.element);
      const write = (w: Writer, value: unknown) => element.write(w, value);
      return {
        read: r => (r.some() ? element.read(r) : undefined),
        write: (w, value) => w.option(value, write),
      };
    }
    case 'result': {
      const ok = link(shape.ok);
      const err = link(shape.err);
      return {
        read: r => (r.ok() ? { ok: ok.read(r) } : { err: err.read(r) }),
        write: (w, value) => w.result(value, (w, v) => ok.write(w, v), (w, v) => err.write(w, v)),
      };
    }
    case 'product':
      return productClosures(shape.members(), link);
    case 'sum':
      return sumClosures(shape.name ?? 'enum', shape.members(), link);
    default: {
      const { kind } = shape;
      return { read: r => r[kind](), write: (w, value) => w[kind](value as never) };
    }
  }
}
