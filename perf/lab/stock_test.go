package lab

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"dssn/internal/need"
)

func TestEveryStockClientFetchesAFileByURL(t *testing.T) {
	const text = "first line\n\r\na line after an empty one\nno end of line"
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/a/file.txt" {
			http.NotFound(w, r)
			return
		}
		w.Write([]byte(text))
	}))
	if lo, err := netlink.LinkByName("lo"); err == nil {
		netlink.LinkSetUp(lo) // it is down in the namespace that these tests have for themselves
	}
	l, err := net.Listen("tcp6", "[::1]:0")
	need.Kernel(t, "IPv6 on the loopback interface", err)
	s.Listener.Close()
	s.Listener = l
	s.Start()
	defer s.Close()
	for _, c := range stockClients {
		t.Run(c.name, func(t *testing.T) {
			need.Tool(t, c.name)
			from, err := url.Parse(s.URL + "/a/file.txt")
			if err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(t.TempDir(), "a folder's file")
			args := c.args(from, out)
			if said, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, said)
			}
			if got, err := os.ReadFile(out); err != nil || string(got) != text {
				t.Errorf("got %q, %v; want %q", got, err, text)
			}
		})
	}
}
