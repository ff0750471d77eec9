package lab

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"

	"dssn"
)

// stockClients are programs that know nothing of DSSN and can fetch a URL, the
// most usual first. A small Debian has none of them but its shell, which opens
// TCP connections too.
var stockClients = []struct {
	name string
	args func(from *url.URL, out string) []string
}{
	{"curl", func(from *url.URL, out string) []string {
		return []string{"curl", "-g", "-sS", "--fail", "--max-time", "20", "-o", out, from.String()}
	}},
	{"wget", func(from *url.URL, out string) []string {
		return []string{"wget", "-q", "-T", "20", "-t", "1", "-O", out, from.String()}
	}},
	{"bash", func(from *url.URL, out string) []string {
		port := from.Port()
		if port == "" {
			port = "80"
		}
		return []string{"bash", "-c", fmt.Sprintf(`exec 3<>/dev/tcp/%s/%s; printf 'GET %s HTTP/1.0\r\nHost: %s\r\n\r\n' >&3; sed '1,/^\r$/d' <&3 >"$1"`,
			from.Hostname(), port, from.Path, from.Host), "fetch", out}
	}},
}

// stockClient returns the first of them that is installed here.
func stockClient() (name string, args func(from *url.URL, out string) []string, err error) {
	for _, c := range stockClients {
		if _, err := exec.LookPath(c.name); err == nil {
			return c.name, c.args, nil
		}
	}
	return "", nil, fmt.Errorf("the main job shows that any client can fetch by identifier, and none is installed: apt-get install curl")
}

// stock is the second half of step 5: a program that knows nothing of DSSN
// fetches one file by the same identifier.
func (r *runner) stock(ctx context.Context) error {
	const path = "readme.txt"
	name, args, err := stockClient()
	if err != nil {
		return err
	}
	out := filepath.Join(r.lab.data, "stock-"+path)
	from := &url.URL{Scheme: "http", Host: "[" + r.report.Dataset.ID.String() + "]", Path: "/" + path}
	if _, err := r.sh.run(ctx, line{node: r.consumer, args: args(from, out)}); err != nil {
		return err
	}
	a, err := os.ReadFile(filepath.Join(r.source, path))
	if err != nil {
		return err
	}
	b, err := os.ReadFile(out)
	if err != nil {
		return err
	}
	if string(a) != string(b) {
		return fmt.Errorf("%s fetched %d bytes of %s that are not those published", name, len(b), path)
	}
	r.report.Stock = ReportStock{Client: name, Path: path, Bytes: dssn.ByteCount(len(b))}
	r.say("%s fetched the same %d bytes of %s by the same identifier", name, len(b), path)
	return nil
}
