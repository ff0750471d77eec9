package report

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// ThisEnd describes this machine in a role, with the named interfaces of the
// caller's network namespace. What cannot be found out stays empty.
func ThisEnd(role string, interfaces ...string) End {
	e := End{Role: role, Cores: runtime.NumCPU(), Go: runtime.Version(), Kernel: word("/proc/sys/kernel/osrelease"), Program: revision()}
	e.Name, _ = os.Hostname()
	e.CPU = field("/proc/cpuinfo", "model name")
	if kb, _, _ := strings.Cut(field("/proc/meminfo", "MemTotal"), " "); kb != "" {
		n, _ := strconv.ParseUint(kb, 10, 53)
		e.Memory = n << 10
	}
	if load, _, _ := strings.Cut(word("/proc/loadavg"), " "); load != "" {
		e.Load, _ = strconv.ParseFloat(load, 64)
	}
	for _, name := range interfaces {
		e.NICs = append(e.NICs, thisInterface(name))
	}
	return e
}

func thisInterface(name string) Interface {
	i := Interface{Name: name}
	if nic, err := net.InterfaceByName(name); err == nil {
		i.MTU = nic.MTU
	}
	sys := filepath.Join("/sys/class/net", filepath.Base(name))
	if target, err := os.Readlink(filepath.Join(sys, "device/driver")); err == nil {
		i.Driver = filepath.Base(target)
	} else if target, err := os.Readlink(sys); err == nil && strings.Contains(target, "/virtual/") {
		i.Driver = "virtual"
		if kind := field(filepath.Join(sys, "uevent"), "DEVTYPE"); kind != "" {
			i.Driver = kind
		}
	}
	if mbit, err := strconv.ParseInt(word(filepath.Join(sys, "speed")), 10, 32); err == nil && mbit > 0 {
		i.Speed = uint64(mbit) * 1e6
	}
	queues, _ := filepath.Glob(filepath.Join(sys, "queues/rx-*"))
	i.Queues = len(queues)
	return i
}

// version is set by the build (-ldflags "-X dssn/perf/report.version=…").
var version string

// revision is the program's version, as the build set or recorded it.
func revision() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(12, len(s.Value))]
		}
	}
	return info.Main.Version
}

func word(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// field finds "name: value" or "NAME=value" in a file.
func field(path, name string) string {
	for line := range strings.Lines(word(path)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
		if k, v, ok := strings.Cut(line, "="); ok && k == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
