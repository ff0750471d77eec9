package kernel

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Host realises plans in one network namespace.
type Host struct {
	handle *netlink.Handle
	// priors is the file that remembers what settings were before we changed
	// them, across processes; "" remembers nothing.
	priors string
	before map[string]string // setting → value before ours
}

// Open opens the kernel of the calling thread's network namespace. priors names
// a file in which the earlier values of changed settings are kept until Remove.
func Open(priors string) (*Host, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	k := &Host{handle: h, priors: priors, before: map[string]string{}}
	if priors != "" {
		text, err := os.ReadFile(priors)
		if err == nil {
			err = json.Unmarshal(text, &k.before)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			// A damaged file costs only the restoring of settings.
			k.before = map[string]string{}
		}
	}
	return k, nil
}

// Close closes the door and leaves the kernel as it is.
func (k *Host) Close() { k.handle.Close() }

// Realise makes what is in the kernel on our behalf equal to want, touching
// only the differences, and returns them. It goes on after an error, so that
// one impossible route does not keep the others out, and returns all errors.
func (k *Host) Realise(want *Plan) (Change, error) { return k.realise(want, false) }

// Adopt is Realise without removing anything: what an earlier process left goes
// on carrying packets while this one finds out what is needed.
func (k *Host) Adopt(want *Plan) (Change, error) { return k.realise(want, true) }

func (k *Host) realise(want *Plan, adopt bool) (Change, error) {
	var errs []error
	for _, s := range want.Settings {
		if err := k.set(s); err != nil {
			errs = append(errs, err)
		}
	}
	have, err := k.Present()
	if err != nil {
		return Change{}, errors.Join(append(errs, err)...)
	}
	c := Difference(have, want)
	if adopt {
		c.RemoveRoutes, c.RemoveAddresses = nil, nil
	}
	return c, errors.Join(append(errs, k.carryOut(&c))...)
}

func (k *Host) carryOut(c *Change) error {
	var errs []error
	do := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	for _, a := range c.AddAddresses {
		do(k.address(unix.RTM_NEWADDR, a))
	}
	for _, r := range c.SetRoutes {
		do(k.route("set", r, k.handle.RouteReplace))
	}
	for _, r := range c.RemoveRoutes {
		do(k.route("remove", r, k.handle.RouteDel))
	}
	for _, a := range c.RemoveAddresses {
		do(k.address(unix.RTM_DELADDR, a))
	}
	return errors.Join(errs...)
}

// Remove removes everything of ours and gives settings their earlier values.
func (k *Host) Remove() error {
	_, err := k.Realise(&Plan{})
	errs := []error{err}
	for name, value := range k.before {
		if err := writeSetting(name, value); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	k.before = map[string]string{}
	if k.priors != "" {
		if err := os.Remove(k.priors); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("forget earlier settings: %w", err))
		}
	}
	return errors.Join(errs...)
}

// route gives a route to one of the handle's methods.
func (k *Host) route(verb string, r Route, do func(*netlink.Route) error) error {
	fail := func(err error) error {
		return fmt.Errorf("%s %v route to %v on %s: %w", verb, r.Kind, r.Prefix, r.Interface, err)
	}
	link, err := k.handle.LinkByName(r.Interface)
	if err != nil {
		return fail(err)
	}
	n := &netlink.Route{
		Dst:       ipNet(r.Prefix),
		LinkIndex: link.Attrs().Index,
		Priority:  int(r.Metric),
		Protocol:  Protocol,
		Table:     unix.RT_TABLE_MAIN,
		Type:      unix.RTN_UNICAST,
	}
	if r.Via.IsValid() {
		n.Gw = r.Via.WithZone("").AsSlice()
	}
	if r.Source.IsValid() {
		n.Src = r.Source.AsSlice()
	}
	switch r.Kind {
	case Local, End:
		n.Type = unix.RTN_LOCAL
	case Unreachable:
		n.Type = unix.RTN_UNREACHABLE
	}
	if r.Kind == End {
		n.Encap = nextCSID{}
	}
	if err := do(n); err != nil {
		if verb == "remove" && errors.Is(err, unix.ESRCH) {
			return nil // went with its interface
		}
		return fail(err)
	}
	return nil
}

// set writes a setting unless it has the value already, and remembers what it was.
func (k *Host) set(s Setting) error {
	path, err := settingPath(s.Name)
	if err != nil {
		return err
	}
	old, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read setting %s: %w", s.Name, err)
	}
	is := strings.TrimSpace(string(old))
	if is == s.Value {
		return nil
	}
	if _, known := k.before[s.Name]; !known {
		k.before[s.Name] = is
		if err := k.remember(); err != nil {
			return err
		}
	}
	return writeSetting(s.Name, s.Value)
}

func (k *Host) remember() error {
	if k.priors == "" {
		return nil
	}
	text, err := json.MarshalIndent(k.before, "", "\t")
	if err != nil {
		return err
	}
	tmp := k.priors + ".new"
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		return fmt.Errorf("remember earlier settings: %w", err)
	}
	if err := os.Rename(tmp, k.priors); err != nil {
		return fmt.Errorf("remember earlier settings: %w", err)
	}
	return nil
}

func settingPath(name string) (string, error) {
	if !filepath.IsLocal(name) {
		return "", fmt.Errorf("%q is not the name of a kernel setting", name)
	}
	return filepath.Join("/proc/sys", name), nil
}

func writeSetting(name, value string) error {
	path, err := settingPath(name)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
		return fmt.Errorf("set %s to %s: %w", name, value, err)
	}
	return nil
}
