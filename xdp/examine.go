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
	// Change is what Run does, for Apply to do; nil where it is somebody's choice.
	Change *Change
}

// Examine finds out what an interface, its driver and this kernel can do for
// AF_XDP and transit, and what to change. It changes nothing. What cannot be
// found out is a finding too; an error means that there is no such interface.
func Examine(name string) ([]Finding, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("there is no interface %q: see `ip link`", name)
	}
	e := &examination{index: ifi.Index, mtu: ifi.MTU}
	if e.nic, err = openNIC(name); err != nil {
		return nil, err
	}
	defer unix.Close(e.fd)
	for _, look := range []func(){e.driver, e.sockets, e.features, e.frame, e.queues, e.spreading, e.offloads, e.napi, e.numa, e.interrupts, e.memory} {
		look()
	}
	return e.findings, nil
}

type examination struct {
	nic
	index, mtu int
	channels   int
	veth       bool
	findings   []Finding
}

func (e *examination) add(about, found, advice, run string) {
	e.findings = append(e.findings, Finding{About: about, Found: found, Advice: advice, Run: run})
}

// change adds to the last finding what Apply shall do about it.
func (e *examination) change(setting, was, is string) {
	f := &e.findings[len(e.findings)-1]
	f.Change = &Change{f.About, setting, was, is}
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
	most, now, err := e.nic.channels()
	if err != nil {
		rx, _ := filepath.Glob(filepath.Join("/sys/class/net", e.name, "queues/rx-*"))
		e.channels = max(len(rx), 1)
		e.add("queues", fmt.Sprintf("%d, not to be changed", e.channels), "", "")
		return
	}
	const rx, tx, combined = 0, 1, 3
	e.channels = int(now[combined] + max(now[rx], now[tx]))
	top := int(most[combined] + max(most[rx], most[tx]))
	found := fmt.Sprintf("%d of at most %d, %d CPUs", e.channels, top, runtime.NumCPU())
	want := uint32(min(top, runtime.NumCPU()))
	if uint32(e.channels) <= want {
		e.add("queues", found, "", "")
		return
	}
	is, run := [4]uint32{rx: want, tx: want, 2: now[2]}, fmt.Sprintf("ethtool -L %s rx %d tx %[2]d", e.name, want)
	if most[combined] > 0 {
		is, run = [4]uint32{combined: want, 2: now[2]}, fmt.Sprintf("ethtool -L %s combined %d", e.name, want)
	}
	e.add("queues", found, "one queue for each worker: more leave packets in queues that nobody polls", run)
	e.change(settingChannels, text(now[:]...), text(is[:]...))
	e.channels = int(want)
}

// spreading is how a NIC deals flows to its queues.
func (e *examination) spreading() {
	if e.channels < 2 {
		return
	}
	if table, err := e.nic.spread(); err == nil {
		even := make([]uint32, len(table))
		uses := map[uint32]int{}
		for i := range table {
			even[i] = uint32(i % e.channels)
			uses[table[i]]++
		}
		least, most := len(table), 0
		for _, n := range uses {
			least, most = min(least, n), max(most, n)
		}
		found := fmt.Sprintf("over %d of %d queues", len(uses), e.channels)
		if len(uses) < min(e.channels, len(table)) || most-least > 1 {
			e.add("spread", found, "flows go to some queues and not to others: spread them evenly", fmt.Sprintf("ethtool -X %s equal %d", e.name, e.channels))
			e.change(settingSpread, text(table...), text(even...))
		} else {
			e.add("spread", found, "", "")
		}
	}
	if fields, err := e.nic.hash(flowUDP6); err == nil {
		if fields&hashAddressesPort != hashAddressesPort {
			e.add("UDP hash", "addresses alone decide the queue", "all tunnels between two hosts share a queue: hash the ports too", fmt.Sprintf("ethtool -N %s rx-flow-hash udp6 sdfn", e.name))
			e.change(settingUDPHash, text(fields), text(fields|hashAddressesPort))
		} else {
			e.add("UDP hash", "addresses and ports decide the queue", "", "")
		}
	}
}

func (e *examination) offloads() {
	flags, err := e.word(getFlags)
	if err == nil && flags&flagLRO != 0 {
		e.add("LRO", "on", "it joins packets, which XDP must not be given", fmt.Sprintf("ethtool -K %s lro off", e.name))
		e.change(settingFlags, text(flags), text(flags&^flagLRO))
	} else {
		e.add("LRO", "off", "", "")
	}
	if err == nil && flags&flagRxVLAN != 0 {
		e.add("VLAN stripping", "on", "XDP then cannot see tags: turn it off where carriers are tagged", fmt.Sprintf("ethtool -K %s rxvlan off", e.name))
	}
	if v, err := e.word(getTxChecksum); err == nil && v != 0 && e.veth {
		e.add("tx checksums", "left to the far end (veth)", "a local sender's packets reach AF_XDP with unfinished checksums: let the sender finish them", fmt.Sprintf("ethtool -K %s tx off", e.name))
		e.change(settingTxChecksum, text(v), text(0))
	}
	const getGRO = 0x2b
	if v, err := e.word(getGRO); err == nil {
		e.add("GRO", map[bool]string{true: "on", false: "off"}[v != 0], "", "")
	}
}

func (e *examination) napi() {
	if e.sys("threaded") == "1" {
		e.add("NAPI", "threaded", "a poller on the worker's CPU starves it: place it on another one, or turn threads off and poll busily", fmt.Sprintf("echo 0 > /sys/class/net/%s/threaded", e.name))
		e.change(filepath.Join("/sys/class/net", e.name, "threaded"), "1", "0")
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
	if len(where) > 1 || len(irqs) == 1 || e.channels < 2 {
		e.add("interrupts", strings.Join(places, ", "), "", "")
		return
	}
	// Round the CPUs; each is a change of its own.
	sort.Slice(irqs, func(i, j int) bool { return number(irqs[i]) < number(irqs[j]) })
	for i, irq := range irqs {
		file := filepath.Join("/proc/irq", filepath.Base(irq), "smp_affinity_list")
		was, _ := os.ReadFile(file)
		cpu := strconv.Itoa(i % runtime.NumCPU())
		found, advice := strings.Join(places, ", "), "all are on one CPU: spread them, one for each worker"
		if i > 0 {
			found, advice = "number "+filepath.Base(irq)+" likewise", "likewise"
		}
		e.add("interrupts", found, advice, fmt.Sprintf("echo %s > %s", cpu, file))
		e.change(file, strings.TrimSpace(string(was)), cpu)
	}
}

func number(path string) int {
	n, _ := strconv.Atoi(filepath.Base(path))
	return n
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
		const reserved = "/proc/sys/vm/nr_hugepages"
		was, _ := os.ReadFile(reserved)
		all, _ := strconv.Atoi(strings.TrimSpace(string(was)))
		e.add("huge pages", found, "without them UMEM is in ordinary pages, at some cost in speed", fmt.Sprintf("sysctl vm.nr_hugepages=%d", all+need-free))
		e.change(reserved, strconv.Itoa(all), strconv.Itoa(all+need-free))
	} else {
		e.add("huge pages", found, "", "")
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) == nil && limit.Cur < uint64(bytes) && os.Geteuid() != 0 {
		e.add("locked memory", fmt.Sprintf("%d bytes may be locked, %d are wanted", limit.Cur, bytes), "raise the limit", "ulimit -l unlimited")
	}
}
