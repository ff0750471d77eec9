package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"dssn"
	"dssn/controller/northbound"
	"dssn/internal/need"
)

// TestADomainKnowsWhoseIdentifiersAreWhose runs a controller beside a stock BIRD:
// what each announces reaches the other, `dssn status` shows it, and neither the
// controller's death nor its end withdraws anything.
func TestADomainKnowsWhoseIdentifiersAreWhose(t *testing.T) {
	need.Root(t)
	need.Long(t)
	birdProgram, bin, dir := need.Tool(t, "bird"), program(t), t.TempDir()
	ip := func(line string) string {
		t.Helper()
		out, err := exec.Command(need.Tool(t, "ip"), strings.Fields(line)...).CombinedOutput()
		if err != nil {
			t.Fatalf("ip %s: %v: %s", line, err, out)
		}
		return string(out)
	}
	file := func(name, text string) string {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, line := range []string{"link set lo up", "netns add south", "link add wire type veth peer name uplink netns south", "addr add fd00:7::1/64 dev wire nodad",
		"link set wire up", "-n south link set lo up", "-n south addr add fd00:7::2/64 dev uplink nodad", "-n south link set uplink up"} {
		ip(line)
	}
	t.Cleanup(func() { exec.Command("ip", "netns", "del", "south").Run() })
	bird := exec.Command("ip", "netns", "exec", "south", birdProgram, "-f", "-s", filepath.Join(dir, "bird.ctl"), "-c", file("bird.conf", `router id 10.0.0.7;
protocol device {}
protocol direct { ipv6; }
protocol kernel { ipv6 { import none; export where source = RTS_BGP; }; }
protocol static { ipv6; route 3fff:d57:1::/48 unreachable; route 3fff:d59:1::/48 unreachable; }
protocol bgp north { local fd00:7::2 as 64514; neighbor fd00:7::1 as 64512; hold time 9; connect retry time 1; connect delay time 1; error wait time 1, 2;
  graceful restart on; ipv6 { import all; export where source = RTS_STATIC; }; }
`))
	if err := bird.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bird.Process.Kill(); bird.Wait() })

	state := filepath.Join(dir, "state")
	start := func() *exec.Cmd {
		t.Helper()
		cmd := exec.Command(bin, "controller", "run", "--state", state, "--listen", "[::1]:8443", "--topology", file("two.json", twoHubs), "--bgp", file("bgp.json",
			`{"format":"dssn-bgp/1","as":64512,"listen":"[fd00:7::1]:179","hold_seconds":9,"neighbours":[{"name":"south","address":"fd00:7::2","as":64514,"allow":["3fff:d57::/32"]}]}`))
		cmd.Stdout, cmd.Stderr = logWriter{t}, logWriter{t}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() })
		return cmd
	}
	ask := func(args ...string) string {
		out, err := exec.Command(bin, append(args, "--state", state)...).CombinedOutput()
		if err != nil {
			return fmt.Sprint(err, ": ", string(out))
		}
		return string(out)
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		for range 1500 {
			if ok() {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Fatalf("waited in vain until %s; dssn status says\n%s", what, ask("status"))
	}
	reaches := func() bool { return strings.Contains(ip("-n south -6 route show 3fff:d55:1::/48"), "uplink") }
	shows := func(want string) func() bool {
		return func() bool { return strings.Contains(strings.Join(strings.Fields(ask("status")), " "), want) }
	}

	controller := start()
	until("the controller answers", func() bool {
		return strings.Contains(ask("institution", "add", "weather"), "3fff:d55:1:1::/64") || shows("network two")()
	})
	until("the neighbour's router has our region", reaches)
	until("status shows what it announces", shows("3fff:d57:1::/48 south 64514 fd00:7::2"))
	if said := ask("controller", "bgp", "status"); !strings.Contains(said, "announces 3fff:d55:1::/48") || !strings.Contains(said, "outside what south is allowed") {
		t.Errorf("dssn controller bgp status says\n%s", said)
	}
	id, err := dssn.ParseDataID("3fff:d57:1:1:2c21::1")
	if err != nil {
		t.Fatal(err)
	}
	c := northbound.NewUnixClient(filepath.Join(state, "controller.sock"))
	_, err = c.Resolve(t.Context(), id)
	c.Close()
	if err == nil || !strings.Contains(err.Error(), "AS 64514 announces 3fff:d57:1::/48") {
		t.Errorf("asking for an identifier of the other domain: %v", err)
	}

	// SIGKILL takes the controller away, and its speaker with it.
	controller.Process.Kill()
	controller.Wait()
	until("the speaker has noticed", func() bool { return speakers(bin) == 0 })
	kept := func() {
		t.Helper()
		if !reaches() {
			t.Fatal("the neighbour's router has lost our region")
		}
	}
	kept()
	controller = start()
	until("all is as before", func() bool { kept(); return shows("3fff:d57:1::/48 south 64514 fd00:7::2")() && shows("established")() })
	controller.Process.Signal(syscall.SIGTERM)
	if err := controller.Wait(); err != nil {
		t.Errorf("ended by SIGTERM: %v", err)
	}
	kept()
	if n := speakers(bin); n != 0 {
		t.Errorf("%d speakers outlive their controller", n)
	}
}

// speakers counts the processes that speak BGP for a controller of this program.
func speakers(bin string) (n int) {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range lines {
		if text, err := os.ReadFile(p); err == nil && string(text) == strings.Join([]string{bin, "controller", "bgp", "run", ""}, "\x00") {
			n++
		}
	}
	return n
}
