package stamp

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dssn/internal/need"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// exchange is a probe and its answer, with every field different from the others.
func exchange(t *testing.T) (probe, reply []byte) {
	t.Helper()
	r := Reflector{Stateful: true, Error: NewErrorEstimate(true, 5*time.Millisecond)}
	for range 3 { // so that the reflector's count differs from the sender's
		r.Reflect(nil, AppendProbe(nil, Probe{SSID: 0xbeef}, nil), from, 9, epoch, epoch)
	}
	probe = AppendProbe(nil, Probe{Sequence: 77, Sent: epoch, Error: NewErrorEstimate(false, time.Second), SSID: 0xbeef}, nil)
	reply, ok := r.Reflect(nil, probe, from, 61, epoch.Add(250*time.Millisecond), epoch.Add(500*time.Millisecond))
	if !ok {
		t.Fatal("the probe was not answered")
	}
	return probe, reply
}

// scapy runs a few lines of Python that find the packets as hexadecimal arguments.
func scapy(t *testing.T, lines string, packets ...[]byte) []byte {
	t.Helper()
	const python = "/usr/bin/python3" // Debian's, which has Debian's packages
	need.File(t, "python3", python)
	if err := exec.Command(python, "-c", "import scapy.contrib.stamp").Run(); err != nil {
		need.File(t, "scapy (python3-scapy)", "/usr/lib/python3/dist-packages/scapy/contrib/stamp.py")
		t.Fatal(err)
	}
	args := []string{"-c", "import sys, json\nfrom scapy.contrib.stamp import *\np = [bytes.fromhex(a) for a in sys.argv[1:]]\n" + lines}
	for _, p := range packets {
		args = append(args, hex.EncodeToString(p))
	}
	out, err := exec.Command(python, args...).Output()
	if err != nil {
		var exit *exec.ExitError
		if e, ok := err.(*exec.ExitError); ok {
			exit = e
			t.Fatalf("%v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	return out
}

func TestScapyReadsOurPacketsAndWeItsOwn(t *testing.T) {
	probe, reply := exchange(t)
	out := scapy(t, `
s = STAMPSessionSenderTestUnauthenticated(p[0])
r = STAMPSessionReflectorTestUnauthenticated(p[1])
own = STAMPSessionSenderTestUnauthenticated(seq=4711, ssid=513, ts=r.ts, err_estimate=s.err_estimate)
print(json.dumps([s.seq, s.ssid, float(s.ts), r.seq, r.ssid, r.seq_sender, r.ttl_sender, float(r.ts), float(r.ts_rx), float(r.ts_sender), bytes(own).hex()]))
`, probe, reply)
	var got []any
	if err := json.Unmarshal(out, &got); err != nil || len(got) != 11 {
		t.Fatalf("%v: %s", err, out)
	}
	ntp := func(d time.Duration) float64 {
		at := epoch.Add(d)
		return float64(at.Unix()-ntpEpoch) + float64(at.Nanosecond())/1e9
	}
	want := []any{77.0, float64(0xbeef), ntp(0), 3.0, float64(0xbeef), 77.0, 61.0, ntp(500 * time.Millisecond), ntp(250 * time.Millisecond), ntp(0)}
	for i, w := range want {
		if g, ok := got[i].(float64); !ok || g-w.(float64) > 1e-5 || w.(float64)-g > 1e-5 {
			t.Errorf("field %d: scapy reads %v, want %v", i, got[i], w)
		}
	}
	own, err := hex.DecodeString(got[10].(string))
	if err != nil {
		t.Fatal(err)
	}
	p, err := ParseProbe(own, nil, epoch)
	if d := p.Sent.Sub(epoch.Add(500 * time.Millisecond)); err != nil || p.Sequence != 4711 || p.SSID != 513 || d > time.Millisecond || d < -time.Millisecond {
		t.Errorf("scapy's probe is read as %+v, %v", p, err)
	}
	r := Reflector{}
	if answer, ok := r.Reflect(nil, own, from, 1, epoch, epoch); !ok || len(answer) < BaseBytes {
		t.Errorf("scapy's probe of %d bytes was answered %v with %d", len(own), ok, len(answer))
	}
}

// TestTsharkReadsOurPackets shows them to Wireshark's dissector of TWAMP-Test,
// whose format STAMP keeps.
func TestTsharkReadsOurPackets(t *testing.T) {
	tshark := need.Tool(t, "tshark")
	probe, reply := exchange(t)
	path := filepath.Join(t.TempDir(), "stamp.pcap")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := pcapgo.NewWriter(f)
	if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	a, b := net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2}
	here, there := net.ParseIP("192.0.2.1"), net.ParseIP("192.0.2.2")
	for i, p := range [][]byte{probe, reply} {
		src, dst, from, to, sp, dp := a, b, here, there, layers.UDPPort(40000), layers.UDPPort(Port)
		if i == 1 {
			src, dst, from, to, sp, dp = b, a, there, here, Port, 40000
		}
		ip := &layers.IPv4{Version: 4, TTL: 255, Protocol: layers.IPProtocolUDP, SrcIP: from, DstIP: to}
		udp := &layers.UDP{SrcPort: sp, DstPort: dp}
		udp.SetNetworkLayerForChecksum(ip)
		out := gopacket.NewSerializeBuffer()
		if err := gopacket.SerializeLayers(out, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
			&layers.Ethernet{SrcMAC: src, DstMAC: dst, EthernetType: layers.EthernetTypeIPv4}, ip, udp, gopacket.Payload(p)); err != nil {
			t.Fatal(err)
		}
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: epoch, CaptureLength: len(out.Bytes()), Length: len(out.Bytes())}, out.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	f.Close()
	fields := []string{"seq_number", "timestamp", "error_estimate.s", "receive_timestamp", "sender_seq_number", "sender_timestamp", "sender_ttl"}
	args := []string{"-r", path, "-d", "udp.port==862,twamp.test", "-T", "fields", "-E", "separator=|", "-t", "u"}
	for _, name := range fields {
		args = append(args, "-e", "twamp.test."+name)
	}
	cmd := exec.Command(tshark, args...)
	cmd.Env = append(os.Environ(), "TZ=UTC")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 2 {
		t.Fatalf("tshark says\n%s", out)
	}
	at := func(d time.Duration) string { return epoch.Add(d).Format("Jan _2, 2006 15:04:05.000") }
	for i, want := range [][]string{{"77", at(0), "0"}, {"3", at(500 * time.Millisecond), "1", at(250 * time.Millisecond), "77", at(0), "61"}} {
		got := strings.Split(lines[i], "|")
		for k, w := range want {
			if k >= len(got) || !strings.HasPrefix(got[k], w) {
				t.Errorf("packet %d, %s: tshark reads %q, want %q", i, fields[k], got, w)
			}
		}
	}
}
