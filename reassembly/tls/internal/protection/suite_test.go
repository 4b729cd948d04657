package protection

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAnOpenerIsWithinItsCost: so it is with the secret that it is made of, in every
// suite.
func TestAnOpenerIsWithinItsCost(t *testing.T) {
	const n = 500
	secret := make([]byte, 48)
	for id := range 1 << 16 {
		s, ok := ByID(uint16(id))
		if !ok {
			continue
		}
		keep := make([]any, 0, 2*n)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for range n {
			if s.TLS13 {
				own := secret[:s.Hash.Size()]
				opener, err := s.TrafficOpener(own)
				require.NoError(t, err)
				next, err := s.NextSecret(own)
				require.NoError(t, err)
				keep = append(keep, opener, next)
				continue
			}
			client, server, err := s.Openers(versionTLS12, secret, secret[:32], secret[:32], false)
			require.NoError(t, err)
			client.Open(make([]byte, 0, 256), 1, Record{Body: make([]byte, 128)})
			server.Open(make([]byte, 0, 256), 1, Record{Body: make([]byte, 128)})
			keep = append(keep, client, server)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		took := int(after.HeapAlloc-before.HeapAlloc) / n
		if !s.TLS13 {
			took /= 2
		}
		assert.LessOrEqual(t, took, s.Cost(), "suite %#x", id)
		runtime.KeepAlive(keep)
	}
}
