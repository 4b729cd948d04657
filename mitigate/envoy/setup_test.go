package envoy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/mitigate/envoy"
	"offpath/mitigate/internal/envoytest"
	"offpath/mitigate/internal/targettest"
)

// files are PEM files of an authority and of whom it vouches for.
type files struct{ ca, server, serverKey, client, clientKey string }

func certificates(t testing.TB) files {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	var authority *x509.Certificate
	var authorityKey *ecdsa.PrivateKey
	issue := func(name string) (certificate, key string) {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		template := &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		parent, signer := authority, authorityKey
		if authority == nil {
			template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
			parent, signer = template, private
			authority, authorityKey = template, private
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &private.PublicKey, signer)
		require.NoError(t, err)
		keyDER, err := x509.MarshalPKCS8PrivateKey(private)
		require.NoError(t, err)
		return write(name+".pem", "CERTIFICATE", der), write(name+".key", "PRIVATE KEY", keyDER)
	}
	var f files
	f.ca, _ = issue("ca")
	f.server, f.serverKey = issue("server")
	f.client, f.clientKey = issue("client")
	return f
}

func TestEnvoyTakesWhatIsPrinted(t *testing.T) {
	t.Parallel()
	pems := certificates(t)
	for name, setup := range map[string]envoy.Setup{
		"as it is":          {},
		"behind proxies":    {TrustedProxies: []netip.Prefix{targettest.Network("192.0.2.0/24"), targettest.Network("2001:db8::/32")}},
		"a unix socket":     {Address: "unix:/run/offpath/envoy.sock"},
		"IPv6":              {Address: "tcp:[::1]:18000", Token: true},
		"TLS and a token":   {Address: "tcp:192.0.2.1:18000", Token: true, TLS: true},
		"TLS on both sides": {Address: "tcp:192.0.2.1:18000", TLS: true, ClientTLS: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := envoytest.New(t, setup, func(config string) string {
				return strings.NewReplacer("/etc/envoy/offpath-ca.pem", pems.ca, "/etc/envoy/offpath-client.pem", pems.client, "/etc/envoy/offpath-client.key", pems.clientKey).Replace(config)
			})
			out, err := s.Check()
			assert.NoError(t, err, out)
			config, err := setup.Render()
			require.NoError(t, err)
			var b strings.Builder
			_, err = config.WriteTo(&b)
			require.NoError(t, err)
			assert.Equal(t, setup.Token || setup.Address == "", strings.Contains(b.String(), "Bearer TOKEN"))
			assert.NotContains(t, b.String(), "{{")
		})
	}
	for _, setup := range []envoy.Setup{{Address: "18000"}, {Address: "tcp:lb1:18000"}, {Address: "tcp:127.0.0.1:1"}, {Address: "tcp:192.0.2.1:1", Token: true}, {Address: "unix:/a\"b"}, {Name: "a: b"}} {
		_, err := setup.Render()
		assert.Error(t, err, setup)
	}
}

func TestWithoutTheServerEnvoyStartsAndServes(t *testing.T) {
	t.Parallel()
	s := envoytest.Start(t, envoy.Setup{Address: envoytest.Address(t)})
	answers(t, s, passed, client, "/", "X-Offpath-Verdict", "chosen by a client")
}
