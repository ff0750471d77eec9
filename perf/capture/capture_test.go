package capture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"dssn"
	"dssn/internal/need"
)

// message makes a tunnel message of a type.
func message(kind byte, length int) []byte {
	b := make([]byte, length)
	b[0] = kind
	for i := 4; i < length; i++ {
		b[i] = byte(i * 7)
	}
	return b
}

// udp6 makes an Ethernet frame of a UDP datagram.
func udp6(t testing.TB, dst string, port uint16, payload []byte) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv6}
	ip := &layers.IPv6{Version: 6, HopLimit: 61, NextHeader: layers.IPProtocolUDP, SrcIP: net.ParseIP("5f00:d55:100::"), DstIP: net.ParseIP(dst)}
	u := &layers.UDP{SrcPort: 51820, DstPort: layers.UDPPort(port)}
	u.SetNetworkLayerForChecksum(ip)
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, u, gopacket.Payload(payload)); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func tcp4(t testing.TB) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4}
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: net.IPv4(192, 0, 2, 1), DstIP: net.IPv4(192, 0, 2, 2)}
	tcp := &layers.TCP{SrcPort: 1000, DstPort: 80, SYN: true, ACK: true, Seq: 7, Window: 100}
	tcp.SetNetworkLayerForChecksum(ip)
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, tcp, gopacket.Payload("hello")); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestFramesAreDescribed(t *testing.T) {
	d := Describer{Name: func(s dssn.SID) string { return map[dssn.SID]string{0x12: "shanghai", 0x101: "guizhou-terminal"}[s] }}
	const carrier = "5f00:d55:12:17:101::"
	for _, c := range []struct {
		frame []byte
		want  string
	}{
		{udp6(t, carrier, 51820, message(1, 148)), "5f00:d55:100:: → 5f00:d55:12:17:101::, hop limit 61; NEXT-CSID carrier through shanghai(12) → 17 → guizhou-terminal(101); UDP 51820 → 51820; WireGuard initiation, sender 312a231c"},
		{udp6(t, "5f00:d55:101::", 51820, message(2, 92)), "5f00:d55:100:: → 5f00:d55:101::, hop limit 61; NEXT-CSID last SID guizhou-terminal(101); UDP 51820 → 51820; WireGuard response, sender 312a231c, receiver 4d463f38"},
		{udp6(t, "2001:db8::1", 9, message(3, 64)), "5f00:d55:100:: → 2001:db8::1, hop limit 61; UDP 51820 → 9; WireGuard cookie reply, receiver 312a231c"},
		{udp6(t, "2001:db8::1", 9, message(4, 32)), "5f00:d55:100:: → 2001:db8::1, hop limit 61; UDP 51820 → 9; WireGuard keepalive, receiver 312a231c, counter 7593732339331907384"},
		{udp6(t, "5f00:d55:0:17::", 9, message(4, 1440)), "5f00:d55:100:: → 5f00:d55:0:17::, hop limit 61; in the locator block, but no carrier: \"5f00:d55:0:17::\" is not a carrier: it names no SID behind its block; UDP 51820 → 9; WireGuard data, receiver 312a231c, counter 7593732339331907384, 1408 bytes sealed"},
		{udp6(t, "2001:db8::1", 9, []byte("hello")), "5f00:d55:100:: → 2001:db8::1, hop limit 61; UDP 51820 → 9; 5 bytes"},
		{tcp4(t), "192.0.2.1 → 192.0.2.2; TCP 1000 → 80 SYN,ACK, seq 7, ack 0, window 100, 5 bytes"},
		{[]byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5, 1, 2, 3}, "02:00:00:00:00:01 → 02:00:00:00:00:02, UnknownEthernetType"},
	} {
		if got := d.Describe(c.frame); !strings.HasPrefix(got, c.want) {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

// file writes all sample frames, and returns what was written.
func file(t testing.TB) (text []byte, frames [][]byte, comments []string) {
	t.Helper()
	frames = [][]byte{udp6(t, "5f00:d55:12:17:101::", 51820, message(1, 148)), udp6(t, "5f00:d55:17:101::", 51820, message(2, 92)),
		udp6(t, "5f00:d55:101::", 51820, message(3, 64)), udp6(t, "5f00:d55:101::", 51820, message(4, 1424)), tcp4(t)}
	var b bytes.Buffer
	w, err := NewWriter(&b, "dssn test", "a lab's link", "a>b", "b>a")
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range frames {
		comments = append(comments, Describer{}.Describe(f))
		if err := w.Packet(i%2, time.Unix(1_700_000_000+int64(i), 123456789), f, Direction(i%3), comments[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Packet(2, time.Now(), nil, Unknown, ""); err == nil {
		t.Error("a packet of an interface that is not there was written")
	}
	return b.Bytes(), frames, comments
}

func TestGopacketReadsTheFile(t *testing.T) {
	text, frames, _ := file(t)
	r, err := pcapgo.NewNgReader(bytes.NewReader(text), pcapgo.NgReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range frames {
		got, info, err := r.ReadPacketData()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) || info.InterfaceIndex != i%2 || info.Timestamp.UnixNano() != (1_700_000_000+int64(i))*1e9+123456789 {
			t.Errorf("frame %d: %d bytes of interface %d at %v", i, len(got), info.InterfaceIndex, info.Timestamp)
		}
	}
	if nic, err := r.Interface(1); err != nil || nic.Name != "b>a" {
		t.Errorf("interface 1: %+v, %v", nic, err)
	}
}

// tshark must see the frames, names, comments, carriers and tunnel headers that
// we wrote and described.
func TestTsharkAgrees(t *testing.T) {
	tshark := need.Tool(t, "tshark")
	text, frames, comments := file(t)
	path := filepath.Join(t.TempDir(), "x.pcapng")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	fields := []string{"frame.time_epoch", "frame.interface_name", "frame.packet_flags_direction", "frame.len", "frame.comment", "ipv6.dst", "wg.type", "wg.sender", "wg.receiver", "wg.counter"}
	args := []string{"-r", path, "-T", "fields", "-E", "separator=|"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	cmd := exec.Command(tshark, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v\n%s", err, errs.String())
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(frames) {
		t.Fatalf("tshark sees %d frames of %d:\n%s%s", len(lines), len(frames), out, errs.String())
	}
	for i, line := range lines {
		p := gopacket.NewPacket(frames[i], layers.LayerTypeEthernet, gopacket.Default)
		want := []string{fmt.Sprintf("%d.123456789", 1_700_000_000+i), []string{"a>b", "b>a"}[i%2], fmt.Sprintf("0x%08x", i%3), fmt.Sprint(len(frames[i])), comments[i], "", "", "", "", ""}
		if i%3 == 0 {
			want[2] = "" // no flags were written
		}
		if ip, ok := p.NetworkLayer().(*layers.IPv6); ok {
			want[5] = ip.DstIP.String()
			if c, err := dssn.ParseCarrier(want[5]); err != nil || !strings.Contains(comments[i], "NEXT-CSID") || !strings.Contains(comments[i], c.SIDs()[0].String()) {
				t.Errorf("frame %d: tshark's destination %s is not the carrier of %q", i, want[5], comments[i])
			}
		}
		if u, ok := p.TransportLayer().(*layers.UDP); ok {
			w, ok := ParseWireGuard(u.Payload)
			if !ok {
				t.Fatalf("frame %d is no tunnel message", i)
			}
			want[6] = fmt.Sprint(w.Type)
			hex := func(used bool, v uint32) string {
				if !used {
					return ""
				}
				return fmt.Sprintf("0x%08x", v)
			}
			want[7], want[8] = hex(w.Type == 1 || w.Type == 2, w.Sender), hex(w.Type != 1, w.Receiver)
			if w.Type == 4 {
				want[9] = fmt.Sprint(w.Counter)
			}
		}
		if got := strings.Split(line, "|"); strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("frame %d of %v:\n tshark %q\n   ours %q", i, fields, got, want)
		}
	}
	// No complaint about the file or the checksums.
	out, err = exec.Command(tshark, "-r", path, "-o", "udp.check_checksum:TRUE", "-Y", "_ws.malformed || udp.checksum.status == 0").Output()
	if err != nil || len(bytes.TrimSpace(out)) != 0 {
		t.Errorf("tshark complains of frames (%v):\n%s", err, out)
	}
}

func FuzzDescribe(f *testing.F) {
	for _, frame := range [][]byte{udp6(f, "5f00:d55:12:17:101::", 51820, message(1, 148)), udp6(f, "5f00:d55:12::", 1, message(4, 64)), tcp4(f)} {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if strings.ContainsRune(Describer{}.Describe(frame), '\n') {
			t.Errorf("%x is described in several lines", frame)
		}
	})
}

func FuzzParseWireGuard(f *testing.F) {
	f.Add(message(1, 148))
	f.Add(message(4, 48))
	f.Fuzz(func(t *testing.T, b []byte) {
		w, ok := ParseWireGuard(b)
		if !ok {
			return
		}
		if len(b) < 32 || b[0] != w.Type || w.Type == 4 && binary.LittleEndian.Uint64(b[8:]) != w.Counter || w.String() == "" {
			t.Errorf("%x was read as %+v", b, w)
		}
	})
}
