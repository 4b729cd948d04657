package tls_test

import (
	ctls "crypto/tls"
	"testing"

	"offpath/reassembly/tcp"
	"offpath/reassembly/tls"
)

// BenchmarkConn reads a connection of 1 MiB in segments of 1448 octets: the
// handshake and all records.
func BenchmarkConn(b *testing.B) {
	x := &exchange{requests: [][]byte{make([]byte, 1000)}, responses: [][]byte{make([]byte, 1<<20)}}
	for _, c := range []struct {
		name           string
		version, suite uint16
		secrets        bool
	}{
		{"TLS 1.3 AES-128-GCM", ctls.VersionTLS13, 0, true},
		{"TLS 1.2 AES-128-GCM", ctls.VersionTLS12, ctls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, true},
		{"TLS 1.2 ChaCha20-Poly1305", ctls.VersionTLS12, ctls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, true},
		{"TLS 1.2 AES-128-CBC", ctls.VersionTLS12, ctls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, true},
		{"TLS 1.3 without secrets", ctls.VersionTLS13, 0, false},
	} {
		b.Run(c.name, func(b *testing.B) {
			client, server := configs(b, c.version, c.suite)
			tp := recordTLS(b, x, client, server)
			config := tls.Config{}
			if c.secrets {
				config = tls.Config{Secrets: store(b, tp.log.Bytes()), Complete: true}
			}
			r, err := tls.NewReader(config)
			if err != nil {
				b.Fatal(err)
			}
			budget, quiet := tcp.NewBudget(1<<20), &silent{}
			b.SetBytes(1 << 20)
			b.ReportAllocs()
			for b.Loop() {
				var conn tls.Conn
				for _, s := range tp.said {
					for data := s.octets; len(data) > 0 && conn.Status() < tls.Opaque; {
						n := min(1448, len(data))
						in := tls.Input{Data: data[:n]}
						conn.Read(r, budget, s.client, &in, true, quiet)
						data = data[n:]
					}
				}
				conn.Close(r, budget, quiet)
			}
		})
	}
}
