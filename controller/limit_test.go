package controller

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestAStrangerWhoFailsTooOftenWaitsAndIsForgiven(t *testing.T) {
	var s strangers
	now := time.Unix(1000, 0)
	bad, good := network("[3fff:1::7]:9"), network("[3fff:2::7]:9")
	if network("[3fff:1::8%eth0]:1") != bad || network("10.0.0.1:1") == network("10.0.0.2:1") || network("x").IsValid() {
		t.Fatal("networks are told apart wrongly")
	}
	n := 0
	for ; s.wait(bad, now) <= 0; n++ {
		s.failed(bad, now)
	}
	if n != failureBurst+1 {
		t.Errorf("%d failures at once, want %d", n, failureBurst+1)
	}
	if s.wait(good, now) > 0 {
		t.Error("another network has to wait too")
	}
	if now = now.Add(time.Second); s.wait(bad, now) > 0 {
		t.Error("no chance after a second")
	}
	for n = 0; s.wait(bad, now) <= 0; n++ {
		s.failed(bad, now)
	}
	if n > failureRate+1 {
		t.Errorf("%d failures in a second, want %d", n, failureRate)
	}
	if now = now.Add(time.Hour); s.wait(bad, now) > 0 {
		t.Error("not forgiven after an hour")
	}
}

func TestAMillionStrangersFitInLittleMemory(t *testing.T) {
	var s strangers
	now := time.Unix(1000, 0)
	guilty := network("[3fff::1]:1")
	for range 1000 {
		s.failed(guilty, now)
	}
	for i := range 1_000_000 {
		s.failed(netip.PrefixFrom(netip.MustParseAddr(fmt.Sprintf("3fff:%x:%x::", i>>16+1, i&0xffff)), 64), now)
		if i%1000 == 0 && len(s.paid) > maxStrangers {
			t.Fatalf("%d networks are remembered", len(s.paid))
		}
	}
	if s.wait(guilty, now) <= 0 {
		t.Error("the guiltiest was forgotten")
	}
}
