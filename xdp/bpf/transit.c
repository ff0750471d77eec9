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
	__be16 vlan; /* the one tag that frames carry; 0: none */
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
 * would be full again, in ticks of 1/64 ns. One word, so one compare-and-swap. */
struct transit_meter {
	__u64 full_at;
	__u64 cost;   /* ticks for a byte, times 2^20; 0: no policer here */
	__u64 burst;  /* ticks that the bucket holds */
	__u32 action; /* of packets that exceed it */
	__u32 remark; /* traffic class byte for METER_REMARK */
};

enum meter_action { METER_DROP, METER_REMARK, METER_COUNT };

struct transit_usage {
	__u64 packets, bytes, over_packets, over_bytes;
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

INLINE int done(enum verdict v, int action)
{
	__u32 key = v;
	__u64 *n = bpf_map_lookup(&verdicts, &key);
	if (n)
		++*n;
	return action;
}

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

/* Whether n bytes exceed the policer now. The coarse clock, which ticks every few
 * milliseconds and costs little, is never ahead: what has room by it has room.
 * Only the others pay for the exact one. A full bucket thus holds up to a tick
 * more; the long-term rate is exact. */
INLINE int exceeds(struct transit_meter *m, __u32 n)
{
	__u64 add = (n * m->cost) >> 20;
	return overflows(m, add, bpf_ktime_get_coarse_ns() << 6) && overflows(m, add, bpf_ktime_get_ns() << 6);
}

/* Meters one packet; not 0 when it must not pass. */
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
	u->packets++;
	u->bytes += bytes;
	if (m->action == METER_COUNT || !exceeds(m, bytes))
		return 0;
	u->over_packets++;
	u->over_bytes += bytes;
	if (m->action == METER_DROP)
		return 1;
	ip->flow = htonl((flow & 0xf00fffff) | (m->remark & 0xff) << 20);
	return 0;
}

/* A source that must not be forwarded: group, unspecified, loopback, link-local. */
INLINE int bad_source(struct ip6hdr *ip)
{
	__u64 hi = WORD64(ip->src.b), lo = WORD64(ip->src.b + 8);
	return (hi & 0xff) == 0xff || (hi & 0xc0ff) == 0x80fe || (!hi && (lo & ~(1ULL << 56)) == 0);
}

/* Arrived: what the edge's sockets take. */
INLINE int arrived(struct xdp_md *ctx, struct ip6hdr *ip, void *end, __be16 port)
{
	struct udphdr *udp = (void *)(ip + 1);
	__u32 *message = (void *)(udp + 1);
	if (port && ip->next == IPPROTO_UDP && (void *)(message + 8) <= end && udp->dst == port && *message == 4) {
		int r = bpf_redirect_map(&edge_sockets, ctx->rx_queue_index, X_PASS);
		if (r == X_REDIRECT)
			return done(TO_SOCKET, r);
	}
	return done(KERNEL_LOCAL, X_PASS);
}

/* The kernel's way for a packet, which is not in the table's care now. */
INLINE long kernels_way(struct xdp_md *ctx, struct ip6hdr *ip, __u32 bytes, struct fib_lookup *way)
{
	way->family = AF_INET6;
	way->l4_protocol = ip->next;
	way->tot_len = bytes;
	way->ifindex = ctx->ingress_ifindex;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		way->src[i] = ip->src.w[i];
		way->dst[i] = ip->dst.w[i];
	}
	return bpf_fib_lookup(ctx, way, sizeof *way, 0);
}

SEC("xdp.frags")
int transit(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	if ((void *)(eth + 1) > end)
		return done(DROPPED_TRUNCATED, X_DROP);

	/* Ethernet. */
	__be16 proto = eth->proto, vlan = 0;
	struct ip6hdr *ip = (void *)(eth + 1);
	if (proto == CHTONS(ETH_P_8021Q) || proto == CHTONS(ETH_P_8021AD)) {
		struct vlanhdr *tag = (void *)(eth + 1);
		if ((void *)(tag + 1) > end)
			return done(DROPPED_TRUNCATED, X_DROP);
		if (proto == CHTONS(ETH_P_8021AD) || tag->proto == CHTONS(ETH_P_8021Q) || tag->proto == CHTONS(ETH_P_8021AD))
			return done(KERNEL_VLAN_STACKED, X_PASS);
		vlan = tag->tci & CHTONS(0x0fff);
		if (!vlan) /* a priority tag */
			return done(KERNEL_OTHER_VLAN, X_PASS);
		proto = tag->proto;
		ip = (void *)(tag + 1);
	}
	if (proto != CHTONS(ETH_P_IPV6))
		return done(KERNEL_NOT_IPV6, X_PASS);
	if ((void *)(ip + 1) > end)
		return done(DROPPED_TRUNCATED, X_DROP);

	/* Ours? */
	__u64 hi = WORD64(ip->dst.b), lo = WORD64(ip->dst.b + 8);
	if ((__u32)hi != our_block)
		return done(KERNEL_NOT_CARRIER, X_PASS);
	__u32 key = ctx->ingress_ifindex;
	struct transit_ingress *in = bpf_map_lookup(&ingress, &key);
	if (!in || !WORD64(in))
		return done(KERNEL_NO_INGRESS, X_PASS);
	if (WORD32(eth->dst) != WORD32(in->mac) || *(__u16 *)(eth->dst + 4) != *(__u16 *)(in->mac + 4))
		return done(KERNEL_OTHER_HOST, X_PASS);
	if (vlan != in->vlan)
		return done(KERNEL_OTHER_VLAN, X_PASS);

	/* Well-formed? */
	if ((ip->flow & 0xf0) != 0x60)
		return done(DROPPED_VERSION, X_DROP);
	__u32 bytes = sizeof *ip + ntohs(ip->payload_len);
	if ((void *)ip + bytes > end && (void *)ip - data + bytes > bpf_xdp_get_buff_len(ctx))
		return done(DROPPED_TRUNCATED, X_DROP);
	if (bad_source(ip))
		return done(DROPPED_SOURCE, X_DROP);

	/* Shift. */
	__u32 first = hi >> 32 & 0xffff;
	enum verdict verdict = FORWARDED_PLAIN;
	if (first == our_sid) {
		first = hi >> 48;
		if (!first)
			return arrived(ctx, ip, end, wireguard_port);
		if (first == our_sid)
			return done(DROPPED_LOOP, X_DROP);
		if (ip->next == IPPROTO_HOPOPTS)
			return done(KERNEL_HOP_BY_HOP, X_PASS);
		WORD64(ip->dst.b) = (__u32)hi | (hi >> 48) << 32 | lo << 48;
		WORD64(ip->dst.b + 8) = lo >> 16;
		verdict = FORWARDED_SHIFTED;
	} else if (ip->next == IPPROTO_HOPOPTS) {
		return done(KERNEL_HOP_BY_HOP, X_PASS);
	}
	if (ip->hops <= 1)
		return done(KERNEL_HOP_LIMIT, X_PASS);

	/* Route, adjacency, backup. */
	key = 0;
	void *table = bpf_map_lookup(&routes, &key);
	if (!table)
		return done(KERNEL_NO_ROUTE, X_PASS);
	__u32 sid = ntohs(first);
	struct transit_route *route = bpf_map_lookup(table, &sid);
	if (!route || !route->via)
		return done(KERNEL_NO_ROUTE, X_PASS);
	key = 0;
	struct fib_lookup way = {};
	if (with_repair && unlikely(!bpf_map_lookup(&guard, &key))) {
		switch (kernels_way(ctx, ip, bytes, &way)) {
		case FIB_SUCCESS:
			break;
		case FIB_FRAG_NEEDED:
			return done(KERNEL_TOO_BIG, X_PASS);
		case FIB_NO_NEIGH: /* it will ask for it */
			return done(KERNEL_NO_ROUTE, X_PASS);
		default: /* it has no routes any more: the table is better than nothing */
			way.ifindex = 0;
		}
	} else {
		way.ifindex = 0;
	}
	key = route->via;
	struct transit_adjacency *to = bpf_map_lookup(&adjacencies, &key);
	if (way.ifindex) {
		if (to && (WORD32(way.dmac) != WORD32(to->dst) || *(__u16 *)(way.dmac + 4) != *(__u16 *)(to->dst + 4)))
			verdict = FORWARDED_REPAIRED;
	} else if (with_repair && (!to || to->down)) {
		key = route->backup;
		to = key ? bpf_map_lookup(&adjacencies, &key) : 0;
		if (!to || to->down)
			return done(DROPPED_LINKS_DOWN, X_DROP);
		verdict = FORWARDED_REPAIRED;
	}
	if (!to)
		return done(KERNEL_NO_ROUTE, X_PASS);
	if (!way.ifindex && bytes > to->mtu)
		return done(KERNEL_TOO_BIG, X_PASS);

	/* Meter and count. */
	if (with_meters && metered(ip, bytes))
		return done(DROPPED_POLICED, X_DROP);
	if (with_counters) {
		struct transit_tally *t = bpf_map_lookup(&sid_tallies, &sid);
		if (t) {
			t->packets++;
			t->bytes += bytes;
		}
	}

	/* Away. */
	ip->hops--;
	__be16 tag = way.ifindex ? 0 : to->vlan;
	if (unlikely(!vlan != !tag)) {
		if (bpf_xdp_adjust_head(ctx, tag ? -(int)sizeof(struct vlanhdr) : (int)sizeof(struct vlanhdr)))
			return done(DROPPED_NO_HEADROOM, X_DROP);
		eth = (void *)(long)ctx->data;
		end = (void *)(long)ctx->data_end;
	}
	if ((void *)(eth + 1) + sizeof(struct vlanhdr) > end)
		return done(DROPPED_TRUNCATED, X_DROP);
	if (unlikely(way.ifindex)) {
		WORD32(eth->dst) = WORD32(way.dmac);
		*(__u16 *)(eth->dst + 4) = *(__u16 *)(way.dmac + 4);
		WORD32(eth->src) = WORD32(way.smac);
		*(__u16 *)(eth->src + 4) = *(__u16 *)(way.smac + 4);
		eth->proto = CHTONS(ETH_P_IPV6);
		return done(verdict, bpf_redirect(way.ifindex, 0));
	}
	WORD64(eth->dst) = WORD64(to->dst);
	WORD32(eth->dst + 8) = WORD32(to->dst + 8);
	if (unlikely(tag)) {
		struct vlanhdr *h = (void *)(eth + 1);
		eth->proto = CHTONS(ETH_P_8021Q);
		h->tci = tag;
		h->proto = CHTONS(ETH_P_IPV6);
	} else {
		eth->proto = CHTONS(ETH_P_IPV6);
	}
	if (bpf_redirect_map(&ports, to->port, 0) != X_REDIRECT)
		return done(DROPPED_NO_PORT, X_DROP);
	return done(verdict, X_REDIRECT);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
