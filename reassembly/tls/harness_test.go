package tls_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	ctls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly/tcp"
	"offpath/reassembly/tls"
	"offpath/reassembly/tls/hello"
	"offpath/reassembly/tls/keylog"
)

// said is octets that one side sent; or, if missing, that the capture lacks.
type said struct {
	client  bool
	octets  []byte
	missing int64
}

// tape is a connection as it was recorded.
type tape struct {
	mu   sync.Mutex
	said []said
	log  bytes.Buffer // key log

	resumed bool
}

func (t *tape) Write(line []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.log.Write(line)
}

// octets is what a side sent.
func (t *tape) octets(client bool) (all []byte) {
	for _, s := range t.said {
		if s.client == client {
			all = append(all, s.octets...)
		}
	}
	return all
}

// tapped writes to its tape what is written to the connection.
type tapped struct {
	net.Conn
	tape   *tape
	client bool
}

func (t *tapped) Write(octets []byte) (int, error) {
	t.tape.mu.Lock()
	t.tape.said = append(t.tape.said, said{client: t.client, octets: bytes.Clone(octets)})
	t.tape.mu.Unlock()
	return t.Conn.Write(octets)
}

// exchange is what is said over a connection: requests and responses in turn.
type exchange struct{ requests, responses [][]byte }

func (x *exchange) all(client bool) []byte {
	if client {
		return bytes.Join(x.requests, nil)
	}
	return bytes.Join(x.responses, nil)
}

// talk makes an exchange of n turns with bodies of up to size octets.
func talk(n, size int) *exchange {
	r := mathrand.New(mathrand.NewPCG(uint64(n), uint64(size)))
	x := &exchange{}
	for range n {
		for _, list := range []*[][]byte{&x.requests, &x.responses} {
			octets := make([]byte, 1+r.IntN(size))
			for i := range octets {
				octets[i] = byte(r.Uint32())
			}
			*list = append(*list, octets)
		}
	}
	return x
}

// speak runs an exchange over two ends.
func speak(t testing.TB, x *exchange, client, server net.Conn) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		for i := range x.requests {
			if _, err := io.ReadFull(server, make([]byte, len(x.requests[i]))); err != nil {
				done <- err
				return
			}
			if _, err := server.Write(x.responses[i]); err != nil {
				done <- err
				return
			}
		}
		_, err := server.Read(make([]byte, 1))
		server.Close()
		if err == io.EOF {
			err = nil
		}
		done <- err
	}()
	for i := range x.requests {
		_, err := client.Write(x.requests[i])
		require.NoError(t, err)
		_, err = io.ReadFull(client, make([]byte, len(x.responses[i])))
		require.NoError(t, err)
	}
	require.NoError(t, client.Close())
	require.NoError(t, <-done)
}

// wire returns the two ends of a connection over loopback, both tapped.
func wire(t testing.TB, tp *tape) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	s, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { c.Close(); s.Close() })
	deadline := time.Now().Add(30 * time.Second)
	require.NoError(t, c.SetDeadline(deadline))
	require.NoError(t, s.SetDeadline(deadline))
	return &tapped{c, tp, true}, &tapped{s, tp, false}
}

// recordTLS records an exchange between two crypto/tls peers.
func recordTLS(t testing.TB, x *exchange, client, server *ctls.Config) *tape {
	t.Helper()
	tp := &tape{}
	client, server = client.Clone(), server.Clone()
	client.KeyLogWriter = tp
	c, s := wire(t, tp)
	end := ctls.Client(c, client)
	speak(t, x, end, ctls.Server(s, server))
	tp.resumed = end.ConnectionState().DidResume
	return tp
}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

var ecdsaKey = sync.OnceValue(func() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

// certificate returns a self-signed certificate of a key.
func certificate(t testing.TB, key any, public any) ctls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bank.example"}, DNSNames: []string{"bank.example"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	require.NoError(t, err)
	return ctls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func rsaCertificate(t testing.TB) ctls.Certificate {
	return certificate(t, rsaKey(), &rsaKey().PublicKey)
}

func ecdsaCertificate(t testing.TB) ctls.Certificate {
	return certificate(t, ecdsaKey(), &ecdsaKey().PublicKey)
}

// keyPEM is the server's RSA key as PKCS#8.
func keyPEM(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(rsaKey())
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// listener is a Consumer that notes what it hears.
type listener struct {
	plain    [2][]byte // of client and server; a gap is not in it
	gaps     [2][]int64
	pieces   [2][][]byte // the plaintext between gaps
	inexact  [2]int
	ends     [2]string
	hellos   int
	ja4, sni string
	suite    uint16
	refuse   func(client bool, p *tls.Plain) int
	hello    func(h *hello.Client)
}

func index(client bool) int {
	if client {
		return 0
	}
	return 1
}

func (l *listener) ClientHello(h *hello.Client) {
	l.hellos++
	if l.hello != nil {
		l.hello(h)
	}
	l.ja4, l.sni = h.JA4(hello.TCP), string(h.ServerName)
}

func (l *listener) ServerHello(h *hello.Server) { l.suite = h.Suite }

func (l *listener) Plain(client bool, p *tls.Plain) int {
	n := len(p.Data)
	if l.refuse != nil && !p.Last {
		n = l.refuse(client, p)
	}
	i := index(client)
	l.plain[i] = append(l.plain[i], p.Data[:n]...)
	if len(l.pieces[i]) == 0 {
		l.pieces[i] = append(l.pieces[i], nil)
	}
	last := &l.pieces[i][len(l.pieces[i])-1]
	*last = append(*last, p.Data[:n]...)
	return n
}

func (l *listener) Gap(client bool, n int64, exact bool) {
	i := index(client)
	l.gaps[i] = append(l.gaps[i], n)
	l.pieces[i] = append(l.pieces[i], nil)
	if !exact {
		l.inexact[i]++
	}
}

func (l *listener) End(client, clean bool) {
	l.ends[index(client)] = "fatal"
	if clean {
		l.ends[index(client)] = "clean"
	}
}

// observer reads a tape.
type observer struct {
	*listener
	reader *tls.Reader
	conn   tls.Conn
	budget *tcp.Budget
	offset [2]uint32
	now    int64
	last   bool
}

func store(t testing.TB, log []byte) *keylog.Store {
	t.Helper()
	s, err := keylog.New(keylog.Config{})
	require.NoError(t, err)
	s.Add(log)
	return s
}

func observe(t testing.TB, config tls.Config) *observer {
	t.Helper()
	r, err := tls.NewReader(config)
	require.NoError(t, err)
	return &observer{listener: &listener{}, reader: r, budget: tcp.NewBudget(4 << 20), now: 1}
}

// hear reads what was said, in segments of at most size octets.
func (o *observer) hear(tape []said, size int) {
	for _, s := range tape {
		if s.missing > 0 {
			o.conn.Missing(o.reader, o.budget, s.client, s.missing, o)
			o.offset[index(s.client)] += uint32(s.missing)
			continue
		}
		for data := s.octets; len(data) > 0; {
			n := min(size, len(data))
			o.segment(s.client, data[:n])
			data = data[n:]
		}
	}
}

func (o *observer) segment(client bool, data []byte) {
	i := index(client)
	o.now++
	in := tls.Input{Data: data, Position: tcp.Position{Time: o.now, Seq: o.offset[i], Ack: o.offset[1-i], HasAck: true}}
	for tries := 0; len(in.Data) > 0; tries++ {
		before := len(in.Data)
		o.conn.Read(o.reader, o.budget, client, &in, o.last || tries > 0 && before == len(in.Data), o)
	}
	o.offset[i] += uint32(len(data))
}

func (o *observer) close(t testing.TB) {
	t.Helper()
	o.conn.Close(o.reader, o.budget, o)
	assert.Zero(t, o.budget.Used(), "octets that were not given back")
	assert.Zero(t, o.reader.Stats.Held)
}

// equal compares what was heard with what was said.
func (o *observer) equal(t testing.TB, x *exchange) {
	t.Helper()
	for _, client := range []bool{true, false} {
		assert.True(t, bytes.Equal(x.all(client), o.plain[index(client)]), "of %d octets (client %v) %d came: status %v, reason %v, stats %+v",
			len(x.all(client)), client, len(o.plain[index(client)]), o.conn.Status(), o.conn.Reason(), o.reader.Stats)
		assert.Empty(t, o.gaps[index(client)])
	}
}

// silent is a Consumer that only counts.
type silent struct{ octets int }

func (s *silent) ClientHello(*hello.Client) {}
func (s *silent) ServerHello(*hello.Server) {}
func (s *silent) Gap(bool, int64, bool)     {}
func (s *silent) End(bool, bool)            {}
func (s *silent) Plain(_ bool, p *tls.Plain) int {
	s.octets += len(p.Data)
	return len(p.Data)
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// otherKeyPEM is a key that no server has.
func otherKeyPEM(t testing.TB) []byte {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	return pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
}
