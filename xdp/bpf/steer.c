//go:build ignore

/* Steering below the socket: packets leaving an interface whose IPv6
 * destination is a key of the map get the carrier found there instead.
 *
 *	socket: UDP to 5f00:d55:3::        checksum over 5f00:d55:3::
 *	  └─ tc egress (here): dst := 5f00:d55:2:3::, checksum untouched
 *	       └─ node 2 shifts: dst = 5f00:d55:3::, the checksum is right again
 *
 * RFC 9800 section 6.5: the checksum of the upper layer covers the final
 * destination. Leaving it alone is therefore right for finished checksums, for
 * ones a NIC will complete (the pseudo-header sum already counts the final
 * destination) and for the segments a NIC or the kernel will cut from it. */
#include "packet.h"

struct steer_key {
	union addr6 dst;
};

struct steer_to {
	union addr6 carrier;
	/* The interface of the first hop, when it is not where the route to the
	 * final destination leads; 0: follow that route. Next hop ::, the host's
	 * route to the carrier by that interface decides. */
	__u32 ifindex;
	__u32 nexthop[4];
	/* Not zero: the table of lanes may know better for some source ports. */
	__u32 lanes;
};

/* A lane of a tunnel: told from the others by its UDP source port. */
struct steer_lane {
	union addr6 dst;
	__u32 sport; /* as in the header, in the lower 16 bits */
};

/* One line per outcome; order as in steer.go. */
enum steer_count { STEERED, STEERED_VIA, NOT_UDP, NO_CARRIER, NOT_IPV6, TOO_SHORT, STEER_COUNTS };

struct steer_tally {
	__u64 packets, bytes;
};

struct {
	UINT(type, MAP_HASH);
	UINT(max_entries, 65536);
	UINT(map_flags, BPF_F_NO_PREALLOC);
	TYPE(key, struct steer_key);
	TYPE(value, struct steer_to);
} carriers SEC(".maps");

struct {
	UINT(type, MAP_HASH);
	UINT(max_entries, 65536);
	UINT(map_flags, BPF_F_NO_PREALLOC);
	TYPE(key, struct steer_lane);
	TYPE(value, union addr6);
} lanes SEC(".maps");

struct {
	UINT(type, MAP_PERCPU_ARRAY);
	UINT(max_entries, STEER_COUNTS);
	TYPE(key, __u32);
	TYPE(value, struct steer_tally);
} tallies SEC(".maps");

/* Not zero: steer every protocol, not UDP alone. */
const volatile __u32 steer_all = 0;

INLINE int tally(struct __sk_buff *skb, __u32 which)
{
	struct steer_tally *t = bpf_map_lookup(&tallies, &which);
	if (t) {
		t->packets++;
		t->bytes += skb->len;
	}
	return TC_OK;
}

SEC("tcx/egress")
int steer(struct __sk_buff *skb)
{
	if (skb->protocol != CHTONS(ETH_P_IPV6))
		return tally(skb, NOT_IPV6);

	/* Headers may lie in fragments of a segmentation-offload packet. */
	if ((void *)(long)skb->data + sizeof(struct ethhdr) + sizeof(struct ip6hdr) + 8 > (void *)(long)skb->data_end &&
	    bpf_skb_pull_data(skb, sizeof(struct ethhdr) + sizeof(struct ip6hdr) + 8) &&
	    bpf_skb_pull_data(skb, sizeof(struct ethhdr) + sizeof(struct ip6hdr)))
		return tally(skb, TOO_SHORT);
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	struct ip6hdr *ip = (void *)(eth + 1);
	if ((void *)(ip + 1) > end)
		return tally(skb, TOO_SHORT);
	if (eth->proto != CHTONS(ETH_P_IPV6))
		return tally(skb, NOT_IPV6);

	struct steer_to *to = bpf_map_lookup(&carriers, &ip->dst);
	if (!to)
		return tally(skb, NO_CARRIER);

	__u8 next = ip->next;
	if (next == IPPROTO_FRAGMENT) {
		/* Every fragment names the protocol; steer them all alike. */
		__u8 *frag = (void *)(ip + 1);
		if ((void *)(frag + 8) > end)
			return tally(skb, TOO_SHORT);
		next = *frag;
	}
	if (next != IPPROTO_UDP && !steer_all)
		return tally(skb, NOT_UDP);

	if (to->lanes && ip->next == IPPROTO_UDP) {
		__u16 *ports = (void *)(ip + 1);
		if ((void *)(ports + 1) > end)
			return tally(skb, TOO_SHORT);
		struct steer_lane key = { .dst = ip->dst, .sport = *ports };
		union addr6 *carrier = bpf_map_lookup(&lanes, &key);
		if (carrier) {
			ip->dst = *carrier;
			return tally(skb, STEERED);
		}
	}

	ip->dst = to->carrier;
	if (!to->ifindex)
		return tally(skb, STEERED);

	struct redir_neigh via = { .family = AF_INET6 };
	for (int i = 0; i < 4; i++)
		via.nexthop[i] = to->nexthop[i];
	tally(skb, STEERED_VIA);
	if (!(via.nexthop[0] | via.nexthop[1] | via.nexthop[2] | via.nexthop[3]))
		return bpf_redirect_neigh(to->ifindex, 0, 0, 0);
	return bpf_redirect_neigh(to->ifindex, &via, sizeof via, 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
