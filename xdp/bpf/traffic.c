//go:build ignore

/* Test traffic with a number and a time in every frame: `stream` sends it as live
 * frames (BPF_PROG_RUN), `count` takes it out on arrival and accounts for each
 * stream: loss, order, duplicates, delay and its variation. The Go twin of the
 * accounting is perf/gen's Tracker. */
#include "packet.h"

#define HEAD 128    /* bytes of a frame that are written anew each time */
#define HEADS 65536 /* in all */
#define STREAMS 16
#define WINDOW 65536 /* numbers that are remembered, to tell a duplicate */
#define DEBT (100000000ULL << 10) /* 100 ms */
#define SLACK (2000000ULL << 10) /* 2 ms */
#define BUCKETS 27648 /* HDR: 1 ns to 68 s, three digits */

/* The signature, 18 bytes on an even offset of the payload:
 *
 *	0       2       4        5               10           18
 *	| magic | clock | stream | number (40 b) | time (TAI ns) |
 */
#define SIGNATURE 18
#define MAGIC 0xd55e

struct traffic_head {
	__u64 words[HEAD / 8];
	__u32 len;   /* of the frame */
	__u32 sum;   /* of all that the checksum covers but number and time */
	__u16 sign;  /* offset of the signature; 0: none */
	__u16 check; /* offset of the checksum; 0: none */
	__u32 unused;
};

struct {
	UINT(type, MAP_ARRAY);
	UINT(max_entries, HEADS);
	TYPE(key, __u32);
	TYPE(value, struct traffic_head);
} traffic_heads SEC(".maps");

struct traffic_stream {
	__u64 sent, limit;
	__u64 interval; /* between frames in 1/1024 ns; 0: none */
	__u64 due;      /* of the next frame, likewise */
	__u64 soonest;  /* likewise, less a slack: a late sender makes up at twice the rate */
	__u64 behind;   /* time given up because the CPU was very late, likewise */
	__u64 worst;    /* delay of a frame, likewise */
	__u32 first, heads, next; /* of traffic_heads: where, how many, whose turn */
	__u32 burst, left;        /* frames back to back, and how many of them are still to go */
	__u32 unused;
};

struct {
	UINT(type, MAP_ARRAY);
	UINT(max_entries, STREAMS);
	TYPE(key, __u32);
	TYPE(value, struct traffic_stream);
} traffic_streams SEC(".maps");

struct traffic_port {
	__u64 task;    /* that runs `stream` */
	__u64 refused; /* frames that the port had no room for */
	__u64 now;     /* CLOCK_MONOTONIC as last read */
	__u64 tai;     /* from there to CLOCK_TAI */
	__u32 turn, stop;
	__u32 runs, settled; /* of `stream`; tai is known */
};

struct {
	UINT(type, MAP_ARRAY);
	UINT(max_entries, 1);
	TYPE(key, __u32);
	TYPE(value, struct traffic_port);
} traffic_port SEC(".maps");

struct {
	UINT(type, MAP_DEVMAP);
	UINT(max_entries, 1);
	UINT(key_size, 4);
	UINT(value_size, 4);
} traffic_out SEC(".maps");

const volatile __u32 streams = 1;
const volatile __u32 paced = 1;

static __u64 (*bpf_get_current_task)(void) = (void *)35;
static __u64 (*bpf_ktime_get_tai_ns)(void) = (void *)208;
static long (*bpf_spin_lock)(void *lock) = (void *)93;
static long (*bpf_spin_unlock)(void *lock) = (void *)94;

/* Reading a clock is a fifth of a frame's cost. Paced frames need the time for their
 * schedule and are stamped with it; in a flood, four frames share a stamp, less than a
 * microsecond old. The distance to TAI is taken anew now and then, and only
 * if nothing came between the readings. */
INLINE void read_clocks(struct traffic_port *port)
{
	__u32 run = port->runs++;
	if (paced || !(run & 3))
		port->now = bpf_ktime_get_ns();
	if (run & 1023 && port->settled)
		return;
	__u64 before = bpf_ktime_get_ns(), tai = bpf_ktime_get_tai_ns();
	int calm = bpf_ktime_get_ns() - before < 1000;
	if (calm || !port->settled)
		port->tai = tai - before;
	if (calm)
		port->settled = 1;
}

/* n bytes at a variable offset, or nothing. The compiler must not look through: the
 * verifier wants the very pointer that was compared. */
INLINE void *at(void *data, __u32 off, __u32 n, void *end)
{
	__u8 *p = (__u8 *)data + (off & 1023);
	asm volatile("" : "+r"(p));
	return p + n <= (__u8 *)end ? p : 0;
}

SEC("xdp")
int stream(struct xdp_md *ctx)
{
	__u32 zero = 0;
	__u64 *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct traffic_port *port = bpf_map_lookup(&traffic_port, &zero);
	if (!port || (void *)data + HEAD > end)
		return X_ABORTED;
	if (port->stop)
		return X_DROP;
	if (!port->task)
		port->task = bpf_get_current_task();
	/* Whose turn is it? Everyone who is due gets one frame at a time. */
	struct traffic_stream *s = 0;
	__u32 which = port->turn;
	read_clocks(port);
	__u64 now = port->now << 10;
	for (int i = 0; i < STREAMS; i++) {
		if (i >= streams)
			return X_DROP;
		if (++which >= streams)
			which = 0;
		s = bpf_map_lookup(&traffic_streams, &which);
		if (!s)
			return X_ABORTED;
		if (s->sent < s->limit && (!s->interval || (now >= s->due && now >= s->soonest) || s->left))
			break;
		s = 0;
	}
	if (!s)
		return X_DROP;
	port->turn = which;
	if (s->left) {
		s->left--;
	} else if (paced && s->interval) {
		__u64 from = s->due, step = s->interval * s->burst;
		if (now - from > s->worst)
			s->worst = now - from;
		if (now - from > DEBT) {
			s->behind += now - from;
			from = now;
		}
		s->due = from + step;
		if (s->soonest + SLACK < now)
			s->soonest = now - SLACK;
		s->soonest += step / 2;
		s->left = s->burst - 1;
	}
	__u32 n = s->first + s->next;
	if (++s->next >= s->heads)
		s->next = 0;
	struct traffic_head *h = bpf_map_lookup(&traffic_heads, &n);
	if (!h)
		return X_ABORTED;
#pragma unroll
	for (int i = 0; i < 8; i++)
		data[i] = h->words[i];
	if (h->len > 64) { /* a short frame leaves its second cache line alone */
#pragma unroll
		for (int i = 8; i < HEAD / 8; i++)
			data[i] = h->words[i];
	}
	__u64 number = s->sent++, time = port->now + port->tai;
	__u32 sign = h->sign, check = h->check;
	if (sign) {
		if (sign > HEAD - SIGNATURE || check > HEAD - 2)
			return X_ABORTED;
		__u8 *p = at(data, sign, SIGNATURE, end);
		__u16 *c16 = at(data, check, 2, end);
		if (!p || !c16)
			return X_ABORTED;
		p[5] = number >> 32;
		*(__u32 *)(p + 6) = htonl((__u32)number);
		*(__u64 *)(p + 10) = __builtin_bswap64(time);
		if (check) {
			__u64 sum = h->sum + (number >> 32 & 0xff) + (number >> 16 & 0xffff) + (number & 0xffff) +
				    (time >> 48) + (time >> 32 & 0xffff) + (time >> 16 & 0xffff) + (time & 0xffff);
			sum = (sum & 0xffff) + (sum >> 16);
			sum = (sum & 0xffff) + (sum >> 16);
			__u16 c = ~sum;
			*c16 = c ? htons(c) : 0xffff;
		}
	}
	int shorter = (int)h->len - (int)(end - (void *)data);
	if (shorter < 0 && bpf_xdp_adjust_tail(ctx, shorter))
		return X_ABORTED;
	return bpf_redirect_map(&traffic_out, 0, 0);
}

/* The kernel says here how many redirected frames a port did not take. Arguments:
 * from, to, sent, drops, error. Ours are those in the name of our thread. */
SEC("raw_tp/xdp_devmap_xmit")
int refused(__u64 *args)
{
	__u32 zero = 0;
	struct traffic_port *port = bpf_map_lookup(&traffic_port, &zero);
	__s32 drops = (__s32)args[3];
	if (port && drops > 0 && port->task == bpf_get_current_task())
		__sync_fetch_and_add(&port->refused, drops);
	return 0;
}

struct bpf_spin_lock {
	__u32 val;
};

struct traffic_count {
	struct bpf_spin_lock lock;
	__u32 clocks; /* frames that another clock stamped */
	__u64 received, bytes;
	__u64 duplicates, reordered;
	__u64 late;     /* so old that they may have come before */
	__u64 negative; /* delays under zero: the clocks do not agree */
	__u64 next;     /* number after the highest seen */
	__u64 first, last; /* times of arrival, TAI */
	__u64 transit;  /* of the frame before */
	__u64 jitter;   /* RFC 3550's, 16 times */
	__u64 seen[WINDOW / 64];
};

struct {
	UINT(type, MAP_ARRAY);
	UINT(max_entries, STREAMS);
	TYPE(key, __u32);
	TYPE(value, struct traffic_count);
} traffic_counts SEC(".maps");

struct traffic_histogram {
	__u64 counts[BUCKETS];
};

/* Two for each stream: delay, and the difference from the delay before. */
struct {
	UINT(type, MAP_ARRAY);
	UINT(max_entries, 2 * STREAMS);
	TYPE(key, __u32);
	TYPE(value, struct traffic_histogram);
} traffic_histograms SEC(".maps");

const volatile __u32 own_clock = 0;

INLINE void record(__u32 which, __u64 v)
{
	struct traffic_histogram *h = bpf_map_lookup(&traffic_histograms, &which);
	if (!h)
		return;
	if (v > (1ULL << 36) - 1)
		v = (1ULL << 36) - 1;
	__u32 shift = 0;
	__u64 top = v >> 11;
	if (top >> 16) {
		shift += 16;
		top >>= 16;
	}
	if (top >> 8) {
		shift += 8;
		top >>= 8;
	}
	if (top >> 4) {
		shift += 4;
		top >>= 4;
	}
	if (top >> 2) {
		shift += 2;
		top >>= 2;
	}
	shift += top >> 1 ? 2 : top;
	__u32 at = shift * 1024 + (__u32)(v >> (shift & 31));
	if (at < BUCKETS)
		__sync_fetch_and_add(&h->counts[at], 1);
}

SEC("xdp")
int count(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u8 *p;
	__u32 off = 14;
	if (data + 14 + 20 > end)
		return X_PASS;
	__be16 proto = *(__be16 *)(data + 12);
	if (proto == CHTONS(ETH_P_8021Q)) {
		proto = *(__be16 *)(data + 16);
		off = 18;
	}
	__u8 next;
	if (proto == CHTONS(ETH_P_IPV6)) {
		if (!(p = at(data, off, 40, end)))
			return X_PASS;
		next = p[6];
		off += 40;
		if (next == IPPROTO_ROUTING) {
			if (!(p = at(data, off, 8, end)))
				return X_PASS;
			next = p[0];
			off += 8 + (__u32)(p[1] & 31) * 8;
		}
	} else if (proto == CHTONS(0x0800)) {
		if (!(p = at(data, off, 20, end)))
			return X_PASS;
		next = p[9];
		off += (p[0] & 15) * 4;
	} else {
		return X_PASS;
	}
	if (!(p = at(data, off, 16, end)))
		return X_PASS;
	if (next == IPPROTO_UDP)
		off += 8;
	else if (next == IPPROTO_TCP)
		off += (p[12] >> 4) * 4;
	else
		return X_PASS;
	if (!(p = at(data, off, SIGNATURE, end)))
		return X_PASS;
	if (*(__be16 *)p != CHTONS(MAGIC)) {
		/* WireGuard's data message: 4, 0, 0, 0, receiver, counter. */
		if (next != IPPROTO_UDP || *(__u32 *)p != 4)
			return X_PASS;
		if (!(p = at(data, off + 16, SIGNATURE, end)) || *(__be16 *)p != CHTONS(MAGIC))
			return X_PASS;
	}
	__u32 which = p[4];
	struct traffic_count *s = bpf_map_lookup(&traffic_counts, &which);
	if (!s)
		return X_PASS;
	__u64 number = (__u64)p[5] << 32 | ntohl(*(__u32 *)(p + 6));
	__u64 sent = __builtin_bswap64(*(__u64 *)(p + 10)), now = bpf_ktime_get_tai_ns();
	__u32 clock = ntohs(*(__be16 *)(p + 2)), len = end - data;
	__s64 transit = now - sent;
	__u64 delay = transit < 0 ? 0 : transit, varied = 0;
	int fresh = 1, first;

	bpf_spin_lock(&s->lock);
	if (number >= s->next) {
		__u64 word = (s->next + 63) >> 6, last = number >> 6;
		if (last - word < 1ULL << 63 && last - word >= WINDOW / 64)
			word = last - (WINDOW / 64 - 1);
		for (int i = 0; i < WINDOW / 64 && word <= last; i++, word++)
			s->seen[word & (WINDOW / 64 - 1)] = 0;
		s->seen[number >> 6 & (WINDOW / 64 - 1)] |= 1ULL << (number & 63);
		s->next = number + 1;
	} else if (s->next - number > WINDOW - 64) {
		s->late++;
		fresh = 0;
	} else if (s->seen[number >> 6 & (WINDOW / 64 - 1)] >> (number & 63) & 1) {
		s->duplicates++;
		fresh = 0;
	} else {
		s->seen[number >> 6 & (WINDOW / 64 - 1)] |= 1ULL << (number & 63);
		s->reordered++;
	}
	first = !s->received;
	if (fresh) {
		s->received++;
		s->bytes += len;
		if (first)
			s->first = now;
		s->last = now;
		if (transit < 0)
			s->negative++;
		if (clock != own_clock)
			s->clocks++;
		varied = transit > (__s64)s->transit ? transit - s->transit : s->transit - transit;
		if (!first)
			s->jitter += varied - (s->jitter >> 4);
		s->transit = transit;
	}
	bpf_spin_unlock(&s->lock);
	if (fresh) {
		record(2 * which, delay);
		if (!first)
			record(2 * which + 1, varied);
	}
	return X_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
