//go:build ignore

/* The C peer of the table: rxdrop, l2fwd and forward between two ports on libxdp's
 * rings, in the manner any C program would write them. Usage:
 *
 *	xsk rxdrop|l2fwd DEV     xsk forward DEV DEV
 *
 * Prints "packets N" for every packet count of half a second. */
#include <errno.h>
#include <net/if.h>
#include <poll.h>
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

#define FRAMES 8192
#define SIZE 2048
#define BATCH 64

struct port {
	struct xsk_ring_prod fill, tx;
	struct xsk_ring_cons comp, rx;
	struct xsk_socket *xsk;
	uint32_t sending;
};

static struct xsk_umem *umem;
static char *memory;
static uint64_t idle[FRAMES];
static uint32_t idles;

static void die(const char *what, int err)
{
	fprintf(stderr, "%s: %s\n", what, strerror(err < 0 ? -err : err));
	exit(1);
}

static void option(int fd, int level, int name, int value, int must)
{
	if (setsockopt(fd, level, name, &value, sizeof value) && must)
		die("setsockopt", errno);
}

static void open_port(struct port *p, const char *dev, int first)
{
	struct xsk_socket_config c = {
		.rx_size = 1024, .tx_size = 1024, .xdp_flags = XDP_FLAGS_DRV_MODE,
		.bind_flags = XDP_USE_NEED_WAKEUP | XDP_COPY,
	};
	int r = -EBUSY;
	/* The kernel may still be busy with the program before us. */
	for (int try = 0; try < 200 && r == -EBUSY; try++) {
		if (try)
			usleep(10000);
		if (first)
			r = xsk_socket__create(&p->xsk, dev, 0, umem, &p->rx, &p->tx, &c);
		else
			r = xsk_socket__create_shared(&p->xsk, dev, 0, umem, &p->rx, &p->tx, &p->fill, &p->comp, &c);
	}
	if (r)
		die("xsk_socket__create", r);
	int fd = xsk_socket__fd(p->xsk);
	option(fd, SOL_SOCKET, 69 /* SO_PREFER_BUSY_POLL */, 1, 1);
	option(fd, SOL_SOCKET, SO_BUSY_POLL, 20, 1);
	option(fd, SOL_SOCKET, 70 /* SO_BUSY_POLL_BUDGET */, BATCH, 1);
	option(fd, SOL_XDP, 9 /* XDP_MAX_TX_SKB_BUDGET */, BATCH, 0);
}

static void refill(struct port *p)
{
	uint32_t at, n = xsk_prod_nb_free(&p->fill, idles);
	if (n > idles)
		n = idles;
	if (!n || !xsk_ring_prod__reserve(&p->fill, n, &at))
		return;
	for (uint32_t i = 0; i < n; i++)
		*xsk_ring_prod__fill_addr(&p->fill, at + i) = idle[--idles];
	xsk_ring_prod__submit(&p->fill, n);
}

static void reclaim(struct port *p)
{
	uint32_t at, n;
	if (!p->sending)
		return;
	n = xsk_ring_cons__peek(&p->comp, p->sending, &at);
	for (uint32_t i = 0; i < n; i++)
		idle[idles++] = *xsk_ring_cons__comp_addr(&p->comp, at + i) & ~(uint64_t)(SIZE - 1);
	xsk_ring_cons__release(&p->comp, n);
	p->sending -= n;
}

static void kick(struct port *p)
{
	if (p->sending)
		sendto(xsk_socket__fd(p->xsk), NULL, 0, MSG_DONTWAIT, NULL, 0);
}

static void swap(char *b)
{
	char m[6];
	memcpy(m, b, 6);
	memcpy(b, b + 6, 6);
	memcpy(b + 6, m, 6);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
	static struct port a, b;
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	if (argc < 3)
		return 2;
	int drop = !strcmp(argv[1], "rxdrop");
	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	memory = mmap(NULL, FRAMES * SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(memory, FRAMES * SIZE, MADV_HUGEPAGE);
	struct xsk_umem_config uc = { .fill_size = 2048, .comp_size = 1024, .frame_size = SIZE };
	int r = xsk_umem__create(&umem, memory, (uint64_t)FRAMES * SIZE, &a.fill, &a.comp, &uc);
	if (r)
		die("xsk_umem__create", r);
	while (idles < FRAMES) {
		idle[idles] = (uint64_t)idles * SIZE;
		idles++;
	}
	open_port(&a, argv[2], 1);
	struct port *in = &a, *out = &a;
	if (argc > 3) {
		open_port(&b, argv[3], 0);
		out = &b;
	}
	uint64_t count = 0;
	double last = now();
	for (uint32_t round = 0;; round++) {
		uint32_t from, to, n;
		if (!(round & 1023) && now() - last > 0.5) {
			last = now();
			printf("packets %llu\n", (unsigned long long)count);
			fflush(stdout);
		}
		reclaim(out);
		refill(in);
		n = xsk_ring_cons__peek(&in->rx, BATCH, &from);
		if (!n) {
			recvfrom(xsk_socket__fd(in->xsk), NULL, 0, MSG_DONTWAIT, NULL, NULL);
			kick(out);
			continue;
		}
		if (drop) {
			for (uint32_t i = 0; i < n; i++)
				idle[idles++] = xsk_ring_cons__rx_desc(&in->rx, from + i)->addr & ~(uint64_t)(SIZE - 1);
		} else {
			while (xsk_ring_prod__reserve(&out->tx, n, &to) != n) {
				kick(out);
				reclaim(out);
			}
			for (uint32_t i = 0; i < n; i++) {
				const struct xdp_desc *d = xsk_ring_cons__rx_desc(&in->rx, from + i);
				struct xdp_desc *o = xsk_ring_prod__tx_desc(&out->tx, to + i);
				swap(xsk_umem__get_data(memory, d->addr));
				o->addr = d->addr;
				o->len = d->len;
				o->options = 0;
			}
			xsk_ring_prod__submit(&out->tx, n);
			out->sending += n;
		}
		xsk_ring_cons__release(&in->rx, n);
		if (!drop)
			kick(out);
		count += n;
	}
}
