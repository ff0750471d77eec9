package xdp

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Finding is one thing that was looked at on a NIC and its host.
type Finding struct {
	About  string // "zero-copy", "queues"
	Found  string // what is so
	Advice string // what to change, if anything
	Run    string // the command that changes it, if one does
}

// Examine finds out what an interface, its driver and this kernel can do for
// AF_XDP and transit, and what to change. It changes nothing. What cannot be
// found out is a finding too; an error means that there is no such interface.
func Examine(name string) ([]Finding, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("there is no interface %q: see `ip link`", name)
	}
	e := &examination{name: name, index: ifi.Index, mtu: ifi.MTU}
	if e.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return nil, explain("examining "+name, err)
	}
	defer unix.Close(e.fd)
	for _, look := range []func(){e.driver, e.sockets, e.features, e.frame, e.queues, e.offloads, e.napi, e.numa, e.interrupts, e.memory} {
		look()
	}
	return e.findings, nil
}

type examination struct {
	name       string
	index, mtu int
	fd         int
	channels   int
	veth       bool
	findings   []Finding
}

func (e *examination) add(about, found, advice, run string) {
	e.findings = append(e.findings, Finding{about, found, advice, run})
}

// sys reads a file of the interface under /sys; empty if there is none.
func (e *examination) sys(path ...string) string {
	b, _ := os.ReadFile(filepath.Join(append([]string{"/sys/class/net", e.name}, path...)...))
	return strings.TrimSpace(string(b))
}

func (e *examination) driver() {
	var u unix.Utsname
	kernel := "unknown"
	if unix.Uname(&u) == nil {
		kernel = unix.ByteSliceToString(u.Release[:])
	}
	d, err := unix.IoctlGetEthtoolDrvinfo(e.fd, e.name)
	if err != nil {
		e.add("driver", fmt.Sprintf("unknown, kernel %s", kernel), "", "")
		return
	}
	e.veth = unix.ByteSliceToString(d.Driver[:]) == "veth"
	e.add("driver", fmt.Sprintf("%s %s, kernel %s", unix.ByteSliceToString(d.Driver[:]), unix.ByteSliceToString(d.Version[:]), kernel), "", "")
}

func (e *examination) sockets() {
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		e.add("AF_XDP", "not to be had: "+err.Error(), explain("AF_XDP", err).Error()+"; without it the node runs on soft ports", "")
		return
	}
	unix.Close(fd)
	e.add("AF_XDP", "this process may open sockets", "", "")
}

func (e *examination) features() {
	f, err := QueryDevice(e.index)
	if err != nil {
		e.add("XDP", err.Error(), "", "")
		return
	}
	yes := func(about string, has bool, can, cannot, advice string) {
		if has {
			e.add(about, can, "", "")
		} else {
			e.add(about, cannot, advice, "")
		}
	}
	yes("XDP", f.Native, "native, in the driver", "generic only", "transit and sockets work, slowly: for speed use a NIC whose driver has native XDP")
	yes("redirect", f.Redirect && f.Transmit, "frames may be redirected from it and to it",
		fmt.Sprintf("from it %v, to it %v", f.Redirect, f.Transmit), "transit needs both; on veth, put XDP or GRO on the peer so that it receives redirected frames")
	yes("zero-copy", f.ZeroCopy, "the driver has it: sockets with Mode auto get it", "the driver has none: sockets copy each packet", "")
	yes("multi-buffer", f.MultiBuffer, fmt.Sprintf("jumbo frames may span buffers (zero-copy: %d)", f.ZeroCopySegments),
		"frames must fit a buffer", fmt.Sprintf("keep the MTU at or below %d", maxSingleMTU))
	var meta []string
	for n, has := range map[string]bool{"rx timestamp": f.RxTimestamp, "rx hash": f.RxHash, "rx VLAN": f.RxVLAN,
		"tx timestamp": f.TxTimestamp, "tx checksum": f.TxChecksum, "tx launch time": f.TxLaunchTime} {
		if has {
			meta = append(meta, n)
		}
	}
	sort.Strings(meta)
	if len(meta) == 0 {
		meta = []string{"none"}
	}
	e.add("metadata", strings.Join(meta, ", "), "", "")
}

// maxSingleMTU is the longest IPv6 packet that fits one 4096-byte page with the
// kernel's headroom and tail, measured on veth: 3506 bytes of frame.
const maxSingleMTU = 3506 - 14

func (e *examination) frame() {
	switch {
	case e.mtu <= 2048-256-18:
		e.add("frame size", fmt.Sprintf("MTU %d fits UMEM frames of 2048 bytes", e.mtu), "", "")
	case e.mtu <= maxSingleMTU:
		e.add("frame size", fmt.Sprintf("MTU %d needs UMEM frames of 4096 bytes", e.mtu), "", "")
	default:
		e.add("frame size", fmt.Sprintf("MTU %d spans several frames", e.mtu), "open sockets with MultiBuffer, or lower it", fmt.Sprintf("ip link set %s mtu %d", e.name, maxSingleMTU))
	}
}

func (e *examination) queues() {
	const gChannels = 0x3c // ETHTOOL_GCHANNELS: maxima of rx, tx, other, combined, then the numbers now
	w := make([]uint32, 9)
	w[0] = gChannels
	if err := ethtoolWords(e.fd, e.name, w); err != nil {
		rx, _ := filepath.Glob(filepath.Join("/sys/class/net", e.name, "queues/rx-*"))
		e.channels = max(len(rx), 1)
		e.add("queues", fmt.Sprintf("%d, not to be changed", e.channels), "", "")
		return
	}
	e.channels = int(w[8] + max(w[5], w[6]))
	most := int(w[4] + max(w[1], w[2]))
	found := fmt.Sprintf("%d of at most %d, %d CPUs", e.channels, most, runtime.NumCPU())
	if want := min(most, runtime.NumCPU()); e.channels > want && w[4] > 0 {
		e.add("queues", found, "one queue for each worker: more leave packets in queues that nobody polls", fmt.Sprintf("ethtool -L %s combined %d", e.name, want))
		return
	}
	e.add("queues", found, "", "")
}

func (e *examination) offloads() {
	get := func(question uint32) (uint32, bool) {
		w := []uint32{question, 0}
		err := ethtoolWords(e.fd, e.name, w)
		return w[1], err == nil
	}
	const gGRO, gTxChecksum, gFlags = 0x2b, 0x16, 0x25
	const flagLRO, flagRxVLAN = 1 << 15, 1 << 8
	flags, known := get(gFlags)
	if known && flags&flagLRO != 0 {
		e.add("LRO", "on", "it joins packets, which XDP must not be given", fmt.Sprintf("ethtool -K %s lro off", e.name))
	} else {
		e.add("LRO", "off", "", "")
	}
	if known && flags&flagRxVLAN != 0 {
		e.add("VLAN stripping", "on", "XDP then cannot see tags: turn it off where carriers are tagged", fmt.Sprintf("ethtool -K %s rxvlan off", e.name))
	}
	if v, ok := get(gTxChecksum); ok && v != 0 && e.veth {
		e.add("tx checksums", "left to the far end (veth)", "a local sender's packets reach AF_XDP with unfinished checksums: let the sender finish them", fmt.Sprintf("ethtool -K %s tx off", e.name))
	}
	if v, ok := get(gGRO); ok {
		e.add("GRO", map[bool]string{true: "on", false: "off"}[v != 0], "", "")
	}
}

func (e *examination) napi() {
	if e.sys("threaded") == "1" {
		e.add("NAPI", "threaded", "a poller on the worker's CPU starves it: place it on another one, or turn threads off and poll busily", fmt.Sprintf("echo 0 > /sys/class/net/%s/threaded", e.name))
	}
	hard, flush := e.sys("napi_defer_hard_irqs"), e.sys("gro_flush_timeout")
	if hard == "" {
		e.add("busy polling", "settings unknown (/sys shows another network namespace)", "", "")
		return
	}
	found := fmt.Sprintf("napi_defer_hard_irqs %s, gro_flush_timeout %s", hard, flush)
	if hard == "0" || flush == "0" {
		e.add("busy polling", found, "needed by sockets with BusyPoll, and only by them: without a busy poller they halve throughput",
			fmt.Sprintf("echo 2 > /sys/class/net/%[1]s/napi_defer_hard_irqs; echo 200000 > /sys/class/net/%[1]s/gro_flush_timeout", e.name))
		return
	}
	e.add("busy polling", found, "", "")
}

func (e *examination) numa() {
	switch node := e.sys("device", "numa_node"); node {
	case "", "-1":
		e.add("NUMA", "the device belongs to no node, or to the only one", "", "")
	default:
		n, _ := strconv.Atoi(node)
		cpus, _ := os.ReadFile(fmt.Sprintf("/sys/devices/system/node/node%d/cpulist", n))
		e.add("NUMA", fmt.Sprintf("node %d, CPUs %s", n, strings.TrimSpace(string(cpus))),
			fmt.Sprintf("place UMEM there (NUMANode: %d) and workers on those CPUs", n+1), "")
	}
}

func (e *examination) interrupts() {
	irqs, _ := filepath.Glob(filepath.Join("/sys/class/net", e.name, "device/msi_irqs/*"))
	if len(irqs) == 0 {
		e.add("interrupts", "none of its own", "", "")
		return
	}
	where := make(map[string]int)
	for _, irq := range irqs {
		b, _ := os.ReadFile(filepath.Join("/proc/irq", filepath.Base(irq), "effective_affinity_list"))
		where[strings.TrimSpace(string(b))]++
	}
	var places []string
	for cpus, n := range where {
		places = append(places, fmt.Sprintf("%d on CPU %s", n, cpus))
	}
	sort.Strings(places)
	advice, run := "", ""
	if len(where) == 1 && len(irqs) > 1 && e.channels > 1 {
		advice, run = "all are on one CPU: spread them, one for each worker", fmt.Sprintf("echo CPU > /proc/irq/%s/smp_affinity_list", filepath.Base(irqs[0]))
	}
	e.add("interrupts", strings.Join(places, ", "), advice, run)
}

func (e *examination) memory() {
	b, _ := os.ReadFile("/proc/meminfo")
	free, size := 0, 2048
	for _, l := range strings.Split(string(b), "\n") {
		fmt.Sscanf(l, "HugePages_Free: %d", &free)
		fmt.Sscanf(l, "Hugepagesize: %d kB", &size)
	}
	// The UMEM of one worker's socket with the usual rings.
	bytes := FramesFor(SocketOptions{}, e.channels, e.channels, 64) * 2048
	need := (bytes + size*1024 - 1) / (size * 1024)
	found := fmt.Sprintf("%d free of %d kB; %d queues with the usual rings want %d", free, size, e.channels, need)
	if free < need {
		e.add("huge pages", found, "without them UMEM is in ordinary pages, at some cost in speed", fmt.Sprintf("sysctl vm.nr_hugepages=%d", need))
	} else {
		e.add("huge pages", found, "", "")
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) == nil && limit.Cur < uint64(bytes) && os.Geteuid() != 0 {
		e.add("locked memory", fmt.Sprintf("%d bytes may be locked, %d are wanted", limit.Cur, bytes), "raise the limit", "ulimit -l unlimited")
	}
}
