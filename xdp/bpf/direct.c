//go:build ignore

/* Direction of frames to AF_XDP sockets on an ordinary NIC: what matches goes to
 * the socket of the queue on which it arrived, everything else to the kernel.
 *
 * Three ways to match: everything; a UDP destination port; a prefix of the IPv6
 * destination, for every protocol but ICMPv6 (so that neighbour discovery and
 * path MTU discovery keep working). A queue without a socket passes. */
#include "packet.h"

/* One line per outcome; order as in director.go. */
enum direct_count { TO_SOCKET, NO_MATCH, NO_SOCKET, DIRECT_COUNTS };

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
	TYPE(value, __u8);
} udp_ports SEC(".maps");

struct {
	UINT(type, MAP_LPM_TRIE);
	UINT(max_entries, 4096);
	UINT(map_flags, BPF_F_NO_PREALLOC);
	TYPE(key, struct direct_prefix);
	TYPE(value, __u8);
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

INLINE int matches(void *data, void *end)
{
	struct ethhdr *eth = data;
	struct ip6hdr *ip = (void *)(eth + 1);
	if ((void *)(ip + 1) > end || eth->proto != CHTONS(ETH_P_IPV6))
		return 0;
	if (direct_by_prefix && ip->next != IPPROTO_ICMPV6) {
		struct direct_prefix key = { .bits = 128, .addr = ip->dst };
		if (bpf_map_lookup(&prefixes, &key))
			return 1;
	}
	struct udphdr *udp = (void *)(ip + 1);
	if (ip->next != IPPROTO_UDP || (void *)(udp + 1) > end)
		return 0;
	__u32 port = ntohs(udp->dst);
	__u8 *ours = bpf_map_lookup(&udp_ports, &port);
	return ours && *ours;
}

SEC("xdp.frags")
int direct(struct xdp_md *ctx)
{
	if (!direct_all && !matches((void *)(long)ctx->data, (void *)(long)ctx->data_end))
		return verdict(NO_MATCH, X_PASS);
	int r = bpf_redirect_map(&sockets, ctx->rx_queue_index, X_PASS);
	return verdict(r == X_REDIRECT ? TO_SOCKET : NO_SOCKET, r);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
