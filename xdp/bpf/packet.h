/* The headers our programs read, as they stand on the wire. */
#ifndef DSSN_PACKET_H
#define DSSN_PACKET_H

#include "kernel.h"

#define ETH_P_IPV6 0x86dd
#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88a8

#define IPPROTO_HOPOPTS 0
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_ROUTING 43
#define IPPROTO_FRAGMENT 44
#define IPPROTO_ICMPV6 58
#define IPPROTO_NONE 59
#define IPPROTO_DSTOPTS 60

#define AF_INET6 10

struct ethhdr {
	__u8 dst[6], src[6];
	__be16 proto;
} __attribute__((packed));

struct vlanhdr {
	__be16 tci, proto;
} __attribute__((packed));

union addr6 {
	__u8 b[16];
	__be16 h[8];
	__be32 w[4];
};

struct ip6hdr {
	__be32 flow; /* version 4, traffic class 8, flow label 20 */
	__be16 payload_len;
	__u8 next, hops;
	union addr6 src, dst;
};

/* Every target of ours reads unaligned words; say so where it is done. */
#define WORD64(p) (*(__u64 *)(p))
#define WORD32(p) (*(__u32 *)(p))

struct udphdr {
	__be16 src, dst, len, check;
};

#endif
