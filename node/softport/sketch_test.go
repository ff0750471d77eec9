package softport

import (
	"net/netip"
	"testing"
	"time"
)

func TestASocketThatFloodsLosesItsTurnAndNobodyElses(t *testing.T) {
	s := sketch{key: 7}
	flooder := netip.MustParseAddrPort("[fd00::2]:1000")
	passed := 0
	for i := range 250_000 { // a second's worth
		if s.allow(time.Duration(i)*4*time.Microsecond, flooder) {
			passed++
		}
	}
	if want := int(time.Second / sketchFor * sketchAllow); passed > want+sketchAllow {
		t.Errorf("%d of a flood passed in a second, want at most %d", passed, want)
	}
	refused := 0
	for port := range uint16(1000) {
		if !s.allow(time.Second, netip.AddrPortFrom(flooder.Addr(), 2000+port)) {
			refused++
		}
	}
	if refused > 5 { // four others on one of 4,096 counters
		t.Errorf("%d of 1000 newcomers behind the same address were refused", refused)
	}
	if n := testing.AllocsPerRun(100, func() { s.allow(2*time.Second, flooder) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
