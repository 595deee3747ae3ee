// cgen.h: what a C module declares, and the code that connects it with the library.
//
// PICTURE
//   sources ─ cgen_lex.c ─> tokens ─ cgen_parse.c ─> declarations with marks
//                                                      │ cgen_types.c: the types they reach
//                                                      │ cgen_module.c: tables and functions
//                                                      v
//                                                     Cgen ─┬─ cgen_def.c ────> definition (BSATN, V10)
//                                                           ├─ cgen_header.c ─> module.gen.h
//                                                           └─ cgen_code.c ───> module.gen.c
//                                                                └ cgen_table.c: a table's accessors
//
// The author's marks are documented in sdk/module-c/lightcone.h; why it is done this way in
// docs/internals/c-modules.md. Sources are not preprocessed: what is marked must be written out.
//
// ALWAYS TRUE
//   (1) The output depends on nothing but the sources and their order.
//   (2) Every error names a file and a line of the author, and all of them are reported at once.
//   (3) Memory is the process's (cli_arena); nothing is freed.
#pragma once
#include "cli/cli.h"
#include "sats/type.h"

typedef struct CgenSource {
    const char *path;  // as errors and #include print it
    Str text;
} CgenSource;

typedef enum TokenKind {
    TOKEN_WORD,
    TOKEN_NUMBER,
    TOKEN_TEXT,       // "…"
    TOKEN_PUNCT,      // one character
    TOKEN_DIRECTIVE,  // a whole line that begins with #
    TOKEN_END,        // of a file
} TokenKind;

typedef struct Token {
    TokenKind kind;
    Str text;
    const CgenSource *source;
    uint32_t line;
} Token;

// Some tokens in a row; `end` is behind the last.
typedef struct Tokens {
    const Token *at, *end;
} Tokens;

typedef enum CTypeKind {
    CTYPE_SCALAR,  // a type of lightcone.h that lightcone_gen.h can read and write
    CTYPE_STRUCT,
    CTYPE_SUM,  // struct { enum {…} tag; union {…}; }
    CTYPE_ENUM,
    CTYPE_ALIAS,
    CTYPE_OPTION,  // T *
    CTYPE_ARRAY,   // Array(T)
    CTYPE_RESULT,  // Result(T, E)
    CTYPE_QUERY,   // Query(T), of views
    CTYPE_VOID,    // of procedures
} CTypeKind;

typedef struct CType CType;
typedef struct Decl Decl;

typedef struct CField {  // a column, a variant, a constant, a parameter
    Str name;            // in the database
    Str member;          // in C: the member, or of an enum the constant
    CType *type;         // NULL: a variant without content
    Str constant;        // of a sum's variant: its tag
    const Token *at;
    // Marks of a column.
    bool is_primary, is_unique, is_auto_inc, is_indexed;
    Tokens default_value;  // at NULL: none
} CField;

struct CType {
    CTypeKind kind;
    const char *spelling;   // in C: "uint32_t", "Player", "Array(Player)", "String *"
    const char *codec;      // put_… and get_… have this behind them
    const Type *algebraic;  // of a scalar
    CType *target;          // of an alias, option, array or query; a result's T
    CType *error;           // a result's E
    CField *fields;
    uint32_t field_count;
    const Decl *decl;  // of what the author defined
    uint32_t ref;      // entry in the typespace, UINT32_MAX: none
    bool is_parsing, is_parsed, is_declared, is_defined;
    CType *next;  // in the order they were met
};

typedef struct Mark {
    const Token *name;
    Tokens arguments;  // between the parentheses; at NULL: there were none
} Mark;

typedef enum DeclKind { DECL_STRUCT, DECL_ENUM, DECL_ALIAS, DECL_FUNCTION, DECL_OTHER } DeclKind;

#define DECL_MARKS_MAX 16
struct Decl {
    DeclKind kind;
    Tokens all;                 // from behind the marks to the end
    Tokens body;                // of a struct or an enum: between the braces
    const Token *name;          // of a type; NULL when it has none
    const Token *typedef_name;  // NULL: no typedef
    Mark marks[DECL_MARKS_MAX];
    uint32_t mark_count;
    Decl *next;
};

typedef enum CIndexKind { CINDEX_BTREE, CINDEX_HASH, CINDEX_DIRECT } CIndexKind;

#define INDEX_COLUMNS_MAX 16
typedef struct CIndex {
    CIndexKind kind;
    bool is_unique;
    uint32_t columns[INDEX_COLUMNS_MAX];
    uint32_t column_count;
    const char *columns_name;  // "a_b_c"
    const char *source_name;   // "pair_a_b_c_idx_btree"
    struct CIndex *next;
} CIndex;

typedef struct CTable {
    Str name;
    CType *row;
    const Token *at;
    bool is_public, is_event;
    int32_t primary_key;  // column, or -1
    CIndex *indexes;
    const Token *scheduled;  // the function's name; NULL: not scheduled
    uint32_t schedule_column;
    struct CTable *next;
} CTable;

typedef enum CFunctionKind {
    CFUNCTION_REDUCER,
    CFUNCTION_VIEW,
    CFUNCTION_VIEW_ANON,
    CFUNCTION_PROCEDURE,
    CFUNCTION_HTTP,
} CFunctionKind;

typedef struct CRoute {
    int method;  // tag of HttpMethod, -1: any
    Str path;
    struct CRoute *next;
} CRoute;

typedef struct CFunction {
    CFunctionKind kind;
    Str name;
    uint32_t id;  // among those of its kind
    const Token *at;
    CType *returns;
    CField *params;  // without the context
    uint32_t param_count;
    int lifecycle;  // 0 init, 1 connect, 2 disconnect, -1: an ordinary function
    bool is_private;
    Str key;  // of a view: the column; ptr NULL: none
    CRoute *routes;
    struct CFunction *next;
} CFunction;

typedef struct Cgen {
    const CgenSource *sources;
    uint32_t source_count;
    Token *tokens;
    size_t token_count;
    Decl *decls;
    CType *types, **types_end;
    CTable *tables, **tables_end;
    CFunction *functions, **functions_end;
    Str *row_filters;
    uint32_t row_filter_count;
    CType **space;  // the typespace: types with a ref, in its order
    uint32_t space_count;
    Buf errors;  // one a line: "src/a.c:12: error: …"
    uint32_t error_count;
} Cgen;

// Read the sources. False: gen->errors says what is wrong with them.
bool cgen_read(Cgen *gen, const CgenSource *sources, uint32_t count);
// What was read, as the server will hear it; validated. False: gen->errors.
bool cgen_definition(Cgen *gen, Buf *out);
void cgen_header(const Cgen *gen, Buf *out);
void cgen_code(Cgen *gen, Bytes definition, Buf *out);

// ── between the files of the generator ─────────────────────────────────────────────────────────
void cgen_fail(Cgen *gen, const Token *at, const char *fmt, ...) PRINTF_LIKE(3, 4);
void *cgen_alloc(size_t bytes);  // zeroed
#define CGEN_NEW(T) ((T *)cgen_alloc(sizeof(T)))

void cgen_lex(Cgen *gen);
bool ctoken_is(const Token *token, const char *text);
bool ctokens_word(Tokens *in, const char *word);  // take it if it comes next
bool ctokens_punct(Tokens *in, char punct);       // take it if it comes next
// Take `open … close` with everything between; false when the next token is not `open`.
bool ctokens_group(Tokens *in, char open, char close, Tokens *inside);
// Take everything up to a comma outside parentheses, and the comma.
bool ctokens_item(Tokens *in, Tokens *item);
bool ctokens_string(const Token *token, Str *out);  // a literal's bytes; false when it is none

void cgen_parse(Cgen *gen);  // tokens into gen->decls
const Decl *cgen_find_decl(const Cgen *gen, Str name);

// Read a type; NULL after a report. `stars`: a * behind it makes it an option.
CType *ctype_read(Cgen *gen, Tokens *in, const char *what);
CType *ctype_strip(CType *type);  // behind its aliases
bool ctype_is(const CType *type, const char *spelling);
// The encoding of a use of the type in the definition.
void ctype_encode(Buf *out, const CType *type);
// The fewest bytes a value can have.
uint32_t ctype_bytes_min(const CType *type);
// A constant of the source as a value of the type.
bool ctype_encode_constant(Cgen *gen, CType *type, Tokens value, Buf *out);
const char *ctype_declare(const CType *type, const char *name);  // "String *name"
bool ctype_by_value(const CType *type);  // put_ and get_ of it take and give a value

void cgen_module(Cgen *gen);  // tables and functions
void cgen_table_prototypes(const CTable *table, Buf *out);
void cgen_table_code(const CTable *table, Buf *out);
