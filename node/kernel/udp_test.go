package kernel

import (
	"fmt"
	"net"
	"testing"

	"dssn/dataplane/nstest"
)

// listenUDP delivers the first datagram and its source.
func listenUDP(t *testing.T, n *nstest.Namespace, port int) <-chan string {
	t.Helper()
	var c *net.UDPConn
	err := n.Do(func() (err error) {
		c, err = net.ListenUDP("udp6", &net.UDPAddr{Port: port})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	got := make(chan string, 1)
	go func() {
		b := make([]byte, 100)
		k, from, err := c.ReadFromUDPAddrPort(b)
		if err == nil {
			got <- fmt.Sprintf("%s from %s", b[:k], from.Addr())
		}
	}()
	return got
}

func sendUDP(t *testing.T, n *nstest.Namespace, to, text string) {
	t.Helper()
	err := n.Do(func() error {
		c, err := net.Dial("udp6", to)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
