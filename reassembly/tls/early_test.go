package tls_test

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"offpath/reassembly/tls"
	"offpath/reassembly/tls/internal/protection"
)

// sealer writes the records of one direction of TLS 1.3 under one secret.
type sealer struct {
	aead cipher.AEAD
	iv   []byte
	seq  uint64
}

func seals(t testing.TB, secret []byte) *sealer {
	t.Helper()
	key, err := protection.ExpandLabel(crypto.SHA256, secret, "key", 16)
	require.NoError(t, err)
	iv, err := protection.ExpandLabel(crypto.SHA256, secret, "iv", 12)
	require.NoError(t, err)
	block, err := aes.NewCipher(key)
	require.NoError(t, err)
	a, err := cipher.NewGCM(block)
	require.NoError(t, err)
	return &sealer{aead: a, iv: iv}
}

func (s *sealer) record(kind byte, content string) []byte {
	inner := append([]byte(content), kind, 0, 0) // padded
	header := binary.BigEndian.AppendUint16([]byte{23, 3, 3}, uint16(len(inner)+16))
	nonce := append([]byte(nil), s.iv...)
	binary.BigEndian.PutUint64(nonce[4:], binary.BigEndian.Uint64(nonce[4:])^s.seq)
	s.seq++
	return s.aead.Seal(header, nonce, inner, header)
}

func handshakeMessage(kind byte, body string) string {
	return string([]byte{kind, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}) + body
}

func plainRecord(kind byte, content string) []byte {
	return append([]byte{kind, 3, 3, byte(len(content) >> 8), byte(len(content))}, content...)
}

// The labels of the secrets of earlyTape.
var earlyLabels = []string{"CLIENT_EARLY_TRAFFIC_SECRET", "CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET", "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"}

// earlyTape is a connection with 0-RTT data, of which the server says whether it
// reads them; after a retry it does not.
func earlyTape(t testing.TB, accepted, retried bool) (list []said, log []string) {
	random := strings.Repeat("R", 32)
	clientHello := func(extension string) []byte {
		return plainRecord(22, handshakeMessage(1, "\x03\x03"+random+"\x00"+"\x00\x02\x13\x01"+"\x01\x00"+fmt.Sprintf("\x00%c", len(extension))+extension))
	}
	serverHello := func(random string) []byte {
		return plainRecord(22, handshakeMessage(2, "\x03\x03"+random+"\x00"+"\x13\x01"+"\x00"+"\x00\x06"+"\x00\x2b\x00\x02\x03\x04"))
	}
	var s [5]*sealer
	for i, label := range earlyLabels {
		secret := strings.Repeat(string(rune('a'+i)), 32)
		s[i] = seals(t, []byte(secret))
		log = append(log, fmt.Sprintf("%s %x %x\n", label, random, secret))
	}
	say := func(client bool, octets []byte) { list = append(list, said{client: client, octets: octets}) }
	say(true, clientHello("\x00\x2a\x00\x00"))
	say(true, s[0].record(23, "early one "))
	say(true, s[0].record(23, "early two "))
	if retried {
		say(false, serverHello("\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c"))
		say(false, plainRecord(20, "\x01"))
		say(true, plainRecord(20, "\x01"))
		say(true, clientHello(""))
	}
	say(false, serverHello(strings.Repeat("S", 32)))
	say(false, plainRecord(20, "\x01"))
	extensions := "\x00\x00"
	if accepted {
		extensions = "\x00\x04\x00\x2a\x00\x00"
	}
	say(false, s[2].record(22, handshakeMessage(8, extensions)+handshakeMessage(20, strings.Repeat("F", 32))))
	say(false, s[4].record(23, "before the client's Finished "))
	if accepted {
		say(true, s[0].record(23, "early three "))
		say(true, s[0].record(22, handshakeMessage(5, "")))
	}
	say(true, s[1].record(22, handshakeMessage(20, strings.Repeat("f", 32))))
	say(true, s[3].record(23, "late"))
	say(false, s[4].record(23, "answer"))
	say(true, s[3].record(21, "\x01\x00"))
	return list, log
}

func TestEarlyData(t *testing.T) {
	const all, answers = "early one early two early three late", "before the client's Finished answer"
	for _, c := range []struct {
		name              string
		accepted, retried bool
		without           string // secrets that are not logged
		want, answers     string
		gap               bool
	}{
		{"accepted", true, false, "", all, answers, false},
		{"rejected: the server never saw them", false, false, "", "late", answers, false},
		{"rejected by a HelloRetryRequest", false, true, "", "late", answers, false},
		{"accepted, their secret is not logged", true, false, "CLIENT_EARLY", "late", answers, true},
		{"what the server says is not to be read", true, false, "SERVER_HANDSHAKE", "late", answers, true},
		{"no handshake secrets", true, false, "_HANDSHAKE_", "late", answers, true},
		{"only the client's secrets", true, false, "SERVER_", "late", "", true},
	} {
		for _, size := range []int{1448, 1} {
			t.Run(fmt.Sprintf("%s, in segments of %d", c.name, size), func(t *testing.T) {
				list, log := earlyTape(t, c.accepted, c.retried)
				kept := ""
				for _, line := range log {
					if c.without == "" || !strings.Contains(line, c.without) {
						kept += line
					}
				}
				o := observe(t, tls.Config{Secrets: store(t, []byte(kept)), Complete: true})
				o.hear(list, size)
				assert.Equal(t, c.want, string(o.plain[0]), "%+v", o.reader.Stats)
				assert.Equal(t, c.answers, string(o.plain[1]))
				assert.Equal(t, c.gap, len(o.gaps[0]) > 0, "gaps %v", o.gaps[0])
				assert.Equal(t, "clean", o.ends[0])
				o.close(t)
			})
		}
	}
}

func TestRecordsThatShouldBeProtectedAreIgnored(t *testing.T) {
	list, log := earlyTape(t, true, false)
	forged := []said{{client: true, octets: plainRecord(22, handshakeMessage(1, "forged"))}, {octets: plainRecord(21, "\x02\x28")}}
	at := len(list) - 3
	list = append(append(append([]said(nil), list[:at]...), forged...), list[at:]...)
	o := observe(t, tls.Config{Secrets: store(t, []byte(strings.Join(log, ""))), Complete: true})
	o.hear(list, 1448)
	assert.Equal(t, "early one early two early three late", string(o.plain[0]))
	assert.EqualValues(t, 2, o.reader.Stats.Unprotected)
	o.close(t)
}
