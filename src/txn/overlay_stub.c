#include "txn/overlay.h"
Err overlay_new(Db *db, const CommitInfo *info, const OverlayEnv *env, Overlay **out) { (void)db,(void)info,(void)env,(void)out; return ERR_UNSUPPORTED; }
void overlay_free(Overlay **overlay) { (void)overlay; }
Access *overlay_access(Overlay *overlay) { (void)overlay; return NULL; }
bool overlay_wrote(const Overlay *overlay) { (void)overlay; return false; }
size_t overlay_bytes(const Overlay *overlay) { (void)overlay; return 0; }
Err overlay_validate(Overlay *overlay) { (void)overlay; return OK; }
Err overlay_apply(Overlay *overlay, Diag *diag) { (void)overlay,(void)diag; return ERR_UNSUPPORTED; }
Err db_sequence_reserve(Db *db, uint32_t table_id, uint32_t sequence_id, uint32_t count, Int128 *first) { (void)db,(void)table_id,(void)sequence_id,(void)count,(void)first; return ERR_UNSUPPORTED; }
