package softport

import (
	"testing"

	"dssn/dataplane"
	"dssn/dataplane/aead"
	"dssn/dataplane/enginetest"
	"dssn/dataplane/wgtest"
)

func open(name string, private dataplane.Key, port uint16) (dataplane.Engine, error) {
	return Open(Options{Interface: name, PrivateKey: private, ListenPort: port})
}

func openDevice(name string, private dataplane.Key, port uint16) (dataplane.Engine, error) {
	return wgtest.Open(wgtest.Options{Interface: name, PrivateKey: private, ListenPort: port})
}

func TestEngine(t *testing.T) { enginetest.Run(t, open, open) }

// The suite's tunnels use a pre-shared key, so that these are interoperability
// tests of the whole protocol, each side beginning in turn.
func TestEngineOppositeWireguardGo(t *testing.T) { enginetest.Run(t, open, openDevice) }

func TestWireguardGoOppositeEngine(t *testing.T) { enginetest.Run(t, openDevice, open) }

// Native nodes seal with AES-256-GCM by the controller's word; the suite is the
// same otherwise.
func TestEngineWithAES(t *testing.T) {
	native := func(name string, private dataplane.Key, port uint16) (dataplane.Engine, error) {
		return Open(Options{Interface: name, PrivateKey: private, ListenPort: port, Suite: aead.AES256GCM})
	}
	enginetest.Run(t, native, native)
}

// workers opens engines with so many workers.
func workers(n int) enginetest.Open {
	return func(name string, private dataplane.Key, port uint16) (dataplane.Engine, error) {
		o := Options{Interface: name, PrivateKey: private, ListenPort: port}
		for k := 1; k < n; k++ {
			o.Ports = append(o.Ports, enginetest.WorkerPort(port, k))
		}
		return Open(o)
	}
}

// The whole suite with several workers, each with its own queue of the TUN, its
// own socket and its own lanes; also where the ends do not have as many.
func TestEngineWithSeveralWorkers(t *testing.T) { enginetest.Run(t, workers(2), workers(2)) }

func TestEngineWithWorkersOfDifferentNumber(t *testing.T) {
	enginetest.Run(t, workers(3), workers(2))
	enginetest.Run(t, workers(1), workers(3))
}

// A stock peer has one lane, which is one worker's: the kernel leads its packets there.
func TestStockPeersOfSeveralWorkers(t *testing.T) {
	enginetest.Run(t, workers(3), openDevice)
	enginetest.Run(t, openDevice, workers(2))
}

func TestNativeEngines(t *testing.T) {
	enginetest.RunNative(t, open)
	enginetest.RunNative(t, workers(2))
}
