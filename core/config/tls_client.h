/* TLS towards upstreams: what a stream's `setup` points to (server/transport.h) when stream.client is set, with ops = mc_transport_tls().
 * Part of the settings struct of whoever calls upstreams (an action, an upstream section), so it lives as long as the configuration. */
#ifndef MC_CONFIG_TLS_CLIENT_H
#define MC_CONFIG_TLS_CLIENT_H

#include "core/config/conf.h"

struct mc_tls_client {
    /* The settings tls_verify, tls_name, tls_ca, tls_cert, tls_key, tls_protocols, tls_ciphers. */
    bool verify;                /* the peer's certificate: its chain, and its name [yes] */
    const char *name;           /* sent as SNI, and what the certificate must be for; an IP address is checked as such and not sent. The owner fills it
                                 * with the host of its `to` when the file does not say. NULL: no SNI, and verify checks the chain only */
    const char *ca;             /* file of trusted certificates [the system's] */
    const char *cert, *key;     /* ours, when the peer asks; key: in the file of cert when NULL */
    struct mc_strv protocols;   /* [TLSv1.2, TLSv1.3] */
    const char *ciphers;        /* of TLS 1.2 */
    const char *alpn;           /* the owner's: "http/1.1"; NULL: none */
    /* mc_tls_client_add's */
    struct mc_tls_client *next; /* in mc_conf.tls_clients */
    unsigned index;
    struct mc_conf_where at;
};

/* Entries for a table of settings: MC_TLS_CLIENT_SETTINGS(struct proxy, tls). */
#define MC_TLS_CLIENT_SETTING_(type_, member_, name_, kind_, field_, dflt_, doc_) \
    { .name = name_, .type = kind_, .offset = offsetof(type_, member_) + offsetof(struct mc_tls_client, field_), .dflt = dflt_, .doc = doc_ }
#define MC_TLS_CLIENT_SETTINGS(type_, member_) \
    MC_TLS_CLIENT_SETTING_(type_, member_, "tls_verify", MC_SET_BOOL, verify, "yes", "check the certificate of https upstreams"), \
    MC_TLS_CLIENT_SETTING_(type_, member_, "tls_name", MC_SET_STRING, name, NULL, "name for SNI that their certificate must be for [the host]"), \
    MC_TLS_CLIENT_SETTING_(type_, member_, "tls_ca", MC_SET_STRING, ca, NULL, "file of certificates to trust [the system's]"), \
    MC_TLS_CLIENT_SETTING_(type_, member_, "tls_cert", MC_SET_STRING, cert, NULL, "our certificate, if they ask for one"), \
    MC_TLS_CLIENT_SETTING_(type_, member_, "tls_key", MC_SET_STRING, key, NULL, "its key [in the file of tls_cert]"), \
    MC_TLS_CLIENT_SETTING_(type_, member_, "tls_protocols", MC_SET_LIST, protocols, "TLSv1.2, TLSv1.3", "TLSv1.2, TLSv1.3"), \
    MC_TLS_CLIENT_SETTING_(type_, member_, "tls_ciphers", MC_SET_STRING, ciphers, NULL, "ciphers of TLS 1.2, as OpenSSL writes them")

/* From the owner's check hook (arbiter and worker), when it calls over TLS at all: check, and make it known to the configuration, so that the arbiter
 * reads its files for the workers. at: of the section, for messages at start. MC_OK, or MC_ERROR with err (this build has no TLS, a file is missing, …). */
int mc_tls_client_add(struct mc_conf *c, struct mc_tls_client *t, struct mc_conf_where at, bool image, char *err, size_t errcap);

#endif
