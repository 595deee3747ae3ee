// tls.c: TLS with OpenSSL, when the program is compiled with LC_CLIENT_TLS.
//
// A filter between our bytes and the socket's: OpenSSL sees memory only, so there is one loop over one
// descriptor in either case. tls_receive takes what came from the socket and leaves plain bytes in `raw`;
// what is written goes through SSL_write and tls_drain into `out`.
#include "client.h"

#ifdef LC_CLIENT_TLS
static void tls_why(LcClient *client, const char *what) {
    char text[160] = "";
    unsigned long code = ERR_get_error();
    if (code) ERR_error_string_n(code, text, sizeof text);
    long verified = client->tls ? SSL_get_verify_result(client->tls) : X509_V_OK;
    if (verified != X509_V_OK)
        snprintf(text, sizeof text, "%s", X509_verify_cert_error_string(verified));
    snprintf(client->why,
             sizeof client->why,
             "%s: %s",
             what,
             *text ? text : "the connection was closed");
}

LC_PRIVATE bool tls_prepare(LcClient *client) {
    client->tls_context = SSL_CTX_new(TLS_client_method());
    if (!client->tls_context) return false;
    SSL_CTX_set_min_proto_version(client->tls_context, TLS1_2_VERSION);
    SSL_CTX_set_verify(client->tls_context,
                       client->options.tls_unverified ? SSL_VERIFY_NONE : SSL_VERIFY_PEER,
                       NULL);
    if (client->options.tls_ca_file)
        return SSL_CTX_load_verify_locations(client->tls_context,
                                             client->options.tls_ca_file,
                                             NULL) == 1;
    return SSL_CTX_set_default_verify_paths(client->tls_context) == 1;
}

LC_PRIVATE bool tls_start(LcClient *client) {
    client->tls = SSL_new(client->tls_context);
    BIO *read = BIO_new(BIO_s_mem()), *write = BIO_new(BIO_s_mem());
    if (!client->tls || !read || !write) {
        BIO_free(read);
        BIO_free(write);
        return false;
    }
    BIO_set_mem_eof_return(read, -1);
    SSL_set_bio(client->tls, read, write);
    SSL_set_connect_state(client->tls);
    // An address is verified as one; only names are sent ahead of the handshake.
    X509_VERIFY_PARAM *verify = SSL_get0_param(client->tls);
    if (X509_VERIFY_PARAM_set1_ip_asc(verify, client->host) == 1) return true;
    ERR_clear_error();
    return SSL_set1_host(client->tls, client->host) == 1 &&
           SSL_set_tlsext_host_name(client->tls, client->host) == 1;
}

// What OpenSSL wants to say goes to the socket.
LC_PRIVATE void tls_drain(LcClient *client) {
    BIO *write = SSL_get_wbio(client->tls);
    for (size_t left = BIO_ctrl_pending(write); left > 0; left = BIO_ctrl_pending(write)) {
        uint8_t *room = out_room(&client->out, left);
        int taken = room && left <= INT32_MAX ? BIO_read(write, room, (int)left) : 0;
        if (taken <= 0) return;
        client->out.len += (size_t)taken;
    }
}

LC_PRIVATE bool tls_receive(LcClient *client, const uint8_t *bytes, size_t len) {
    if (BIO_write(SSL_get_rbio(client->tls), bytes, (int)len) != (int)len) return false;
    ERR_clear_error();
    int done = SSL_is_init_finished(client->tls) ? 1 : SSL_do_handshake(client->tls);
    while (done > 0 && SSL_is_init_finished(client->tls)) {
        uint8_t *room = out_room(&client->raw, READ_BYTES);
        if (!room) return false;
        done = SSL_read(client->tls, room, READ_BYTES);
        if (done > 0) client->raw.len += (size_t)done;
    }
    int error = SSL_get_error(client->tls, done);
    tls_drain(client);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return true;
    tls_why(client, "TLS");
    return false;
}
#endif
