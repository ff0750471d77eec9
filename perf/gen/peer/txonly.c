//go:build ignore

/* The C peer of the generator's table: sends 64-byte frames on one AF_XDP socket
 * as fast as it goes, on libxdp's rings, in the manner any C program would. Usage:
 *
 *	txonly DEV SECONDS
 *
 * Prints "pps N". */
#include <errno.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <xdp/xsk.h>

#define FRAMES 2048
#define SIZE 2048
#define BATCH 64

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
	struct xsk_ring_prod fill, tx;
	struct xsk_ring_cons comp, rx;
	struct xsk_umem *umem;
	struct xsk_socket *xsk;
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	if (argc < 3)
		return 2;
	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	char *memory = mmap(NULL, FRAMES * SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct xsk_umem_config uc = { .fill_size = 2048, .comp_size = 1024, .frame_size = SIZE };
	struct xsk_socket_config c = {
		.rx_size = 1024, .tx_size = 1024, .libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		.bind_flags = XDP_USE_NEED_WAKEUP | XDP_COPY,
	};
	int r = xsk_umem__create(&umem, memory, (uint64_t)FRAMES * SIZE, &fill, &comp, &uc);
	for (int try = 0; !r && try < 200; try++) {
		r = xsk_socket__create(&xsk, argv[1], 0, umem, &rx, &tx, &c);
		if (r != -EBUSY)
			break;
		r = 0;
		usleep(10000);
	}
	if (r) {
		fprintf(stderr, "%s\n", strerror(-r));
		return 1;
	}
	int fd = xsk_socket__fd(xsk), budget = BATCH;
	setsockopt(fd, SOL_XDP, 9 /* XDP_MAX_TX_SKB_BUDGET */, &budget, sizeof budget);
	for (int i = 0; i < FRAMES; i++) {
		memset(memory + i * SIZE, 0, 64);
		memset(memory + i * SIZE, 0xff, 6); /* to everybody */
		memory[i * SIZE + 6] = 2;
		memory[i * SIZE + 12] = 0x88; /* an experimental type */
		memory[i * SIZE + 13] = 0xb5;
	}
	uint64_t sent = 0, done = 0;
	uint32_t at, n;
	double from = now(), until = from + atof(argv[2]), t;
	for (uint32_t round = 0;; round++) {
		if (!(round & 255) && (t = now()) > until)
			break;
		n = xsk_ring_cons__peek(&comp, BATCH, &at);
		xsk_ring_cons__release(&comp, n);
		done += n;
		if (sent - done < FRAMES - BATCH && sent - done < 1024 - BATCH && xsk_ring_prod__reserve(&tx, BATCH, &at) == BATCH) {
			for (int i = 0; i < BATCH; i++) {
				struct xdp_desc *d = xsk_ring_prod__tx_desc(&tx, at + i);
				d->addr = (sent + i) % FRAMES * SIZE;
				d->len = 64;
				d->options = 0;
			}
			xsk_ring_prod__submit(&tx, BATCH);
			sent += BATCH;
		}
		sendto(fd, NULL, 0, MSG_DONTWAIT, NULL, 0);
	}
	printf("pps %.0f\n", done / (t - from));
	return 0;
}
