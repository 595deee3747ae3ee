// keys.c: the server's key pair: P-256, private in PKCS#8 PEM, public in SPKI PEM.
//
// Made at first start, when neither file is there. One file without the other is a mistake that
// only a person can mend: making a new pair would silently end every token that was ever issued.
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "auth/jws.h"

enum { KEY_FILE_BYTES_MAX = 64 * 1024 };

typedef struct KeyPaths {
    char private_path[IO_PATH_MAX];
    char public_path[IO_PATH_MAX];
} KeyPaths;

static Err path_copy(char out[IO_PATH_MAX], const char *path) {
    size_t len = strlen(path);
    if (len >= IO_PATH_MAX) return ERR_TOO_LARGE;
    memcpy(out, path, len + 1);
    return OK;
}

static Err paths_resolve(const AuthOptions *options, KeyPaths *out) {
    if (options->private_path) {
        Err err = path_copy(out->private_path, options->private_path);
        return err == OK ? path_copy(out->public_path, options->public_path) : err;
    }
    Err err = path_join(out->private_path, options->key_dir, "id_ecdsa");
    return err == OK ? path_join(out->public_path, options->key_dir, "id_ecdsa.pub") : err;
}

// A protected key would make OpenSSL ask on the terminal; a server has nobody there.
static int no_password(char *buf, int size, int writing, void *ctx) {
    (void)buf, (void)size, (void)writing, (void)ctx;
    return -1;
}

static bool is_p256(const EVP_PKEY *key) {
    char group[32] = "";
    size_t len;
    if (!EVP_PKEY_is_a(key, "EC")) return false;
    return EVP_PKEY_get_group_name(key, group, sizeof group, &len) == 1 &&
           (strcmp(group, "prime256v1") == 0 || strcmp(group, "P-256") == 0);
}

static EVP_PKEY *pem_read(Bytes pem, bool is_private) {
    BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    if (!bio) return NULL;
    EVP_PKEY *key = is_private ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL)
                               : PEM_read_bio_PUBKEY(bio, NULL, no_password, NULL);
    BIO_free(bio);
    if (key && !is_p256(key)) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    ERR_clear_error();  // our caller says it in its own words
    return key;
}

static bool pem_write(EVP_PKEY *key, bool is_private, Buf *out) {
    BIO *bio = BIO_new(BIO_s_mem());
    if (!bio) return false;
    int ok = is_private ? PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)
                        : PEM_write_bio_PUBKEY(bio, key);
    char *text = NULL;
    long len = BIO_get_mem_data(bio, &text);
    if (ok == 1 && len > 0) buf_put(out, text, (size_t)len);
    BIO_free(bio);
    return ok == 1 && len > 0 && buf_ok(out);
}

static Err pair_write(const Io *io, const KeyPaths *paths, Bytes private_pem, Bytes public_pem) {
    Err err = io_replace_file(io, paths->private_path, private_pem, true);
    return err == OK ? io_replace_file(io, paths->public_path, public_pem, false) : err;
}

static Err pair_make(const AuthOptions *options, const KeyPaths *paths, Diag *diag) {
    const Io *io = options->io;
    Buf private_pem = {0}, public_pem = {0};
    EVP_PKEY *key = EVP_EC_gen("P-256");
    Err err = OK;
    if (!key || !pem_write(key, true, &private_pem) || !pem_write(key, false, &public_pem)) {
        err = diag_fail(diag, ERR_NOMEM, "cannot make a key pair for tokens");
        goto done;
    }
    if (!options->private_path) err = io->dir_make(io->world, options->key_dir);
    if (err == OK) err = pair_write(io, paths, buf_bytes(&private_pem), buf_bytes(&public_pem));
    if (err != OK) {
        diag_fail(diag, err, "cannot write the keys to %s: %s", paths->private_path, err_text(err));
    }
done:
    EVP_PKEY_free(key);
    if (private_pem.ptr) OPENSSL_cleanse(private_pem.ptr, private_pem.len);
    buf_deinit(&private_pem);
    buf_deinit(&public_pem);
    return err;
}

static bool file_is_missing(const Io *io, const char *path) {
    IoFile *file = NULL;
    Err err = io->file_open(io->world, path, IO_READ, &file);
    io->file_close(io->world, &file);
    return err == ERR_NOT_FOUND;
}

static Err key_read(const Io *io, const char *path, bool is_private, Buf *pem, EVP_PKEY **out) {
    Err err = io_read_file(io, path, KEY_FILE_BYTES_MAX, pem);
    if (err == ERR_NOMEM) return err;
    *out = err == OK ? pem_read(buf_bytes(pem), is_private) : NULL;
    return *out ? OK : ERR_INVALID;
}

static Err pair_read(const Io *io, const KeyPaths *paths, JwsKeys *keys, Diag *diag) {
    Buf private_pem = {0};
    Err err = key_read(io, paths->private_path, true, &private_pem, &keys->private_key);
    if (private_pem.ptr) OPENSSL_cleanse(private_pem.ptr, private_pem.len);
    buf_deinit(&private_pem);
    if (err != OK) {
        return diag_fail(diag,
                         err,
                         "Unable to read private key for JWT token signing: %s is not a readable "
                         "P-256 private key in PEM",
                         paths->private_path);
    }
    err = key_read(io, paths->public_path, false, &keys->public_pem, &keys->public_key);
    if (err != OK) {
        return diag_fail(diag,
                         err,
                         "Unable to read public key for JWT token verification: %s is not a "
                         "readable P-256 public key in PEM",
                         paths->public_path);
    }
    if (EVP_PKEY_eq(keys->private_key, keys->public_key) == 1) return OK;
    return diag_fail(diag,
                     ERR_INVALID,
                     "the keys %s and %s do not belong together",
                     paths->private_path,
                     paths->public_path);
}

static Err contexts_make(JwsKeys *keys) {
    keys->signer = EVP_MD_CTX_new();
    keys->verifier = EVP_MD_CTX_new();
    if (!keys->signer || !keys->verifier) return ERR_NOMEM;
    if (EVP_DigestSignInit(keys->signer, NULL, EVP_sha256(), NULL, keys->private_key) != 1 ||
        EVP_DigestVerifyInit(keys->verifier, NULL, EVP_sha256(), NULL, keys->public_key) != 1) {
        return ERR_NOMEM;
    }
    return OK;
}

Err jws_keys_open(const AuthOptions *options, JwsKeys *out, Diag *diag) {
    KeyPaths paths;
    ASSERT(options->private_path ? options->public_path != NULL : options->key_dir != NULL);
    Err err = paths_resolve(options, &paths);
    if (err != OK) return diag_fail(diag, err, "the path of the keys is too long");
    if (file_is_missing(options->io, paths.private_path) &&
        file_is_missing(options->io, paths.public_path)) {
        if ((err = pair_make(options, &paths, diag)) != OK) return err;
    }
    err = pair_read(options->io, &paths, out, diag);
    if (err == OK && (err = contexts_make(out)) != OK) {
        diag_fail(diag, err, "cannot prepare the keys for tokens");
    }
    if (err != OK) jws_keys_close(out);
    return err;
}

void jws_keys_close(JwsKeys *keys) {
    EVP_MD_CTX_free(keys->signer);
    EVP_MD_CTX_free(keys->verifier);
    EVP_PKEY_free(keys->private_key);
    EVP_PKEY_free(keys->public_key);
    buf_deinit(&keys->public_pem);
    *keys = (JwsKeys){0};
}
