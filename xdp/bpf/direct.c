//go:build ignore

/* Direction of frames to AF_XDP sockets on an ordinary NIC: what matches goes to
 * the socket of the queue on which it arrived, everything else to the kernel.
 *
 * Three ways to match: everything; a UDP destination port; a prefix of the IPv6
 * destination, for every protocol but ICMPv6 (so that neighbour discovery and
 * path MTU discovery keep working). A queue without a socket passes, and so does
 * what is chosen for the socket of another queue: a socket cannot be given frames
 * that came by a queue not its own. */
#include "packet.h"

/* One line per outcome; order as in director.go. */
enum direct_count { TO_SOCKET, NO_MATCH, NO_SOCKET, OTHER_QUEUE, DIRECT_COUNTS };

/* Which queue's socket a chosen port or prefix is for: 0 none, a queue's number and
 * one, or one of these. As in choose.go. */
enum lead { BY_INDEX = 0xfffe, ANY_QUEUE = 0xffff };

struct direct_prefix {
	__u32 bits;
	union addr6 addr;
};

struct {
	UINT(type, MAP_XSKMAP);
	UINT(max_entries, 256);
	TYPE(key, __u32);
	TYPE(value, __u32);
} sockets SEC(".maps");

struct {
	UINT(type, MAP_ARRAY);
	UINT(max_entries, 65536);
	TYPE(key, __u32);
	TYPE(value, __u16);
} udp_ports SEC(".maps");

struct {
	UINT(type, MAP_LPM_TRIE);
	UINT(max_entries, 4096);
	UINT(map_flags, BPF_F_NO_PREALLOC);
	TYPE(key, struct direct_prefix);
	TYPE(value, __u16);
} prefixes SEC(".maps");

struct {
	UINT(type, MAP_PERCPU_ARRAY);
	UINT(max_entries, DIRECT_COUNTS);
	TYPE(key, __u32);
	TYPE(value, __u64);
} direct_counts SEC(".maps");

const volatile __u32 direct_all = 0;
const volatile __u32 direct_by_prefix = 0;

INLINE int verdict(__u32 why, int what)
{
	__u64 *n = bpf_map_lookup(&direct_counts, &why);
	if (n)
		++*n;
	return what;
}

/* The queue that a WireGuard message is for: the lowest byte of the receiver's index
 * in it. An initiation has none, and is the first queue's. */
INLINE __u32 named(__u8 *message, void *end)
{
	if ((void *)(message + 12) > end)
		return 0;
	switch (message[0]) {
	case 2:
		return message[8];
	case 3:
	case 4:
		return message[4];
	}
	return 0;
}

/* TO_SOCKET for the queue's own, OTHER_QUEUE or NO_MATCH. */
INLINE int chosen(void *data, void *end, __u32 queue)
{
	struct ethhdr *eth = data;
	struct ip6hdr *ip = (void *)(eth + 1);
	if ((void *)(ip + 1) > end || eth->proto != CHTONS(ETH_P_IPV6))
		return NO_MATCH;
	if (direct_by_prefix && ip->next != IPPROTO_ICMPV6) {
		struct direct_prefix key = { .bits = 128, .addr = ip->dst };
		__u16 *lead = bpf_map_lookup(&prefixes, &key);
		if (lead)
			return *lead == ANY_QUEUE || *lead == queue + 1 ? TO_SOCKET : OTHER_QUEUE;
	}
	struct udphdr *udp = (void *)(ip + 1);
	if (ip->next != IPPROTO_UDP || (void *)(udp + 1) > end)
		return NO_MATCH;
	__u32 port = ntohs(udp->dst);
	__u16 *lead = bpf_map_lookup(&udp_ports, &port);
	if (!lead || !*lead)
		return NO_MATCH;
	if (*lead == ANY_QUEUE || *lead == queue + 1)
		return TO_SOCKET;
	return *lead == BY_INDEX && named((void *)(udp + 1), end) == queue ? TO_SOCKET : OTHER_QUEUE;
}

SEC("xdp.frags")
int direct(struct xdp_md *ctx)
{
	if (!direct_all) {
		int c = chosen((void *)(long)ctx->data, (void *)(long)ctx->data_end, ctx->rx_queue_index);
		if (c != TO_SOCKET)
			return verdict(c, X_PASS);
	}
	int r = bpf_redirect_map(&sockets, ctx->rx_queue_index, X_PASS);
	return verdict(r == X_REDIRECT ? TO_SOCKET : NO_SOCKET, r);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
