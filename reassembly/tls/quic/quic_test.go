package quic

import (
	"context"
	"crypto/aes"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly/tls/hello"
)

// The vectors of RFC 9001 appendix A.1 and RFC 9369 appendix A.1.
func TestClientSecrets(t *testing.T) {
	id, _ := hex.DecodeString("8394c8f03e515708")
	for _, c := range []struct {
		name        string
		version     uint32
		key, iv, hp string
	}{
		{"version 1", version1, "1f369613dd76d5467730efcbe3b1a22d", "fa044b2f42a3fd3b46fb255c", "9f50449e04a0e810283a1e9933adedd2"},
		{"version 2", version2, "8b1a0bc121284290a29e0971b5cd045d", "91f73e2351d8fa91660e909f", "45b95e15235d6f45a6b19cbcb0294ba9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			key, iv, hp, err := clientSecrets(c.version, id)
			require.NoError(t, err)
			assert.Equal(t, []string{c.key, c.iv, c.hp}, []string{hex.EncodeToString(key), hex.EncodeToString(iv), hex.EncodeToString(hp)})
		})
	}
}

var (
	there = Flow{netip.MustParseAddrPort("192.0.2.1:5000"), netip.MustParseAddrPort("198.51.100.1:443")}
	id1   = []byte{1, 2, 3, 4, 5, 6, 7, 8}
	id2   = []byte{8, 7, 6, 5, 4, 3, 2, 1}
)

// varint appends a number in two octets or more.
func varint(dst []byte, n int) []byte {
	if n < 1<<14 {
		return append(dst, 0x40|byte(n>>8), byte(n))
	}
	return append(dst, 0x80|byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

func cryptoFrame(offset int, data []byte) []byte {
	f := varint([]byte{frameCrypto}, offset)
	return append(varint(f, len(data)), data...)
}

// seal makes an Initial packet, with keys that follow from the id keyed.
func seal(t testing.TB, version uint32, keyed, destination []byte, number uint16, payload []byte) []byte {
	t.Helper()
	k, err := clientKeys(version, keyed)
	require.NoError(t, err)
	first := byte(0xc1) // a packet number of two octets
	if version == version2 {
		first |= 1 << 4
	}
	p := binary.BigEndian.AppendUint32([]byte{first}, version)
	p = append(append(p, byte(len(destination))), destination...)
	p = append(p, 3, 'a', 'b', 'c')
	p = append(varint(p, 2), "tk"...)
	if len(payload) < 4 {
		payload = append(payload, 0, 0, 0, 0)
	}
	p = varint(p, 2+len(payload)+16)
	at := len(p)
	p = binary.BigEndian.AppendUint16(p, number)
	nonce := k.iv
	nonce[11] ^= byte(number)
	nonce[10] ^= byte(number >> 8)
	p = k.aead.Seal(p, nonce[:], payload, p)
	var mask [aes.BlockSize]byte
	k.header.Encrypt(mask[:], p[at+sampleOffset:][:aes.BlockSize])
	p[0] ^= mask[0] & 0x0f
	p[at] ^= mask[1]
	p[at+1] ^= mask[2]
	return p
}

// clientHello is what crypto/tls says to begin a QUIC connection.
func clientHello(t testing.TB) []byte {
	t.Helper()
	conn := tls.QUICClient(&tls.QUICConfig{TLSConfig: &tls.Config{ServerName: "bank.example", MinVersion: tls.VersionTLS13, NextProtos: []string{"h3"}}})
	conn.SetTransportParameters([]byte{1, 2, 0x40, 0x80})
	require.NoError(t, conn.Start(context.Background()))
	defer conn.Close()
	for {
		switch e := conn.NextEvent(); e.Kind {
		case tls.QUICWriteData:
			return slices.Clone(e.Data)
		case tls.QUICNoEvent:
			t.Fatal("no ClientHello")
		}
	}
}

func tracker(t testing.TB, config Config) *Tracker {
	t.Helper()
	tr, err := New(config)
	require.NoError(t, err)
	return tr
}

func TestClientHellos(t *testing.T) {
	message := clientHello(t)
	half := len(message) / 2
	whole := cryptoFrame(0, message)
	many := func(size int, shuffle bool) (datagrams [][]byte) {
		var frames [][]byte
		for at := 0; at < len(message); at += size {
			frames = append(frames, cryptoFrame(at, message[at:min(at+size, len(message))]))
		}
		if shuffle {
			rand.New(rand.NewPCG(1, 2)).Shuffle(len(frames), func(i, j int) { frames[i], frames[j] = frames[j], frames[i] })
		}
		for i, f := range frames {
			datagrams = append(datagrams, seal(t, version1, id1, id1, uint16(i), f))
		}
		return datagrams
	}
	other := seal(t, version1, id1, id2, 0, cryptoFrame(0, nil)) // of a server: keys of another id
	for _, c := range []struct {
		name      string
		datagrams [][]byte
		hellos    int
	}{
		{"one packet of version 1", [][]byte{seal(t, version1, id1, id1, 0, whole)}, 1},
		{"one packet of version 2", [][]byte{seal(t, version2, id1, id1, 0, whole)}, 1},
		{"one packet of draft 29", [][]byte{seal(t, draft29, id1, id1, 0, whole)}, 1},
		{"one packet of draft 34", [][]byte{seal(t, draft34, id1, id1, 0, whole)}, 1},
		{"padding, ping and acknowledgements before it", [][]byte{seal(t, version1, id1, id1, 0, append([]byte{0, 0, 1, frameACK, 5, 0, 1, 0, 2, 3, frameACKECN, 5, 0, 0, 0, 1, 2, 3}, whole...))}, 1},
		{"two packets", [][]byte{seal(t, version1, id1, id1, 0, cryptoFrame(0, message[:half])), seal(t, version1, id1, id1, 1, cryptoFrame(half, message[half:]))}, 1},
		{"two packets, the second first", [][]byte{seal(t, version1, id1, id1, 1, cryptoFrame(half, message[half:])), seal(t, version1, id1, id1, 0, cryptoFrame(0, message[:half]))}, 1},
		{"two packets in one datagram", [][]byte{append(seal(t, version1, id1, id1, 0, cryptoFrame(0, message[:half])), seal(t, version1, id1, id1, 1, cryptoFrame(half, message[half:]))...)}, 1},
		{"the second under the id that the server chose", [][]byte{seal(t, version1, id1, id1, 0, cryptoFrame(0, message[:half])), seal(t, version1, id1, id2, 1, cryptoFrame(half, message[half:]))}, 1},
		{"overlapping pieces", [][]byte{seal(t, version1, id1, id1, 0, cryptoFrame(10, message[10:half+30])), seal(t, version1, id1, id1, 1, whole)}, 1},
		{"shuffled pieces of 7 octets", many(7, true), 1},
		{"said twice", [][]byte{seal(t, version1, id1, id1, 0, whole), seal(t, version1, id1, id1, 1, whole)}, 1},
		{"another connection between the same ports", [][]byte{seal(t, version1, id1, id1, 0, whole), seal(t, version1, id2, id2, 0, whole)}, 2},
		{"after a retry, with a new id before it was complete", [][]byte{seal(t, version1, id1, id1, 0, cryptoFrame(0, message[:half])), seal(t, version1, id2, id2, 1, whole)}, 1},
		{"a server's packet before it", [][]byte{other, seal(t, version1, id1, id1, 0, whole)}, 1},
		{"a part is missing", many(100, false)[1:], 0},
		{"a damaged packet", [][]byte{func() []byte { p := seal(t, version1, id1, id1, 0, whole); p[len(p)-1] ^= 1; return p }()}, 0},
		{"a version that is not read", [][]byte{seal(t, 0xff00001c, id1, id1, 0, whole)}, 0},
		{"cut short", [][]byte{seal(t, version1, id1, id1, 0, whole)[:100]}, 0},
		{"no ClientHello", [][]byte{seal(t, version1, id1, id1, 0, cryptoFrame(0, []byte{2, 0, 0, 1, 0}))}, 0},
		{"beyond the bound", [][]byte{seal(t, version1, id1, id1, 0, cryptoFrame(hello.MaxMessage, []byte{1}))}, 0},
		{"something else", [][]byte{[]byte("\xc0 is no packet"), {}, {0xff}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := tracker(t, Config{})
			hellos := 0
			for _, d := range c.datagrams {
				before := slices.Clone(d)
				if h := tr.Datagram(there, d); h != nil {
					hellos++
					assert.Equal(t, "bank.example", string(h.ServerName))
					assert.Regexp(t, `^q13d\d{4}h3_[0-9a-f]{12}_[0-9a-f]{12}$`, h.JA4(hello.QUIC))
					assert.False(t, h.Malformed)
				}
				assert.Equal(t, before, d, "the datagram stays as it is")
			}
			assert.Equal(t, c.hellos, hellos)
			s := tr.Stats()
			assert.EqualValues(t, hellos, s.Hellos)
			assert.Equal(t, s.Initials, s.Opened+s.Unopened+s.Repeated+s.Failed)
			if hellos > 0 {
				assert.Zero(t, s.Octets, "octets held")
			}
		})
	}
}

func TestTheOldestConnectionsGiveWay(t *testing.T) {
	message := clientHello(t)
	part := seal(t, version1, id1, id1, 0, cryptoFrame(0, message[:100]))
	rest := seal(t, version1, id1, id1, 1, cryptoFrame(100, message[100:]))
	for _, c := range []struct {
		name   string
		config Config
	}{
		{"by number", Config{MaxConnections: 5}},
		{"by octets", Config{MaxOctets: 500}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := tracker(t, c.config)
			flow := func(i int) Flow {
				return Flow{netip.AddrPortFrom(there.Source.Addr(), uint16(1000+i)), there.Destination}
			}
			for i := range 20 {
				assert.Nil(t, tr.Datagram(flow(i), part))
				assert.LessOrEqual(t, tr.Stats().Octets, uint64(500))
				assert.LessOrEqual(t, tr.Stats().Remembered, uint64(5))
			}
			assert.EqualValues(t, 15, tr.Stats().Evicted)
			assert.NotNil(t, tr.Datagram(flow(15), rest), "the oldest that is left")
			assert.NotNil(t, tr.Datagram(flow(19), rest))
		})
	}
}

func TestBadBoundsAreQuoted(t *testing.T) {
	_, err := New(Config{MaxOctets: -1})
	assert.EqualError(t, err, "QUIC: max connections 0, max octets -1: neither may be negative")
}

func FuzzDatagram(f *testing.F) {
	message := clientHello(f)
	f.Add(seal(f, version1, id1, id1, 0, cryptoFrame(0, message)), false)
	f.Add(seal(f, version2, id1, id1, 0, cryptoFrame(0, message)), false)
	f.Add(append([]byte{frameACK, 5, 0, 1, 0, 2, 3}, cryptoFrame(3, message)...), true)
	f.Add([]byte{frameCrypto, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2}, true)
	f.Fuzz(func(t *testing.T, data []byte, sealed bool) {
		tr := tracker(t, Config{MaxConnections: 2, MaxOctets: 1 << 16})
		if sealed && len(data) < 1<<14-32 {
			data = seal(t, version1, id1, id1, 0, data)
		}
		for i := range 3 {
			tr.Datagram(Flow{netip.AddrPortFrom(there.Source.Addr(), uint16(i)), there.Destination}, data)
		}
		s := tr.Stats()
		assert.Equal(t, s.Initials, s.Opened+s.Unopened+s.Repeated+s.Failed)
		assert.LessOrEqual(t, s.Octets, uint64(1<<16))
		assert.LessOrEqual(t, s.Remembered, uint64(2))
	})
}
