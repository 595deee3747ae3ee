// bundle.h: from an ES module to a script, because JavaScriptCore loads no modules through its C
// interface.
#pragma once
#include "base/bytes.h"

// Append the script: one expression, a strict function
//
//   (import, using, dispose) => namespace object, exports in code-unit order of their names
//
// Lines keep their numbers. Imports may name only what `spacetime:sys@2.0` and `@2.1` export.
//   ERR_INVALID  the module cannot be loaded; diag has the text of module-abi §2.1 and diag->at
//   ERR_NOMEM
MUST_USE Err bundle_rewrite(Str source, Buf *script, Diag *diag);
