package tls_test

import (
	ctls "crypto/tls"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"offpath/reassembly/tls"
)

// pair is the configuration of two peers.
type pair struct {
	name           string
	client, server *ctls.Config
}

// pairs are all versions and suites that crypto/tls speaks.
func pairs(t testing.TB) (list []pair) {
	certs := []ctls.Certificate{rsaCertificate(t), ecdsaCertificate(t)}
	for _, suites := range [][]*ctls.CipherSuite{ctls.CipherSuites(), ctls.InsecureCipherSuites()} {
		for _, s := range suites {
			for _, v := range s.SupportedVersions {
				client := &ctls.Config{InsecureSkipVerify: true, ServerName: "bank.example", MinVersion: v, MaxVersion: v, CipherSuites: []uint16{s.ID}}
				server := &ctls.Config{Certificates: certs, MinVersion: v, MaxVersion: v, CipherSuites: []uint16{s.ID}}
				if v == ctls.VersionTLS13 {
					client.CipherSuites, server.CipherSuites = nil, nil
				}
				list = append(list, pair{fmt.Sprintf("%s %s", ctls.VersionName(v), s.Name), client, server})
			}
		}
	}
	return list
}

func TestEverySuiteOfCryptoTLSIsDecrypted(t *testing.T) {
	x := talk(4, 40000)
	for _, p := range pairs(t) {
		t.Run(p.name, func(t *testing.T) {
			tp := recordTLS(t, x, p.client, p.server)
			for _, size := range []int{1 << 20, 1448, 100, 7, 1} {
				o := observe(t, tls.Config{Secrets: store(t, tp.log.Bytes()), Complete: true})
				o.hear(tp.said, size)
				o.equal(t, x)
				assert.Equal(t, "bank.example", o.sni)
				assert.Equal(t, "clean", o.ends[0])
				assert.EqualValues(t, 1, o.reader.Stats.Decrypted)
				assert.Zero(t, o.reader.Stats.Unopened+o.reader.Stats.Skipped+o.reader.Stats.Unprotected)
				o.close(t)
			}
		})
	}
}
