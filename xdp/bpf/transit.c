//go:build ignore

/* Transit of NEXT-CSID carriers inside the driver.
 *
 *	Ethernet (one VLAN tag or none, as this interface is set up) / IPv6
 *	  destination outside our block ................. kernel
 *	  first SID another node's ...................... forward
 *	  first SID ours, more behind it ................ shift, forward
 *	  first SID ours and the last: arrived
 *	      WireGuard transport message ............... AF_XDP socket of the queue
 *	      everything else (handshakes, ICMPv6, BGP) . kernel
 *
 *	bytes    0        4     6     8                       16
 *	        ┌────────┬─────┬─────┬─────┬─────┬─────┬─────┐
 *	        │ block  │ our │ nxt │  …  │     │     │  0  │
 *	        └────────┴─────┴─────┴─────┴─────┴─────┴─────┘
 *	                    ◄── the rest moves two bytes ──
 *
 * While no process watches the links (its guard is gone, see below), the kernel's own
 * routes are asked for each packet instead: they follow the carriers of links by
 * themselves, to the backup if need be. That is slower, and still in the driver.
 *
 * To forward: hop limit, next SID in the table of routes, its adjacency or the
 * backup while that is down, packet size, policer, counters, Ethernet header,
 * redirect. What needs an ICMPv6 error goes to the kernel, shifted already, so
 * that the kernel's ordinary routes lead it to the same error. */
#include "packet.h"

#define SIDS 65536
#define ADJACENCIES 4096
#define TAGS 4096 /* reservations metered here at one time */
#define CLASSES 4

/* What became of a frame: one of these for every frame, never two. */
enum verdict {
	FORWARDED_SHIFTED,
	FORWARDED_PLAIN,
	FORWARDED_REPAIRED,
	TO_SOCKET,
	KERNEL_NOT_IPV6,
	KERNEL_NO_INGRESS,    /* this interface is not set up for transit */
	KERNEL_OTHER_HOST,    /* another station's frame, or a group's */
	KERNEL_OTHER_VLAN,
	KERNEL_VLAN_STACKED,
	KERNEL_NOT_CARRIER,
	KERNEL_LOCAL,
	KERNEL_HOP_BY_HOP,    /* every node must look at these options */
	KERNEL_HOP_LIMIT,     /* it answers Time Exceeded */
	KERNEL_TOO_BIG,       /* it answers Packet Too Big */
	KERNEL_NO_ROUTE,      /* it answers Destination Unreachable */
	DROPPED_TRUNCATED,
	DROPPED_VERSION,
	DROPPED_SOURCE,       /* a source that no router may forward */
	DROPPED_SPOOFED,      /* a terminal's link, and not that terminal's address */
	DROPPED_LOOP,         /* our SID twice in a row */
	DROPPED_LINKS_DOWN,   /* adjacency and backup */
	DROPPED_POLICED,
	DROPPED_NO_PORT,      /* the adjacency's interface is gone */
	DROPPED_NO_HEADROOM,  /* no room for a VLAN tag */
	VERDICTS,
};

struct transit_tally {
	__u64 packets, bytes;
};

/* An interface on which carriers arrive. */
struct transit_ingress {
	__u8 mac[6];
	__be16 vlan;  /* the one tag that frames carry; 0: none */
	__u64 source; /* first half of the only source allowed; 0: any */
};

/* A route: numbers of the adjacency and its backup, 0 for none. */
struct transit_route {
	__u16 via, backup;
};

struct transit_adjacency {
	__u8 dst[6], src[6]; /* as they stand in the Ethernet header */
	__be16 vlan;
	__u16 mtu; /* longest IPv6 packet, header included */
	__u32 port; /* in the device map */
	__u32 down; /* not 0: take the backup */
};

/* A policer, as the virtual clock of ITU-T I.371: the time at which the bucket
 * would be full again, in ticks of 1/64 ns. One word, so one compare-and-swap. A
 * line of the cache each: what one CPU writes, others read. */
struct transit_meter {
	__u64 full_at;
	__u64 cost;   /* ticks for a byte, times 2^20; 0: no meter here */
	__u64 burst;  /* ticks that the bucket holds */
	__u64 source; /* first half of the source that the tag belongs to; 0: any */
	__u64 owner;  /* whose it is; only for who reads the table */
	__u32 lease;  /* bytes that a CPU draws ahead */
	__u16 overhead; /* bytes of a packet that are not the payer's */
	__u8 action;  /* on packets that exceed it */
	__u8 remark;  /* traffic class byte for METER_REMARK */
	__u64 reserved;
};

enum meter_action { METER_DROP, METER_REMARK, METER_COUNT };

/* What a CPU counted of a meter, and what it has left of its last lease. */
struct transit_usage {
	__u64 packets, bytes, over_packets, over_bytes;
	__u64 foreign; /* packets with the tag and another source: not metered */
	__u64 left;
};

/* By interface index: an array, because a hash costs some ten nanoseconds of the
 * three hundred that a packet has. All zero: no carriers come in here. */
struct {
	UINT(type, MAP_ARRAY);
	UINT(max_entries, 65536);
	TYPE(key, __u32);
	TYPE(value, struct transit_ingress);
} ingress SEC(".maps");

struct route_table {
	UINT(type, MAP_ARRAY);
	UINT(max_entries, SIDS);
	UINT(key_size, 4);
	UINT(value_size, sizeof(struct transit_route));
};

/* Replaced as a whole: a packet sees the old table or the new one. */
struct {
	UINT(type, MAP_ARRAY_OF_MAPS);
	UINT(max_entries, 1);
	UINT(key_size, 4);
	UINT(value_size, 4);
	ARRAY_OF(values, struct route_table);
} routes SEC(".maps");

struct {
	UINT(type, MAP_ARRAY);
	UINT(max_entries, ADJACENCIES);
	TYPE(key, __u32);
	TYPE(value, struct transit_adjacency);
} adjacencies SEC(".maps");

struct {
	UINT(type, MAP_DEVMAP);
	UINT(max_entries, 256);
	UINT(key_size, 4);
	UINT(value_size, 4);
} ports SEC(".maps");

struct {
	UINT(type, MAP_XSKMAP);
	UINT(max_entries, 256);
	UINT(key_size, 4);
	UINT(value_size, 4);
} edge_sockets SEC(".maps");

/* One socket of the process that watches over links and neighbours. The kernel takes
 * it out of the map when the process ends, however it ends; looking costs a load. */
struct {
	UINT(type, MAP_XSKMAP);
	UINT(max_entries, 1);
	UINT(key_size, 4);
	UINT(value_size, 4);
} guard SEC(".maps");

struct {
	UINT(type, MAP_ARRAY);
	UINT(max_entries, TAGS *CLASSES);
	TYPE(key, __u32);
	TYPE(value, struct transit_meter);
} meters SEC(".maps");

struct {
	UINT(type, MAP_PERCPU_ARRAY);
	UINT(max_entries, TAGS *CLASSES);
	TYPE(key, __u32);
	TYPE(value, struct transit_usage);
} usage SEC(".maps");

struct {
	UINT(type, MAP_PERCPU_ARRAY);
	UINT(max_entries, SIDS);
	TYPE(key, __u32);
	TYPE(value, struct transit_tally);
} sid_tallies SEC(".maps");

struct {
	UINT(type, MAP_PERCPU_ARRAY);
	UINT(max_entries, VERDICTS);
	TYPE(key, enum verdict);
	TYPE(value, __u64);
} verdicts SEC(".maps");

/* Who we are, constants of the loaded program: comparing with them costs no load. */
const volatile __be32 our_block = 0;
const volatile __be16 our_sid = 0;
const volatile __be16 wireguard_port = 0; /* 0: nothing goes to sockets */

/* Switches for measuring what each part costs; the verifier removes what is
 * switched off. */
const volatile __u32 with_counters = 1;
const volatile __u32 with_meters = 1;
const volatile __u32 with_repair = 1;

/* The class that a DSCP stands for: EF assured, AF3x elastic, AF1x bulk, all
 * else background. */
INLINE __u32 class_of(__u32 dscp)
{
	__u32 group = dscp >> 3;
	return group == 5 ? 3 : group == 3 ? 2 : group == 1 ? 1 : 0;
}

/* Whether the bucket has no room at a time; otherwise it is filled by add. */
INLINE int overflows(struct transit_meter *m, __u64 add, __u64 now)
{
#pragma unroll
	for (int try = 0; try < 4; try++) {
		__u64 seen = *(volatile __u64 *)&m->full_at;
		__u64 from = seen > now ? seen : now;
		if (from + add - now > m->burst)
			return 1;
		if (__sync_val_compare_and_swap(&m->full_at, seen, from + add) == seen)
			return 0;
	}
	/* Four other CPUs came first: in favour of the payer. */
	return 0;
}

/* Whether n bytes, more than the CPU has left, exceed the policer now. It draws a
 * lease with them, or only what is missing, at the coarse clock, which ticks every few
 * milliseconds, costs little and is never ahead: what has room by it has room. Only
 * who finds none there pays for the exact one. Not inlined: one packet in a lease
 * comes here. */
static __attribute__((noinline)) int exceeds(struct transit_meter *m, struct transit_usage *u, __u32 n)
{
	if (!m || !u)
		return 0;
	__u64 missing = n - u->left, now = bpf_ktime_get_coarse_ns() << 6;
	if (m->lease && !overflows(m, ((missing + m->lease) * m->cost) >> 20, now)) {
		u->left = m->lease;
		return 0;
	}
	__u64 add = (missing * m->cost) >> 20;
	if (overflows(m, add, now) && overflows(m, add, bpf_ktime_get_ns() << 6))
		return 1;
	u->left = 0;
	return 0;
}

/* Meters one packet; not 0 when it must not pass. A tag that comes from another
 * source than its owner is counted and takes nothing from the owner. */
INLINE int metered(struct ip6hdr *ip, __u32 bytes)
{
	__u32 flow = ntohl(ip->flow);
	__u32 tag = flow & 0xfffff;
	if (!tag || tag >= TAGS)
		return 0;
	__u32 key = tag * CLASSES + class_of(flow >> 22 & 0x3f);
	struct transit_meter *m = bpf_map_lookup(&meters, &key);
	if (!m || !m->cost)
		return 0;
	struct transit_usage *u = bpf_map_lookup(&usage, &key);
	if (!u)
		return 0;
	if (m->source && m->source != WORD64(ip->src.b)) {
		u->foreign++;
		return 0;
	}
	u->packets++;
	u->bytes += bytes;
	if (m->action == METER_COUNT)
		return 0;
	__u32 n = bytes > m->overhead ? bytes - m->overhead : 0;
	if (likely(n <= u->left)) {
		u->left -= n;
		return 0;
	}
	if (!exceeds(m, u, n))
		return 0;
	u->over_packets++;
	u->over_bytes += bytes;
	if (m->action == METER_DROP)
		return 1;
	ip->flow = htonl((flow & 0xf00fffff) | (__u32)m->remark << 20);
	return 0;
}

/* A source that must not be forwarded: group, unspecified, loopback, link-local. */
INLINE int bad_source(struct ip6hdr *ip)
{
	__u64 hi = WORD64(ip->src.b), lo = WORD64(ip->src.b + 8);
	return (hi & 0xff) == 0xff || (hi & 0xc0ff) == 0x80fe || (!hi && (lo & ~(1ULL << 56)) == 0);
}

/* Arrived: what the edge's sockets take. */
INLINE enum verdict arrived(struct xdp_md *ctx, struct ip6hdr *ip, void *end)
{
	struct udphdr *udp = (void *)(ip + 1);
	__u32 *message = (void *)(udp + 1);
	if (wireguard_port && ip->next == IPPROTO_UDP && (void *)(message + 8) <= end && udp->dst == wireguard_port && *message == 4 &&
	    bpf_redirect_map(&edge_sockets, ctx->rx_queue_index, X_PASS) == X_REDIRECT)
		return TO_SOCKET;
	return KERNEL_LOCAL;
}

/* Counts a packet towards a SID; not 0 when it must not pass. */
INLINE int counted(struct ip6hdr *ip, __u32 bytes, __u32 sid)
{
	if (with_meters && metered(ip, bytes))
		return 1;
	if (with_counters) {
		struct transit_tally *t = bpf_map_lookup(&sid_tallies, &sid);
		if (t) {
			t->packets++;
			t->bytes += bytes;
		}
	}
	return 0;
}

/* Makes the Ethernet header as long as it has to be. */
INLINE int resized(struct xdp_md *ctx, int had, int wanted)
{
	int by = had ? (int)sizeof(struct vlanhdr) : -(int)sizeof(struct vlanhdr);
	return had == wanted || !bpf_xdp_adjust_head(ctx, by);
}

/* Asks the kernel for the way of a packet, ready to be forwarded, that the table is
 * not in care of now; VERDICTS where the table has to be followed after all. A
 * function of its own, so that the ordinary packet carries none of its stack. */
static __attribute__((noinline)) enum verdict ask_kernel(struct xdp_md *ctx, __u32 tagged, __u32 sid, enum verdict verdict, struct transit_adjacency *to)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct ip6hdr *ip = data + sizeof *eth + (tagged ? sizeof(struct vlanhdr) : 0);
	if ((void *)(ip + 1) > end)
		return DROPPED_TRUNCATED;
	__u32 bytes = sizeof *ip + ntohs(ip->payload_len);
	struct fib_lookup way = {
		.family = AF_INET6, .l4_protocol = ip->next, .tot_len = bytes, .ifindex = ctx->ingress_ifindex,
		.src = { ip->src.w[0], ip->src.w[1], ip->src.w[2], ip->src.w[3] },
		.dst = { ip->dst.w[0], ip->dst.w[1], ip->dst.w[2], ip->dst.w[3] },
	};
	switch (bpf_fib_lookup(ctx, &way, sizeof way, 0)) {
	case FIB_SUCCESS:
		break;
	case FIB_FRAG_NEEDED:
		return KERNEL_TOO_BIG;
	case FIB_NO_NEIGH: /* it will ask for it */
		return KERNEL_NO_ROUTE;
	default: /* it has no routes any more: the table is better than nothing */
		return VERDICTS;
	}
	if (to && (WORD32(way.dmac) != WORD32(to->dst) || *(__u16 *)(way.dmac + 4) != *(__u16 *)(to->dst + 4)))
		verdict = FORWARDED_REPAIRED;
	if (!to)
		return KERNEL_NO_ROUTE;
	if (counted(ip, bytes, sid))
		return DROPPED_POLICED;
	ip->hops--;
	if (!resized(ctx, !!tagged, 0))
		return DROPPED_NO_HEADROOM;
	eth = (void *)(long)ctx->data;
	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return DROPPED_TRUNCATED;
	WORD32(eth->dst) = WORD32(way.dmac);
	*(__u16 *)(eth->dst + 4) = *(__u16 *)(way.dmac + 4);
	WORD32(eth->src) = WORD32(way.smac);
	*(__u16 *)(eth->src + 4) = *(__u16 *)(way.smac + 4);
	eth->proto = CHTONS(ETH_P_IPV6);
	bpf_redirect(way.ifindex, 0);
	return verdict;
}

/* The way of a frame; what the verdict says has been done to it. */
INLINE enum verdict judge(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	if ((void *)(eth + 1) > end)
		return DROPPED_TRUNCATED;

	/* Ethernet. */
	__be16 proto = eth->proto, vlan = 0;
	struct ip6hdr *ip = (void *)(eth + 1);
	if (unlikely(proto == CHTONS(ETH_P_8021Q) || proto == CHTONS(ETH_P_8021AD))) {
		struct vlanhdr *tag = (void *)(eth + 1);
		if ((void *)(tag + 1) > end)
			return DROPPED_TRUNCATED;
		if (proto == CHTONS(ETH_P_8021AD) || tag->proto == CHTONS(ETH_P_8021Q) || tag->proto == CHTONS(ETH_P_8021AD))
			return KERNEL_VLAN_STACKED;
		vlan = tag->tci & CHTONS(0x0fff);
		if (!vlan) /* a priority tag */
			return KERNEL_OTHER_VLAN;
		proto = tag->proto;
		ip = (void *)(tag + 1);
	}
	if (proto != CHTONS(ETH_P_IPV6))
		return KERNEL_NOT_IPV6;
	if ((void *)(ip + 1) > end)
		return DROPPED_TRUNCATED;

	/* Ours? */
	__u64 hi = WORD64(ip->dst.b);
	if ((__u32)hi != our_block)
		return KERNEL_NOT_CARRIER;
	__u32 key = ctx->ingress_ifindex;
	struct transit_ingress *in = bpf_map_lookup(&ingress, &key);
	if (!in || !WORD64(in))
		return KERNEL_NO_INGRESS;
	if (WORD32(eth->dst) != WORD32(in->mac) || *(__u16 *)(eth->dst + 4) != *(__u16 *)(in->mac + 4))
		return KERNEL_OTHER_HOST;
	if (vlan != in->vlan)
		return KERNEL_OTHER_VLAN;

	/* Well-formed? */
	if ((ip->flow & 0xf0) != 0x60)
		return DROPPED_VERSION;
	__u32 bytes = sizeof *ip + ntohs(ip->payload_len);
	if ((void *)ip + bytes > end && (void *)ip - data + bytes > bpf_xdp_get_buff_len(ctx))
		return DROPPED_TRUNCATED;
	if (bad_source(ip))
		return DROPPED_SOURCE;
	if (in->source && in->source != WORD64(ip->src.b))
		return DROPPED_SPOOFED;

	/* Shift. */
	__u32 first = hi >> 32 & 0xffff;
	enum verdict verdict = FORWARDED_PLAIN;
	if (first == our_sid) {
		first = hi >> 48;
		if (!first)
			return arrived(ctx, ip, end);
		if (first == our_sid)
			return DROPPED_LOOP;
		if (ip->next == IPPROTO_HOPOPTS)
			return KERNEL_HOP_BY_HOP;
		__u64 lo = WORD64(ip->dst.b + 8);
		WORD64(ip->dst.b) = (__u32)hi | (hi >> 48) << 32 | lo << 48;
		WORD64(ip->dst.b + 8) = lo >> 16;
		verdict = FORWARDED_SHIFTED;
	} else if (ip->next == IPPROTO_HOPOPTS) {
		return KERNEL_HOP_BY_HOP;
	}
	if (ip->hops <= 1)
		return KERNEL_HOP_LIMIT;

	/* Route, adjacency, backup. */
	key = 0;
	void *table = bpf_map_lookup(&routes, &key);
	if (!table)
		return KERNEL_NO_ROUTE;
	__u32 sid = ntohs(first);
	struct transit_route *route = bpf_map_lookup(table, &sid);
	if (!route || !route->via)
		return KERNEL_NO_ROUTE;
	__u32 backup = route->backup;
	key = route->via;
	struct transit_adjacency *to = bpf_map_lookup(&adjacencies, &key);
	key = 0;
	if (with_repair && unlikely(!bpf_map_lookup(&guard, &key))) {
		enum verdict asked = ask_kernel(ctx, vlan, sid, verdict, to);
		if (asked != VERDICTS)
			return asked;
	}
	if (with_repair && unlikely(!to || to->down)) {
		key = backup;
		to = key ? bpf_map_lookup(&adjacencies, &key) : 0;
		if (!to || to->down)
			return DROPPED_LINKS_DOWN;
		verdict = FORWARDED_REPAIRED;
	}
	if (!to)
		return KERNEL_NO_ROUTE;
	if (bytes > to->mtu)
		return KERNEL_TOO_BIG;

	if (counted(ip, bytes, sid))
		return DROPPED_POLICED;

	/* Away. */
	ip->hops--;
	__be16 tag = to->vlan;
	if (unlikely(vlan | tag)) {
		if (!resized(ctx, !!vlan, !!tag))
			return DROPPED_NO_HEADROOM;
		eth = (void *)(long)ctx->data;
		struct vlanhdr *h = (void *)(eth + 1);
		if ((void *)(h + 1) > (void *)(long)ctx->data_end)
			return DROPPED_TRUNCATED;
		eth->proto = CHTONS(ETH_P_IPV6);
		if (tag) {
			eth->proto = CHTONS(ETH_P_8021Q);
			h->tci = tag;
			h->proto = CHTONS(ETH_P_IPV6);
		}
	}
	WORD64(eth->dst) = WORD64(to->dst);
	WORD32(eth->dst + 8) = WORD32(to->dst + 8);
	return bpf_redirect_map(&ports, to->port, 0) == X_REDIRECT ? verdict : DROPPED_NO_PORT;
}

/* What XDP shall do with a frame of each verdict: they are in this order. */
INLINE int action_of(enum verdict v)
{
	if (v <= TO_SOCKET)
		return X_REDIRECT;
	return v < DROPPED_TRUNCATED ? X_PASS : X_DROP;
}

SEC("xdp.frags")
int transit(struct xdp_md *ctx)
{
	__u32 v = judge(ctx);
	__u64 *n = bpf_map_lookup(&verdicts, &v);
	if (n)
		++*n;
	return action_of(v);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
