package tls_test

import (
	"bytes"
	ctls "crypto/tls"
	"reflect"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly/tcp"
	"offpath/reassembly/tls"
)

// TestWhatConnectionsTakeIsCharged: the heap of many connections is within what they
// are charged, and that is not much more.
func TestWhatConnectionsTakeIsCharged(t *testing.T) {
	const n = 300
	x := &exchange{requests: [][]byte{make([]byte, 3000)}, responses: [][]byte{make([]byte, 3000)}}
	type state struct {
		name  string
		tape  []said
		log   []byte // nil: no secrets
		slack int    // octets that may be charged too much
	}
	var states []state
	add := func(name string, version, suite uint16, secrets bool, slack int) {
		client, server := configs(t, version, suite)
		tp := recordTLS(t, x, client, server)
		s := state{name: name, tape: tp.said[:len(tp.said)-2], slack: slack} // without the last alerts
		if s.log = []byte{}; secrets {
			s.log = bytes.Clone(tp.log.Bytes())
		}
		states = append(states, s)
	}
	add("half a ClientHello", ctls.VersionTLS13, 0, false, 700)
	states[0].log = nil
	half := states[0].tape[0]
	half.octets = half.octets[:100]
	states[0].tape = []said{half}
	add("a ClientHello, with secrets", ctls.VersionTLS12, ctls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, true, 1000)
	states[1].tape = states[1].tape[:1]
	add("records that wait", ctls.VersionTLS13, 0, false, 4000)
	add("TLS 1.3 with GCM", ctls.VersionTLS13, 0, true, 2000)
	add("TLS 1.2 with GCM", ctls.VersionTLS12, ctls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, true, 2000)
	add("TLS 1.2 with ChaCha20", ctls.VersionTLS12, ctls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, true, 4000)
	add("TLS 1.0 with CBC", ctls.VersionTLS10, ctls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, true, 3000)
	add("TLS 1.2 with RC4", ctls.VersionTLS12, ctls.TLS_ECDHE_RSA_WITH_RC4_128_SHA, true, 3000)
	lost := states[3]
	lost.name, lost.slack = "keys that are tried after a loss", 5000
	forged := plainRecord(23, string(make([]byte, 32)))
	lost.tape = append(lost.tape[:len(lost.tape):len(lost.tape)], said{missing: 100}, said{octets: forged}, said{client: true, missing: 100}, said{client: true, octets: forged})
	states = append(states, lost)
	for _, s := range states {
		t.Run(s.name, func(t *testing.T) {
			config := tls.Config{}
			if s.log != nil {
				config.Secrets = store(t, s.log)
			}
			r, err := tls.NewReader(config)
			require.NoError(t, err)
			b := tcp.NewBudget(1 << 30)
			open := func() *tls.Conn {
				require.True(t, b.Take(tls.ConnCost))
				conn := new(tls.Conn)
				hear(conn, r, b, s.tape)
				return conn
			}
			for range 30 { // until the Reader has what it keeps
				open().Close(r, b, &silent{})
				b.Give(tls.ConnCost)
			}
			require.Zero(t, b.Used())
			conns := make([]*tls.Conn, n)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.GC()
			runtime.ReadMemStats(&before)
			for i := range conns {
				conns[i] = open()
			}
			runtime.GC()
			runtime.GC()
			runtime.ReadMemStats(&after)
			took, charged := int(after.HeapAlloc-before.HeapAlloc)/n, b.Used()/n
			t.Logf("%d octets, %d charged; %v", took, charged, conns[0].Status())
			assert.LessOrEqual(t, took, charged)
			assert.Less(t, charged-took, s.slack)
			for _, c := range conns {
				c.Close(r, b, &silent{})
			}
			assert.Equal(t, n*tls.ConnCost, b.Used())
		})
	}
}

// hear has a connection hear a tape in segments.
func hear(c *tls.Conn, r *tls.Reader, b *tcp.Budget, tape []said) {
	quiet := &silent{}
	for _, s := range tape {
		if s.missing > 0 {
			c.Missing(r, b, s.client, s.missing, quiet)
		}
		for data := s.octets; len(data) > 0; {
			n := min(1448, len(data))
			in := tls.Input{Data: data[:n], Position: tcp.Position{Time: 1}}
			c.Read(r, b, s.client, &in, true, quiet)
			data = data[n:]
		}
	}
}

func TestAConnIsWithinItsCost(t *testing.T) {
	assert.LessOrEqual(t, int(reflect.TypeFor[tls.Conn]().Size()), tls.ConnCost)
}

func TestAChangeOfKeysInTheMiddleOfAMessageLeavesNothingOfIt(t *testing.T) {
	client, server := configs(t, ctls.VersionTLS12, ctls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)
	tp := recordTLS(t, talk(1, 100), client, server)
	o := observe(t, tls.Config{Secrets: store(t, tp.log.Bytes())})
	o.hear(tp.said[:1], 1<<20)
	flight := tp.said[1].octets
	hello := 5 + int(flight[3])<<8 + int(flight[4])
	o.hear([]said{
		{octets: flight[:hello]},
		{octets: plainRecord(22, handshakeMessage(11, string(make([]byte, 1000)))[:500])},
		{octets: plainRecord(20, "\x01")},
	}, 1<<20)
	o.close(t)
}

func TestWithoutRoomForItsKeysAConnectionIsGivenUp(t *testing.T) {
	client, server := configs(t, ctls.VersionTLS13)
	tp := recordTLS(t, talk(2, 500), client, server)
	most := observe(t, tls.Config{Secrets: store(t, tp.log.Bytes()), Complete: true})
	most.hear(tp.said, 300)
	require.Equal(t, tls.Closed, most.conn.Status())
	given, read := 0, 0
	for room := 0; room < 16<<10; room += 256 {
		o := observe(t, tls.Config{Secrets: store(t, tp.log.Bytes()), Complete: true})
		o.budget = tcp.NewBudget(room)
		o.hear(tp.said, 300)
		if o.conn.Status() == tls.Opaque {
			assert.Equal(t, tls.ReasonBudget, o.conn.Reason(), "room for %d octets", room)
			given++
		} else {
			read++
		}
		o.close(t)
	}
	assert.Positive(t, given)
	assert.Positive(t, read)
}
