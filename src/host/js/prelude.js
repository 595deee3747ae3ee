// prelude.js: the JavaScript half of the module host. Evaluated once in every instance before the
// module; syscalls.c is the C half.
//
// PICTURE
//   module code ── sys.datastore_insert_bsatn(table, row, len)          (the functions below)
//        │  arguments are checked here and written into the mailbox, the row's bytes into `io`
//        ▼
//   trap() ── one native call without arguments or result ──> syscalls.c reads the mailbox,
//        │    works on the Access, writes status and results into the mailbox and `io`
//        ▼
//   errors become the module's own classes, bytes are copied into the module's ArrayBuffer
//
// A function of the C interface costs about 160 ns a call (it gives up and retakes its lock), every
// argument or handle another 70 ns, and a compiled loop over typed arrays next to nothing. Hence
// the mailbox, hence a scan brings its first rows along, so that the `advance` that follows it
// is not a native call at all, and hence trap() is none of the C interface's functions where that can
// be had (direct.c: 45 ns).
//
// ALWAYS TRUE
//   (1) Built-ins are captured before the module runs, so that it may change them. What is called
//       often is called as `f.call(…)`, which the compiler turns into the bare operation; a module
//       that replaces Function.prototype.call (or charCodeAt) confuses itself, and gets to see
//       `io` at most, never the mailbox.
//   (2) The C half believes nothing: a number from the mailbox is checked like one from the wire.
(function (trap, text, native, words, bytes64, scanBuffer, argsBuffer, ioBuffer) {
'use strict';

// ---- captured before the module can touch them (1)
const { apply, getPrototypeOf } = Reflect;
const { freeze, defineProperty } = Object;
const { bind } = Function.prototype;
const functionHasInstance = Function.prototype[Symbol.hasInstance];
const $Array = Array, $ArrayBuffer = ArrayBuffer, $DataView = DataView, $String = String;
const $Uint8Array = Uint8Array, $Int32Array = Int32Array;
const $Error = Error, $TypeError = TypeError, $RangeError = RangeError;
const { asUintN } = BigInt;
const { isView } = ArrayBuffer;
const { fromCharCode } = String;
const { toLowerCase, trim } = String.prototype;
const typedArray = getPrototypeOf(Uint8Array.prototype);
const { set: typedSet } = typedArray;
const getter = (object, name) => Reflect.getOwnPropertyDescriptor(object, name).get;
const typedTag = getter(typedArray, Symbol.toStringTag);
const typedLength = getter(typedArray, 'length');
const typedBuffer = getter(typedArray, 'buffer');
const typedByteOffset = getter(typedArray, 'byteOffset');
const typedByteLength = getter(typedArray, 'byteLength');
const viewBuffer = getter(DataView.prototype, 'buffer');
const viewByteOffset = getter(DataView.prototype, 'byteOffset');
const viewByteLength = getter(DataView.prototype, 'byteLength');
const bufferByteLength = getter(ArrayBuffer.prototype, 'byteLength');

// ---- the mailbox: its layout is the enum in syscalls.h
const m = new Uint32Array(words);
const m64 = new BigUint64Array(bytes64);
const time64 = new BigInt64Array(bytes64);
const scanWords = new Int32Array(scanBuffer);
const scanBytes = new Uint8Array(scanBuffer);
let ioWords = new Int32Array(ioBuffer);
let ioBytes = new Uint8Array(ioBuffer);

const OP = 0, STATUS = 1, A0 = 2, A1 = 3, A2 = 4, A3 = 5, A4 = 6, A5 = 7, RESULT = 10;
const PENDING = 11, CONSUMED = 12;
const KIND = 16, ID = 17, SENDER = 18, SENDER_NEW = 19, CONN = 20, CONN_NEW = 21, ARGS_LEN = 22;
const W_TIME = 0, W_SENDER = 1, W_CONN = 5, W_RESULT = 7, W_DATABASE = 8, W_ARG = 12;

const OP_STEP = 1, OP_ROW_COUNT = 2, OP_SCAN_TABLE = 3, OP_SCAN_POINT = 4, OP_SCAN_RANGE = 5;
const OP_ADVANCE = 6, OP_CLOSE = 7, OP_INSERT = 8, OP_UPDATE = 9, OP_DELETE_POINT = 10;
const OP_DELETE_RANGE = 11, OP_DELETE_EQ = 12, OP_CLEAR = 13, OP_TIMER_END = 14, OP_JWT = 15;
const OP_START_TX = 16, OP_COMMIT_TX = 17, OP_ABORT_TX = 18, OP_ABANDON = 19;

const TEXT_TABLE_ID = 1, TEXT_INDEX_ID = 2, TEXT_LOG = 3, TEXT_TIMER_START = 4;
const TEXT_SCHEDULE = 5, TEXT_FAIL = 6, TEXT_STACK = 7, TEXT_ENCODE = 8;

const NATIVE_GROW = 1, NATIVE_ARGS = 2, NATIVE_ERROR_TEXT = 3, NATIVE_DECODE = 4;
const NATIVE_BODY = 5, NATIVE_HTTP = 6;

const ERRNO_BUFFER_TOO_SMALL = 11, STATUS_INIT = 0xfffe, STATUS_FATAL = 0xffff;
const NO_PENDING = 0xffffffff;
const ARGS_SHARED_BYTES = 4096, SLOTS = 1024;

// ---- bytes in and out

// A native call that answers with a value.
function value(op, argument) {
    m[OP] = op;
    m[A0] = argument;
    return native();
}

let io = ioBuffer;
function ioAdopt(buffer) {
    if (buffer === io) return;
    io = buffer;
    ioWords = new $Int32Array(buffer);
    ioBytes = new $Uint8Array(buffer);
}
const ioGrow = len => ioAdopt(value(NATIVE_GROW, len));

// The module hands the same one or two ArrayBuffers in again and again; views on them are kept.
// A view on a detached buffer has length 0, so a stale one reads and writes nothing.
let bufA = null, wordsA = null, bytesA = null;
let bufB = null, wordsB = null, bytesB = null;

function adopt(buffer) {  // make `buffer` the A of the pair
    if (buffer === bufB) {
        const b = bufA, w = wordsA, y = bytesA;
        bufA = bufB; wordsA = wordsB; bytesA = bytesB;
        bufB = b; wordsB = w; bytesB = y;
        return;
    }
    let len;
    try {
        len = bufferByteLength.call(buffer);
    } catch {
        throw wrongType('ArrayBuffer', buffer);
    }
    let bytes, aligned;
    try {
        bytes = new $Uint8Array(buffer);
        aligned = (len & 3) === 0 ? new $Int32Array(buffer) : null;
    } catch {
        throw outOfBounds();  // detached
    }
    bufB = bufA; wordsB = wordsA; bytesB = bytesA;
    bufA = buffer; wordsA = aligned; bytesA = bytes;
}

// buffer[0..len] -> io[0..len]
function copyIn(buffer, len) {
    if (buffer !== bufA) adopt(buffer);
    if (len > bytesA.length) throw outOfBounds();
    if (len > ioBytes.length) ioGrow(len);
    if (len <= 512 && wordsA !== null) {
        const from = wordsA, to = ioWords, n = (len + 3) >> 2;
        for (let i = 0; i < n; i++) to[i] = from[i];
    } else {
        typedSet.call(ioBytes, new $Uint8Array(buffer, 0, len));
    }
}

// io or scan [0..len] -> buffer[0..len]; exactly len bytes change
function copyOut(fromWords, fromBytes, fromBuffer, buffer, len) {
    if (buffer !== bufA) adopt(buffer);
    if (len <= 512 && wordsA !== null) {
        const to = wordsA, n = len >> 2;
        for (let i = 0; i < n; i++) to[i] = fromWords[i];
        const rest = bytesA;
        for (let i = n << 2; i < len; i++) rest[i] = fromBytes[i];
    } else {
        typedSet.call(bytesA, new $Uint8Array(fromBuffer, 0, len));
    }
}

function isUint8Array(value) {
    return typeof value === 'object' && value !== null && isView(value) &&
        typedTag.call(value) === 'Uint8Array';
}

function uint8In(value, at) {  // a Uint8Array -> io[at..]; returns its length
    const len = typedLength.call(value);
    if (at + len > ioBytes.length) ioGrow(at + len);
    if (len <= 128) {
        const to = ioBytes;
        for (let i = 0; i < len; i++) to[at + i] = value[i];
    } else {
        typedSet.call(ioBytes, value, at);
    }
    return len;
}

// A copy, as a Uint8Array. (Not by slice() or subarray(): they ask the module for a constructor.)
function copyOf(buffer, from, len) {
    const out = new $Uint8Array(len);
    typedSet.call(out, new $Uint8Array(buffer, from, len));
    return out;
}
const uint8Out = len => copyOf(io, 0, len);

function pairIn(first, second) {  // two Uint8Arrays -> io, one after the other
    const len = typedLength.call(first) + typedLength.call(second);
    if (len > ioBytes.length) ioGrow(len);
    uint8In(second, uint8In(first, 0));
    return len;
}

// ---- errors

let errorConstructor = null;  // hooks.__get_error_constructor__, bound

function kindOf(value) {
    if (value === null) return 'null';
    if ($Array.isArray(value)) return 'array';
    return typeof value;
}
const wrongType = (expected, value) => new $TypeError(`Expected ${expected}, got ${kindOf(value)}`);
const outOfBounds = () => new $RangeError('length argument was out of bounds for `ArrayBuffer`');

function abiError(errno, message) {
    if (errorConstructor === null) return new $Error(message);
    return new (errorConstructor(errno))(message);
}

function failure() {  // what to throw for the status in the mailbox
    const status = m[STATUS];
    if (status === STATUS_INIT) {
        return abiError(1, 'cannot call this function during module initialization');
    }
    if (status === STATUS_FATAL) return abandon();
    return abiError(status, value(NATIVE_ERROR_TEXT, status));
}

// The call is lost. Where the engine can be told so, no code of the module runs any more; elsewhere
// it may catch the error, but nothing it does will be kept.
function abandon() {
    text(TEXT_STACK, callStack());
    m[OP] = OP_ABANDON;
    trap();
    if (m[RESULT] !== 0) for (;;) ;
    return new $Error('the server could not carry out this call');
}

function call(op) {
    m[OP] = op;
    trap();
    if (m[STATUS] !== 0) throw failure();
}

// ---- argument checks

function badInteger(value, type, min, max) {
    if (typeof value !== 'number') return wrongType(type, value);
    if (value > max) return new $RangeError(`Value overflowed \`${type}\``);
    if (value < min) return new $RangeError(`Value underflowed \`${type}\``);
    return new $TypeError(`Expected ${type}, got ${value}`);
}
function u32(value) {
    if (typeof value !== 'number' || value >>> 0 !== value) {
        throw badInteger(value, 'u32', 0, 0xffffffff);
    }
    return value;
}
function u8(value) {
    if (typeof value !== 'number' || (value & 0xff) !== value) {
        throw badInteger(value, 'u8', 0, 0xff);
    }
    return value;
}
function string(value) {
    if (typeof value !== 'string') throw wrongType('string', value);
    return value;
}

// ---- iterators
// pendingIter is the iterator whose rows, all of them, still lie in scanBytes. Consuming it here is
// told to the C half with the next trap (CONSUMED), before that can hand the id out again.

let pendingIter = 0, pendingLen = 0;

function scan(op) {
    m[OP] = op;
    trap();
    if (m[STATUS] !== 0) throw failure();
    const iter = m[RESULT], pending = m[PENDING];
    if (pending !== NO_PENDING) {
        pendingIter = iter;
        pendingLen = pending;
    } else {
        pendingIter = 0;
    }
    return iter;
}

function trapAdvance(iter, room) {
    m[OP] = OP_ADVANCE;
    m[A0] = iter;
    m[A1] = room;
    trap();
}

function advanceNative(iter, buffer) {
    if (buffer !== bufA) adopt(buffer);
    const room = bytesA.length;
    trapAdvance(iter, room);
    if (m[STATUS] === ERRNO_BUFFER_TOO_SMALL) {
        const need = m[RESULT];
        if (need > room) throw freeze({ __buffer_too_small__: need });
        ioGrow(need);  // large enough for the module's buffer, not for ours: once more
        trapAdvance(iter, room);
    }
    if (m[STATUS] !== 0) throw failure();
    const len = m[RESULT];
    copyOut(ioWords, ioBytes, io, buffer, len);
    return m[PENDING] !== 0 ? -len : len;
}

// ---- what `spacetime:sys@2.0` exports

function rangeIn(index, buffer, prefixLen, prefixElems, rstartLen, rendLen) {
    u32(index); u32(prefixLen); u32(prefixElems); u32(rstartLen); u32(rendLen);
    copyIn(buffer, prefixLen + rstartLen + rendLen);
    m[A0] = index;
    m[A1] = prefixLen;
    m[A2] = prefixElems;
    m[A3] = rstartLen;
    m[A4] = rendLen;
}

const $database = () => m64[W_DATABASE] | m64[W_DATABASE + 1] << 64n |
    m64[W_DATABASE + 2] << 128n | m64[W_DATABASE + 3] << 192n;
const databaseIdentity = $database();
const moduleHooks = Symbol('SpacetimeDB.moduleHooks.v2');

const sys20 = {
    __proto__: null,
    moduleHooks,
    table_id_from_name(name) {
        text(TEXT_TABLE_ID, string(name));
        if (m[STATUS] !== 0) throw failure();
        return m[RESULT];
    },
    index_id_from_name(name) {
        text(TEXT_INDEX_ID, string(name));
        if (m[STATUS] !== 0) throw failure();
        return m[RESULT];
    },
    datastore_table_row_count(table) {
        m[A0] = u32(table);
        call(OP_ROW_COUNT);
        return m64[W_RESULT];
    },
    datastore_table_scan_bsatn(table) {
        m[A0] = u32(table);
        return scan(OP_SCAN_TABLE);
    },
    datastore_index_scan_range_bsatn(index, buffer, prefixLen, prefixElems, rstartLen, rendLen) {
        rangeIn(index, buffer, prefixLen, prefixElems, rstartLen, rendLen);
        return scan(OP_SCAN_RANGE);
    },
    row_iter_bsatn_advance(iter, buffer) {
        u32(iter);
        if (iter !== pendingIter || iter === 0) return advanceNative(iter, buffer);
        if (buffer !== bufA) adopt(buffer);
        const len = pendingLen;
        if (len > bytesA.length) throw freeze({ __buffer_too_small__: len });
        copyOut(scanWords, scanBytes, scanBuffer, buffer, len);
        pendingIter = 0;
        m[CONSUMED] = iter;
        return len === 0 ? 0 : -len;
    },
    row_iter_bsatn_close(iter) {
        m[A0] = u32(iter);
        if (iter === pendingIter) pendingIter = 0;
        call(OP_CLOSE);
    },
    datastore_insert_bsatn(table, row, rowLen) {
        u32(table); u32(rowLen);
        copyIn(row, rowLen);
        m[A0] = table;
        m[A1] = rowLen;
        call(OP_INSERT);
        const len = m[RESULT];
        if (len !== 0) copyOut(ioWords, ioBytes, io, row, len);
        return len;
    },
    datastore_update_bsatn(table, index, row, rowLen) {
        u32(table); u32(index); u32(rowLen);
        copyIn(row, rowLen);
        m[A0] = table;
        m[A1] = rowLen;
        m[A2] = index;
        call(OP_UPDATE);
        const len = m[RESULT];
        if (len !== 0) copyOut(ioWords, ioBytes, io, row, len);
        return len;
    },
    datastore_delete_by_index_scan_range_bsatn(
        index, buffer, prefixLen, prefixElems, rstartLen, rendLen) {
        rangeIn(index, buffer, prefixLen, prefixElems, rstartLen, rendLen);
        call(OP_DELETE_RANGE);
        return m[RESULT];
    },
    datastore_delete_all_by_eq_bsatn(table, relation, len) {
        u32(table); u32(len);
        copyIn(relation, len);
        m[A0] = table;
        m[A1] = len;
        call(OP_DELETE_EQ);
        return m[RESULT];
    },
    volatile_nonatomic_schedule_immediate(name, args) {
        string(name);
        if (!isUint8Array(args)) throw wrongType('Uint8Array', args);
        m[A0] = uint8In(args, 0);
        text(TEXT_SCHEDULE, name);
        if (m[STATUS] !== 0) throw failure();
    },
    console_log(level, message) {
        u8(level);
        string(message);
        m[A0] = level;
        text(TEXT_LOG, message, callStack());
    },
    console_timer_start(name) {
        text(TEXT_TIMER_START, string(name));
        if (m[STATUS] !== 0) throw failure();
        return m[RESULT];
    },
    console_timer_end(timer) {
        m[A0] = u32(timer);
        call(OP_TIMER_END);
    },
    identity() {
        return databaseIdentity;
    },
    get_jwt_payload(connection) {
        if (typeof connection !== 'bigint') throw wrongType('bigint', connection);
        if (connection < 0n) throw new $RangeError('Value underflowed `u128`');
        if (asUintN(128, connection) !== connection) {
            throw new $RangeError('Value overflowed `u128`');
        }
        m64[W_ARG] = asUintN(64, connection);
        m64[W_ARG + 1] = connection >> 64n;
        call(OP_JWT);
        return uint8Out(m[RESULT]);
    },
    procedure_http_request(request, body) {
        if (!isUint8Array(request)) throw wrongType('Uint8Array', request);
        if (typeof body !== 'string' && !isUint8Array(body)) {
            throw wrongType('Uint8Array or string', body);
        }
        const bytes = typeof body === 'string' ? utf8(body) : body;
        const requestLen = typedLength.call(request);
        m[A1] = pairIn(request, bytes) - requestLen;
        ioAdopt(value(NATIVE_HTTP, requestLen));
        if (m[STATUS] !== 0) throw failure();
        const len = m[RESULT];
        return [uint8Out(len), copyOf(io, len, m[PENDING])];
    },
    procedure_start_mut_tx() {
        call(OP_START_TX);
        return m64[W_RESULT];
    },
    procedure_commit_mut_tx() {
        call(OP_COMMIT_TX);
    },
    procedure_abort_mut_tx() {
        call(OP_ABORT_TX);
    },
    datastore_index_scan_point_bsatn(index, point, len) {
        u32(index); u32(len);
        copyIn(point, len);
        m[A0] = index;
        m[A1] = len;
        return scan(OP_SCAN_POINT);
    },
    datastore_delete_by_index_scan_point_bsatn(index, point, len) {
        u32(index); u32(len);
        copyIn(point, len);
        m[A0] = index;
        m[A1] = len;
        call(OP_DELETE_POINT);
        return m[RESULT];
    },
};
freeze(sys20);

const sys21 = {
    __proto__: null,
    datastore_clear(table) {
        m[A0] = u32(table);
        call(OP_CLEAR);
        return m64[W_RESULT];
    },
};
freeze(sys21);

// bundle.c has refused every other specifier and the names these two lack.
const importModule = specifier => specifier === 'spacetime:sys@2.0' ? sys20 : sys21;

// ---- stacks

function stackOf(error) {  // the engine's text: one `function@file:line:column` a line, or ''
    try {
        const stack = error.stack;
        return typeof stack === 'string' ? stack : '';
    } catch {
        return '';
    }
}
const callStack = () => stackOf(new $Error());

// ---- globals (module-abi §2.6)

const UTF8_LABELS = { __proto__: null, 'utf-8': 1, utf8: 1, 'unicode-1-1-utf-8': 1 };

function utf8(s) {  // -> a Uint8Array
    const n = s.length;
    if (n <= 256) {
        const out = new $Uint8Array(n);
        let i = 0;
        for (; i < n; i++) {
            const c = s.charCodeAt(i);
            if (c > 0x7f) break;
            out[i] = c;
        }
        if (i === n) return out;
    }
    ioAdopt(text(TEXT_ENCODE, s));
    if (m[STATUS] !== 0) throw new $RangeError('Out of memory');
    return uint8Out(m[RESULT]);
}

class TextEncoder {
    get encoding() {
        return 'utf-8';
    }
    encode(input = '') {
        return utf8(typeof input === 'string' ? input : $String(input));
    }
}

function checkLabel(label) {
    const name = apply(toLowerCase, apply(trim, $String(label), []), []);
    if (!UTF8_LABELS[name]) throw new $RangeError(`The encoding "${label}" is not supported`);
}

// Not a class field: the engine never frees the name of one (docs/internals/performance.md, "Memory over hours").
const isFatal = Symbol('fatal');

function fatalOf(decoder) {
    const fatal = decoder[isFatal];
    if (fatal === undefined) throw wrongType('TextDecoder', decoder);
    return fatal;
}

class TextDecoder {
    constructor(label, options) {
        if (label !== undefined && label !== 'utf-8') checkLabel(label);
        const given = options !== undefined && options !== null;
        if (given && options.ignoreBOM) throw new $TypeError('ignoreBOM is not supported');
        defineProperty(this, isFatal, { value: given && !!options.fatal });
    }
    get encoding() {
        return 'utf-8';
    }
    get fatal() {
        return fatalOf(this);
    }
    get ignoreBOM() {
        return false;
    }
    decode(input, options) {
        const fatal = fatalOf(this);
        if (options != null && options.stream) throw new $TypeError('stream is not supported');
        if (input === undefined) return '';
        let bytes = input;
        if (!isUint8Array(input)) {
            if (isView(input)) {
                const data = apply(typedTag, input, []) === undefined;
                bytes = new $Uint8Array(
                    apply(data ? viewBuffer : typedBuffer, input, []),
                    apply(data ? viewByteOffset : typedByteOffset, input, []),
                    apply(data ? viewByteLength : typedByteLength, input, []));
            } else {
                try {
                    apply(bufferByteLength, input, []);
                } catch {
                    throw wrongType('ArrayBuffer or view', input);
                }
                bytes = new $Uint8Array(input);
            }
        }
        const n = typedLength.call(bytes);
        if (n <= 24) {
            let s = '', i = 0;
            for (; i < n; i++) {
                const c = bytes[i];
                if (c > 0x7f) break;
                s += fromCharCode(c);
            }
            if (i === n) return s;
        }
        m[A1] = fatal ? 1 : 0;
        const s = value(NATIVE_DECODE, uint8In(bytes, 0));
        if (s === undefined) throw new $TypeError('The encoded data was not valid utf-8');
        return s;
    }
}

function define(object, name, value) {
    defineProperty(object, name, { value, writable: true, enumerable: false, configurable: true });
}

define(globalThis, 'TextEncoder', TextEncoder);
define(globalThis, 'TextDecoder', TextDecoder);
defineProperty(Math, 'random', {
    get() {
        throw new $TypeError(
            'Math.random is not available in SpacetimeDB modules. Use ctx.random instead.');
    },
    enumerable: false,
    configurable: true,
});
for (const name of ['dispose', 'asyncDispose']) {
    if (!(name in Symbol)) {
        defineProperty(Symbol, name, {
            value: Symbol(`Symbol.${name}`), writable: false, enumerable: false, configurable: false,
        });
    }
}
// The library brings its own console; the others would reach the world or block the thread.
for (const name of ['console', 'WebAssembly', 'SharedArrayBuffer', 'Atomics']) {
    delete globalThis[name];
}
const dispose = Symbol.dispose;
// What bundle.c lowers `using x = e` to.
const using = value => {
    if (value !== null && value !== undefined && typeof value[dispose] !== 'function') {
        throw new $TypeError('the value of a `using` declaration has no [Symbol.dispose] method');
    }
    return value;
};
const disposeOf = value => {
    if (value !== null && value !== undefined) value[dispose]();
};

// ---- loading: §2.2. Returns how many bytes of description lie in io.

let hooks = null, senderError = null;
let callReducer = null, callView = null, callViewAnon = null, callProcedure = null, callHttp = null;

function hook(name, optional) {
    const f = hooks[name];
    if (f === undefined && optional) return null;
    if (typeof f !== 'function') {
        throw new $TypeError(`module hook \`${name}\` is ${f === undefined ? 'missing' : 'not a function'}`);
    }
    return f;
}
const bound = f => f === null ? null : apply(bind, f, [hooks]);

function load(program, wantDescription) {
    const exported = program(importModule, using, disposeOf);
    const schema = exported.default;
    if (schema === null || schema === undefined) {
        throw new $TypeError('must export schema as default export');
    }
    if (typeof schema !== 'object') throw new $TypeError('default export is not a Schema object');
    const get = schema[moduleHooks];
    if (typeof get !== 'function') throw new $TypeError('default export is not a Schema object');
    hooks = apply(get, schema, [exported]);
    if (hooks === null || typeof hooks !== 'object') {
        throw new $TypeError('module hooks are not an object');
    }
    const describe = bound(hook('__describe_module__'));
    errorConstructor = bound(hook('__get_error_constructor__'));
    senderError = hook('__sender_error_class__');
    callReducer = bound(hook('__call_reducer__'));
    callView = bound(hook('__call_view__'));
    callViewAnon = bound(hook('__call_view_anon__'));
    callProcedure = bound(hook('__call_procedure__'));
    callHttp = bound(hook('__call_http_handler__', true));
    if (!wantDescription) return 0;
    const description = describe();
    if (!isUint8Array(description)) throw wrongType('Uint8Array', description);
    return uint8In(description, 0);
}

// ---- calls: the driver takes one after another until the source is empty

// Bigints by the slot that the C half keeps for an identity or a connection.
const senders = apply($Array.prototype.fill, new $Array(SLOTS), [0n]);
const connections = apply($Array.prototype.fill, new $Array(SLOTS), [0n]);
let argsView = new $DataView(argsBuffer, 0, 0), argsLen = 0;

function sender() {
    const slot = m[SENDER];
    if (m[SENDER_NEW] !== 0) {
        senders[slot] = m64[W_SENDER] | m64[W_SENDER + 1] << 64n | m64[W_SENDER + 2] << 128n |
            m64[W_SENDER + 3] << 192n;
    }
    return senders[slot];
}
function connection() {
    const slot = m[CONN];
    if (m[CONN_NEW] !== 0) connections[slot] = m64[W_CONN] | m64[W_CONN + 1] << 64n;
    return connections[slot];
}
function args() {  // a DataView of the arguments; valid until the next call
    const len = m[ARGS_LEN];
    if (len > ARGS_SHARED_BYTES) return new $DataView(value(NATIVE_ARGS, len));
    if (len !== argsLen) {
        argsView = new $DataView(argsBuffer, 0, len);
        argsLen = len;
    }
    return argsView;
}
function argsBytes() {
    return copyOf(viewBuffer.call(args()), 0, m[ARGS_LEN]);
}

const KIND_NONE = 0, KIND_REDUCER = 1, KIND_VIEW = 2, KIND_VIEW_ANON = 3, KIND_PROCEDURE = 4;
const KIND_HTTP = 5;
const OUTCOME_OK = 0, OUTCOME_USER = 1, OUTCOME_FATAL = 2, OUTCOME_NONE = 3;

function viewResult(value) {  // -> io, always with the header (§1.13)
    if (isUint8Array(value)) {  // an old library's bare array of rows
        const len = uint8In(value, 1);
        ioBytes[0] = 0;
        return 1 + len;
    }
    if (value === null || typeof value !== 'object') throw wrongType('object', value);
    const data = value.data;
    if (!isUint8Array(data)) throw wrongType('Uint8Array', data);
    const len = uint8In(data, 0);
    if (len < 5) throw new $TypeError('the result of a view has a header and then its rows or SQL');
    return len;
}
function bytesResult(value) {
    if (!isUint8Array(value)) throw wrongType('Uint8Array', value);
    return uint8In(value, 0);
}

function httpResult(value) {
    const two = $Array.isArray(value) && value.length === 2;
    const response = two ? value[0] : null, body = two ? value[1] : null;
    if (!isUint8Array(response) || !isUint8Array(body)) {
        throw wrongType('an array of two Uint8Arrays', value);
    }
    m[A2] = typedLength.call(response);
    return pairIn(response, body);
}

function otherCall(kind) {
    switch (kind) {
    case KIND_VIEW: return viewResult(callView(m[ID], sender(), argsBytes()));
    case KIND_VIEW_ANON: return viewResult(callViewAnon(m[ID], argsBytes()));
    case KIND_PROCEDURE:
        return bytesResult(callProcedure(m[ID], sender(), connection(), time64[W_TIME], argsBytes()));
    case KIND_HTTP:
        if (callHttp === null) {
            throw new $TypeError('the module hook `__call_http_handler__` is not a function');
        }
        return httpResult(
            callHttp(m[ID], time64[W_TIME], argsBytes(), new $Uint8Array(value(NATIVE_BODY, 0))));
    }
    return 0;
}

function isSenderError(error) {
    return typeof error === 'object' && error !== null &&
        apply(functionHasInstance, senderError, [error]);
}
// Tell the C half about an exception. Its getters and toString are module code and may throw.
function failed(error, kind) {
    let outcome = OUTCOME_FATAL, message = 'an exception whose text cannot be read';
    try {
        if (kind <= KIND_VIEW_ANON && isSenderError(error)) {
            message = $String(error.message);
            outcome = OUTCOME_USER;
        } else {
            message = $String(error);
        }
    } catch {}
    if (outcome === OUTCOME_FATAL) {
        const object = typeof error === 'object' && error !== null;
        text(TEXT_STACK, object ? stackOf(error) : '');
    }
    text(TEXT_FAIL, message);
    return outcome;
}

function run() {
    let outcome = OUTCOME_NONE, length = 0;
    for (;;) {
        m[OP] = OP_STEP;
        m[A0] = outcome;
        m[A1] = length;
        trap();
        const kind = m[KIND];
        if (kind === KIND_NONE) return;
        pendingIter = 0;
        outcome = OUTCOME_OK;
        length = 0;
        try {
            if (kind === KIND_REDUCER) {
                const value = callReducer(m[ID], sender(), connection(), time64[W_TIME], args());
                if (value !== undefined) {
                    throw new $TypeError('Reducer returned a value other than `undefined`');
                }
            } else {
                length = otherCall(kind);
            }
        } catch (error) {
            outcome = failed(error, kind);
        }
    }
}

// An exception of load() as text for a person.
function explain(error) {
    let message = 'an exception whose text cannot be read';
    try {
        message = $String(error);
    } catch {}
    const object = typeof error === 'object' && error !== null;
    text(TEXT_STACK, object ? stackOf(error) : '');
    text(TEXT_FAIL, message);
}

return { load, run, explain };
})
