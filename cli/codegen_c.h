// codegen_c.h: what the generator for C clients (sdk/client-c) is made of.
//
// PICTURE
//   ModuleDef ──> NAME.h   structs of rows and types, functions of tables, reducers, procedures
//            └──> NAME.c   constants that describe them to lightcone_client.c, and one-line functions
//
// NAME stands in front of everything, as CamelCase in front of types: chat_user_first, ChatUser. Only
// types that a table, a reducer or a procedure uses are written. A name that is taken gets a `_`.
#pragma once
#include "cli/codegen_ts.h"

// A type that has a definition of its own in C. They are in the order in which they are first used.
typedef enum CNodeKind {
    CNODE_STRUCT,
    CNODE_ENUM,
    CNODE_SUM,
    CNODE_ARRAY,
    CNODE_RESULT,
    CNODE_OPTION
} CNodeKind;
typedef struct CNode {
    struct CNode *next;
    CNodeKind kind;
    const Type *type;
    const char *key;       // what finds it again
    const char *name;      // ChatUser; what a variable of it is declared with
    const char *constant;  // chat_user_type: its LcType
    bool is_public;        // the constant is in the header
    int visited;           // while they are put in order
} CNode;

typedef struct CNames {
    const char *name;
    struct CNames *next;
} CNames;

typedef struct CGenerated {
    const TsModule *module;
    const char *prefix;  // chat
    const char *pascal;  // Chat
    CNode *nodes, **nodes_end;
    CNames *taken;
    Buf header, source;
} CGenerated;

// `name`, or with `_` behind it until nobody else has it.
const char *cc_unique(CGenerated *gen, const char *name);
const char *cc_upper(const char *name);
const char *cc_item(Str name);    // lib.fruit as lib_fruit
const char *cc_member(Str name);  // a column or parameter that is no word of C
const char *cc_pascal(const CGenerated *gen, const char *snake);

// As C spells it, and the address of its LcType as an expression. Both make the nodes they need.
const char *cc_type(CGenerated *gen, const Type *type);
const char *cc_constant(CGenerated *gen, const Type *type);
// The struct of a row that the module has given no name.
void cc_type_named(CGenerated *gen, const Type *type, const char *name);

// Everything in gen->nodes.
void cc_types_header(CGenerated *gen);
void cc_types_source(CGenerated *gen);
// `static const LcField … ` and the LcType of a product; what `struct_name` is laid out like.
void cc_product_constants(CGenerated *gen,
                          const char *struct_name,
                          const char *constant,
                          const Type *type,
                          bool is_public);
void cc_members(CGenerated *gen, Buf *out, const Type *type);
