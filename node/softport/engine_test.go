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

func TestNativeEngines(t *testing.T) { enginetest.RunNative(t, open) }
