//go:build cgo && linux

// libfido2 is opened when the first token is asked for, so that the program
// also starts where the library isn't installed. Every function of it that
// go-libfido2 calls is defined here and passes the call on; the linker, told
// --as-needed, then leaves the library out of what the program needs. Each
// definition is checked by the compiler against libfido2's own headers.

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <fido.h>
#include <fido/bio.h>
#include <fido/credman.h>

static void *library;
static int initial_flags; // go-libfido2 gives them as the program starts

// bkfs_fido2_open returns NULL, or why the library can't be opened.
const char *bkfs_fido2_open(void) {
	void (*init)(int);

	if (library != NULL)
		return NULL;
	library = dlopen("libfido2.so.1", RTLD_NOW | RTLD_LOCAL);
	if (library == NULL)
		return dlerror();
	*(void **)&init = dlsym(library, "fido_init");
	if (init != NULL)
		// A setting of this thread: a token that doesn't answer as FIDO2 does, because another program uses it or it
		// is broken, isn't to be taken for one that only does U2F.
		init(initial_flags | FIDO_DISABLE_U2F_FALLBACK);
	return NULL;
}

// find ends the process when there is no library, which bkfs_fido2_open tells
// before, or when it is too old: the process is a helper, and its parent goes on.
static void *find(const char *name) {
	void *f = bkfs_fido2_open() == NULL ? dlsym(library, name) : NULL;
	if (f == NULL) {
		fprintf(stderr, "libfido2 has no %s\n", name);
		abort();
	}
	return f;
}

void fido_init(int flags) { initial_flags = flags; }

#define CALL(type, name, declared, given) \
	type name declared { \
		static type(*real) declared; \
		if (real == NULL) \
			*(void **)&real = find(#name); \
		return real given; \
	}

#define VOID(name, declared, given) \
	void name declared { \
		static void(*real) declared; \
		if (real == NULL) \
			*(void **)&real = find(#name); \
		real given; \
	}

CALL(int, fido_assert_allow_cred, (fido_assert_t *a, const unsigned char *b, size_t c), (a, b, c))
CALL(size_t, fido_assert_authdata_len, (const fido_assert_t *a, size_t b), (a, b))
CALL(const unsigned char *, fido_assert_authdata_ptr, (const fido_assert_t *a, size_t b), (a, b))
VOID(fido_assert_free, (fido_assert_t **a), (a))
CALL(size_t, fido_assert_hmac_secret_len, (const fido_assert_t *a, size_t b), (a, b))
CALL(const unsigned char *, fido_assert_hmac_secret_ptr, (const fido_assert_t *a, size_t b), (a, b))
CALL(size_t, fido_assert_id_len, (const fido_assert_t *a, size_t b), (a, b))
CALL(const unsigned char *, fido_assert_id_ptr, (const fido_assert_t *a, size_t b), (a, b))
CALL(fido_assert_t *, fido_assert_new, (void), ())
CALL(int, fido_assert_set_clientdata_hash, (fido_assert_t *a, const unsigned char *b, size_t c), (a, b, c))
CALL(int, fido_assert_set_extensions, (fido_assert_t *a, int b), (a, b))
CALL(int, fido_assert_set_hmac_salt, (fido_assert_t *a, const unsigned char *b, size_t c), (a, b, c))
CALL(int, fido_assert_set_rp, (fido_assert_t *a, const char *b), (a, b))
CALL(int, fido_assert_set_up, (fido_assert_t *a, fido_opt_t b), (a, b))
CALL(int, fido_assert_set_uv, (fido_assert_t *a, fido_opt_t b), (a, b))
CALL(size_t, fido_assert_sig_len, (const fido_assert_t *a, size_t b), (a, b))
CALL(const unsigned char *, fido_assert_sig_ptr, (const fido_assert_t *a, size_t b), (a, b))
CALL(size_t, fido_assert_user_id_len, (const fido_assert_t *a, size_t b), (a, b))
CALL(const unsigned char *, fido_assert_user_id_ptr, (const fido_assert_t *a, size_t b), (a, b))
CALL(int, fido_bio_dev_enroll_begin, (fido_dev_t *a, fido_bio_template_t *b, fido_bio_enroll_t *c, uint32_t d, const char *e), (a, b, c, d, e))
CALL(int, fido_bio_dev_enroll_continue, (fido_dev_t *a, const fido_bio_template_t *b, fido_bio_enroll_t *c, uint32_t d), (a, b, c, d))
CALL(int, fido_bio_dev_enroll_remove, (fido_dev_t *a, const fido_bio_template_t *b, const char *c), (a, b, c))
CALL(int, fido_bio_dev_get_template_array, (fido_dev_t *a, fido_bio_template_array_t *b, const char *c), (a, b, c))
CALL(int, fido_bio_dev_set_template_name, (fido_dev_t *a, const fido_bio_template_t *b, const char *c), (a, b, c))
VOID(fido_bio_enroll_free, (fido_bio_enroll_t **a), (a))
CALL(fido_bio_enroll_t *, fido_bio_enroll_new, (void), ())
CALL(uint8_t, fido_bio_enroll_remaining_samples, (const fido_bio_enroll_t *a), (a))
CALL(const fido_bio_template_t *, fido_bio_template, (const fido_bio_template_array_t *a, size_t b), (a, b))
CALL(size_t, fido_bio_template_array_count, (const fido_bio_template_array_t *a), (a))
VOID(fido_bio_template_array_free, (fido_bio_template_array_t **a), (a))
CALL(fido_bio_template_array_t *, fido_bio_template_array_new, (void), ())
VOID(fido_bio_template_free, (fido_bio_template_t **a), (a))
CALL(size_t, fido_bio_template_id_len, (const fido_bio_template_t *a), (a))
CALL(const unsigned char *, fido_bio_template_id_ptr, (const fido_bio_template_t *a), (a))
CALL(const char *, fido_bio_template_name, (const fido_bio_template_t *a), (a))
CALL(fido_bio_template_t *, fido_bio_template_new, (void), ())
CALL(int, fido_bio_template_set_id, (fido_bio_template_t *a, const unsigned char *b, size_t c), (a, b, c))
CALL(int, fido_bio_template_set_name, (fido_bio_template_t *a, const char *b), (a, b))
CALL(size_t, fido_cbor_info_aaguid_len, (const fido_cbor_info_t *a), (a))
CALL(const unsigned char *, fido_cbor_info_aaguid_ptr, (const fido_cbor_info_t *a), (a))
CALL(size_t, fido_cbor_info_extensions_len, (const fido_cbor_info_t *a), (a))
CALL(char **, fido_cbor_info_extensions_ptr, (const fido_cbor_info_t *a), (a))
VOID(fido_cbor_info_free, (fido_cbor_info_t **a), (a))
CALL(fido_cbor_info_t *, fido_cbor_info_new, (void), ())
CALL(size_t, fido_cbor_info_options_len, (const fido_cbor_info_t *a), (a))
CALL(char **, fido_cbor_info_options_name_ptr, (const fido_cbor_info_t *a), (a))
CALL(const bool *, fido_cbor_info_options_value_ptr, (const fido_cbor_info_t *a), (a))
CALL(size_t, fido_cbor_info_protocols_len, (const fido_cbor_info_t *a), (a))
CALL(const uint8_t *, fido_cbor_info_protocols_ptr, (const fido_cbor_info_t *a), (a))
CALL(size_t, fido_cbor_info_versions_len, (const fido_cbor_info_t *a), (a))
CALL(char **, fido_cbor_info_versions_ptr, (const fido_cbor_info_t *a), (a))
CALL(size_t, fido_cred_authdata_len, (const fido_cred_t *a), (a))
CALL(const unsigned char *, fido_cred_authdata_ptr, (const fido_cred_t *a), (a))
CALL(size_t, fido_cred_clientdata_hash_len, (const fido_cred_t *a), (a))
CALL(const unsigned char *, fido_cred_clientdata_hash_ptr, (const fido_cred_t *a), (a))
CALL(const char *, fido_cred_display_name, (const fido_cred_t *a), (a))
CALL(const char *, fido_cred_fmt, (const fido_cred_t *a), (a))
VOID(fido_cred_free, (fido_cred_t **a), (a))
CALL(size_t, fido_cred_id_len, (const fido_cred_t *a), (a))
CALL(const unsigned char *, fido_cred_id_ptr, (const fido_cred_t *a), (a))
CALL(fido_cred_t *, fido_cred_new, (void), ())
CALL(size_t, fido_cred_pubkey_len, (const fido_cred_t *a), (a))
CALL(const unsigned char *, fido_cred_pubkey_ptr, (const fido_cred_t *a), (a))
CALL(int, fido_cred_set_clientdata_hash, (fido_cred_t *a, const unsigned char *b, size_t c), (a, b, c))
CALL(int, fido_cred_set_extensions, (fido_cred_t *a, int b), (a, b))
CALL(int, fido_cred_set_prot, (fido_cred_t *a, int b), (a, b))
CALL(int, fido_cred_set_rk, (fido_cred_t *a, fido_opt_t b), (a, b))
CALL(int, fido_cred_set_rp, (fido_cred_t *a, const char *b, const char *c), (a, b, c))
CALL(int, fido_cred_set_type, (fido_cred_t *a, int b), (a, b))
CALL(int, fido_cred_set_user, (fido_cred_t *a, const unsigned char *b, size_t c, const char *d, const char *e, const char *f), (a, b, c, d, e, f))
CALL(int, fido_cred_set_uv, (fido_cred_t *a, fido_opt_t b), (a, b))
CALL(size_t, fido_cred_sig_len, (const fido_cred_t *a), (a))
CALL(const unsigned char *, fido_cred_sig_ptr, (const fido_cred_t *a), (a))
CALL(int, fido_cred_type, (const fido_cred_t *a), (a))
CALL(size_t, fido_cred_user_id_len, (const fido_cred_t *a), (a))
CALL(const unsigned char *, fido_cred_user_id_ptr, (const fido_cred_t *a), (a))
CALL(const char *, fido_cred_user_name, (const fido_cred_t *a), (a))
CALL(size_t, fido_cred_x5c_len, (const fido_cred_t *a), (a))
CALL(const unsigned char *, fido_cred_x5c_ptr, (const fido_cred_t *a), (a))
CALL(int, fido_credman_del_dev_rk, (fido_dev_t *a, const unsigned char *b, size_t c, const char *d), (a, b, c, d))
CALL(int, fido_credman_get_dev_metadata, (fido_dev_t *a, fido_credman_metadata_t *b, const char *c), (a, b, c))
CALL(int, fido_credman_get_dev_rk, (fido_dev_t *a, const char *b, fido_credman_rk_t *c, const char *d), (a, b, c, d))
CALL(int, fido_credman_get_dev_rp, (fido_dev_t *a, fido_credman_rp_t *b, const char *c), (a, b, c))
VOID(fido_credman_metadata_free, (fido_credman_metadata_t **a), (a))
CALL(fido_credman_metadata_t *, fido_credman_metadata_new, (void), ())
CALL(const fido_cred_t *, fido_credman_rk, (const fido_credman_rk_t *a, size_t b), (a, b))
CALL(size_t, fido_credman_rk_count, (const fido_credman_rk_t *a), (a))
CALL(uint64_t, fido_credman_rk_existing, (const fido_credman_metadata_t *a), (a))
VOID(fido_credman_rk_free, (fido_credman_rk_t **a), (a))
CALL(fido_credman_rk_t *, fido_credman_rk_new, (void), ())
CALL(uint64_t, fido_credman_rk_remaining, (const fido_credman_metadata_t *a), (a))
CALL(size_t, fido_credman_rp_count, (const fido_credman_rp_t *a), (a))
VOID(fido_credman_rp_free, (fido_credman_rp_t **a), (a))
CALL(const char *, fido_credman_rp_id, (const fido_credman_rp_t *a, size_t b), (a, b))
CALL(const char *, fido_credman_rp_name, (const fido_credman_rp_t *a, size_t b), (a, b))
CALL(fido_credman_rp_t *, fido_credman_rp_new, (void), ())
CALL(uint8_t, fido_dev_build, (const fido_dev_t *a), (a))
CALL(int, fido_dev_cancel, (fido_dev_t *a), (a))
CALL(int, fido_dev_close, (fido_dev_t *a), (a))
CALL(uint8_t, fido_dev_flags, (const fido_dev_t *a), (a))
VOID(fido_dev_free, (fido_dev_t **a), (a))
CALL(int, fido_dev_get_assert, (fido_dev_t *a, fido_assert_t *b, const char *c), (a, b, c))
CALL(int, fido_dev_get_cbor_info, (fido_dev_t *a, fido_cbor_info_t *b), (a, b))
CALL(int, fido_dev_get_retry_count, (fido_dev_t *a, int *b), (a, b))
VOID(fido_dev_info_free, (fido_dev_info_t **a, size_t b), (a, b))
CALL(int, fido_dev_info_manifest, (fido_dev_info_t *a, size_t b, size_t *c), (a, b, c))
CALL(const char *, fido_dev_info_manufacturer_string, (const fido_dev_info_t *a), (a))
CALL(fido_dev_info_t *, fido_dev_info_new, (size_t a), (a))
CALL(const char *, fido_dev_info_path, (const fido_dev_info_t *a), (a))
CALL(int16_t, fido_dev_info_product, (const fido_dev_info_t *a), (a))
CALL(const char *, fido_dev_info_product_string, (const fido_dev_info_t *a), (a))
CALL(const fido_dev_info_t *, fido_dev_info_ptr, (const fido_dev_info_t *a, size_t b), (a, b))
CALL(int16_t, fido_dev_info_vendor, (const fido_dev_info_t *a), (a))
CALL(bool, fido_dev_is_fido2, (const fido_dev_t *a), (a))
CALL(uint8_t, fido_dev_major, (const fido_dev_t *a), (a))
CALL(int, fido_dev_make_cred, (fido_dev_t *a, fido_cred_t *b, const char *c), (a, b, c))
CALL(uint8_t, fido_dev_minor, (const fido_dev_t *a), (a))
CALL(fido_dev_t *, fido_dev_new, (void), ())
CALL(int, fido_dev_open, (fido_dev_t *a, const char *b), (a, b))
CALL(uint8_t, fido_dev_protocol, (const fido_dev_t *a), (a))
CALL(int, fido_dev_reset, (fido_dev_t *a), (a))
CALL(int, fido_dev_set_pin, (fido_dev_t *a, const char *b, const char *c), (a, b, c))
