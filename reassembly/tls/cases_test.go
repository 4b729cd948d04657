package tls_test

import (
	"bytes"
	ctls "crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly/tcp"
	"offpath/reassembly/tls"
	"offpath/reassembly/tls/keylog"
)

// configs are two peers of a version, with the usual suite.
func configs(t testing.TB, version uint16, suites ...uint16) (client, server *ctls.Config) {
	t.Helper()
	return &ctls.Config{InsecureSkipVerify: true, ServerName: "bank.example", MinVersion: version, MaxVersion: version, CipherSuites: suites},
		&ctls.Config{Certificates: []ctls.Certificate{rsaCertificate(t)}, MinVersion: version, MaxVersion: version, CipherSuites: suites}
}

// withKeys are secrets of the server's RSA key.
func withKeys(t testing.TB, sessions *tls.Sessions) tls.Config {
	t.Helper()
	keys := &tls.ServerKeys{}
	require.NoError(t, keys.Add(keyPEM(t)))
	return tls.Config{Keys: keys, Sessions: sessions}
}

func TestHandshakesOfTheField(t *testing.T) {
	x := talk(3, 20000)
	for _, c := range []struct {
		name   string
		adjust func(client, server *ctls.Config)
	}{
		{"post-quantum key exchange, a hello of more than a segment", func(c, s *ctls.Config) {
			c.CurvePreferences = []ctls.CurveID{ctls.X25519MLKEM768}
		}},
		{"HelloRetryRequest", func(c, s *ctls.Config) { s.CurvePreferences = []ctls.CurveID{ctls.CurveP384} }},
		{"client certificate", func(c, s *ctls.Config) {
			c.Certificates = []ctls.Certificate{ecdsaCertificate(t)}
			s.ClientAuth = ctls.RequireAnyClientCert
		}},
		{"a certificate list of some records", func(c, s *ctls.Config) {
			cert := rsaCertificate(t)
			for range 40 {
				cert.Certificate = append(cert.Certificate, cert.Certificate[0])
			}
			s.Certificates = []ctls.Certificate{cert}
		}},
		{"ALPN", func(c, s *ctls.Config) {
			c.NextProtos, s.NextProtos = []string{"h2", "http/1.1"}, []string{"h2"}
		}},
		{"small records", func(c, s *ctls.Config) { c.DynamicRecordSizingDisabled = false }},
		{"records of full size", func(c, s *ctls.Config) {
			c.DynamicRecordSizingDisabled, s.DynamicRecordSizingDisabled = true, true
		}},
	} {
		for _, v := range []uint16{ctls.VersionTLS12, ctls.VersionTLS13} {
			t.Run(c.name+", "+ctls.VersionName(v), func(t *testing.T) {
				client, server := configs(t, v)
				c.adjust(client, server)
				if v == ctls.VersionTLS12 && client.CurvePreferences != nil {
					t.Skip("TLS 1.2 has no post-quantum key exchange")
				}
				tp := recordTLS(t, x, client, server)
				o := observe(t, tls.Config{Secrets: store(t, tp.log.Bytes()), Complete: true})
				o.hear(tp.said, 1448)
				o.equal(t, x)
				hellos := 1
				if c.name == "HelloRetryRequest" && v == ctls.VersionTLS13 {
					hellos = 2
				}
				assert.Equal(t, hellos, o.hellos, "ClientHellos handed on")
				if client.NextProtos != nil {
					assert.Equal(t, "h2", o.conn.Protocol())
				}
				o.close(t)
			})
		}
	}
}

// crypto/tls logs the master secret of a session but once.
func TestResumptionWithAKeyLog(t *testing.T) {
	x := talk(2, 5000)
	for _, v := range []uint16{ctls.VersionTLS10, ctls.VersionTLS12, ctls.VersionTLS13} {
		t.Run(ctls.VersionName(v), func(t *testing.T) {
			client, server := configs(t, v)
			client.ClientSessionCache = ctls.NewLRUClientSessionCache(4)
			server.SetSessionTicketKeys([][32]byte{{1}})
			sessions, err := tls.NewSessions(0)
			require.NoError(t, err)
			for i := range 3 {
				tp := recordTLS(t, x, client, server)
				assert.Equal(t, i > 0, tp.resumed)
				o := observe(t, tls.Config{Secrets: store(t, tp.log.Bytes()), Complete: true, Sessions: sessions})
				o.hear(tp.said, 1448)
				o.equal(t, x)
				o.close(t)
			}
		})
	}
}

func TestRSAKeyExchange(t *testing.T) {
	x := talk(3, 5000)
	for _, suite := range []uint16{
		ctls.TLS_RSA_WITH_AES_128_GCM_SHA256, ctls.TLS_RSA_WITH_AES_256_GCM_SHA384,
		ctls.TLS_RSA_WITH_AES_128_CBC_SHA, ctls.TLS_RSA_WITH_AES_128_CBC_SHA256, ctls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, ctls.TLS_RSA_WITH_RC4_128_SHA,
	} {
		for _, v := range []uint16{ctls.VersionTLS10, ctls.VersionTLS11, ctls.VersionTLS12} {
			client, server := configs(t, v, suite)
			name := ctls.CipherSuiteName(suite)
			if v != ctls.VersionTLS12 && (suite == ctls.TLS_RSA_WITH_AES_128_GCM_SHA256 || suite == ctls.TLS_RSA_WITH_AES_256_GCM_SHA384 || suite == ctls.TLS_RSA_WITH_AES_128_CBC_SHA256) {
				continue // of TLS 1.2 alone
			}
			t.Run(ctls.VersionName(v)+" "+name, func(t *testing.T) {
				client.ClientSessionCache = ctls.NewLRUClientSessionCache(4)
				server.SetSessionTicketKeys([][32]byte{{1}})
				sessions, err := tls.NewSessions(0)
				require.NoError(t, err)
				for i := range 3 {
					tp := recordTLS(t, x, client, server)
					o := observe(t, withKeys(t, sessions))
					o.hear(tp.said, 1448)
					o.equal(t, x)
					assert.EqualValues(t, min(i, 1), o.reader.Stats.SessionsFound, "resumed after the first")
					o.close(t)
				}
			})
		}
	}
}

func TestWithoutItsKeyAConnectionIsGivenUpAtItsHellos(t *testing.T) {
	x := talk(2, 5000)
	other := &tls.ServerKeys{}
	require.NoError(t, other.Add(otherKeyPEM(t)))
	for _, c := range []struct {
		name   string
		suite  uint16
		config tls.Config
	}{
		{"no secrets at all", ctls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.Config{}},
		{"the server's key, but a key exchange with forward secrecy", ctls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, withKeys(t, nil)},
		{"a key of another server", ctls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.Config{Keys: other}},
		{"a key log without it that is complete", ctls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.Config{Secrets: store(t, nil), Complete: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, server := configs(t, ctls.VersionTLS12, c.suite)
			tp := recordTLS(t, x, client, server)
			o := observe(t, c.config)
			o.hear(tp.said, 1448)
			assert.Equal(t, tls.Opaque, o.conn.Status())
			assert.Equal(t, tls.ReasonNoSecret, o.conn.Reason())
			assert.EqualValues(t, 1, o.reader.Stats.Opaque[tls.ReasonNoSecret])
			assert.NotEmpty(t, o.ja4)
			assert.Equal(t, c.suite, o.suite)
			assert.Empty(t, o.plain[0])
			o.close(t)
		})
	}
}

func TestAWrongSecretGivesNoPlaintext(t *testing.T) {
	x := talk(3, 5000)
	for _, p := range pairs(t) {
		t.Run(p.name, func(t *testing.T) {
			tp := recordTLS(t, x, p.client, p.server)
			log := bytes.ReplaceAll(tp.log.Bytes(), []byte("0"), []byte("1"))
			random := bytes.Fields(tp.log.Bytes())[1]
			for _, line := range bytes.Split(bytes.TrimSpace(tp.log.Bytes()), []byte("\n")) {
				f := bytes.Fields(line)
				f[2] = bytes.Repeat([]byte("ab"), len(f[2])/2)
				log = fmt.Appendf(log, "\n%s %s %s", f[0], random, f[2])
			}
			o := observe(t, tls.Config{Secrets: store(t, log), Complete: true})
			o.hear(tp.said, 1448)
			assert.Empty(t, o.plain[0])
			assert.Empty(t, o.plain[1])
			assert.Equal(t, tls.Opaque, o.conn.Status())
			assert.Equal(t, tls.ReasonWrongSecret, o.conn.Reason())
			o.close(t)
		})
	}
}

func TestRecordsWaitForLateSecrets(t *testing.T) {
	x := talk(4, 8000)
	for _, v := range []uint16{ctls.VersionTLS12, ctls.VersionTLS13} {
		client, server := configs(t, v)
		tp := recordTLS(t, x, client, server)
		lines := bytes.SplitAfter(tp.log.Bytes(), []byte("\n"))
		for cut := range len(tp.said) {
			t.Run(fmt.Sprintf("%s, after %d of %d writes", ctls.VersionName(v), cut, len(tp.said)), func(t *testing.T) {
				s := store(t, nil)
				o := observe(t, tls.Config{Secrets: s})
				o.hear(tp.said[:cut], 1448)
				for _, line := range lines {
					s.Add(line)
					o.conn.Retry(o.reader, o.budget, o.now, o)
				}
				o.hear(tp.said[cut:], 1448)
				o.equal(t, x)
				assert.EqualValues(t, 1, o.reader.Stats.SecretsFound)
				o.close(t)
			})
		}
	}
}

func TestWhatFindsNoRoomToWaitIsAGap(t *testing.T) {
	x := talk(20, 4000)
	for _, v := range []uint16{ctls.VersionTLS12, ctls.VersionTLS13} {
		t.Run(ctls.VersionName(v), func(t *testing.T) {
			client, server := configs(t, v)
			tp := recordTLS(t, x, client, server)
			s := store(t, nil)
			o := observe(t, tls.Config{Secrets: s, Hold: 20000})
			o.hear(tp.said[:len(tp.said)-6], 1448)
			assert.Equal(t, tls.Waiting, o.conn.Status())
			assert.LessOrEqual(t, o.reader.Stats.Held, uint64(20000))
			assert.NotZero(t, o.reader.Stats.HoldLost)
			s.Add(tp.log.Bytes())
			o.hear(tp.said[len(tp.said)-6:], 1448)
			for i, client := range []bool{true, false} {
				pieces := o.pieces[i]
				require.NotEmpty(t, o.gaps[i])
				assert.True(t, bytes.HasPrefix(x.all(client), pieces[0]))
				assert.True(t, bytes.HasSuffix(x.all(client), pieces[len(pieces)-1]))
				missing := int64(0)
				for _, n := range o.gaps[i] {
					missing += n
				}
				if v == ctls.VersionTLS12 {
					assert.EqualValues(t, len(x.all(client)), missing+int64(len(o.plain[i])))
					assert.Zero(t, o.inexact[i])
				}
			}
			o.close(t)
		})
	}
}

func TestASecretThatDoesNotComeIsNotWaitedForLonger(t *testing.T) {
	client, server := configs(t, ctls.VersionTLS13)
	tp := recordTLS(t, talk(2, 1000), client, server)
	o := observe(t, tls.Config{Secrets: store(t, nil)})
	o.hear(tp.said, 1448)
	assert.True(t, o.conn.Retry(o.reader, o.budget, o.now+10e9-100, o))
	assert.False(t, o.conn.Retry(o.reader, o.budget, o.now+10e9+1, o))
	assert.Equal(t, tls.ReasonNoSecret, o.conn.Reason())
	o.close(t)
}

func TestRefusedPlaintextIsOfferedAgain(t *testing.T) {
	x := talk(4, 30000)
	r := mathrand.New(mathrand.NewPCG(1, 2))
	for _, v := range []uint16{ctls.VersionTLS12, ctls.VersionTLS13} {
		for _, size := range []int{1 << 20, 1448, 7} {
			t.Run(fmt.Sprintf("%s in segments of %d", ctls.VersionName(v), size), func(t *testing.T) {
				client, server := configs(t, v)
				tp := recordTLS(t, x, client, server)
				o := observe(t, tls.Config{Secrets: store(t, tp.log.Bytes()), Complete: true})
				o.refuse = func(_ bool, p *tls.Plain) int { return r.IntN(len(p.Data) + 1) }
				o.hear(tp.said, size)
				o.equal(t, x)
				o.close(t)
			})
		}
	}
}

// lossy takes a range of octets of a side out of a tape that is cut into segments.
func lossy(tape []said, client bool, from, to int) (kept []said) {
	at := 0
	for _, s := range tape {
		if s.client != client {
			kept = append(kept, s)
			continue
		}
		a, b := max(from-at, 0), min(to-at, len(s.octets))
		at += len(s.octets)
		if a >= b {
			kept = append(kept, s)
			continue
		}
		if a > 0 {
			kept = append(kept, said{client: client, octets: s.octets[:a]})
		}
		kept = append(kept, said{client: client, missing: int64(b - a)})
		if b < len(s.octets) {
			kept = append(kept, said{client: client, octets: s.octets[b:]})
		}
	}
	return kept
}

func TestLostOctetsCostTheirRecordsAlone(t *testing.T) {
	x := talk(30, 3000)
	for _, p := range pairs(t) {
		t.Run(p.name, func(t *testing.T) {
			tp := recordTLS(t, x, p.client, p.server)
			r := mathrand.New(mathrand.NewPCG(3, 4))
			for n := range 40 {
				client := n%2 == 0
				total := len(tp.octets(client))
				// Behind the handshake; the loss ends well before the end.
				from := total/4 + r.IntN(total/2)
				length := 1 + r.IntN([]int{20, 2000, 6000}[n%3])
				o := observe(t, tls.Config{Secrets: store(t, tp.log.Bytes()), Complete: true})
				o.hear(lossy(tp.said, client, from, from+length), 1448)
				i := index(client)
				assertPieces(t, x.all(client), o.pieces[i])
				assert.Equal(t, x.all(!client), o.plain[1-i], "the other direction")
				if !o.conn.Lost(client) {
					assert.NotEmpty(t, o.gaps[i])
					assert.Less(t, total-len(o.plain[i]), 2*length+16000)
				} else {
					assert.Contains(t, p.name, "RC4", "a key stream can't be found again")
				}
				o.close(t)
			}
		})
	}
}

// assertPieces sees that the pieces are of what was said, in its order.
func assertPieces(t testing.TB, all []byte, pieces [][]byte) {
	t.Helper()
	for _, piece := range pieces {
		at := bytes.Index(all, piece)
		if !assert.GreaterOrEqual(t, at, 0, "a piece of %d octets that was not said there", len(piece)) {
			return
		}
		all = all[at+len(piece):]
	}
}

func TestLossAnywhereNeverGivesWhatWasNotSaid(t *testing.T) {
	x := talk(6, 3000)
	for _, p := range pairs(t) {
		t.Run(p.name, func(t *testing.T) {
			tp := recordTLS(t, x, p.client, p.server)
			r := mathrand.New(mathrand.NewPCG(5, 6))
			recovered := 0
			for range 60 {
				tape := tp.said
				for range 1 + r.IntN(3) {
					client := r.IntN(2) == 0
					from := r.IntN(len(tp.octets(client)))
					tape = lossy(tape, client, from, from+1+r.IntN(1500))
				}
				o := observe(t, tls.Config{Secrets: store(t, tp.log.Bytes()), Complete: true})
				o.hear(tape, 1+r.IntN(1448))
				for i, client := range []bool{true, false} {
					assertPieces(t, x.all(client), o.pieces[i])
				}
				recovered += int(o.reader.Stats.Recovered)
				o.close(t)
			}
			assert.NotZero(t, recovered)
		})
	}
}

func TestADamagedRecordIsLostAlone(t *testing.T) {
	x := talk(6, 3000)
	for _, p := range pairs(t) {
		t.Run(p.name, func(t *testing.T) {
			tp := recordTLS(t, x, p.client, p.server)
			last := tp.said[len(tp.said)-4]
			octets := bytes.Clone(last.octets)
			octets[len(octets)-1] ^= 1
			tape := append([]said(nil), tp.said...)
			tape[len(tp.said)-4].octets = octets
			o := observe(t, tls.Config{Secrets: store(t, tp.log.Bytes()), Complete: true})
			o.hear(tape, 1448)
			for i, client := range []bool{true, false} {
				assertPieces(t, x.all(client), o.pieces[i])
			}
			assert.NotZero(t, o.reader.Stats.Unopened)
			assert.NotEqual(t, tls.Opaque, o.conn.Status())
			o.close(t)
		})
	}
}

func TestConnectionsThatCannotBeRead(t *testing.T) {
	client, server := configs(t, ctls.VersionTLS12)
	tp := recordTLS(t, talk(2, 1000), client, server)
	config := tls.Config{Secrets: store(t, tp.log.Bytes())}
	for _, c := range []struct {
		name string
		tape []said
		want tls.Reason
	}{
		{"joined in the middle", tp.said[len(tp.said)-3:], tls.ReasonMidstream},
		{"joined after the hellos", tp.said[2:], tls.ReasonMidstream},
		{"octets of the ClientHello missing", lossy(tp.said, true, 20, 30), tls.ReasonHelloLost},
		{"octets of the ServerHello missing", lossy(tp.said, false, 20, 30), tls.ReasonHelloLost},
		{"the start of the server's direction missing", lossy(tp.said, false, 0, 200), tls.ReasonHelloLost},
		{"something else", []said{{client: true, octets: []byte("GET / HTTP/1.1\r\n\r\n")}}, tls.ReasonProtocol},
		{"an alert instead of a ServerHello", []said{tp.said[0], {octets: []byte{21, 3, 3, 0, 2, 2, 40}}}, tls.ReasonAlert},
		{"a hello that claims 16 MiB", []said{{client: true, octets: []byte{22, 3, 1, 0, 5, 1, 255, 255, 255, 3}}}, tls.ReasonProtocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := observe(t, config)
			o.hear(c.tape, 1448)
			assert.Equal(t, tls.Opaque, o.conn.Status())
			assert.Equal(t, c.want, o.conn.Reason())
			assert.EqualValues(t, 1, o.reader.Stats.Opaque[c.want])
			assert.Empty(t, o.plain[0])
			o.close(t)
		})
	}
}

func TestWithoutRoomHellosAreGivenUp(t *testing.T) {
	client, server := configs(t, ctls.VersionTLS13)
	tp := recordTLS(t, talk(1, 100), client, server)
	o := observe(t, tls.Config{Secrets: store(t, tp.log.Bytes())})
	o.budget = tcp.NewBudget(100)
	o.hear(tp.said, 500)
	assert.Equal(t, tls.Opaque, o.conn.Status())
	assert.NotZero(t, o.reader.Stats.BudgetLost)
	o.close(t)
}

func TestServerKeys(t *testing.T) {
	pkcs1 := pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey()))
	ec, err := x509.MarshalPKCS8PrivateKey(ecdsaKey())
	require.NoError(t, err)
	var keys tls.ServerKeys
	require.NoError(t, keys.Add(pkcs1))
	require.NoError(t, keys.Add(append(pemOf("PRIVATE KEY", ec), keyPEM(t)...)))
	assert.ErrorIs(t, keys.Add(pemOf("PRIVATE KEY", ec)), tls.ErrNoKey)
	assert.ErrorIs(t, keys.Add([]byte("no PEM")), tls.ErrNoKey)
	err = keys.Add(pemOf("RSA PRIVATE KEY", []byte("damaged")))
	require.Error(t, err)
	assert.False(t, errors.Is(err, tls.ErrNoKey))
	assert.Contains(t, keys.Add(pemOf("ENCRYPTED PRIVATE KEY", nil)).Error(), "encrypted")
}

func TestBadBoundsAreQuoted(t *testing.T) {
	_, err := tls.NewReader(tls.Config{Hold: -5})
	assert.EqualError(t, err, "TLS: hold of -5 octets is negative")
	_, err = tls.NewReader(tls.Config{Wait: -5})
	assert.EqualError(t, err, "TLS: wait of -5ns is negative")
	_, err = tls.NewSessions(-1)
	assert.EqualError(t, err, "max sessions -1 is negative")
	_, err = keylog.New(keylog.Config{})
	assert.NoError(t, err)
}

func TestOpeningRecordsAllocatesNothing(t *testing.T) {
	x := &exchange{requests: [][]byte{make([]byte, 1<<20)}, responses: [][]byte{{1}}}
	for _, p := range pairs(t) {
		t.Run(p.name, func(t *testing.T) {
			tp := recordTLS(t, x, p.client, p.server)
			o := observe(t, tls.Config{Secrets: store(t, tp.log.Bytes()), Complete: true})
			first := len(tp.said) / 2
			o.hear(tp.said[:first], 1448)
			quiet := &silent{}
			rest := tp.said[first:]
			var octets []byte
			for _, s := range rest {
				if s.client {
					octets = append(octets, s.octets...)
				}
			}
			runs := 50
			n := 0
			allocs := testing.AllocsPerRun(runs, func() {
				in := tls.Input{Data: octets[n : n+1448]}
				o.conn.Read(o.reader, o.budget, true, &in, false, quiet)
				n += 1448
			})
			assert.Zero(t, allocs)
			assert.NotZero(t, quiet.octets)
		})
	}
}
