package xdp

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Change is one setting of a NIC or its host: what it is, and what it should be. Was and
// Is are written as numbers with spaces between, or as the text of a file.
type Change struct {
	About   string `json:"about"`   // the Finding it belongs to
	Setting string `json:"setting"` // a word below, or the path of a file under /sys or /proc
	Was     string `json:"was"`
	Is      string `json:"is"`
}

// The settings that drivers are given by ethtool's ioctl. None needs a NIC of a certain
// make; a driver without one says so.
const (
	settingChannels   = "channels"    // receiving, sending, other, combined
	settingFlags      = "flags"       // bits of ETHTOOL_GFLAGS: LRO, VLAN stripping
	settingTxChecksum = "tx-checksum" // 0 or 1
	settingSpread     = "spread"      // the indirection table: queue of each hash value
	settingUDPHash    = "udp6-hash"   // fields of UDP over IPv6 that are hashed
	hashAddressesPort = 0xf0          // both addresses and both ports (RXH_…)
	flowUDP6          = 0x06          // UDP_V6_FLOW
	flagLRO           = uint32(1 << 15)
	flagRxVLAN        = uint32(1 << 8)
)

// Questions of ethtool's ioctl, and the numbers that set what they ask.
const (
	getChannels, setChannels     = 0x3c, 0x3d
	getFlags, setFlags           = 0x25, 0x26
	getTxChecksum, setTxChecksum = 0x16, 0x17
	getHash, setHash             = 0x29, 0x2a
	getSpread, setSpread         = 0x46, 0x47
)

// nic asks and sets one interface.
type nic struct {
	fd   int
	name string
}

func (n nic) ioctl(words []uint32) error { return ethtoolWords(n.fd, n.name, words) }

// channels returns the most that are possible and those in use: receiving, sending,
// other, combined.
func (n nic) channels() (most, now [4]uint32, err error) {
	w := make([]uint32, 9) // struct ethtool_channels
	w[0] = getChannels
	err = n.ioctl(w)
	return [4]uint32(w[1:5]), [4]uint32(w[5:9]), err
}

// word asks for a single word (struct ethtool_value).
func (n nic) word(question uint32) (uint32, error) {
	w := []uint32{question, 0}
	err := n.ioctl(w)
	return w[1], err
}

// spread returns the indirection table: which queue each value of the hash goes to.
func (n nic) spread() ([]uint32, error) {
	w := []uint32{getSpread, 0, 0, 0, 0, 0} // struct ethtool_rxfh; zero sizes ask for sizes
	if err := n.ioctl(w); err != nil {
		return nil, err
	}
	size := w[2]
	if size == 0 || size > 1<<16 {
		return nil, unix.EOPNOTSUPP
	}
	w = make([]uint32, 6+size)
	w[0], w[2] = getSpread, size
	err := n.ioctl(w)
	return w[6:], err
}

// hash returns which fields of a kind of flow are hashed.
func (n nic) hash(flow uint32) (uint32, error) {
	w := make([]uint32, 48) // struct ethtool_rxnfc; the data is a 64-bit word at 8
	w[0], w[1] = getHash, flow
	err := n.ioctl(w)
	return w[2], err
}

// set gives a setting a value.
func (n nic) set(setting, value string) error {
	if strings.HasPrefix(setting, "/") {
		if !strings.HasPrefix(setting, "/sys/class/net/") && !strings.HasPrefix(setting, "/proc/") {
			return fmt.Errorf("%s is no setting of a NIC", setting)
		}
		return os.WriteFile(setting, []byte(value), 0o644)
	}
	v, err := numbers(value)
	if err != nil {
		return err
	}
	want := map[string]int{settingChannels: 4, settingFlags: 1, settingTxChecksum: 1, settingUDPHash: 1, settingSpread: len(v)}[setting]
	if want == 0 || len(v) != want {
		return fmt.Errorf("%q is no value of the setting %q", value, setting)
	}
	switch setting {
	case settingChannels:
		return n.ioctl(append([]uint32{setChannels, 0, 0, 0, 0}, v...))
	case settingFlags:
		return n.ioctl([]uint32{setFlags, v[0]})
	case settingTxChecksum:
		return n.ioctl([]uint32{setTxChecksum, v[0]})
	case settingUDPHash:
		w := make([]uint32, 48)
		w[0], w[1], w[2] = setHash, flowUDP6, v[0]
		return n.ioctl(w)
	default:
		return n.ioctl(append([]uint32{setSpread, 0, uint32(len(v)), 0, 0, 0}, v...))
	}
}

func numbers(text string) (w []uint32, err error) {
	for _, f := range strings.Fields(text) {
		v, err := strconv.ParseUint(f, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%q is not a row of numbers", text)
		}
		w = append(w, uint32(v))
	}
	return w, nil
}

func text(w ...uint32) string {
	s := make([]string, len(w))
	for i, v := range w {
		s[i] = strconv.FormatUint(uint64(v), 10)
	}
	return strings.Join(s, " ")
}

// Apply makes the changes of findings. remember is called before each with all changes
// so far and this one, so that whatever happens, what was can be brought back; its error
// ends the work. A change that a driver refuses does not keep the others from being made.
func Apply(name string, findings []Finding, remember func([]Change) error) (done []Change, err error) {
	n, err := openNIC(name)
	if err != nil {
		return nil, err
	}
	defer unix.Close(n.fd)
	var errs []error
	for _, f := range findings {
		if f.Change == nil {
			continue
		}
		if err := remember(append(slices.Clone(done), *f.Change)); err != nil {
			return done, errors.Join(append(errs, err)...)
		}
		if err := n.set(f.Change.Setting, f.Change.Is); err != nil {
			errs = append(errs, explain(fmt.Sprintf("%s of %s", f.About, name), err))
			continue
		}
		done = append(done, *f.Change)
	}
	return done, errors.Join(errs...)
}

// Revert brings back what was before changes, the latest first.
func Revert(name string, changes []Change) error {
	n, err := openNIC(name)
	if err != nil {
		return err
	}
	defer unix.Close(n.fd)
	var errs []error
	for _, c := range slices.Backward(changes) {
		if err := n.set(c.Setting, c.Was); err != nil {
			errs = append(errs, explain(fmt.Sprintf("bringing back %s of %s", c.About, name), err))
		}
	}
	return errors.Join(errs...)
}

func openNIC(name string) (nic, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nic{}, explain("setting up "+name, err)
	}
	return nic{fd, name}, nil
}
