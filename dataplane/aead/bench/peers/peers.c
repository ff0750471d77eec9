// The C libraries that dataplane/aead is measured against: OpenSSL's EVP and
// Intel's ipsec-mb, behind the line protocol of worker.go. Built and run by
// make bench-aead; no part of the product.
//
//	in:   LIBRARY SUITE VERB MICROSECONDS LENGTH,LENGTH,…
//	out:  NANOSECONDS BYTES FNV   (time in VERB only; hash of the sealed batch)

#include <intel-ipsec-mb.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_PACKETS = 256, TAG = 16, ROOM = 9216 + TAG };

static uint8_t *buffers[MAX_PACKETS];
static uint8_t nonces[MAX_PACKETS][16];
static int lengths[MAX_PACKETS], packets;
static uint8_t key[32];

static IMB_MGR *mgr;
static struct gcm_key_data gcm_key;
static EVP_CIPHER_CTX *evp;

static void die(const char *what) { fprintf(stderr, "peers: %s\n", what); exit(1); }

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int same(const uint8_t *a, const uint8_t *b) { return CRYPTO_memcmp(a, b, TAG) == 0; }

static void openssl_batch(int open)
{
	for (int i = 0; i < packets; i++) {
		uint8_t *p = buffers[i], *tag = p + lengths[i];
		int n;
		if (!open) {
			if (!EVP_EncryptInit_ex(evp, NULL, NULL, NULL, nonces[i]) ||
			    !EVP_EncryptUpdate(evp, p, &n, p, lengths[i]) ||
			    !EVP_EncryptFinal_ex(evp, p + n, &n) ||
			    !EVP_CIPHER_CTX_ctrl(evp, EVP_CTRL_AEAD_GET_TAG, TAG, tag))
				die("OpenSSL refuses to seal");
		} else {
			if (!EVP_DecryptInit_ex(evp, NULL, NULL, NULL, nonces[i]) ||
			    !EVP_DecryptUpdate(evp, p, &n, p, lengths[i]) ||
			    !EVP_CIPHER_CTX_ctrl(evp, EVP_CTRL_AEAD_SET_TAG, TAG, tag) ||
			    !EVP_DecryptFinal_ex(evp, p + n, &n))
				die("OpenSSL refuses to open");
		}
	}
}

static void openssl_start(int chacha, int open)
{
	const EVP_CIPHER *c = chacha ? EVP_chacha20_poly1305() : EVP_aes_256_gcm();
	EVP_CIPHER_CTX_reset(evp);
	if (!(open ? EVP_DecryptInit_ex(evp, c, NULL, key, nonces[0]) : EVP_EncryptInit_ex(evp, c, NULL, key, nonces[0])))
		die("OpenSSL refuses the key");
}

static void ipsec_gcm(int open)
{
	struct gcm_context_data ctx;
	uint8_t sum[TAG];
	for (int i = 0; i < packets; i++) {
		uint8_t *p = buffers[i], *tag = p + lengths[i];
		if (!open) {
			IMB_AES256_GCM_ENC(mgr, &gcm_key, &ctx, p, p, (uint64_t)lengths[i], nonces[i], p, 0, tag, TAG);
		} else {
			IMB_AES256_GCM_DEC(mgr, &gcm_key, &ctx, p, p, (uint64_t)lengths[i], nonces[i], p, 0, sum, TAG);
			if (!same(sum, tag))
				die("ipsec-mb refuses to open");
		}
	}
}

static void ipsec_chacha(int open)
{
	static uint8_t sums[MAX_PACKETS][TAG];
	IMB_JOB *jobs[IMB_MAX_BURST_SIZE];
	for (int done = 0; done < packets;) {
		uint32_t want = packets - done < 64 ? (uint32_t)(packets - done) : 64;
		uint32_t n = IMB_GET_NEXT_BURST(mgr, want, jobs);
		for (uint32_t k = 0; k < n; k++) {
			int i = done + (int)k;
			IMB_JOB *j = jobs[k];
			j->cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
			j->hash_alg = IMB_AUTH_CHACHA20_POLY1305;
			j->cipher_direction = open ? IMB_DIR_DECRYPT : IMB_DIR_ENCRYPT;
			j->chain_order = open ? IMB_ORDER_HASH_CIPHER : IMB_ORDER_CIPHER_HASH;
			j->enc_keys = j->dec_keys = key;
			j->key_len_in_bytes = 32;
			j->src = j->dst = buffers[i];
			j->cipher_start_src_offset_in_bytes = 0;
			j->hash_start_src_offset_in_bytes = 0;
			j->msg_len_to_cipher_in_bytes = (uint64_t)lengths[i];
			j->msg_len_to_hash_in_bytes = (uint64_t)lengths[i];
			j->iv = nonces[i];
			j->iv_len_in_bytes = 12;
			j->u.CHACHA20_POLY1305.aad = NULL;
			j->u.CHACHA20_POLY1305.aad_len_in_bytes = 0;
			j->auth_tag_output = open ? sums[i] : buffers[i] + lengths[i];
			j->auth_tag_output_len_in_bytes = TAG;
		}
		uint32_t got = IMB_SUBMIT_BURST_NOCHECK(mgr, n, jobs);
		if (got != n)
			got += IMB_FLUSH_BURST(mgr, n - got, jobs + got);
		if (got != n)
			die("ipsec-mb leaves jobs behind");
		done += (int)n;
	}
	if (open)
		for (int i = 0; i < packets; i++)
			if (!same(sums[i], buffers[i] + lengths[i]))
				die("ipsec-mb refuses to open");
}

static void batch(int ipsec, int chacha, int open)
{
	if (!ipsec)
		openssl_batch(open);
	else if (chacha)
		ipsec_chacha(open);
	else
		ipsec_gcm(open);
}

// fnv hashes the batch as worker.go does: FNV-1a, 64 bits.
static uint64_t fnv(void)
{
	uint64_t h = 14695981039346656037u;
	for (int i = 0; i < packets; i++)
		for (int j = 0; j < lengths[i] + TAG; j++)
			h = (h ^ buffers[i][j]) * 1099511628211u;
	return h;
}

int main(void)
{
	char line[8192];
	mgr = alloc_mb_mgr(0);
	evp = EVP_CIPHER_CTX_new();
	if (!mgr || !evp)
		die("no memory");
	init_mb_mgr_auto(mgr, NULL);
	for (int i = 0; i < 32; i++)
		key[i] = (uint8_t)i;
	IMB_AES256_GCM_PRE(mgr, key, &gcm_key);
	for (int i = 0; i < MAX_PACKETS; i++) {
		buffers[i] = aligned_alloc(64, (ROOM + 63) / 64 * 64);
		if (!buffers[i])
			die("no memory");
		nonces[i][4] = (uint8_t)i;
	}
	while (fgets(line, sizeof line, stdin)) {
		char lib[16], suite[16], verb[16], list[8000];
		unsigned long micros;
		if (sscanf(line, "%15s %15s %15s %lu %7999s", lib, suite, verb, &micros, list) != 5)
			die("a line I do not understand");
		int ipsec = !strcmp(lib, "ipsec-mb"), chacha = !strcmp(suite, "chacha"), open = !strcmp(verb, "open");
		packets = 0;
		for (char *s = strtok(list, ","); s && packets < MAX_PACKETS; s = strtok(NULL, ",")) {
			lengths[packets] = atoi(s);
			if (lengths[packets] < 0 || lengths[packets] + TAG > ROOM)
				die("a length I have no room for");
			memset(buffers[packets], packets, (size_t)lengths[packets]);
			packets++;
		}
		uint64_t spent = 0, bytes = 0, hash = 0;
		while (spent < micros * 1000) {
			if (!ipsec)
				openssl_start(chacha, 0);
			uint64_t t = now();
			batch(ipsec, chacha, 0);
			if (!open)
				spent += now() - t;
			if (!hash)
				hash = fnv();
			if (open) {
				if (!ipsec)
					openssl_start(chacha, 1);
				t = now();
				batch(ipsec, chacha, 1);
				spent += now() - t;
			}
			for (int i = 0; i < packets; i++)
				bytes += (uint64_t)lengths[i];
		}
		printf("%llu %llu %016llx\n", (unsigned long long)spent, (unsigned long long)bytes, (unsigned long long)hash);
		fflush(stdout);
	}
	return 0;
}
