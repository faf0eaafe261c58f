/* TLS for clients and upstreams, by OpenSSL 3: what the module brings. Nothing newer than OpenSSL 3.0 is used, because the interpreter that loads the
 * extension may bring a libcrypto of its own. Arbiter: reads and checks. Worker: serves. */
#include "modules/transport/tls/tls.h"

#include <openssl/crypto.h>

static const char *version(void)
{
    return OpenSSL_version(OPENSSL_VERSION);
}

static int adopt(struct mc_worker *w, const struct mc_secrets *s)
{
    if (OpenSSL_version_num() < 0x30000000L) {
        mc_error("tls: this process has %s, but OpenSSL 3.0 or later is needed", version());
        return MC_ERROR;
    }
    return mc_tls_sites_adopt(w, s);
}

static void exit_worker(struct mc_worker *w)
{
    (void)w;
    mc_tls_sites_close();
    mc_tls_bio_fini();
}

const struct mc_module mc_module_transport_tls = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "tls",
    .kind = MC_MODULE_TRANSPORT,
    .sections = mc_tls_sections,
    .ops.transport = &mc_tls_ops,
    .version = version,
    .check_all = mc_tls_settings_check,
    .gather = mc_tls_gather,
    .fetch = mc_tls_ocsp_fetch,
    .adopt = adopt,
    .exit_worker = exit_worker,
};
