/* What our programs need from the kernel's eBPF interface, and nothing else:
 * written out here (numbers and layouts are the kernel's user-space ABI, see
 * include/uapi/linux/bpf.h) so that generating needs clang and no header
 * package, and so that the same bytes come out on every machine. */
#ifndef DSSN_KERNEL_H
#define DSSN_KERNEL_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef long long __s64;
typedef int __s32;
typedef __u16 __be16;
typedef __u32 __be32;

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define barrier() asm volatile("" ::: "memory")

/* Map declarations for BTF. */
#define UINT(name, val) int(*name)[val]
#define TYPE(name, val) typeof(val) *name
#define ARRAY_OF(name, val) typeof(val) *name[]

enum {
	MAP_HASH = 1,
	MAP_ARRAY = 2,
	MAP_PROG_ARRAY = 3,
	MAP_PERCPU_HASH = 5,
	MAP_PERCPU_ARRAY = 6,
	MAP_LPM_TRIE = 11,
	MAP_ARRAY_OF_MAPS = 12,
	MAP_DEVMAP = 14,
	MAP_XSKMAP = 17,
};

#define BPF_F_NO_PREALLOC 1

/* Byte order: every target of ours is little endian. */
#define htons(x) __builtin_bswap16(x)
#define ntohs(x) __builtin_bswap16(x)
#define htonl(x) __builtin_bswap32(x)
#define ntohl(x) __builtin_bswap32(x)
#define CHTONS(x) ((__be16)((((x) & 0xff) << 8) | (((x) >> 8) & 0xff)))

/* The packet buffer as a traffic-control program sees it (first fields). */
struct __sk_buff {
	__u32 len, pkt_type, mark, queue_mapping, protocol;
	__u32 vlan_present, vlan_tci, vlan_proto, priority;
	__u32 ingress_ifindex, ifindex, tc_index, cb[5], hash, tc_classid;
	__u32 data, data_end;
};

/* The frame as an XDP program sees it. */
struct xdp_md {
	__u32 data, data_end, data_meta;
	__u32 ingress_ifindex, rx_queue_index, egress_ifindex;
};

enum { TC_OK = 0, TC_SHOT = 2 };
enum { X_ABORTED = 0, X_DROP, X_PASS, X_TX, X_REDIRECT };

struct redir_neigh {
	__u32 family;
	__u32 nexthop[4];
};

/* A question to the kernel's routes, and the answer (struct bpf_fib_lookup). */
struct fib_lookup {
	__u8 family, l4_protocol;
	__be16 sport, dport;
	__u16 tot_len;
	__u32 ifindex; /* of arrival; then of departure */
	__be32 flowinfo;
	__be32 src[4], dst[4]; /* dst: then of the next hop */
	__be16 vlan_proto, vlan_tci;
	__u8 smac[6], dmac[6];
};

enum { FIB_SUCCESS = 0, FIB_NO_NEIGH = 7, FIB_FRAG_NEEDED = 8 };

/* Helper calls by their number. */
static void *(*bpf_map_lookup)(void *map, const void *key) = (void *)1;
static __u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static __u32 (*bpf_smp_processor_id)(void) = (void *)8;
static long (*bpf_tail_call)(void *ctx, void *map, __u32 index) = (void *)12;
static long (*bpf_redirect)(__u32 ifindex, __u64 flags) = (void *)23;
static long (*bpf_skb_pull_data)(struct __sk_buff *skb, __u32 len) = (void *)39;
static long (*bpf_xdp_adjust_head)(struct xdp_md *xdp, int delta) = (void *)44;
static long (*bpf_redirect_map)(void *map, __u64 key, __u64 flags) = (void *)51;
static long (*bpf_xdp_adjust_tail)(struct xdp_md *xdp, int delta) = (void *)65;
static long (*bpf_fib_lookup)(void *ctx, struct fib_lookup *p, int plen, __u32 flags) = (void *)69;
static long (*bpf_redirect_neigh)(__u32 ifindex, struct redir_neigh *p, int plen, __u64 flags) = (void *)152;
static __u64 (*bpf_ktime_get_coarse_ns)(void) = (void *)160;
static __u64 (*bpf_xdp_get_buff_len)(struct xdp_md *xdp) = (void *)188;

#endif
