//go:build ignore

/* Programs for measuring: a generator that sends live frames (BPF_PROG_RUN), a
 * sink that counts and drops, and a bare redirect, which is the most that any
 * forwarding in the driver can be compared with. */
#include "packet.h"

#define HEAD 72
#define VARIANTS 1024

struct perf_head {
	__u64 words[HEAD / 8];
};

struct perf_tally {
	__u64 packets, bytes;
};

struct {
	UINT(type, MAP_ARRAY);
	UINT(max_entries, VARIANTS);
	TYPE(key, __u32);
	TYPE(value, struct perf_head);
} heads SEC(".maps");

/* How far the generator is. The kernel needs tens of milliseconds to begin and to
 * end a run of live frames, so one run lasts long and keeps its own pace: a frame
 * that is not due is dropped and comes back at once. */
struct perf_pace {
	__u64 sent, limit;
	__u64 interval; /* between frames in 1/1024 ns; 0: none */
	__u64 due;      /* of the next frame, likewise */
};

struct {
	UINT(type, MAP_ARRAY);
	UINT(max_entries, 1);
	TYPE(key, __u32);
	TYPE(value, struct perf_pace);
} pace SEC(".maps");

struct {
	UINT(type, MAP_DEVMAP);
	UINT(max_entries, 1);
	UINT(key_size, 4);
	UINT(value_size, 4);
} out SEC(".maps");

struct {
	UINT(type, MAP_PERCPU_ARRAY);
	UINT(max_entries, 2);
	TYPE(key, __u32);
	TYPE(value, struct perf_tally);
} sunk SEC(".maps");

const volatile __u32 variants = 1; /* a power of two */
const volatile __u32 only_ipv6 = 0;
const volatile __u64 match_first = 0; /* of the IPv6 destination, the first 8 bytes */
const volatile __u64 match_mask = 0;

/* A live frame comes back with what its receivers did to it: write its head anew
 * each time. */
SEC("xdp")
int generate(struct xdp_md *ctx)
{
	__u32 zero = 0, which;
	__u64 *data = (void *)(long)ctx->data;
	struct perf_pace *p = bpf_map_lookup(&pace, &zero);
	if (!p || (void *)data + HEAD - 8 > (void *)(long)ctx->data_end)
		return X_ABORTED;
	if (p->sent >= p->limit)
		return X_DROP;
	if (p->interval) {
		__u64 now = bpf_ktime_get_ns() << 10;
		if (now < p->due)
			return X_DROP;
		/* Catch up to a millisecond, no more. */
		__u64 from = now - p->due > 1000000 << 10 ? now : p->due;
		p->due = from + p->interval;
	}
	which = p->sent++ & (variants - 1);
	struct perf_head *h = bpf_map_lookup(&heads, &which);
	if (!h)
		return X_ABORTED;
#pragma unroll
	for (int i = 0; i < HEAD / 8 - 1; i++)
		data[i] = h->words[i];
	if ((void *)data + HEAD <= (void *)(long)ctx->data_end)
		data[HEAD / 8 - 1] = h->words[HEAD / 8 - 1];
	return bpf_redirect_map(&out, 0, 0);
}

/* Counts what matches in line 0 and passes the rest. */
SEC("xdp")
int sink(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct ip6hdr *ip = (void *)(eth + 1);
	__u32 line = 0;
	if (only_ipv6 && ((void *)(ip + 1) > end || eth->proto != CHTONS(ETH_P_IPV6) ||
			  (WORD64(ip->dst.b) & match_mask) != match_first))
		line = 1;
	struct perf_tally *t = bpf_map_lookup(&sunk, &line);
	if (!t)
		return X_ABORTED;
	t->packets++;
	t->bytes += end - data;
	return line ? X_PASS : X_DROP;
}

SEC("tcx/ingress")
int sink_skb(struct __sk_buff *skb)
{
	__u32 line = 0;
	if (only_ipv6 && skb->protocol != CHTONS(ETH_P_IPV6))
		line = 1;
	struct perf_tally *t = bpf_map_lookup(&sunk, &line);
	if (!t)
		return TC_OK;
	t->packets++;
	t->bytes += skb->len;
	return line ? TC_OK : TC_SHOT;
}

SEC("xdp")
int bare(struct xdp_md *ctx)
{
	return bpf_redirect_map(&out, 0, 0);
}

/* The same with the least that a forwarder must do: new Ethernet addresses. */
SEC("xdp")
int bare_addressed(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;
	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return X_DROP;
	__u32 a = WORD32(eth->dst), b = WORD32(eth->src);
	__u16 c = *(__u16 *)(eth->dst + 4), d = *(__u16 *)(eth->src + 4);
	WORD32(eth->dst) = b;
	*(__u16 *)(eth->dst + 4) = d;
	WORD32(eth->src) = a;
	*(__u16 *)(eth->src + 4) = c;
	return bpf_redirect_map(&out, 0, 0);
}

/* The ports of bare_routed, by SID. */
struct {
	UINT(type, MAP_ARRAY);
	UINT(max_entries, 65536);
	TYPE(key, __u32);
	TYPE(value, __u32);
} ways SEC(".maps");

/* The least of a router: where a frame goes depends on what stands in it, so nothing
 * can be done about it before its header has come from the CPU that sent it. */
SEC("xdp")
int bare_routed(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;
	struct ip6hdr *ip = (void *)(eth + 1);
	if ((void *)(ip + 1) > (void *)(long)ctx->data_end)
		return X_DROP;
	__u32 sid = ntohs(ip->dst.h[3]);
	__u32 *way = bpf_map_lookup(&ways, &sid);
	if (!way)
		return X_DROP;
	WORD32(eth->dst) = sid;
	return bpf_redirect_map(&out, *way, 0);
}

/* Only there so that frames redirected to this device are received by its NAPI. */
SEC("xdp")
int pass(struct xdp_md *ctx)
{
	return X_PASS;
}

SEC("xdp")
int drop(struct xdp_md *ctx)
{
	return X_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
